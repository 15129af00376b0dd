"""Which cameras' outlines contradict the others', and what would put them right.

The texture of hair and cloth is hard to match, and outlines need none. They are coarser, so they speak only about
cameras that matched points do not settle.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np
from jaxtyping import Float64

from headsup_cli.calibration.adjustment import Freedom, stepped_camera
from headsup_cli.calibration.outlines import UNITS, OutlineRig
from headsup_cli.calibration.readings import READINGS
from headsup_cli.calibration.sanity import convergence
from headsup_cli.capture.rig_dump import RigCamera

LEAST_CAMERAS = 4  # with outlines: fewer leave the hull of the others too loose
FLOOR = 4.0  # of a correction that matters, rms over the outline, thousandths of the longer side
_NOTICED = (10.0, 20.0, 40.0)  # turns, of which one has to show for a camera to count as checked, in the same unit
_CAP = 12.0  # miss of a ray beyond which it is no worse: parts of masks may be wrong
_MISS = 1.0  # from which a ray is looked at again
_LEAST_RELIEF = 0.016  # of all rays together, per ray: by which a correction must lessen what they miss
_RELIEF = 0.12  # and this share of what it leaves, which is hair and masks
_SIDE = 0.25  # of that must a turn owe to the camera's own rays, and as much to others': bad masks err on one side
_WHOLE = 0.8  # of what leaving the camera out would explain beyond the usual: no turn mends that much of a bad mask
_FAR = 100.0  # miss of a ray of two outlines beyond which it is no worse
_ASTRAY = 12.0  # mean miss of two outlines, from which they have nothing to do with each other
_TRIES = 3  # cameras that are tried for the worst
_SCALE = 3.0  # miss from which a ray loses weight in a fit
_CONTRADICTS = 4.0  # times that, from which a camera that nothing puts right is worth a warning
_UNEXPLAINED = 0.5  # of what leaving the camera out would explain: if more is left, another explanation is sought
OutlineCause = Literal["turned", "focal", "moved", "swapped", "reading"]
_SWAPPED: OutlineCause = "swapped"
_READING: OutlineCause = "reading"
CAUSES: dict[OutlineCause, tuple[Freedom, ...]] = {"turned": ("rotation",), "focal": ("focal",), "moved": ("centre",)}
_HANDICAP = 0.05  # share of the misses by which a rarer cause must be better
_RARITY: dict[OutlineCause, float] = {"turned": 0.0, "focal": 1.0, "moved": 3.0}
_PLAUSIBLE = 0.25  # change of the focal length, and of the distance, beyond which a fit has gone astray


@dataclass(frozen=True)
class OutlineCorrection:
    """What makes one camera's outline agree with the others'."""

    camera: RigCamera
    cause: OutlineCause
    moved: float  # rms over its outline, thousandths of the longer side
    left: float  # total miss of all rays after it
    relief: float  # by which that is less than before
    own: float  # part of the relief that its own rays have
    excess: float  # by which leaving the camera out lessens the misses, beyond what leaving others out does
    other: int | None = None  # index of the camera it was exchanged with, or of the reading
    alternatives: tuple[tuple[OutlineCause, RigCamera], ...] = ()

    def matters(self, rays: int) -> bool:
        """Whether it is more than hair and masks make."""
        least = _least(rays, self.left)
        both = self.cause != "turned" or min(self.own, self.relief - self.own) > _SIDE * least
        # Where the subject leaves the picture on one side, a turn shows on the other alone.
        return self.moved > FLOOR and self.relief > least and (both or self.relief > _WHOLE * self.excess)


def _least(rays: int, rest: float) -> float:
    """Change of the total that hair and bad masks do not make, where `rest` is what is always missed."""
    return _LEAST_RELIEF * rays + _RELIEF * rest


@dataclass(frozen=True)
class OutlineSuspects:
    """What outlines say of the cameras that were asked about."""

    wrong: dict[int, OutlineCorrection]  # worst first
    agreeing: dict[int, float]  # by camera, from what on an error would have shown, thousandths of the longer side
    contradicting: list[int]  # disagree with the others in a way that no calibration explains


def find_outline_suspects(rig: OutlineRig, cameras: Sequence[RigCamera], asked: Collection[int]) -> OutlineSuspects:
    """Find cameras whose outlines contradict those of the others.

    Args:
        rig: The outlines.
        cameras: The calibration, with what is known to be wrong corrected.
        asked: Cameras that may be at fault.
    """
    state, wrong, rays = list(cameras), dict[int, OutlineCorrection](), len(rig.own)
    asked = [i for i in asked if i in rig.outlines]
    astray = _astray(rig, state, asked)
    for i in astray:  # together they hide each other, so each is held against the rest
        correction = correct_outline(rig, state, i, without=[other for other in astray if other != i])
        if correction.matters(rays):
            wrong[i] = correction
    state = [wrong[i].camera if i in wrong else camera for i, camera in enumerate(state)]
    for _ in range(len(asked) + 1):
        rest = [i for i in asked if i not in wrong]
        total = float(_cost(rig.misses(state)).sum())
        gains = _gains(rig, state, rest)
        tried = sorted(rest, key=lambda i: -gains[i])[:_TRIES]
        tried = [i for i in tried if gains[i] > max(_least(rays, total - gains[i]), gains[tried[0]] / 3)]
        found = {i: correct_outline(rig, state, i) for i in tried}
        found = {i: correction for i, correction in found.items() if correction.matters(rays)}
        if not found:
            break
        worst = max(found, key=lambda i: found[i].relief)
        wrong[worst] = found[worst]
        other = found[worst].other
        if found[worst].cause == "swapped" and other in rest and other is not None:
            wrong[other] = replace(found[worst], camera=_in_place_of(state[other], state[worst]), other=worst)
        state = [wrong[i].camera if i in wrong else camera for i, camera in enumerate(state)]
    contradicting = [i for i in rest if gains[i] > _CONTRADICTS * _least(rays, total - gains[i])]
    noticed = {i: _noticed(rig, state, i, total + _least(rays, total)) for i in rest if i not in contradicting}
    agreeing = {i: least for i, least in noticed.items() if least is not None}
    return OutlineSuspects(wrong, agreeing, contradicting)


def correct_outline(
    rig: OutlineRig, cameras: Sequence[RigCamera], index: int, without: Collection[int] = ()
) -> OutlineCorrection:
    """The simplest change of one camera that makes its outline agree with the others'.

    Args:
        rig: The outlines.
        cameras: The calibration.
        index: The camera.
        without: Cameras that are not to be relied on.
    """
    trial = _Trial(rig, cameras, index, without)
    before = _cost(trial.misses(cameras[index]))
    gains = _gains(rig, cameras, [i for i in rig.outlines if i not in without], without)
    gain, usual = gains[index], float(np.median([gains[i] for i in gains if i != index]))
    rest = float(before.sum()) - gain
    fits = {cause: trial.fit(cameras[index], free) for cause, free in CAUSES.items()}
    if min(map(_total, fits.values())) > rest + _UNEXPLAINED * gain:
        aimed = trial.fit(_aimed(rig, cameras, index, without), CAUSES["turned"])
        fits["turned"] = min(fits["turned"], aimed, key=_total)
    handicap = max(_HANDICAP * min(map(_total, fits.values())), 1.0)
    worth = {cause: _total(fit) + _RARITY[cause] * handicap for cause, fit in fits.items()}
    cause: OutlineCause = min(worth, key=lambda c: worth[c])
    camera, after = fits[cause]
    # A rarer cause that fits as well is told too: a small turn and a small shift look alike.
    others = [(c, fits[c][0]) for c in fits if c != cause and _total(fits[c]) < _total(fits[cause]) + handicap]
    other = None
    if gain > _CONTRADICTS * _least(len(before), rest):
        name, number, replaced, misses = min(_replacements(trial), key=lambda r: float(r[3].sum()))
        unexplained = _UNEXPLAINED * (_total(fits[cause]) - rest)
        if misses.sum() < _total(fits[cause]) - max(unexplained, _least(len(misses), float(misses.sum()))):
            cause, other, camera, after, others = name, number, replaced, misses, []
    relief = before - after
    return OutlineCorrection(
        camera, cause, _moved(rig, cameras, index, camera), float(after.sum()), float(relief.sum()),
        float(relief[rig.own == index].sum()), gain - usual, other, tuple(others),
    )  # fmt: skip


@dataclass(frozen=True)
class _Trial:
    """One camera to be changed, the others as they are."""

    rig: OutlineRig
    cameras: Sequence[RigCamera]
    index: int
    without: Collection[int]

    def misses(self, candidate: RigCamera) -> Float64[np.ndarray, " n"]:
        """What each ray misses with the candidate in the camera's place."""
        return self._misses({self.index: candidate})

    def misses_swapped(self, other: int) -> Float64[np.ndarray, " n"]:
        """What each ray misses with the camera and another exchanged."""
        mine, theirs = self.cameras[self.index], self.cameras[other]
        return self._misses({self.index: _in_place_of(mine, theirs), other: _in_place_of(theirs, mine)})

    def _misses(self, changes: Mapping[int, RigCamera]) -> Float64[np.ndarray, " n"]:
        rig = [changes.get(i, camera) for i, camera in enumerate(self.cameras)]
        return self.rig.misses(rig, self.without).astype(float)

    def fit(self, start: RigCamera, free: Sequence[Freedom]) -> tuple[RigCamera, Float64[np.ndarray, " n"]]:
        """Levenberg and Marquardt with Cauchy weights: the camera, and the cost of what each ray then misses."""
        units = _units(self.rig, self.cameras, self.index, free)
        camera, damping, misses = start, 1e-2, self.misses(start)
        for _ in range(8):
            steps = units * np.eye(len(units))
            slopes = np.stack([self.misses(stepped_camera(camera, step, free)) - misses for step in steps], 1)
            weighted = slopes / (1 + np.square(misses / (3 * _SCALE)))[:, None]
            normal, target = weighted.T @ slopes, -weighted.T @ misses
            diagonal = np.diag(normal)
            for _ in range(3):
                step = np.linalg.solve(normal + np.diag(damping * diagonal + 1e-3 * diagonal.max() + 1e-9), target)
                candidate = stepped_camera(camera, units * step, free)
                tried = self.misses(candidate)
                if _robust(tried) < _robust(misses):
                    break
                damping *= 10
            else:
                break
            small = _robust(tried) > 0.99 * _robust(misses)
            camera, misses, damping = candidate, tried, damping / 5
            if small:
                break
        return camera, _cost(misses) if self._is_plausible(camera) else np.full(len(misses), np.inf)

    def _is_plausible(self, camera: RigCamera) -> bool:
        given = self.cameras[self.index]
        distance = float(np.linalg.norm(given.centre - convergence(self.cameras)))
        stretched = abs(float(np.log(camera.K[0, 0] / given.K[0, 0])))
        return stretched < _PLAUSIBLE and float(np.linalg.norm(camera.centre - given.centre)) < _PLAUSIBLE * distance


