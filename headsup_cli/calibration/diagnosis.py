"""What is the matter with a camera that contradicts the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from headsup_cli.calibration.adjustment import (
    POSE,
    Adjusted,
    Freedom,
    adjust,
    robust_cost,
    robust_scale,
)
from headsup_cli.calibration.numerals import rounded
from headsup_cli.calibration.outline_suspects import OutlineCorrection
from headsup_cli.calibration.readings import READINGS, Reading, fit_camera
from headsup_cli.calibration.suspects import points_without, seen_by_others, thinned
from headsup_cli.calibration.tracks import Tracks
from headsup_cli.capture.rig_dump import RigCamera

Cause = Literal["turned", "moved", "focal", "principal_point", "pose", "lens", "swapped", "reading"]

_POINTS = 800
_AMBIGUOUS = 12.0  # of chi-square units: less between two causes and the pictures cannot tell them apart
_AMPLE = 0.15  # share of the noise by which a single cause may be worse than all together
_DIRECTION_DEG = 1.0  # to which the direction of a shift is known
_FITS_PX = 2.5  # median error at which a camera is recognised for another one
CAUSES: dict[Cause, tuple[Freedom, ...]] = {  # what each changes, from the likeliest on
    "turned": ("rotation",),
    "moved": ("centre",),
    "focal": ("focal",),
    "principal_point": ("principal_point",),
    "pose": POSE,
    "lens": ("rotation", "centre", "focal", "distortion"),
}
# Single causes, in chi-square units: for what is rarer, or has more parameters to fit with (each worth ln n, about 6).
_HANDICAP: dict[Cause, float] = {"turned": 0.0, "focal": 6.0, "moved": 12.0, "principal_point": 12.0}


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong with a camera, and what it would be rightly."""

    cause: Cause
    sentence: str
    camera: RigCamera  # corrected
    rotation_deg: float
    shift_mm: float
    focal_percent: float  # by which the given focal length is too long
    other: int | None = None  # index of the camera it was exchanged with


def diagnose(tracks: Tracks, cameras: Sequence[RigCamera], given: Sequence[RigCamera], index: int) -> Diagnosis:
    """Name the simplest cause that explains what the camera saw.

    Args:
        tracks: What was seen.
        cameras: The rig with its wrong cameras corrected.
        given: The rig as calibrated.
        index: The camera.
    """
    return _taken_for_another(tracks, cameras, given, index) or _deviation(tracks, cameras, given[index], index)


def diagnosis_by_outline(correction: OutlineCorrection, given: Sequence[RigCamera], index: int) -> Diagnosis:
    """Put into words what makes a camera's outline agree with the others'.

    Args:
        correction: The change.
        given: The rig as calibrated.
        index: The camera.
    """
    camera, found = given[index], correction.camera
    if correction.cause == "swapped" and correction.other is not None:
        return _swapped(given, index, correction.other)
    if correction.cause == "reading" and correction.other is not None:
        return _misread(given[index], READINGS[correction.other])
    sentence = _sentence(correction.cause, camera, found)
    sentence += "".join(f" (or {_sentence(cause, camera, other)})" for cause, other in correction.alternatives[:1])
    return _told(correction.cause, f"{sentence}, by its outline", camera, found)


def _taken_for_another(
    tracks: Tracks, cameras: Sequence[RigCamera], given: Sequence[RigCamera], index: int
) -> Diagnosis | None:
    mine, points = seen_by_others(tracks, cameras, index)
    if len(points) < 12:
        return None
    camera = given[index]
    limit = max(_FITS_PX, 3 * fit_camera(mine.pixel, points, cameras[index]))
    if fit_camera(mine.pixel, points, camera) < 3 * limit:
        return None
    fits = {
        other: fit_camera(mine.pixel, points, replace(taken, width=camera.width, height=camera.height))
        for other, taken in enumerate(given)
        if other != index
    }
    other = min(fits, key=lambda i: fits[i])
    if fits[other] < limit:
        return _swapped(given, index, other)
    readings = [(fit_camera(mine.pixel, points, reading.read(camera)), reading) for reading in READINGS]
    best, reading = min(readings, key=lambda fit: fit[0])
    if best < limit:
        return _misread(camera, reading)
    return None


def _swapped(given: Sequence[RigCamera], index: int, other: int) -> Diagnosis:
    sentence = f"its pictures are those of camera {given[other].id}: the two were swapped"
    return _told("swapped", sentence, given[index], replace(given[other], id=given[index].id), other)


def _misread(camera: RigCamera, reading: Reading) -> Diagnosis:
    return _told("reading", f"{reading.meaning}; {reading.remedy}", camera, reading.read(camera))


