"""Clips that come with headsup, as key frames of ARKit coefficients."""

from __future__ import annotations

import numpy as np

from headsup_cli.animation.curves import Curves
from headsup_cli.errors import InputError
from headsup_cli.template.arkit import ARKIT_NAMES

_Keys = list[tuple[float, dict[str, float]]]  # seconds, and the coefficients that are not 0 then
FPS = 60.0


def _both(name: str, weight: float) -> dict[str, float]:
    return {f"{name}Left": weight, f"{name}Right": weight}


_BLINK = _both("eyeBlink", 1.0)
_SMILE = _both("mouthSmile", 0.8) | _both("cheekSquint", 0.5) | _both("eyeSquint", 0.3)

# What the mouth does for the sounds of speech, after the fifteen visemes of the Oculus lip-sync reference.
VISEMES: dict[str, dict[str, float]] = {
    "sil": {},
    "PP": {"mouthClose": 0.05} | _both("mouthPress", 0.6) | {"mouthRollLower": 0.3, "mouthRollUpper": 0.3},
    "FF": {"mouthRollLower": 0.6, "jawOpen": 0.05} | _both("mouthUpperUp", 0.3),
    "TH": {"jawOpen": 0.15, "tongueOut": 0.35},
    "DD": {"jawOpen": 0.15} | _both("mouthLowerDown", 0.2),
    "kk": {"jawOpen": 0.2} | _both("mouthStretch", 0.15),
    "CH": {"mouthFunnel": 0.5, "jawOpen": 0.1},
    "SS": _both("mouthStretch", 0.3) | _both("mouthSmile", 0.15) | {"jawOpen": 0.03},
    "nn": {"jawOpen": 0.12},
    "RR": {"mouthFunnel": 0.3, "mouthPucker": 0.2, "jawOpen": 0.1},
    "aa": {"jawOpen": 0.6},
    "E": {"jawOpen": 0.3} | _both("mouthStretch", 0.3) | _both("mouthSmile", 0.2),
    "ih": {"jawOpen": 0.2} | _both("mouthSmile", 0.35),
    "oh": {"jawOpen": 0.4, "mouthFunnel": 0.6},
    "ou": {"jawOpen": 0.15, "mouthPucker": 0.8},
}


def _holding(poses: list[dict[str, float]], hold_s: float, move_s: float) -> _Keys:
    """From rest into each pose, held for a while, and back to rest."""
    keys: _Keys = [(0.0, {})]
    time = move_s
    for pose in [*poses, {}]:
        keys += [(time, pose), (time + hold_s, pose)]
        time += hold_s + move_s
    return keys


CLIPS: dict[str, _Keys] = {
    "blink": [(0, {}), (0.5, {}), (0.58, _BLINK), (0.64, _BLINK), (0.8, {}), (1.6, {}), (1.7, _BLINK), (2, {})],
    "smile": [(0, {}), (0.4, {}), (1.0, _SMILE), (2.2, _SMILE), (3.0, {})],
    "visemes": _holding(list(VISEMES.values())[1:], hold_s=0.12, move_s=0.13),
    "range-of-motion": [
        (index * 0.6 + at, {name: weight})
        for index, name in enumerate(ARKIT_NAMES)
        for at, weight in ((0.0, 0.0), (0.3, 1.0), (0.599, 0.0))
    ],
    "talk": _holding(
        [VISEMES[name] for name in ("aa", "PP", "E", "SS", "oh", "nn", "ih", "FF", "ou", "DD")], hold_s=0.06, move_s=0.1
    ),
}  # fmt: skip


def clip(name: str) -> Curves:
    """A clip by name, eased between its key frames.

    Raises:
        InputError: There is none of that name.
    """
    if name not in CLIPS:
        raise InputError("--clip", found=f"'{name}'", expected=f"one of {', '.join(CLIPS)}", remedy="name one of them")
    keys = CLIPS[name]
    times = np.array([time for time, _ in keys])
    values = np.array([[pose.get(shape, 0.0) for shape in ARKIT_NAMES] for _, pose in keys])
    frames = np.arange(int(times[-1] * FPS) + 1) / FPS
    after = np.clip(np.searchsorted(times, frames, side="right"), 1, len(times) - 1)
    share = np.clip((frames - times[after - 1]) / (times[after] - times[after - 1]), 0, 1)[:, None]
    eased = share * share * (3 - 2 * share)
    weights = values[after - 1] * (1 - eased) + values[after] * eased
    return Curves(frames, weights.astype(np.float32))