def _robust(misses: Float64[np.ndarray, " n"]) -> float:
    return float(np.log1p(np.square(misses / (3 * _SCALE))).sum())


def _astray(rig: OutlineRig, cameras: Sequence[RigCamera], asked: Collection[int]) -> list[int]:
    """Cameras whose outline has next to nothing to do with most others, taken two by two."""
    apart = np.full((len(cameras), len(cameras)), np.nan)
    for i, j in combinations(rig.outlines, 2):
        pair = (rig.own == i) | (rig.own == j)
        misses = rig.misses(cameras, [k for k in rig.outlines if k not in (i, j)], pair)[pair]
        apart[i, j] = apart[j, i] = np.minimum(misses, _FAR).mean()
    astray: list[int] = []
    while True:
        apart[astray] = apart[:, astray] = np.nan
        left = [i for i in asked if i not in astray]
        worst = max(left, key=lambda i: float(np.nanmedian(apart[i])), default=None)
        if worst is None or not np.nanmedian(apart[worst]) > _ASTRAY:
            return astray
        astray.append(worst)


def _total(fit: tuple[RigCamera, Float64[np.ndarray, " n"]]) -> float:
    return float(fit[1].sum())


def _cost(misses: np.ndarray) -> Float64[np.ndarray, " n"]:
    return np.minimum(misses, _CAP).astype(float)


