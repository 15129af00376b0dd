"""Lens distortion: where a point of the ideal image plane lands in what a lens makes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Float64

LensModel = Literal[
    "opencv", "fisheye", "brown", "division", "fov", "eucm", "thin_prism_fisheye", "rad_tan_thin_prism_fisheye"
]

_Points = Float64[np.ndarray, "n 2"]
_Coefficients = Float64[np.ndarray, " k"]
_Column = Float64[np.ndarray, "n 1"]

_MAX_ITERATIONS = 50
_TOLERANCE = 1e-13  # of normalised coordinates
_DIFFERENCE = 1e-6
_SMALL = 1e-12


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
    bent = _equidistant(points)
    return bent * (1 + _polynomial(_squared_radius(bent), coefficients))


def _brown(points: _Points, coefficients: _Coefficients) -> _Points:
    """Brown's model with four radial terms: k1, k2, p1, p2 (in OpenCV's sense), k3, k4, the last of r^8.

    What Metashape and RealityCapture call k4; OpenCV has no such term, its own k4 divides.
    """
    k1, k2, p1, p2, k3, k4 = coefficients
    r2 = _squared_radius(points)
    radial = 1 + _polynomial(r2, np.array([k1, k2, k3, k4]))
    return points * radial + _tangential(points, r2, p1, p2)


def _division(points: _Points, coefficients: _Coefficients) -> _Points:
    """Fitzgibbon's one-parameter model, ideal = distorted / (1 + k r^2), r being the distorted radius.

    The root that tends to the ideal radius as k vanishes; NaN where there is none.
    """
    (k,) = coefficients
    with np.errstate(invalid="ignore"):
        return points * 2 / (1 + np.sqrt(1 - 4 * k * _squared_radius(points)))


def _fov(points: _Points, coefficients: _Coefficients) -> _Points:
    """Devernay and Faugeras' field-of-view model: radius = atan(2 r tan(omega / 2)) / omega."""
    (omega,) = coefficients
    if abs(omega) < 1e-6:
        return points
    radius = np.sqrt(_squared_radius(points))
    bent = np.arctan(2 * radius * np.tan(omega / 2)) / omega
    return points * np.where(radius > _SMALL, bent / np.maximum(radius, _SMALL), 2 * np.tan(omega / 2) / omega)


def _eucm(points: _Points, coefficients: _Coefficients) -> _Points:
    """Khomutenko's enhanced unified camera model: alpha, beta."""
    alpha, beta = coefficients
    return points / (alpha * np.sqrt(beta * _squared_radius(points) + 1) + 1 - alpha)


def _thin_prism_fisheye(points: _Points, coefficients: _Coefficients) -> _Points:
    """COLMAP's and Metashape's fisheye: Brown's model and a thin prism on the equidistant image.

    Coefficients: k1, k2, p1, p2, k3, k4, sx1, sy1.
    """
    bent = _equidistant(points)
    return _brown(bent, coefficients[:6]) + _squared_radius(bent) * coefficients[6:]


def _rad_tan_thin_prism_fisheye(points: _Points, coefficients: _Coefficients) -> _Points:
    """Project Aria's fisheye: k0 to k5 of the equidistant image, then p0, p1, s0 to s3 on what they make of it."""
    bent = _equidistant(points)
    bent = bent * (1 + _polynomial(_squared_radius(bent), coefficients[:6]))
    p0, p1, s0, s1, s2, s3 = coefficients[6:]
    r2 = _squared_radius(bent)
    return bent + _tangential(bent, r2, p1, p0) + r2 * np.array([s0, s2]) + r2 * r2 * np.array([s1, s3])


def _squared_radius(points: _Points) -> _Column:
    return (points * points).sum(1, keepdims=True)


def _polynomial(squared: _Column, coefficients: _Coefficients) -> _Column:
    """c1 s + c2 s^2 + ... by Horner's rule."""
    value = np.zeros_like(squared)
    for coefficient in coefficients[::-1]:
        value = squared * (coefficient + value)
    return value


def _tangential(points: _Points, squared: _Column, p1: float, p2: float) -> _Points:
    return 2 * points * (points @ np.array([[p2], [p1]])) + squared * np.array([p2, p1])


def _equidistant(points: _Points) -> _Points:
    """The image plane bent so that the radius is the angle from the axis."""
    radius = np.sqrt(_squared_radius(points))
    return points * np.where(radius > _SMALL, np.arctan(radius) / np.maximum(radius, _SMALL), 1.0)


# For each model: what it does, and how many coefficients it takes at most (those left out are zero).
_MODELS: dict[LensModel, tuple[Callable[[_Points, _Coefficients], _Points], int]] = {
    "opencv": (_opencv, 12),
    "fisheye": (_fisheye, 4),
    "brown": (_brown, 6),
    "division": (_division, 1),
    "fov": (_fov, 1),
    "eucm": (_eucm, 2),
    "thin_prism_fisheye": (_thin_prism_fisheye, 8),
    "rad_tan_thin_prism_fisheye": (_rad_tan_thin_prism_fisheye, 12),
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
        return self.model in ("opencv", "brown", "division", "fov") and not any(self.coefficients)

    @property
    def stored_coefficients(self) -> list[float]:
        """The coefficients with the zeros that files ask for: all of the model's, or at least OpenCV's first four."""
        count = 4 if self.model == "opencv" else MAX_COEFFICIENTS[self.model]
        return [*self.coefficients, *[0.0] * (count - len(self.coefficients))]

    def distort(self, points: Float[np.ndarray, "n 2"]) -> Float64[np.ndarray, "n 2"]:
        """Where ideal points land; NaN where the model says nothing."""
        bend, count = _MODELS[self.model]
        padded = np.zeros(count)
        padded[: len(self.coefficients)] = self.coefficients
        return bend(np.asarray(points, np.float64), padded)

    def undistort(self, points: Float[np.ndarray, "n 2"]) -> Float64[np.ndarray, "n 2"]:
        """The ideal points that land on `points`: Newton's method, NaN where it finds none.

        Only points before the lens model folds back on itself count, where it neither mirrors nor turns the plane.
        """
        wanted = np.asarray(points, np.float64)
        if self.is_ideal:
            return wanted
        ideal = wanted.copy()
        with np.errstate(all="ignore"):  # points that no ideal point lands on may diverge
            for _ in range(_MAX_ITERATIONS):
                miss = self.distort(ideal) - wanted
                if np.nanmax(np.abs(miss), initial=0.0) < _TOLERANCE:
                    break
                a, b, c, d = self._jacobian(ideal)
                steps = [d * miss[:, 0] - b * miss[:, 1], a * miss[:, 1] - c * miss[:, 0]]
                ideal -= np.stack(steps, -1) / (a * d - b * c)[:, None]
            a, b, c, d = self._jacobian(ideal)
            missed = ~(np.abs(self.distort(ideal) - wanted).max(1, initial=0.0) < 1e-7)
            ideal[missed | ~(a * d > b * c) | ~(a + d > 0)] = np.nan
        return ideal

    def _jacobian(self, points: Float64[np.ndarray, "n 2"]) -> Float64[np.ndarray, "4 n"]:
        """dx/dx, dx/dy, dy/dx and dy/dy of `distort`."""
        steps = _DIFFERENCE * np.eye(2)
        by_x, by_y = ((self.distort(points + step) - self.distort(points - step)) / (2 * _DIFFERENCE) for step in steps)
        return np.stack([by_x[:, 0], by_y[:, 0], by_x[:, 1], by_y[:, 1]])
