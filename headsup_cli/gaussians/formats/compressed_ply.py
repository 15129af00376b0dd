"""PlayCanvas's compressed PLY: chunks of 256 Gaussians, each quantised to 16 bytes within its chunk. World as PLY's.

Source: github.com/playcanvas/splat-transform and github.com/nerfstudio-project/gsplat, gsplat/exporter.py.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32, Int, UInt8, UInt32

from headsup_cli.errors import InputError
from headsup_cli.gaussians.formats.quantisation import (
    SQRT_HALF,
    from_bits,
    from_largest_component,
    largest_component,
    to_bits,
)
from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.gaussians.ply import MAX_GAUSSIANS, turn_over
from headsup_cli.gaussians.spherical_harmonics import SH_C0
from headsup_cli.gaussians.transform import transform_gaussians

CHUNK = 256
_BOUNDS = [f"{end}_{name}" for group in (("x", "y", "z"), ("scale_x", "scale_y", "scale_z"), ("r", "g", "b"))
           for end in ("min", "max") for name in group]  # fmt: skip
_PACKED = ["packed_position", "packed_rotation", "packed_scale", "packed_color"]
_SCALE_RANGE = (-20.0, 20.0)  # of the logarithms
_SH_RANGE = 8.0  # directional coefficients run from -4 to 4
_DEGREES = {0: 0, 9: 1, 24: 2, 45: 3}


def encode_compressed_ply(gaussians: Gaussians) -> bytes:
    """The file's content for Gaussians in the head frame, sorted so that chunks are compact."""
    turned = transform_gaussians(gaussians, turn_over())
    turned = turned[torch.from_numpy(_morton_order(turned.means.double().numpy()))]
    scales = turned.scales.double().clamp_min(1e-12).log().clamp(*_SCALE_RANGE).numpy()
    colours = (0.5 + SH_C0 * turned.sh[:, 0].double()).numpy()
    bounds, within = [], []
    for values in (turned.means.double().numpy(), scales, colours):
        low, high = _chunk_bounds(values)
        row = np.arange(len(values)) // CHUNK
        within.append((values - low[row]) / np.maximum(high - low, 1e-9)[row])
        bounds += [low, high]
    position, scale, colour = within
    rgba = to_bits(np.concatenate([colour, turned.opacities.double().numpy()[:, None]], 1), 8)
    packed = np.stack(
        [_pack_11_10_11(position), _pack_rotation(turned.quats.double().numpy()), _pack_11_10_11(scale),
         rgba[:, 0] << np.uint32(24) | rgba[:, 1] << np.uint32(16) | rgba[:, 2] << np.uint32(8) | rgba[:, 3]], 1
    )  # fmt: skip
    rest = turned.sh[:, 1:].mT.flatten(1).double().numpy()  # [n, 3 (k - 1)], channel-major
    sh = np.clip(np.trunc((rest / _SH_RANGE + 0.5) * 256), 0, 255).astype(np.uint8)
    header = _header(len(bounds[0]), len(turned), sh.shape[1])
    return header + np.concatenate(bounds, 1).astype("<f4").tobytes() + packed.astype("<u4").tobytes() + sh.tobytes()


