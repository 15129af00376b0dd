"""Bundle adjustment: cameras and points that explain best what was seen.

Levenberg-Marquardt on the reduced camera system, the points eliminated (Triggs et al., "Bundle Adjustment: A Modern
Synthesis", 1999, section 6), with Cauchy weights against wrong matches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float64
from scipy.sparse import bsr_matrix, csr_matrix

from headsup_cli.calibration.tracks import Tracks, reproject
from headsup_cli.capture.lens import Lens
from headsup_cli.capture.rig_dump import RigCamera
from headsup_cli.media.opencv import cv2

Freedom = Literal["rotation", "centre", "focal", "principal_point", "distortion"]
_SIZES: dict[Freedom, int] = {"rotation": 3, "centre": 3, "focal": 1, "principal_point": 2, "distortion": 2}
POSE: tuple[Freedom, ...] = ("rotation", "centre")
EVERYTHING: tuple[Freedom, ...] = ("rotation", "centre", "focal", "principal_point", "distortion")

_DIFFERENCE = 1e-6
_ENOUGH = 1e-5  # share of the cost below which a step is the last
_LOST_PX = 1e4  # error of a point behind its camera
NOISE_FLOOR_PX = 0.1  # of the robust scale: features are not found better than this


@dataclass(frozen=True)
class Adjusted:
    """A rig and points after adjustment."""

    cameras: list[RigCamera]
    points: Float64[np.ndarray, "p 3"]
    errors: Float64[np.ndarray, "n 2"]  # observed less predicted, pixels


def adjust(
    tracks: Tracks,
    cameras: Sequence[RigCamera],
    points: Float64[np.ndarray, "p 3"],
    free: Mapping[int, Sequence[Freedom]],
    *,
    scale_px: float | None = None,
    prior_px: Mapping[int, Mapping[Freedom, float]] | None = None,
    iterations: int = 15,
) -> Adjusted:
    """Adjust the free parameters of some cameras, and all points.

    Args:
        tracks: What was seen.
        cameras: Where to start.
        points: Where to start, rig's world, finite.
        free: What may change, by camera index.
        scale_px: Error from which an observation loses weight; None starts from the median and follows it down.
        prior_px: By camera and each of its free parameters: held where they start as if by one observation of this
            standard deviation, which settles frame and scale where nothing else does. Other cameras are not held.
        iterations: At most.
    """
    state, points, prior_px = list(cameras), points.copy(), prior_px or {}
    start, damping = tuple(cameras), 1e-3
    errors = _errors(tracks, points, state)
    anneal = scale_px is None
    scale = scale_px or robust_scale(errors)
    for _ in range(iterations):
        system = _linearise(tracks, points, state, errors, free, scale)
        before = _cost(errors, scale) + _prior_cost(state, start, free, prior_px)
        improved = False
        for _ in range(4):
            steps, moved = _solve(system, damping, tracks, state, start, free, prior_px)
            candidate = _stepped(state, steps, free)
            candidate_points = points + moved
            candidate_errors = _errors(tracks, candidate_points, candidate)
            after = _cost(candidate_errors, scale) + _prior_cost(candidate, start, free, prior_px)
            if after < before:
                improved = True
                break
            damping *= 10
        if not improved:
            break
        state, points, errors, damping = candidate, candidate_points, candidate_errors, max(damping / 10, 1e-9)
        narrower = min(scale, robust_scale(errors)) if anneal else scale
        if before - after < _ENOUGH * before and narrower > 0.99 * scale:
            break
        scale = narrower
    return Adjusted(state, points, errors)


def robust_scale(errors: Float64[np.ndarray, "n 2"]) -> float:
    """Standard deviation per coordinate that the median length of the errors speaks of, pixels."""
    if not len(errors):
        return NOISE_FLOOR_PX
    return max(float(np.median(np.linalg.norm(errors, axis=1))) / 1.1774, NOISE_FLOOR_PX)  # Rayleigh's median


def robust_cost(errors: Float64[np.ndarray, "n 2"], scale_px: float) -> Float64[np.ndarray, " n"]:
    """Cauchy's cost of each error, in units in which a small error's is its square over `scale_px`."""
    wide = 3.0  # standard deviations
    return wide**2 * np.log1p(np.square(errors / (wide * scale_px)).sum(1))


def moved_px(tracks: Tracks, adjusted: Adjusted, index: int, before: RigCamera, *, within_px: float) -> float:
    """How far a camera's points lie apart in its picture between `before` and the adjusted camera, root mean square.

    Args:
        tracks: What was seen.
        adjusted: The rig after adjustment.
        index: The camera.
        before: The camera to compare with.
        within_px: Observations that the adjusted rig explains worse than this do not count.
    """
    seen = (tracks.camera == index) & (np.linalg.norm(adjusted.errors, axis=1) < within_px)
    if not seen.any():
        return 0.0
    mine = Tracks(np.zeros(seen.sum(), int), np.arange(seen.sum()), tracks.pixel[seen])
    where = adjusted.points[tracks.point[seen]]
    length = np.linalg.norm(reproject(mine, where, [before]) - (mine.pixel - adjusted.errors[seen]), axis=1)
    return float(np.sqrt(np.square(np.where(np.isfinite(length), np.minimum(length, _LOST_PX), _LOST_PX)).mean()))


def _errors(
    tracks: Tracks, points: Float64[np.ndarray, "p 3"], cameras: Sequence[RigCamera]
) -> Float64[np.ndarray, "n 2"]:
    errors = tracks.pixel - reproject(tracks, points, cameras)
    return np.clip(np.where(np.isfinite(errors), errors, _LOST_PX), -_LOST_PX, _LOST_PX)


def _cost(errors: Float64[np.ndarray, "n 2"], scale_px: float) -> float:
    return float(robust_cost(errors, scale_px).sum())


@dataclass(frozen=True)
class _System:
    """Normal equations, the points' and the cameras' parts apart."""

    columns: dict[int, slice]  # of each free camera
    camera_normal: Float64[np.ndarray, "k k"]
    camera_target: Float64[np.ndarray, " k"]
    point_normal: Float64[np.ndarray, "p 3 3"]
    point_target: Float64[np.ndarray, "p 3"]
    cross: csr_matrix  # [k, 3p]


def _linearise(
    tracks: Tracks,
    points: Float64[np.ndarray, "p 3"],
    cameras: Sequence[RigCamera],
    errors: Float64[np.ndarray, "n 2"],
    free: Mapping[int, Sequence[Freedom]],
    scale: float,
) -> _System:
    columns, width = {}, 0
    for index in sorted(free):
        size = sum(_SIZES[name] for name in free[index])
        columns[index], width = slice(width, width + size), width + size
    weight = 1 / (1 + np.square(errors / (3 * scale)).sum(1)) / scale**2  # [n], Cauchy's
    camera_normal, camera_target = np.zeros((width, width)), np.zeros(width)
    point_jacobian = np.zeros((len(weight), 2, 3))
    blocks, rows, places = [], [], []
    for index, camera in enumerate(cameras):
        seen = np.flatnonzero(tracks.camera == index)
        if not len(seen):
            continue
        by_point, by_name = _jacobians(camera, points[tracks.point[seen]], free.get(index, ()))
        lost = np.abs(errors[seen]).max(1) >= _LOST_PX
        by_point[lost] = 0
        point_jacobian[seen] = by_point
        if index in free:
            by_name[lost] = 0
            span = columns[index]
            weighted = by_name * weight[seen, None, None]
            camera_normal[span, span] = np.einsum("nij,nik->jk", weighted, by_name)
            camera_target[span] = np.einsum("nij,ni->j", weighted, errors[seen])
            blocks.append(np.einsum("nij,nik->njk", weighted, by_point).reshape(-1))
            size = span.stop - span.start
            rows.append(np.repeat(np.tile(np.arange(span.start, span.stop), len(seen)), 3))
            places.append(np.repeat(3 * tracks.point[seen], 3 * size) + np.tile(np.arange(3), len(seen) * size))
    point_normal, point_target = np.zeros((tracks.count, 3, 3)), np.zeros((tracks.count, 3))
    weighted = point_jacobian * weight[:, None, None]
    np.add.at(point_normal, tracks.point, np.einsum("nij,nik->njk", weighted, point_jacobian))
    np.add.at(point_target, tracks.point, np.einsum("nij,ni->nj", weighted, errors))
    entries = [np.concatenate(part) if part else np.zeros(0, int) for part in (blocks, rows, places)]
    cross = csr_matrix((entries[0], (entries[1], entries[2])), shape=(width, 3 * tracks.count))
    return _System(columns, camera_normal, camera_target, point_normal, point_target, cross)


def _jacobians(
    camera: RigCamera, points: Float64[np.ndarray, "n 3"], names: Sequence[Freedom]
) -> tuple[Float64[np.ndarray, "n 2 3"], Float64[np.ndarray, "n 2 k"]]:
    """Derivatives of the pixels by the points and by the named parameters."""
    R = camera.cam_from_rig[:3, :3]
    local = points @ R.T + camera.cam_from_rig[:3, 3]  # [n, 3]
    z = np.where(np.abs(local[:, 2]) < 1e-6, 1e-6, local[:, 2])
    ideal = local[:, :2] / z[:, None]
    by_ideal = _by_ideal(camera, ideal)
    ideal_by_local = np.zeros((len(points), 2, 3))
    ideal_by_local[:, 0, 0] = ideal_by_local[:, 1, 1] = 1 / z
    ideal_by_local[:, :, 2] = -ideal / z[:, None]
    by_local = by_ideal @ ideal_by_local  # [n, 2, 3]
    by_point = by_local @ R
    columns = [np.zeros((len(points), 2, 0))]
    for name in names:
        if name == "rotation":
            columns.append(
                np.cross(local[:, None], by_local)
            )  # of w x local: by_local . (w x local) = w . (local x by_local)
        elif name == "centre":
            columns.append(-by_point)
        elif name == "focal":
            columns.append((camera.project(ideal) - camera.K[:2, 2])[:, :, None])
        elif name == "principal_point":
            columns.append(np.broadcast_to(np.eye(2), (len(points), 2, 2)))
        else:
            columns.append(_by_distortion(camera, ideal))
    return by_point, np.concatenate(columns, 2)


def _by_ideal(camera: RigCamera, ideal: Float64[np.ndarray, "n 2"]) -> Float64[np.ndarray, "n 2 2"]:
    steps = _DIFFERENCE * np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    pixels = camera.project((ideal + steps[:, None]).reshape(-1, 2)).reshape(2, 2, -1, 2)  # [axis, sign, n, 2]
    return np.moveaxis(pixels[:, 0] - pixels[:, 1], 0, -1) / (2 * _DIFFERENCE)


def _by_distortion(camera: RigCamera, ideal: Float64[np.ndarray, "n 2"]) -> Float64[np.ndarray, "n 2 2"]:
    here = camera.project(ideal)
    bent = [stepped_camera(camera, np.eye(2)[k] * _DIFFERENCE, ("distortion",)) for k in range(2)]
    return np.stack([(other.project(ideal) - here) / _DIFFERENCE for other in bent], -1)


def _solve(
    system: _System,
    damping: float,
    tracks: Tracks,
    cameras: Sequence[RigCamera],
    start: Sequence[RigCamera],
    free: Mapping[int, Sequence[Freedom]],
    prior_px: Mapping[int, Mapping[Freedom, float]],
) -> tuple[dict[int, Float64[np.ndarray, " k"]], Float64[np.ndarray, "p 3"]]:
    diagonal = np.einsum("pii->pi", system.point_normal)
    damped = system.point_normal + np.eye(3) * (damping * diagonal + 1e-9 * diagonal.max(initial=1.0) + 1e-12)[:, None]
    inverse = np.linalg.inv(damped)  # [p, 3, 3]
    count = tracks.count
    if not len(system.camera_target):
        return {}, np.einsum("pij,pj->pi", inverse, system.point_target)
    inverse_matrix = bsr_matrix((inverse, np.arange(count), np.arange(count + 1)), shape=(3 * count, 3 * count))
    eliminated = system.cross @ inverse_matrix  # [k, 3p]
    normal = system.camera_normal - (eliminated @ system.cross.T).toarray()
    target = system.camera_target - eliminated @ system.point_target.ravel()
    for index, span in system.columns.items():
        if index in prior_px:
            precision, pull = _prior(cameras[index], start[index], free[index], prior_px[index])
            normal[span, span] += np.diag(precision)
            target[span] += precision * pull
    scale = np.diag(system.camera_normal)
    normal += np.diag(damping * scale + 1e-9 * scale.max() + 1e-12)
    step = np.linalg.lstsq(normal, target, rcond=1e-14)[0]
    left = system.point_target - (system.cross.T @ step).reshape(-1, 3)
    return {i: step[span] for i, span in system.columns.items()}, np.einsum("pij,pj->pi", inverse, left)


def _stepped(
    cameras: Sequence[RigCamera],
    steps: Mapping[int, Float64[np.ndarray, " k"]],
    free: Mapping[int, Sequence[Freedom]],
) -> list[RigCamera]:
    return [
        stepped_camera(camera, steps[index], free[index]) if index in steps else camera
        for index, camera in enumerate(cameras)
    ]


def stepped_camera(camera: RigCamera, step: Float64[np.ndarray, " k"], names: Sequence[Freedom]) -> RigCamera:
    """A camera changed in its named parameters.

    Args:
        camera: Before.
        step: Rotation in radians (camera axes), centre in metres (rig's world), logarithm of the focal length,
            principal point in pixels, the first two distortion coefficients; those that are named, in their order.
        names: What changes.
    """
    K, pose, centre, lens = camera.K.copy(), camera.cam_from_rig.copy(), camera.centre, camera.lens
    parts = np.split(step, np.cumsum([_SIZES[name] for name in names])[:-1])
    for name, part in zip(names, parts, strict=True):
        if name == "rotation":
            pose[:3, :3] = cv2.Rodrigues(part)[0] @ pose[:3, :3]
        elif name == "centre":
            centre = centre + part
        elif name == "focal":
            K[[0, 1], [0, 1]] *= np.exp(part[0])
        elif name == "principal_point":
            K[:2, 2] += part
        else:
            padded = np.pad(np.array(lens.coefficients), (0, max(0, 4 - len(lens.coefficients))))
            padded[:2] += part
            lens = Lens(lens.model, tuple(padded.tolist()))
    pose[:3, 3] = -pose[:3, :3] @ centre
    return replace(camera, K=K, cam_from_rig=pose, lens=lens)


def _prior(
    camera: RigCamera, start: RigCamera, names: Sequence[Freedom], sigma_px: Mapping[Freedom, float]
) -> tuple[Float64[np.ndarray, " k"], Float64[np.ndarray, " k"]]:
    """Precision of each parameter, and how far back its start lies."""
    focal = start.K[0, 0]
    distance = max(float(np.linalg.norm(start.centre)), 1e-3)
    turned = camera.cam_from_rig[:3, :3] @ start.cam_from_rig[:3, :3].T
    coefficients = [np.array((*c.lens.coefficients, 0.0, 0.0)[:2]) for c in (camera, start)]
    reach = max(start.width, start.height) / 2
    values: dict[Freedom, tuple[float, np.ndarray]] = {
        "rotation": (focal, -cv2.Rodrigues(turned)[0].ravel()),
        "centre": (focal / distance, start.centre - camera.centre),
        "focal": (reach, np.array([np.log(start.K[0, 0] / camera.K[0, 0])])),
        "principal_point": (1.0, start.K[:2, 2] - camera.K[:2, 2]),
        "distortion": (reach * (reach / focal) ** 2, coefficients[1] - coefficients[0]),
    }
    precision = np.concatenate([np.full(_SIZES[name], (values[name][0] / sigma_px[name]) ** 2) for name in names])
    return precision, np.concatenate([values[name][1] for name in names])


def _prior_cost(
    cameras: Sequence[RigCamera],
    start: Sequence[RigCamera],
    free: Mapping[int, Sequence[Freedom]],
    prior_px: Mapping[int, Mapping[Freedom, float]],
) -> float:
    total = 0.0
    for index in prior_px.keys() & free.keys():
        precision, pull = _prior(cameras[index], start[index], free[index], prior_px[index])
        total += float((precision * np.square(pull)).sum())
    return total
