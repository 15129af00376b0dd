"""Which cameras are wrong: corrected one by one, worst first, until what is left to correct is what all cameras share.

A wrong camera spoils the epipolar geometry of every pair it is in, so its neighbours look wrong too. But correcting
it explains all of its pairs, and correcting a neighbour only one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float64, Int
from scipy.sparse import csr_matrix

from headsup_cli.calibration.adjustment import (
    NOISE_FLOOR_PX,
    POSE,
    Adjusted,
    adjust,
    moved_px,
    robust_cost,
    robust_scale,
)
from headsup_cli.calibration.tracks import Tracks, reproject, triangulate
from headsup_cli.capture.rig_dump import RigCamera
from headsup_cli.media.opencv import cv2
from headsup_cli.runtime.progress import progress

LEAST_OBSERVATIONS = 24  # of a camera that can be judged
FLOOR_PX = 0.5  # of a correction that matters, rms over the camera's points, for a picture of 1000 pixels or less
_LEAST_SHARED = 8  # points that make another camera a partner
LEAST_PARTNERS = 2  # one alone cannot tell whose fault it is, nor whether its matches are all wrong in the same way
_LEAST_VOTES = 6  # points shared with a partner that a correction brings nearer, less those that it drives away
_LEAST_MENDED = 3  # of them that it explains and the given pose does not, which also must be most of what it explains
_EXPLAINED = 2.5  # standard deviations up to which a pose explains a point
_TIMES_TYPICAL = 5.0  # what all cameras of the rig need to be corrected by is no camera's fault
_WELL_SEEN = 400  # observations; with fewer, wrong matches bend a pose as the root of their number
_TRIES = 3  # cameras that are tried for the worst
_LEAST_GAIN = 60.0  # of chi-square units, for six parameters
_LEAST_SHARPENING = 1.25  # what wrong matches alone pull a pose to leaves the median as it was
_TRIAL_POINTS = 500
_GROSS_PX = 3.0  # error from which the pose is also sought from scratch


@dataclass(frozen=True)
class Correction:
    """What one camera's pose would have to be for the rest of the rig to be right."""

    camera: RigCamera
    moved_px: float  # by which the correction moves the camera's points
    gain: float  # of robust cost, chi-square units
    sharpening: float  # factor by which the median error of its observations goes down
    supporters: int  # partners that it agrees with better than before

    @property
    def is_telling(self) -> bool:
        """Whether the pictures ask for it."""
        sharp = self.gain > _LEAST_GAIN and self.sharpening > _LEAST_SHARPENING
        return sharp and self.supporters >= LEAST_PARTNERS


@dataclass(frozen=True)
class Suspects:
    """The rig with its wrong cameras' poses corrected."""

    cameras: list[RigCamera]
    wrong: list[int]  # worst first
    moved_px: dict[int, float]  # of every camera that could be judged: what its own correction amounts to
    allowed_px: dict[int, float]  # of the same: what it may amount to
    limit_px: float  # that of a camera with many points
    noise_px: float


def find_suspects(tracks: Tracks, cameras: Sequence[RigCamera]) -> Suspects:
    """Find the cameras whose calibration contradicts the others'.

    Args:
        tracks: What was seen.
        cameras: The calibration to be judged.
    """
    state = list(cameras)
    if not len(tracks.point):
        return Suspects(state, [], {}, {}, _Limits(cameras, np.zeros(0, int)).typical([]), NOISE_FLOOR_PX)
    counts = np.bincount(tracks.camera, minlength=len(cameras))
    judged = [
        i for i, partners in partner_counts(tracks).items()
        if counts[i] >= LEAST_OBSERVATIONS and partners >= LEAST_PARTNERS
    ]  # fmt: skip
    noise_px = robust_scale(residuals(tracks, state))
    corrections = {i: correct(tracks, state, i, noise_px) for i in progress(judged, "weighing cameras")}
    limits = _Limits(cameras, counts)
    wrong: dict[int, float] = {}
    for _ in range(len(cameras)):
        worth = [i for i, c in corrections.items() if c.moved_px > limits.least(i) and c.is_telling]
        for worst in sorted(worth, key=lambda i: -corrections[i].gain)[:_TRIES]:
            # Whether it is worse than the others shows only once it no longer spoils them.
            tried = [corrections[i].camera if i == worst else camera for i, camera in enumerate(state)]
            noise_tried = robust_scale(residuals(tracks, tried))
            touched = [i for i in judged if i == worst or _shared(tracks, i, worst)]
            after = corrections | {i: correct(tracks, tried, i, noise_tried) for i in touched}
            limit = limits.of(worst, [c.moved_px for i, c in after.items() if i != worst and i not in wrong])
            if corrections[worst].moved_px > limit:
                break
        else:
            break
        wrong[worst] = wrong.get(worst, 0.0) + corrections[worst].gain
        state, noise_px, corrections = tried, noise_tried, after
    typical = [c.moved_px for i, c in corrections.items() if i not in wrong]
    moved = {i: c.moved_px for i, c in corrections.items()}
    moved |= {i: _distance_px(tracks, state, i, cameras[i], noise_px) for i in wrong}
    real = [i for i in sorted(wrong, key=lambda i: -wrong[i]) if moved[i] > limits.of(i, typical)]
    for i in wrong.keys() - set(real):
        state[i] = cameras[i]
    allowed = {i: limits.of(i, typical) for i in moved}
    return Suspects(state, real, moved, allowed, limits.typical(typical), noise_px)


