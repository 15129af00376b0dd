"""A better calibration: bundle adjustment from the checked rig on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

from headsup_cli.calibration.adjustment import EVERYTHING, POSE, Freedom, adjust
from headsup_cli.calibration.check import CheckResult
from headsup_cli.calibration.diagnosis import CAUSES, Diagnosis
from headsup_cli.calibration.suspects import in_front
from headsup_cli.calibration.tracks import median_length, triangulate
from headsup_cli.capture.rig_dump import RigCamera

_HELD_AT_LEAST_PX = 0.1  # by which what was right may move, more where the whole rig is worse
_FREE_PX = 300.0  # and what was wrong


@dataclass(frozen=True)
class Change:
    """Median reprojection error before and after, pixels."""

    before_px: float
    after_px: float


@dataclass(frozen=True)
class Refined:
    """A calibration after bundle adjustment."""

    cameras: dict[str, RigCamera]
    whole: Change
    by_camera: dict[str, Change]  # of cameras that share points with others
    needs_intrinsics: list[str]  # wrong cameras that no pose mends


def refine_calibration(result: CheckResult, *, intrinsics: bool) -> Refined:
    """Adjust all cameras and points together, from the corrected rig on; frame and scale stay.

    What the check found right is held near where it was: poses of right cameras, and of a wrong one whatever its
    diagnosis does not blame, which else would drift along what the pictures hardly tell apart.

    Args:
        result: Of the check.
        intrinsics: Whether focal length, principal point and the first two distortion coefficients may change too.
    """
    names, tracks, given = list(result.given), result.tracks, list(result.given.values())
    diagnoses = {camera.id: camera.diagnosis for camera in result.cameras}
    start = [result.corrected[name] for name in names]
    if not intrinsics:
        start = [replace(camera, K=own.K, lens=own.lens) for camera, own in zip(start, given, strict=True)]
    names_free = EVERYTHING if intrinsics else POSE
    free = dict.fromkeys(sorted(set(tracks.camera.tolist())), names_free)
    typical_px = _typical_px(result)
    held = {i: _held(diagnoses[names[i]], names_free, typical_px) for i in free}
    points = adjust(tracks, start, in_front(triangulate(tracks, start), start), {}, iterations=8).points
    adjusted = adjust(tracks, start, points, free, prior_px=held, iterations=25)
    before = adjust(tracks, given, result.points, {}, iterations=8).errors
    blamed = {name: CAUSES.get(found.cause, ()) for name, found in diagnoses.items() if found}
    return Refined(
        dict(zip(names, adjusted.cameras, strict=True)),
        _change(before, adjusted.errors),
        {names[i]: _change(before[tracks.camera == i], adjusted.errors[tracks.camera == i]) for i in free},
        [] if intrinsics else [name for name in names if set(blamed.get(name, ())) - set(POSE)],
    )


def _typical_px(result: CheckResult) -> float:
    moved = [c.moved_px for c in result.cameras if c.moved_px is not None and c.diagnosis is None]
    return max(_HELD_AT_LEAST_PX, float(np.median(moved)) if moved else _FREE_PX)


def _held(diagnosis: Diagnosis | None, names: Sequence[Freedom], typical_px: float) -> Mapping[Freedom, float]:
    blamed = CAUSES.get(diagnosis.cause, ()) if diagnosis else ()
    return {name: _FREE_PX if name in blamed else typical_px for name in names}


def _change(before: Float64[np.ndarray, "n 2"], after: Float64[np.ndarray, "n 2"]) -> Change:
    return Change(median_length(before), median_length(after))
