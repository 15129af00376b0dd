"""Lenses that distort, for people (moved to where they appear) and for pictures of rooms (bent)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from scipy.interpolate import RectBivariateSpline

from headsup_cli.cameras.camera import Cameras
from headsup_cli.capture.lens import MAX_COEFFICIENTS
from headsup_cli.capture.rig_dump import RigCamera
from headsup_cli.errors import InputError
from headsup_cli.media.opencv import cv2
from headsup_cli.simulation.drawing.lens_kernels import move_through_lens
from headsup_cli.simulation.drawing.shading import LitMesh

_AHEAD_M = 0.01  # what lies nearer is left alone
_GRID_PX = 16.0  # lenses are smooth: solving for every pixel would give the same to a thousandth of a pixel


@dataclass(frozen=True)
class LensView:
    """An ideal view that is large enough to be bent into what a camera with a lens records."""

    canvas: Cameras  # a single ideal one
    looks: Float32[np.ndarray, "h w 2"] | None  # where on the canvas each pixel looks, pixel centres at half-integers

    @staticmethod
    def of(camera: RigCamera) -> LensView:
        """The view of a camera in whatever world its pose is in."""
        K, margin, looks = torch.from_numpy(camera.K.copy())[None], 0, None
        if not camera.lens.is_ideal:
            looks = _looks(camera)
            beyond = max(float(-looks.min()), float((looks - [camera.width, camera.height]).max()))
            margin = int(np.clip(np.ceil(beyond) + 2, 2, max(camera.width, camera.height)))
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
    """Pixel of the ideal camera that shows what each pixel records."""
    x, y = (np.linspace(0, size, max(int(np.ceil(size / _GRID_PX)), 4) + 1) for size in (camera.width, camera.height))
    nodes = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    ideal = camera.unproject(nodes) @ camera.K[:2, :2].T + camera.K[:2, 2]
    if not np.isfinite(ideal).all():
        raise InputError(
            camera.id, field="dist", found="a lens that reaches no further than a part of the picture",
            expected="one ray for every pixel", remedy="check the coefficients",
        )  # fmt: skip
    columns, rows = np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5
    grid = ideal.reshape(len(y), len(x), 2)
    return np.stack([RectBivariateSpline(y, x, grid[..., axis])(rows, columns) for axis in (0, 1)], -1)


def ideal_camera(camera: RigCamera) -> Cameras:
    """The camera without its lens, in the same world."""
    pose, K = torch.from_numpy(camera.cam_from_rig)[None], torch.from_numpy(camera.K)[None]
    return Cameras(pose, K, camera.width, camera.height)


def through_lens(mesh: LitMesh, camera: RigCamera) -> LitMesh:
    """The mesh moved to where `ideal_camera` sees each vertex and strand as the lens shows it, at the same depth.

    Faces stay flat where the lens would bend them, by less than a tenth of a pixel for a face of fifty.
    """
    if camera.lens.is_ideal:
        return mesh
    columns, nodes = mesh.columns.copy(), mesh.strands.columns.copy()
    for moved in (columns, nodes):
        _move(moved, camera)
    return mesh._replace(columns=columns, strands=mesh.strands._replace(columns=nodes))


def _move(columns: Float32[np.ndarray, "n k"], camera: RigCamera) -> None:
    """Move the positions in columns 0 to 2, in place."""
    turn, shift, lens = camera.cam_from_rig[:3, :3], camera.cam_from_rig[:3, 3], camera.lens
    if lens.model == "opencv":
        coefficients = np.zeros(MAX_COEFFICIENTS["opencv"])
        coefficients[: len(lens.coefficients)] = lens.coefficients
        move_through_lens(columns, np.ascontiguousarray(turn), np.ascontiguousarray(shift), coefficients, _AHEAD_M)
        return
    local = columns[:, :3] @ turn.T + shift
    ahead = local[:, 2] > _AHEAD_M
    local[ahead, :2] = lens.distort(local[ahead, :2] / local[ahead, 2:]) * local[ahead, 2:]
    columns[:, :3] = (local - shift) @ turn


def pixels_seen(
    camera: RigCamera, points: Float[np.ndarray, "n 3"]
) -> tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, " n"]]:
    """Pixels of the recorded picture at which points of the camera's world appear, and their depths in metres."""
    local = points @ camera.cam_from_rig[:3, :3].T + camera.cam_from_rig[:3, 3]
    return camera.project(local[:, :2] / np.maximum(local[:, 2:], 1e-6)), local[:, 2]