def _gains(
    rig: OutlineRig, cameras: Sequence[RigCamera], asked: Collection[int], without: Collection[int] = ()
) -> dict[int, float]:
    """By how much all misses together lessen when a camera is left out."""
    misses = rig.misses(cameras, without)
    gains = {}
    for i in asked:
        others = (misses > _MISS) & (rig.own != i)
        left_out = rig.misses(cameras, [*without, i], others)
        gains[i] = float((_cost(misses[others]) - _cost(left_out[others])).sum() + _cost(misses[rig.own == i]).sum())
    return gains


def _units(
    rig: OutlineRig, cameras: Sequence[RigCamera], index: int, free: Sequence[Freedom]
) -> Float64[np.ndarray, " k"]:
    """Steps of each parameter that move the outline by about a thousandth of the picture's longer side."""
    camera = cameras[index]
    angle = max(camera.width, camera.height) / UNITS / float(camera.K[0, 0])
    spread = float(np.linalg.norm(np.std(rig.outlines[index].rays(camera.K), axis=0)))
    distance = float(np.linalg.norm(camera.centre - convergence(cameras)))
    steps: dict[Freedom, np.ndarray] = {
        "rotation": np.full(3, angle) * [1, 1, 1 / spread],
        "centre": np.full(3, angle * distance),
        "focal": np.array([angle / spread]),
    }
    return np.concatenate([steps[name] for name in free])