def decode_compressed_ply(content: bytes, source: Path) -> Gaussians:
    """Gaussians in the head frame.

    Raises:
        InputError: Another layout, or cut short.
    """
    header, marker, body = content.partition(b"end_header\n")
    counts = {words[1]: int(words[2]) for line in header.decode("ascii", "replace").splitlines()
              if len(words := line.split()) == 3 and words[0] == "element" and words[2].isdigit()}  # fmt: skip
    chunks, count = counts.get("chunk", 0), counts.get("vertex", 0)
    width = header.count(b"property uchar f_rest_")
    size = chunks * 72 + count * (16 + width)
    fits = chunks == -(-count // CHUNK) and 0 < count <= MAX_GAUSSIANS and len(body) == size and width in _DEGREES
    if not marker or header + marker != _header(chunks, count, width) or not fits:
        raise InputError(
            source, found="another layout, or cut short", expected="a compressed PLY", remedy="export it again"
        )
    bounds = np.frombuffer(body, "<f4", chunks * 18).reshape(chunks, 6, 3).astype(np.float64)
    packed = np.frombuffer(body, "<u4", count * 4, offset=chunks * 72).reshape(count, 4)
    sh = np.frombuffer(body, np.uint8, count * width, offset=chunks * 72 + count * 16).reshape(count, width)
    return transform_gaussians(_unpacked(bounds[np.arange(count) // CHUNK], packed, sh), turn_over())


def _unpacked(
    bounds: Float[np.ndarray, "n 6 3"], packed: UInt32[np.ndarray, "n 4"], sh: UInt8[np.ndarray, "n m"]
) -> Gaussians:
    position, rotation, scale, colour = packed.T

    def between(group: int, share: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        return bounds[:, 2 * group] + share * (bounds[:, 2 * group + 1] - bounds[:, 2 * group])

    def tensor(values: Float[np.ndarray, "..."]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, np.float32))

    rgb = np.stack([from_bits(colour >> np.uint32(shift), 8) for shift in (24, 16, 8)], 1)
    dc = (between(2, rgb) - 0.5) / SH_C0
    middle = np.where(sh == 0, 0.0, np.where(sh == 255, 1.0, (sh + 0.5) / 256))
    rest = ((middle - 0.5) * _SH_RANGE).reshape(len(packed), 3, -1).transpose(0, 2, 1)
    return Gaussians(
        means=tensor(between(0, _unpack_11_10_11(position))),
        quats=tensor(_unpack_rotation(rotation)),
        scales=tensor(np.exp(between(1, _unpack_11_10_11(scale)))),
        opacities=tensor(from_bits(colour, 8)),
        sh=tensor(np.concatenate([dc[:, None], rest], 1)),
    )


def _header(chunks: int, count: int, rest: int) -> bytes:
    lines = ["ply", "format binary_little_endian 1.0", f"element chunk {chunks}"]
    lines += [f"property float {name}" for name in _BOUNDS]
    lines += [f"element vertex {count}", *(f"property uint {name}" for name in _PACKED)]
    if rest:
        lines += [f"element sh {count}", *(f"property uchar f_rest_{index}" for index in range(rest))]
    return ("\n".join([*lines, "end_header"]) + "\n").encode()


def _chunk_bounds(values: Float[np.ndarray, "n 3"]) -> tuple[Float32[np.ndarray, "c 3"], Float32[np.ndarray, "c 3"]]:
    starts = np.arange(0, len(values), CHUNK)
    low, high = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
    return low.astype(np.float32), high.astype(np.float32)


def _morton_order(means: Float[np.ndarray, "n 3"]) -> Int[np.ndarray, " n"]:
    """Along a curve that keeps neighbours together."""
    low, high = means.min(0), means.max(0)
    cells = ((means - low) / np.maximum(high - low, 1e-9) * 1023).astype(np.uint32)
    code = np.zeros(len(means), np.uint64)
    for bit in range(10):
        for axis in range(3):
            code |= (cells[:, axis] >> np.uint32(bit) & np.uint32(1)).astype(np.uint64) << np.uint64(3 * bit + axis)
    return np.argsort(code, kind="stable")


def _pack_11_10_11(values: Float[np.ndarray, "n 3"]) -> UInt32[np.ndarray, " n"]:
    x, y, z = to_bits(values[:, 0], 11), to_bits(values[:, 1], 10), to_bits(values[:, 2], 11)
    return x << np.uint32(21) | y << np.uint32(11) | z


def _unpack_11_10_11(packed: UInt32[np.ndarray, " n"]) -> Float[np.ndarray, "n 3"]:
    return np.stack(
        [from_bits(packed >> np.uint32(21), 11), from_bits(packed >> np.uint32(11), 10), from_bits(packed, 11)], 1
    )


def _pack_rotation(quats: Float[np.ndarray, "n 4"]) -> UInt32[np.ndarray, " n"]:
    """Index of the largest of wxyz in the top two bits, then the others, ten bits each."""
    largest, others = largest_component(quats)
    fields = to_bits(others * SQRT_HALF + 0.5, 10)
    return (
        largest.astype(np.uint32) << np.uint32(30)
        | fields[:, 0] << np.uint32(20)
        | fields[:, 1] << np.uint32(10)
        | fields[:, 2]
    )


def _unpack_rotation(packed: UInt32[np.ndarray, " n"]) -> Float[np.ndarray, "n 4"]:
    fields = np.stack([from_bits(packed >> np.uint32(shift), 10) for shift in (20, 10, 0)], 1)
    return from_largest_component((packed >> np.uint32(30)).astype(np.int64), (fields - 0.5) / SQRT_HALF)
