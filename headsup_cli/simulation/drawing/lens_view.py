"""Meshes moved to where a lens that distorts shows them."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Float32

from headsup_cli.cameras.camera import Cameras
from headsup_cli.capture.lens import MAX_COEFFICIENTS
from headsup_cli.capture.rig_dump import RigCamera
from headsup_cli.simulation.drawing.lens_kernels import move_through_lens
from headsup_cli.simulation.drawing.shading import LitMesh

_AHEAD_M = 0.01  # what lies nearer is left alone


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