@dataclass(frozen=True)
class _Limits:
    """How much a camera's correction may amount to, pixels."""

    cameras: Sequence[RigCamera]
    observations: Int[np.ndarray, " c"]

    def least(self, index: int) -> float:
        return self.of(index, [])

    def of(self, index: int, others_px: Sequence[float]) -> float:
        """For one camera, given what others' corrections amount to."""
        return self.typical(others_px) * float(np.sqrt(max(1.0, _WELL_SEEN / max(self.observations[index], 1))))

    def typical(self, others_px: Sequence[float]) -> float:
        """For a camera with many observations."""
        floor = FLOOR_PX * max(1.0, *(max(c.width, c.height) / 1000 for c in self.cameras))
        return max(floor, _TIMES_TYPICAL * float(np.median(others_px))) if len(others_px) > 2 else floor


def correct(tracks: Tracks, cameras: Sequence[RigCamera], index: int, noise_px: float) -> Correction:
    """Find the pose of one camera that fits the others.

    Args:
        tracks: What was seen.
        cameras: The rig.
        index: The camera that may move.
        noise_px: Standard deviation of a coordinate that costs are counted in.
    """
    mine = thinned(tracks.of_points_seen_by(index), _TRIAL_POINTS)
    points = points_without(mine, cameras, index)
    start = adjust(mine, cameras, points, {}, iterations=6)
    before = robust_cost(start.errors, noise_px)
    candidates = [_settled(mine, cameras, points, index)]
    if robust_scale(start.errors[mine.camera == index]) > _GROSS_PX:
        found = resected(mine, cameras, index)
        if found is not None:
            fresh = [found if i == index else camera for i, camera in enumerate(cameras)]
            candidates.append(_settled(mine, fresh, points_without(mine, fresh, index), index))
    best = min(candidates, key=lambda c: robust_cost(c.errors, noise_px).sum())
    gain = before - robust_cost(best.errors, noise_px)
    within = 6 * max(noise_px, robust_scale(best.errors))
    own = mine.camera == index
    return Correction(
        best.cameras[index],
        moved_px(mine, best, index, cameras[index], within_px=within),
        float(gain.sum()),
        robust_scale(start.errors[own]) / robust_scale(best.errors[own]),
        _supporters(mine, index, start.errors, best.errors, noise_px),
    )


def partner_counts(tracks: Tracks) -> dict[int, int]:
    """With how many others each camera shares enough points to be compared."""
    found = np.unique(tracks.camera)
    sees = csr_matrix((np.ones(len(tracks.point)), (tracks.camera, tracks.point)))
    shared = (sees @ sees.T).toarray()
    np.fill_diagonal(shared, 0)
    return {int(i): int((shared[i] >= _LEAST_SHARED).sum()) for i in found}


def _supporters(
    tracks: Tracks,
    index: int,
    before: Float64[np.ndarray, "n 2"],
    after: Float64[np.ndarray, "n 2"],
    noise_px: float,
) -> int:
    """With how many others a camera agrees only by its correction.

    A free pose always finds some wrong matches that it brings nearer. But to a camera that is right the right ones are
    explained already, to within noise and by far more of them than chance would have.
    """
    noise_px = min(noise_px, robust_scale(after))  # a rig with a wrong camera in it looks noisier than it is
    explained = _explained(tracks, before, noise_px), _explained(tracks, after, noise_px)
    gain = np.bincount(tracks.point, robust_cost(before, noise_px) - robust_cost(after, noise_px))
    votes, mended, kept = (
        np.bincount(tracks.camera, of_points[tracks.point])
        for of_points in (np.sign(np.trunc(gain)), explained[1] & ~explained[0], explained[0])
    )
    supports = (votes >= _LEAST_VOTES) & (mended >= _LEAST_MENDED) & (mended > kept)
    supports[index] = False
    return int(supports.sum())


def _explained(tracks: Tracks, errors: Float64[np.ndarray, "n 2"], noise_px: float) -> Bool[np.ndarray, " p"]:
    """Whether what the cameras saw of each point differs by noise alone."""
    freedom = 2 * np.bincount(tracks.point) - 3  # two coordinates a view, three of which fix the point
    return np.bincount(tracks.point, np.square(errors).sum(1)) < (_EXPLAINED * noise_px) ** 2 * freedom


