"""ARKit coefficients over time, however they were recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Float32, Float64
from scipy.ndimage import gaussian_filter1d

from headsup_cli.errors import InputError
from headsup_cli.template.arkit import ARKIT_NAMES

MAX_WEIGHT = 2.0  # beyond is no face any more
MAX_FRAMES = 1_000_000


@dataclass(frozen=True)
class Curves:
    """A clip. Left and right are the subject's; rotations are right-handed about the head frame's axes.

    Weights above 1 exaggerate and are kept up to `MAX_WEIGHT`; negative ones mean nothing and are taken for 0.
    """

    times_s: Float64[np.ndarray, " t"]  # ascending, the first is 0
    weights: Float32[np.ndarray, "t 52"]  # in the order of ARKIT_NAMES
    head_rad: Float32[np.ndarray, "t 3"] | None = None  # turns about y (yaw), x (pitch) and z (roll), in this order
    gaze_rad: Float32[np.ndarray, "t 2 2"] | None = None  # of the left and the right eye: yaw, pitch

    def __len__(self) -> int:
        return len(self.times_s)

    @property
    def duration_s(self) -> float:
        """From the first frame to the last."""
        return float(self.times_s[-1])

    def resampled(self, fps: float) -> Curves:
        """The clip at a constant rate, interpolated linearly; the first frame keeps its time."""
        times = np.arange(int(np.floor(self.duration_s * fps + 1e-6)) + 1) / fps

        def at(values: Float32[np.ndarray, "t ..."]) -> Float32[np.ndarray, "q ..."]:
            flat = values.reshape(len(values), -1)
            columns = [np.interp(times, self.times_s, column) for column in flat.T]
            return np.stack(columns, 1).astype(np.float32).reshape(len(times), *values.shape[1:])

        return self._mapped(at, times)

    def smoothed(self, seconds: float) -> Curves:
        """A clip of constant rate, blurred over time by a Gaussian of this standard deviation."""
        if seconds <= 0 or len(self) < 2:
            return self
        sigma = seconds * (len(self) - 1) / self.duration_s
        return self._mapped(lambda values: gaussian_filter1d(values, sigma, axis=0, mode="nearest"))

    def mirrored(self) -> Curves:
        """The clip with left and right exchanged."""
        order = [ARKIT_NAMES.index(_other_side(name)) for name in ARKIT_NAMES]
        flip_head, flip_eye = np.array([-1, 1, -1], np.float32), np.array([-1, 1], np.float32)
        return replace(
            self,
            weights=self.weights[:, order],
            head_rad=None if self.head_rad is None else self.head_rad * flip_head,
            gaze_rad=None if self.gaze_rad is None else self.gaze_rad[:, ::-1] * flip_eye,
        )

    def with_gains(self, gains: Mapping[str, float]) -> Curves:
        """The clip with some coefficients multiplied.

        Raises:
            InputError: A name that is not ARKit's.
        """
        factors = np.ones(len(ARKIT_NAMES), np.float32)
        for name, gain in gains.items():
            known = arkit_name(name)
            if known is None:
                raise InputError(
                    "--gain", field=name, found="no such coefficient", expected=f"one of {', '.join(ARKIT_NAMES)}",
                    remedy="correct the name",
                )  # fmt: skip
            factors[ARKIT_NAMES.index(known)] = gain
        return replace(self, weights=(self.weights * factors).clip(0, MAX_WEIGHT))

    def _mapped(
        self, function: Callable[[np.ndarray], np.ndarray], times_s: Float64[np.ndarray, " q"] | None = None
    ) -> Curves:
        return Curves(
            times_s=self.times_s if times_s is None else times_s,
            weights=function(self.weights),
            head_rad=None if self.head_rad is None else function(self.head_rad),
            gaze_rad=None if self.gaze_rad is None else function(self.gaze_rad),
        )


def arkit_name(name: str) -> str | None:
    """ARKit's spelling of a coefficient: any case, `_L` and `_R` for the sides; None for what is none of the 52."""
    return _SPELLINGS.get(_folded(name))


def weights_from_columns(columns: Mapping[str, Float[np.ndarray, " t"]], frames: int) -> Float32[np.ndarray, "t 52"]:
    """Weights by name, clamped to [0, MAX_WEIGHT]; coefficients not there stay 0, unknown names are left out."""
    weights = np.zeros((frames, len(ARKIT_NAMES)), np.float32)
    for name, values in columns.items():
        known = arkit_name(name)
        if known is not None:
            weights[:, ARKIT_NAMES.index(known)] = values
    return weights.clip(0, MAX_WEIGHT)


def _folded(name: str) -> str:
    folded = name.strip().lower().replace("_", "").replace(" ", "")
    if name.strip().lower().endswith(("_l", "_r")):
        folded = folded[:-1] + {"l": "left", "r": "right"}[folded[-1]]
    return folded


def _other_side(name: str) -> str:
    for side, other in (("Left", "Right"), ("Right", "Left")):
        if name.endswith(side):
            return name[: -len(side)] + other
    return name


_SPELLINGS = {name.lower(): name for name in ARKIT_NAMES}
