"""What can be told of a calibration without looking at the pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from jaxtyping import Float64

from headsup_cli.calibration.numerals import rounded
from headsup_cli.capture.rig_dump import RigCamera

Severity = Literal["failed", "warning", "note"]

NEAREST_M, FARTHEST_M = 0.25, 6.0  # of a camera from the head that it looks at
_COMMON_DISTANCE_M = 1.1
_UNIT_NAMES = {1.0: "metres", 1e-2: "centimetres", 1e-3: "millimetres", 0.0254: "inches", 0.3048: "feet"}
_LOOKS_AWAY_DEG = 60.0
_FIELD_OF_VIEW_DEG = (1.0, 150.0)  # of the longer side
_OFF_CENTRE = 0.15  # of the side, from which a principal point is unusual
_SAME_PLACE = 1e-4  # of the distance to the head


@dataclass(frozen=True)
class Finding:
    """Something about a camera, or about the rig as a whole."""

    severity: Severity
    sentence: str
    camera: str | None = None


def check_cameras(cameras: Sequence[RigCamera]) -> list[Finding]:
    """Check each camera by itself and against the others' poses."""
    findings = [finding for camera in cameras for finding in _check_camera(camera)]
    return findings + list(_duplicates(cameras)) + list(_looking_away(cameras))


def check_units(cameras: Sequence[RigCamera]) -> Finding | None:
    """Check that the rig is as large as one around a head can be."""
    if len(cameras) < 2:
        return None
    distance = float(np.median([np.linalg.norm(c.centre - convergence(cameras)) for c in cameras]))
    if NEAREST_M <= distance <= FARTHEST_M or distance == 0:
        return None
    unit = min(_UNIT_NAMES, key=lambda u: abs(np.log(distance * u / _COMMON_DISTANCE_M)))
    inverse = min((100.0, 1000.0), key=lambda f: abs(np.log(distance * f / _COMMON_DISTANCE_M)))
    small = "milli" if inverse > 100 else "centi"
    guess = f"the lengths are {inverse:g} times too small, as when metres are called {small}metres"
    if distance > FARTHEST_M:
        guess = f"numbers taken for metres are {_UNIT_NAMES[unit]}"
    told = f"the cameras stand {rounded(distance, 3)} m from what they look at, which no rig around a head does"
    return Finding("failed", f"units: {told}: {guess}; set units in the calibration")


def convergence(cameras: Sequence[RigCamera]) -> Float64[np.ndarray, " 3"]:
    """The point that the optical axes pass nearest to, robustly, rig's world."""
    centres = np.array([c.centre for c in cameras])
    axes = np.array([c.cam_from_rig[2, :3] for c in cameras])
    across = np.eye(3) - axes[:, :, None] * axes[:, None, :]
    weight = np.ones(len(cameras))
    point = centres.mean(0)
    for _ in range(10):
        normal = np.einsum("n,nij->ij", weight, across) + 1e-9 * np.eye(3)
        point = np.linalg.solve(normal, np.einsum("n,nij,nj->i", weight, across, centres))
        miss = np.linalg.norm(np.einsum("nij,nj->ni", across, point - centres), axis=1)
        weight = 1 / np.maximum(miss, 1e-3 * np.linalg.norm(point - centres, axis=1).max() + 1e-12)
    return point


def _check_camera(camera: RigCamera) -> Iterator[Finding]:
    size = np.array([camera.width, camera.height])
    focal, principal = camera.K[[0, 1], [0, 1]], camera.K[:2, 2]
    view = float(np.degrees(2 * np.arctan(size.max() / 2 / focal.mean())))
    if not _FIELD_OF_VIEW_DEG[0] < view < _FIELD_OF_VIEW_DEG[1]:
        yield Finding(
            "failed", f"focal length of {rounded(focal[0], 4)} pixels, a field of view of {view:.3g} degrees", camera.id
        )
    if abs(focal[0] / focal[1] - 1) > 0.05:
        yield Finding(
            "warning",
            f"focal lengths of {rounded(focal[0], 4)} and {rounded(focal[1], 4)} pixels: pixels are square",
            camera.id,
        )
    off = np.abs(principal / size - 0.5)
    where = f"principal point at ({principal[0]:.1f}, {principal[1]:.1f}) of a {size[0]} x {size[1]} picture"
    if off.max() > 0.5:
        yield Finding("failed", f"{where}: outside it", camera.id)
    elif off.max() > _OFF_CENTRE:
        yield Finding("warning", f"{where}: far from its middle", camera.id)
    if not _distorts_monotonically(camera):
        yield Finding(
            "failed", "lens distortion folds back inside the picture: the coefficients are not its own", camera.id
        )


def _distorts_monotonically(camera: RigCamera) -> bool:
    along = np.linspace(0, 1, 9)
    sides = [np.stack([along, np.full(9, end)], -1) for end in (0.0, 1.0)]
    border = np.concatenate([*sides, *(side[:, ::-1] for side in sides)]) * [camera.width, camera.height]
    ideal = camera.unproject(border)
    if not np.isfinite(ideal).all():
        return False
    reach = np.linalg.norm([camera.lens.distort(step * ideal) for step in np.linspace(0, 1, 50)], axis=2)  # [50, n]
    return bool((np.diff(reach, axis=0) >= 0).all())


def _duplicates(cameras: Sequence[RigCamera]) -> Iterator[Finding]:
    extent = max((float(np.linalg.norm(c.centre - convergence(cameras))) for c in cameras), default=1.0)
    for first, second in combinations(cameras, 2):
        near = np.linalg.norm(first.centre - second.centre) < _SAME_PLACE * extent
        if near and np.abs(first.cam_from_rig[:3, :3] - second.cam_from_rig[:3, :3]).max() < 1e-3:
            yield Finding("failed", f"same pose as camera {first.id}", second.id)


def _looking_away(cameras: Sequence[RigCamera]) -> Iterator[Finding]:
    if len(cameras) < 3:
        return
    target = convergence(cameras)
    for camera in cameras:
        towards = target - camera.centre
        cosine = camera.cam_from_rig[2, :3] @ towards / max(float(np.linalg.norm(towards)), 1e-12)
        angle = float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
        if angle > _LOOKS_AWAY_DEG:
            yield Finding("warning", f"looks {angle:.0f} degrees away from what the others look at", camera.id)


def by_camera(findings: Sequence[Finding]) -> Mapping[str, list[Finding]]:
    """Findings by camera id."""
    found: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.camera is not None:
            found.setdefault(finding.camera, []).append(finding)
    return found