def _deviation(tracks: Tracks, cameras: Sequence[RigCamera], given: RigCamera, index: int) -> Diagnosis:
    mine = thinned(tracks.of_points_seen_by(index), _POINTS)
    fits = {cause: _fit(mine, cameras, given, index, cause) for cause in CAUSES}
    own = mine.camera == index
    noise = robust_scale(fits["lens"].errors)
    fits = {  # to the bottom of one and the same cost, so that the causes can be compared
        cause: adjust(mine, fit.cameras, fit.points, {index: CAUSES[cause]}, scale_px=noise, iterations=20)
        for cause, fit in fits.items()
    }
    cost = {cause: float(robust_cost(fit.errors, noise).sum()) for cause, fit in fits.items()}
    handicap = _HANDICAP | {"moved": _HANDICAP["moved"] + _rarity_of_shift(given, fits["moved"].cameras[index])}
    best = min(handicap, key=lambda cause: cost[cause] + handicap[cause])
    possible = [cause for cause in _HANDICAP if cause != best and cost[cause] < cost[best] + _AMBIGUOUS]
    rest = {cause: robust_scale(fit.errors[own]) for cause, fit in fits.items()}
    whole: Cause = "pose" if rest["pose"] < (1 + _AMPLE) * rest["lens"] else "lens"
    if rest[best] > (1 + _AMPLE) * rest[whole] and cost[best] > cost[whole] + _AMBIGUOUS:
        best = whole
    alternatives = possible if best in _HANDICAP else []
    found = fits[best].cameras[index]
    sentence = _sentence(best, given, found)
    if alternatives:
        sentence += f" (or {_sentence(alternatives[0], given, fits[alternatives[0]].cameras[index])})"
    return _told(best, sentence, given, found)


def _rarity_of_shift(given: RigCamera, found: RigCamera) -> float:
    """How much rarer than any shift one so near the optical axis is, chi-square units.

    A wrong focal length is best imitated by a shift straight at the subject, which of all shifts hardly any is.
    """
    shift = found.centre - given.centre
    along = abs(float(given.cam_from_rig[2, :3] @ shift)) / max(float(np.linalg.norm(shift)), 1e-12)
    return -2 * float(np.log(1 - min(along, np.cos(np.radians(_DIRECTION_DEG)))))


def _fit(tracks: Tracks, cameras: Sequence[RigCamera], given: RigCamera, index: int, cause: Cause) -> Adjusted:
    """Adjust the given camera in what the cause may have changed."""
    pose = given.cam_from_rig.copy()
    start = given
    target = cameras[index]
    if cause == "turned":
        pose[:3, :3] = target.cam_from_rig[:3, :3]
        pose[:3, 3] = -pose[:3, :3] @ given.centre
        start = replace(given, cam_from_rig=pose)
    elif cause == "moved":
        pose[:3, 3] = -pose[:3, :3] @ target.centre
        start = replace(given, cam_from_rig=pose)
    elif cause in ("pose", "lens"):
        start = replace(given, cam_from_rig=target.cam_from_rig)
    rig = [start if i == index else camera for i, camera in enumerate(cameras)]
    points = points_without(tracks, rig, index)
    return adjust(tracks, rig, points, {index: CAUSES[cause]}, iterations=12)


def _told(cause: Cause, sentence: str, given: RigCamera, found: RigCamera, other: int | None = None) -> Diagnosis:
    turn, shift = differences(given, found)
    return Diagnosis(cause, sentence, found, turn, shift, 100 * (given.K[0, 0] / found.K[0, 0] - 1), other)


def differences(given: RigCamera, found: RigCamera) -> tuple[float, float]:
    """Angle in degrees and distance in millimetres between two poses."""
    turn = given.cam_from_rig[:3, :3] @ found.cam_from_rig[:3, :3].T
    angle = np.arctan2(np.linalg.norm(turn - turn.T) / np.sqrt(8), (np.trace(turn) - 1) / 2)
    return float(np.degrees(angle)), float(1000 * np.linalg.norm(given.centre - found.centre))


def _sentence(cause: Cause, given: RigCamera, found: RigCamera) -> str:
    turn, shift = differences(given, found)
    length = f"{rounded(shift)} mm" if shift < 1000 else f"{rounded(shift / 1000)} m"
    focal = 100 * (given.K[0, 0] / found.K[0, 0] - 1)
    if cause == "turned":
        return f"turned by {rounded(turn)} degrees"
    if cause == "moved":
        return f"moved by {length}"
    if cause == "focal":
        return f"focal length {rounded(abs(focal))} % too {'long' if focal > 0 else 'short'}"
    if cause == "principal_point":
        x, y = given.K[:2, 2] - found.K[:2, 2]
        return f"principal point off by ({x:+.1f}, {y:+.1f}) pixels"
    if cause == "pose":
        return f"turned by {rounded(turn)} degrees and moved by {length}"
    zoom = f"focal length off by {'+' if focal > 0 else ''}{rounded(focal)} %"
    return f"turned by {rounded(turn)} degrees, moved by {length}, {zoom}, lens differs"