def _aimed(rig: OutlineRig, cameras: Sequence[RigCamera], index: int, without: Collection[int]) -> RigCamera:
    """The camera turned so that the middle of its outline lies where the others have theirs."""
    axes, centres = [], []
    for i, outline in rig.outlines.items():
        axes.append(outline.rays(cameras[i].K).mean(0) @ cameras[i].cam_from_rig[:3, :3])
        centres.append(cameras[i].centre)
    axis = np.array(axes) / np.linalg.norm(axes, axis=1, keepdims=True)
    across = np.eye(3) - axis[:, :, None] * axis[:, None, :]
    others = [k for k, i in enumerate(rig.outlines) if i != index and i not in without]
    middle = np.linalg.solve(across[others].sum(0), np.einsum("nij,nj->i", across[others], np.array(centres)[others]))
    camera = cameras[index]
    towards = camera.cam_from_rig[:3, :3] @ (middle - camera.centre)
    seen = rig.outlines[index].rays(camera.K).mean(0)
    towards, seen = towards / np.linalg.norm(towards), seen / np.linalg.norm(seen)
    turn = np.cross(towards, seen)
    turn *= np.arctan2(np.linalg.norm(turn), towards @ seen) / max(float(np.linalg.norm(turn)), 1e-12)
    return stepped_camera(camera, turn, ("rotation",))


def _replacements(trial: _Trial) -> list[tuple[OutlineCause, int | None, RigCamera, Float64[np.ndarray, " n"]]]:
    """What the camera would be if it were another one, or read in another way."""
    camera = trial.cameras[trial.index]
    swaps = [
        (_SWAPPED, i, _in_place_of(camera, other), _cost(trial.misses_swapped(i)))
        for i, other in enumerate(trial.cameras)
        if i != trial.index and i in trial.rig.outlines
    ]
    read = [(k, reading.read(camera)) for k, reading in enumerate(READINGS)]
    return swaps + [(_READING, k, each, _cost(trial.misses(each))) for k, each in read]


def _in_place_of(camera: RigCamera, other: RigCamera) -> RigCamera:
    return replace(other, id=camera.id, width=camera.width, height=camera.height)


def _noticed(rig: OutlineRig, cameras: Sequence[RigCamera], index: int, total: float) -> float | None:
    """How far the camera must be turned, to whatever side, for all rays together to miss more than `total`."""
    trial, unit = _Trial(rig, cameras, index, ()), _units(rig, cameras, index, ("rotation",))
    sides = [unit * side for side in ((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0))]
    for amount in _NOTICED:
        turned = (stepped_camera(cameras[index], amount * side, ("rotation",)) for side in sides)
        if all(_cost(trial.misses(camera)).sum() > total for camera in turned):
            return amount
    return None


def _moved(rig: OutlineRig, cameras: Sequence[RigCamera], index: int, other: RigCamera) -> float:
    """How far the outline's points lie apart in the picture of a camera and of its correction."""
    camera = cameras[index]
    depth = float(np.linalg.norm(camera.centre - convergence(cameras)))
    local = depth * rig.outlines[index].rays(camera.K)
    world = (local - camera.cam_from_rig[:3, 3]) @ camera.cam_from_rig[:3, :3]
    pixels = []
    for each in (camera, other):
        seen = world @ each.cam_from_rig[:3, :3].T + each.cam_from_rig[:3, 3]
        seen[:, 2] = np.maximum(seen[:, 2], 1e-3 * depth)
        pixels.append((seen[:, :2] / seen[:, 2:]) @ each.K[:2, :2].T + each.K[:2, 2])
    apart = np.linalg.norm(pixels[0] - pixels[1], axis=1) * UNITS / max(camera.width, camera.height)
    return float(np.sqrt(np.square(np.minimum(apart, 10 * UNITS)).mean()))
