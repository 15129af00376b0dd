"""Colour corrections that come with a calibration, applied to pictures as they are read."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float32, UInt8

_ROWS_AT_A_TIME = 256

# Powers of red, green and blue of the terms of Cheung et al. 2004 (with Westland and Ripamonti 2004), in order.
_LINEAR = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
_ONE = ((0, 0, 0),)
_PAIRS = ((1, 1, 0), (1, 0, 1), (0, 1, 1))
_SQUARES = ((2, 0, 0), (0, 2, 0), (0, 0, 2))
_PRODUCT = ((1, 1, 1),)
_AFTER = ((2, 1, 0), (0, 2, 1), (1, 0, 2))  # each square times the next channel
_BEFORE = ((2, 0, 1), (1, 2, 0), (0, 1, 2))  # each square times the previous one
_CUBES = ((3, 0, 0), (0, 3, 0), (0, 0, 3))
_TRIPLES = ((2, 1, 1), (1, 2, 1), (1, 1, 2))
_QUARTIC = ((3, 1, 0), (3, 0, 1), (1, 3, 0), (0, 3, 1), (1, 0, 3), (0, 1, 3), *_TRIPLES)
_QUARTIC_PAIRS = ((2, 2, 0), (2, 0, 2), (0, 2, 2), (4, 0, 0), (0, 4, 0), (0, 0, 4))
_QUADRATIC = (*_LINEAR, *_PAIRS, *_SQUARES)
_CUBIC = (*_QUADRATIC, *_PRODUCT, *_AFTER, *_BEFORE, *_CUBES)
_TERMS = (
    _LINEAR,
    (*_LINEAR, *_ONE),
    (*_LINEAR, *_PRODUCT, *_ONE),
    (*_LINEAR, *_PAIRS, *_ONE),
    (*_LINEAR, *_PAIRS, *_PRODUCT, *_ONE),
    (*_QUADRATIC, *_ONE),
    (*_QUADRATIC, *_PRODUCT, *_ONE),
    (*_QUADRATIC, *_PRODUCT, *_CUBES, *_ONE),
    (*_QUADRATIC, *_PRODUCT, *_AFTER, *_CUBES),
    (*_QUADRATIC, *_PRODUCT, *_AFTER, *_CUBES, *_ONE),
    _CUBIC,
    (*_CUBIC, *_ONE),
    (*_CUBIC, *_TRIPLES),
    (*_CUBIC, *_QUARTIC, *_QUARTIC_PAIRS, *_ONE),
)
CHEUNG_TERMS = {len(terms): terms for terms in _TERMS}


@dataclass(frozen=True)
class ColourCorrection:
    """What a calibration does to a camera's colours.

    `affine` acts on encoded sRGB values: 3 rows of 4 coefficients, the last of which is added. `cheung` acts on linear
    light: 3 rows with a coefficient for each term of Cheung's polynomial (`CHEUNG_TERMS` has the numbers there are).
    """

    kind: Literal["affine", "cheung"]
    matrix: tuple[tuple[float, ...], ...]

    def apply(self, picture: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
        """Correct an sRGB picture."""
        corrected = np.empty_like(picture)
        for start in range(0, len(picture), _ROWS_AT_A_TIME):
            rows = slice(start, start + _ROWS_AT_A_TIME)
            values = self._affine(picture[rows]) if self.kind == "affine" else self._cheung(picture[rows])
            corrected[rows] = (np.clip(values, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
        return corrected

    def _affine(self, picture: UInt8[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "h w 3"]:
        matrix = np.array(self.matrix, np.float32)
        return picture.astype(np.float32) / 255.0 @ matrix[:, :3].T + matrix[:, 3]

    def _cheung(self, picture: UInt8[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "h w 3"]:
        linear = _LINEAR_OF_ENCODED[picture]
        powers = [np.ones_like(linear), linear]
        while len(powers) <= 4:
            powers.append(powers[-1] * linear)
        matrix = np.array(self.matrix, np.float32)
        total = np.zeros_like(linear)
        for column, (r, g, b) in enumerate(CHEUNG_TERMS[matrix.shape[1]]):
            total += (powers[r][..., 0] * powers[g][..., 1] * powers[b][..., 2])[..., None] * matrix[:, column]
        return _encode(total)


def _decode(encoded: Float32[np.ndarray, "*n"]) -> Float32[np.ndarray, "*n"]:
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4).astype(np.float32)


def _encode(linear: Float32[np.ndarray, "*n"]) -> Float32[np.ndarray, "*n"]:
    linear = np.clip(linear, 0.0, 1.0)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055).astype(np.float32)


_LINEAR_OF_ENCODED = _decode(np.arange(256, dtype=np.float32) / 255.0)  # [256]
