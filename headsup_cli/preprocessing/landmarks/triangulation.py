"""Points in space from what several calibrated views say of them, each with its own certainty."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

from headsup_cli.cameras.camera import Cameras

_ROUNDS = 12
_OUTLIER = 2.5  # standard deviations at which a view's say has fallen to a half (Cauchy)
_FLOOR_M = 0.0007  # by which all views together may err alike
_FAR_M = 0.5  # standard deviation from the middle before any view has its say


@dataclass(frozen=True)
class Sightings:
    """Where views see points."""

    cameras: Cameras  # of the crops
    positions_px: Float64[np.ndarray, "c k 2"]
    sigma_px: Float64[np.ndarray, "c k"]  # infinite where a view knows nothing of a point


@dataclass(frozen=True)
class SpacePoints:
    """Points in the cameras' world, metres, with what is known of how they err."""

    positions: Float64[np.ndarray, "k 3"]
    covariance: Float64[np.ndarray, "k 3 3"]
    misfit: Float64[np.ndarray, " k"]  # median error over views in standard deviations


def triangulate(seen: Sightings, start: Float[np.ndarray, "3"]) -> SpacePoints:
    """Robust triangulation: iteratively reweighted Gauss-Newton on reprojection errors, a Cauchy kernel over views.

    Args:
        seen: At least one view; a point that none knows stays at `start` with a covariance that says so.
        start: Somewhere in the head, in the cameras' world.
    """
    pose, K = seen.cameras.cam_from_world.numpy(), seen.cameras.K.numpy()
    focal, middle = K[:, [0, 1], [0, 1]], K[:, :2, 2]  # [c, 2]
    precision = 1 / seen.sigma_px**2  # [c, k]
    positions = np.tile(np.asarray(start, np.float64), (seen.sigma_px.shape[1], 1))
    prior = np.eye(3) / _FAR_M**2
    for step in range(_ROUNDS):
        camera = np.einsum("cij,kj->cki", pose[:, :3, :3], positions) + pose[:, None, :3, 3]
        depth = np.maximum(camera[..., 2:], 1e-3)  # [c, k, 1]
        error = camera[..., :2] / depth * focal[:, None] + middle[:, None] - seen.positions_px  # [c, k, 2]
        squared = (error**2).sum(-1) * precision
        # The kernel opens from wide to narrow, so that the first rounds settle on what most views say.
        width = _OUTLIER * max(1.0, 8.0 / 2**step)
        weight = precision / (1 + squared / width**2)
        on_camera = np.zeros((*error.shape, 3))  # [c, k, 2, 3]
        on_camera[..., 0, 0] = on_camera[..., 1, 1] = 1
        on_camera[..., 2] = -camera[..., :2] / depth
        jacobian = np.einsum("ckab,cbd->ckad", on_camera * (focal[:, None] / depth)[..., None], pose[:, :3, :3])
        information = np.einsum("ck,ckai,ckaj->kij", weight, jacobian, jacobian) + prior
        downhill = -np.einsum("ck,ckai,cka->ki", weight, jacobian, error) - (positions - start) @ prior
        positions = positions + np.linalg.solve(information, downhill[..., None])[..., 0]
    known = weight > 0
    spread = np.sqrt(np.where(known, squared, np.nan))
    with np.errstate(all="ignore"):
        misfit = np.where(known.any(0), np.nanmedian(np.where(known.any(0), spread, 0.0), 0), 0.0)
    inflation = np.maximum(misfit, 1.0)[:, None, None] ** 2
    return SpacePoints(positions, np.linalg.inv(information) * inflation + np.eye(3) * _FLOOR_M**2, misfit)