def resected(tracks: Tracks, cameras: Sequence[RigCamera], index: int) -> RigCamera | None:
    """The camera's pose from nothing but points that others triangulate; None where they are too few."""
    mine, points = seen_by_others(tracks, cameras, index)
    if len(points) < 12:
        return None
    camera = cameras[index]
    ideal = camera.unproject(mine.pixel)
    sound = np.isfinite(ideal).all(1) & np.isfinite(points).all(1)
    if sound.sum() < 12:
        return None
    error = 4.0 / camera.K[0, 0]
    found, turn, shift, _ = cv2.solvePnPRansac(
        points[sound], ideal[sound], np.eye(3), None, iterationsCount=2000, reprojectionError=error, confidence=0.9999,
        flags=cv2.SOLVEPNP_SQPNP,
    )  # fmt: skip
    if not found:
        return None
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = cv2.Rodrigues(turn)[0], shift.ravel()
    return replace(camera, cam_from_rig=pose)


def seen_by_others(
    tracks: Tracks, cameras: Sequence[RigCamera], index: int
) -> tuple[Tracks, Float64[np.ndarray, "p 3"]]:
    """The camera's observations (point k being row k) of points that at least two others see and agree upon."""
    others = tracks.camera != index
    counts = np.bincount(tracks.point[others], minlength=tracks.count)
    mine = tracks.where(counts[tracks.point] >= 2)
    others = mine.camera != index
    rest = mine.where(others)
    points = triangulate(rest, cameras)
    errors = np.linalg.norm(rest.pixel - reproject(rest, points, cameras), axis=1)
    worst = np.zeros(rest.count)
    np.maximum.at(worst, rest.point, np.where(np.isfinite(errors), errors, np.inf))
    own = mine.where(np.ones(len(mine.point), bool))
    rows = np.flatnonzero(own.camera == index)
    rows = rows[worst[own.point[rows]] < 2 * _GROSS_PX]
    return Tracks(own.camera[rows], np.arange(len(rows)), own.pixel[rows]), points[own.point[rows]]


def points_without(tracks: Tracks, cameras: Sequence[RigCamera], index: int) -> Float64[np.ndarray, "p 3"]:
    """Triangulate without camera `index` where two others suffice, with it elsewhere."""
    points = triangulate(tracks, cameras)
    others = tracks.camera != index
    counts = np.bincount(tracks.point[others], minlength=tracks.count)
    enough = tracks.where(others & (counts[tracks.point] >= 2))
    points[np.flatnonzero(counts >= 2)] = triangulate(enough, cameras)
    return in_front(points, cameras)


def in_front(points: Float64[np.ndarray, "p 3"], cameras: Sequence[RigCamera]) -> Float64[np.ndarray, "p 3"]:
    """Points that could not be triangulated, put amid the others."""
    lost = ~np.isfinite(points).all(1)
    amid = np.median(points[~lost], axis=0) if (~lost).any() else np.mean([c.centre for c in cameras], axis=0)
    return np.where(lost[:, None], amid, points)


def residuals(tracks: Tracks, cameras: Sequence[RigCamera]) -> Float64[np.ndarray, "n 2"]:
    """Observed less predicted with points triangulated from all cameras, pixels; lost observations left out."""
    errors = tracks.pixel - reproject(tracks, triangulate(tracks, cameras), cameras)
    return errors[np.isfinite(errors).all(1)]


def thinned(tracks: Tracks, points: int) -> Tracks:
    """At most so many points, those that most cameras see first."""
    if tracks.count <= points:
        return tracks
    views = np.bincount(tracks.point)
    kept = np.zeros(tracks.count, bool)
    kept[np.argsort(-views, kind="stable")[:points]] = True
    return tracks.where(kept[tracks.point])


def _settled(tracks: Tracks, cameras: Sequence[RigCamera], points: Float64[np.ndarray, "p 3"], index: int) -> Adjusted:
    return adjust(tracks, cameras, points, {index: POSE}, iterations=12)


def _distance_px(tracks: Tracks, cameras: Sequence[RigCamera], index: int, given: RigCamera, noise_px: float) -> float:
    mine = thinned(tracks.of_points_seen_by(index), _TRIAL_POINTS)
    settled = adjust(mine, cameras, in_front(triangulate(mine, cameras), cameras), {}, iterations=5)
    return moved_px(mine, settled, index, given, within_px=6 * noise_px)


def _shared(tracks: Tracks, first: int, second: int) -> bool:
    seen = [np.bincount(tracks.point[tracks.camera == i], minlength=tracks.count) > 0 for i in (first, second)]
    return bool((seen[0] & seen[1]).sum() >= 8)
