"""Lenses that distort: an ideal picture large enough to be bent into what a camera with a lens records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32

from headsup_cli.cameras.camera import Cameras
from headsup_cli.capture.rig_dump import RigCamera
from headsup_cli.errors import InputError
from headsup_cli.media.opencv import cv2

_GRID_PX = 16.0  # lenses are smooth: solving for every pixel would give the same to a thousandth of a pixel


@dataclass(frozen=True)
class LensView:
    """An ideal view that is large enough to be bent into what a camera with a lens records."""

    canvas: Cameras  # a single ideal one, without skew
    looks: Float32[np.ndarray, "h w 2"] | None  # where on the canvas each pixel looks, pixel centres at half-integers

    @staticmethod
    def of(camera: RigCamera) -> LensView:
        """The view of a camera in whatever world its pose is in.

        Raises:
            InputError: The lens model gives some pixels no ray.
        """
        K, margin, looks = torch.from_numpy(camera.K.copy())[None], 0, None
        if not camera.lens.is_ideal or camera.K[0, 1]:
            looks = _looks(camera)
            beyond = max(float(-looks.min()), float((looks - [camera.width, camera.height]).max()))
            margin = int(np.clip(np.ceil(beyond) + 2, 2, max(camera.width, camera.height)))
            K[:, 0, 1] = 0.0
            K[:, :2, 2] += margin
            looks = (looks + margin).astype(np.float32)
        size = camera.width + 2 * margin, camera.height + 2 * margin
        return LensView(Cameras(torch.from_numpy(camera.cam_from_rig)[None], K, *size), looks)

    def bent(self, picture: Float32[np.ndarray, "H W *c"]) -> Float32[np.ndarray, "h w *c"]:
        """What the lens makes of a picture on the canvas, interpolated."""
        if self.looks is None:
            return picture
        x, y = np.moveaxis(self.looks - np.float32(0.5), -1, 0)  # OpenCV counts from the centre of the first pixel
        bent: Any = cv2.remap(picture, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        return bent


def _looks(camera: RigCamera) -> Float[np.ndarray, "h w 2"]:
    """Pixel of the ideal camera without skew that shows what each pixel records."""
    from scipy.interpolate import RectBivariateSpline  # a third of a second that most runs need not spend

    x, y = (np.linspace(0, size, max(int(np.ceil(size / _GRID_PX)), 4) + 1) for size in (camera.width, camera.height))
    nodes = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    ideal = camera.unproject(nodes) * camera.K[[0, 1], [0, 1]] + camera.K[:2, 2]
    if not np.isfinite(ideal).all():
        raise InputError(
            camera.id, field="dist", found="a lens that reaches no further than a part of the picture",
            expected="one ray for every pixel", remedy="check the coefficients",
        )  # fmt: skip
    columns, rows = np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5
    grid = ideal.reshape(len(y), len(x), 2)
    return np.stack([RectBivariateSpline(y, x, grid[..., axis])(rows, columns) for axis in (0, 1)], -1)
