"""From a camera with lens distortion to a pinhole: intrinsics, resampling, crop and working resolution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Shaped

from headsup_cli.capture.rig_dump import RigCamera
from headsup_cli.media.opencv import cv2

_FOCAL_SEARCH = (0.25, 4.0)  # bounds of the factor on the focal length
_FOCAL_STEP = 1.02
_BORDER_SAMPLES = 200  # per side of the picture


@dataclass(frozen=True)
class Pinhole:
    """An undistorted view of a rig camera: intrinsics at half-integer pixel centres, and a size."""

    K: Float64[np.ndarray, "3 3"]  # pixels
    width: int
    height: int

    def cropped(self, x: int, y: int, width: int, height: int) -> Pinhole:
        """The part of the picture whose top-left pixel is (x, y)."""
        K = self.K.copy()
        K[:2, 2] -= (x, y)
        return Pinhole(K, width, height)

    def resized_to(self, longer_side: int) -> Pinhole:
        """The same view with its longer side brought down to `longer_side`; never enlarged."""
        factor = min(1.0, longer_side / max(self.width, self.height))
        width, height = max(1, round(self.width * factor)), max(1, round(self.height * factor))
        scale = np.array([[width / self.width], [height / self.height], [1.0]])
        return Pinhole(self.K * scale, width, height)


def undistorted_view(camera: RigCamera) -> Pinhole:
    """The pinhole of the same size that shows as much of the picture as leaves no pixel without a source.

    Without distortion it is the camera itself. With distortion the principal point stays and both focal lengths are
    multiplied by one factor, the smallest for which every pixel of the result, border included, lies in the picture.
    """
    if not camera.dist.any():
        return Pinhole(camera.K, camera.width, camera.height)
    low, high = _FOCAL_SEARCH
    while low < high and _covered(camera, _with_focal_factor(camera.K, high / _FOCAL_STEP)):
        high /= _FOCAL_STEP  # in steps from above: far outside the picture a lens model folds back into it
    low = high / _FOCAL_STEP
    for _ in range(30):
        middle = np.sqrt(low * high)
        low, high = (low, middle) if _covered(camera, _with_focal_factor(camera.K, middle)) else (middle, high)
    return Pinhole(_with_focal_factor(camera.K, high), camera.width, camera.height)


def distort(points: Float[np.ndarray, "n 2"], dist: Float[np.ndarray, " 5"]) -> Float[np.ndarray, "n 2"]:
    """Apply OpenCV's five-parameter lens distortion to normalised image coordinates."""
    k1, k2, p1, p2, k3 = dist
    x, y = points.T
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    return np.stack(
        [
            x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
            y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
        ],
        -1,
    )


def undistort(
    picture: Shaped[np.ndarray, "h w *c"], camera: RigCamera, view: Pinhole
) -> Shaped[np.ndarray, "h2 w2 *c"]:
    """Resample a picture (cubic) or a mask (linear) of a distorted camera to a pinhole."""
    if not camera.dist.any() and np.array_equal(camera.K, view.K):
        return picture
    source_K, view_K = camera.K.copy(), view.K.copy()
    source_K[:2, 2] -= 0.5  # OpenCV counts from the centre of the first pixel
    view_K[:2, 2] -= 0.5
    maps = cv2.initUndistortRectifyMap(source_K, camera.dist, None, view_K, (view.width, view.height), cv2.CV_32FC1)
    interpolation = cv2.INTER_CUBIC if picture.ndim == 3 else cv2.INTER_LINEAR  # masks must not ring
    return cv2.remap(picture, *maps, interpolation, borderMode=cv2.BORDER_REPLICATE)


def resize(picture: Shaped[np.ndarray, "h w *c"], view: Pinhole) -> Shaped[np.ndarray, "h2 w2 *c"]:
    """Average a picture down to a view's size."""
    if picture.shape[1::-1] == (view.width, view.height):
        return picture
    return cv2.resize(picture, (view.width, view.height), interpolation=cv2.INTER_AREA)


def _with_focal_factor(K: Float64[np.ndarray, "3 3"], factor: float) -> Float64[np.ndarray, "3 3"]:
    return K * np.array([[factor, factor, 1.0], [factor, factor, 1.0], [1.0, 1.0, 1.0]])


def _covered(camera: RigCamera, K: Float64[np.ndarray, "3 3"]) -> bool:
    """Whether every pixel centre on the border of a pinhole with `K` has its source inside the camera's picture."""
    width, height = camera.width, camera.height
    across, down = np.linspace(0.5, width - 0.5, _BORDER_SAMPLES), np.linspace(0.5, height - 0.5, _BORDER_SAMPLES)
    border = np.concatenate(
        [
            np.stack([across, np.full_like(across, 0.5)], -1),
            np.stack([across, np.full_like(across, height - 0.5)], -1),
            np.stack([np.full_like(down, 0.5), down], -1),
            np.stack([np.full_like(down, width - 0.5), down], -1),
        ]
    )  # [n, 2]
    normalised = (border - K[:2, 2]) / K[[0, 1], [0, 1]]
    source = distort(normalised, camera.dist) * camera.K[[0, 1], [0, 1]] + camera.K[:2, 2]
    return bool(((source >= 0.5) & (source <= (width - 0.5, height - 0.5))).all())
