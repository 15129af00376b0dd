"""From a camera with lens distortion to a pinhole: intrinsics, resampling, crop and working resolution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Shaped

from headsup_cli.capture.rig_dump import RigCamera
from headsup_cli.media.opencv import cv2

_FOCAL_SEARCH = (0.25, 4.0)  # bounds of the factor on the focal length
_FOCAL_STEP = 1.02
_BISECTIONS = 20  # to a hundredth of a millionth
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
    straight = camera.K * [[1, 0, 1], [0, 1, 1], [0, 0, 1]]
    if camera.lens.is_ideal and not camera.K[0, 1]:
        return Pinhole(camera.K, camera.width, camera.height)
    lowest, highest = _FOCAL_SEARCH
    factors = highest * _FOCAL_STEP ** -np.arange(1.0, np.log(highest / lowest) / np.log(_FOCAL_STEP) + 1)
    # In steps from above: far outside the picture a lens model folds back into it.
    covered = np.append(_covered(camera, straight, factors), False)
    high = float(np.append(highest, factors)[int(covered.argmin())])
    low = high / _FOCAL_STEP
    for _ in range(_BISECTIONS):
        middle = np.sqrt(low * high)
        low, high = (low, middle) if _covered(camera, straight, np.array([middle]))[0] else (middle, high)
    return Pinhole(_with_focal_factor(straight, high), camera.width, camera.height)


class Undistorter:
    """Resamples the pictures of one distorted camera to a pinhole, one after the other.

    Where each pixel comes from is found once, in fixed point (1/32 pixel, which `cv2.remap` works in anyhow).

    Args:
        camera: The distorted camera.
        view: The pinhole.
        kept: Whether to hold that table (6 bytes a pixel) for the next picture.
    """

    def __init__(self, camera: RigCamera, view: Pinhole, *, kept: bool = False) -> None:
        self.camera, self.view, self.kept = camera, view, kept
        self._table: tuple[np.ndarray, np.ndarray] | None = None

    def apply(self, picture: Shaped[np.ndarray, "h w *c"]) -> Shaped[np.ndarray, "h2 w2 *c"]:
        """Resample a picture (cubic) or a mask (linear)."""
        if self.camera.lens.is_ideal and np.array_equal(self.camera.K, self.view.K):
            return picture
        coarse, fine = self._table or cv2.convertMaps(*_sources(self.camera, self.view), cv2.CV_16SC2)
        if self.kept:
            self._table = coarse, fine
        interpolation = cv2.INTER_CUBIC if picture.ndim == 3 else cv2.INTER_LINEAR  # masks must not ring
        return cv2.remap(picture, coarse, fine, interpolation, borderMode=cv2.BORDER_REPLICATE)


def undistort(
    picture: Shaped[np.ndarray, "h w *c"], camera: RigCamera, view: Pinhole
) -> Shaped[np.ndarray, "h2 w2 *c"]:
    """Resample one picture or mask of a distorted camera to a pinhole."""
    return Undistorter(camera, view).apply(picture)


def resize(picture: Shaped[np.ndarray, "h w *c"], view: Pinhole) -> Shaped[np.ndarray, "h2 w2 *c"]:
    """Average a picture down to a view's size."""
    if picture.shape[1::-1] == (view.width, view.height):
        return picture
    return cv2.resize(picture, (view.width, view.height), interpolation=cv2.INTER_AREA)


def _sources(camera: RigCamera, view: Pinhole) -> tuple[Float32[np.ndarray, "h w"], Float32[np.ndarray, "h w"]]:
    """Column and row in the camera's picture of each pixel of the view, the first pixel's centre being (0, 0)."""
    if camera.lens.model == "opencv" and not camera.K[0, 1]:  # OpenCV's is ten times faster and knows no skew
        source_K, view_K = camera.K.copy(), view.K.copy()
        source_K[:2, 2] -= 0.5
        view_K[:2, 2] -= 0.5
        dist = np.array(camera.lens.coefficients)
        return cv2.initUndistortRectifyMap(source_K, dist, None, view_K, (view.width, view.height), cv2.CV_32FC1)
    grid = np.stack(np.meshgrid(np.arange(view.width) + 0.5, np.arange(view.height) + 0.5), -1).reshape(-1, 2)
    sources = (camera.project(_ideal(grid, view.K)) - 0.5).astype(np.float32).reshape(view.height, view.width, 2)
    return sources[..., 0], sources[..., 1]


def _ideal(pixels: Float64[np.ndarray, "n 2"], K: Float64[np.ndarray, "3 3"]) -> Float64[np.ndarray, "n 2"]:
    return (pixels - K[:2, 2]) / K[[0, 1], [0, 1]]


def _with_focal_factor(K: Float64[np.ndarray, "3 3"], factor: float) -> Float64[np.ndarray, "3 3"]:
    return K * np.array([[factor, factor, 1.0], [factor, factor, 1.0], [1.0, 1.0, 1.0]])


def _covered(
    camera: RigCamera, K: Float64[np.ndarray, "3 3"], factors: Float64[np.ndarray, " n"]
) -> Bool[np.ndarray, " n"]:
    """Whether every pixel centre on the border of a pinhole has its source inside the camera's picture.

    Args:
        camera: With distortion.
        K: Of the pinhole.
        factors: On its focal lengths, each for an answer of its own.
    """
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
    rays = _ideal(border, K) / factors[:, None, None]  # [n, border, 2]
    source = camera.project(rays.reshape(-1, 2)).reshape(rays.shape)
    return np.asarray(((source >= 0.5) & (source <= (width - 0.5, height - 0.5))).all((1, 2)))
