"""Lens distortion: where a point of the ideal image plane lands in what a lens makes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Float64

LensModel = Literal["opencv", "fisheye"]

_Points = Float64[np.ndarray, "n 2"]
_Coefficients = Float64[np.ndarray, " k"]

_MAX_ITERATIONS = 50
_TOLERANCE = 1e-13  # of normalised coordinates
_DIFFERENCE = 1e-6


def _opencv(points: _Points, coefficients: _Coefficients) -> _Points:
    """OpenCV's rational model with tangential and thin-prism terms.

    Coefficients: k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4 (docs.opencv.org, calib3d).
    """
    k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4 = coefficients
    x, y = points.T
    r2 = x * x + y * y
    radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
    return np.stack(
        [
            x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x) + r2 * (s1 + r2 * s2),
            y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y + r2 * (s3 + r2 * s4),
        ],
        -1,
    )


def _fisheye(points: _Points, coefficients: _Coefficients) -> _Points:
    """OpenCV's equidistant model, k1 to k4: theta (1 + k1 theta^2 + ...) along the ray's direction."""
    k1, k2, k3, k4 = coefficients
    radius = np.linalg.norm(points, axis=1, keepdims=True)
    theta = np.arctan(radius)
    t2 = theta * theta
    bent = theta * (1 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4))))
    return points * np.where(radius > 1e-12, bent / np.maximum(radius, 1e-12), 1.0)


# For each model: what it does, and how many coefficients it takes at most (those left out are zero).
_MODELS: dict[LensModel, tuple[Callable[[_Points, _Coefficients], _Points], int]] = {
    "opencv": (_opencv, 12),
    "fisheye": (_fisheye, 4),
}
MAX_COEFFICIENTS: dict[LensModel, int] = {model: count for model, (_, count) in _MODELS.items()}


@dataclass(frozen=True)
class Lens:
    """A lens model and its coefficients, acting on normalised image coordinates (x/z, y/z), OpenCV axes."""

    model: LensModel = "opencv"
    coefficients: tuple[float, ...] = ()  # in the model's order; what is left out is zero

    @property
    def is_ideal(self) -> bool:
        """Whether the lens leaves every point where it is."""
        return self.model == "opencv" and not any(self.coefficients)

    def distort(self, points: Float[np.ndarray, "n 2"]) -> Float64[np.ndarray, "n 2"]:
        """Where ideal points land."""
        bend, count = _MODELS[self.model]
        padded = np.zeros(count)
        padded[: len(self.coefficients)] = self.coefficients
        return bend(np.asarray(points, np.float64), padded)

    def undistort(self, points: Float[np.ndarray, "n 2"]) -> Float64[np.ndarray, "n 2"]:
        """The ideal points that land on `points`: Newton's method, NaN where it finds none."""
        wanted = np.asarray(points, np.float64)
        if self.is_ideal:
            return wanted
        ideal = wanted.copy()
        step_x, step_y = np.array([_DIFFERENCE, 0.0]), np.array([0.0, _DIFFERENCE])
        with np.errstate(all="ignore"):  # points that no ideal point lands on may diverge
            for _ in range(_MAX_ITERATIONS):
                miss = self.distort(ideal) - wanted
                if np.nanmax(np.abs(miss), initial=0.0) < _TOLERANCE:
                    break
                a, c = ((self.distort(ideal + step_x) - self.distort(ideal - step_x)) / (2 * _DIFFERENCE)).T
                b, d = ((self.distort(ideal + step_y) - self.distort(ideal - step_y)) / (2 * _DIFFERENCE)).T
                determinant = a * d - b * c
                ideal -= (
                    np.stack([d * miss[:, 0] - b * miss[:, 1], a * miss[:, 1] - c * miss[:, 0]], -1)
                    / (determinant[:, None])
                )
            found = np.abs(self.distort(ideal) - wanted).max(1, initial=0.0) < 1e-7
            folded = (ideal * wanted).sum(1) < 0  # beyond the radius at which the model turns back
            ideal[~found | folded] = np.nan
        return ideal
