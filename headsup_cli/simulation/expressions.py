"""Faces people make, as ARKit coefficients."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

from headsup_cli.template.arkit import ARKIT_NAMES

# Each with both sides in one: a trailing * stands for Left and Right.
_EMOTIONS: tuple[dict[str, float], ...] = (
    {"mouthSmile*": 0.9, "cheekSquint*": 0.6, "eyeSquint*": 0.3, "mouthUpperUp*": 0.2},
    {"mouthSmile*": 0.8, "jawOpen": 0.35, "mouthUpperUp*": 0.4, "cheekSquint*": 0.6},
    {"mouthFrown*": 0.8, "browInnerUp": 0.7, "mouthShrugLower": 0.4},
    {"browInnerUp": 0.8, "browOuterUp*": 0.8, "eyeWide*": 0.8, "jawOpen": 0.5},
    {"browDown*": 0.9, "eyeSquint*": 0.4, "mouthPress*": 0.5, "noseSneer*": 0.3},
    {"noseSneer*": 0.9, "mouthUpperUp*": 0.5, "browDown*": 0.4, "cheekSquint*": 0.3},
    {"cheekPuff": 0.9, "mouthClose": 0.1},
    {"tongueOut": 0.9, "jawOpen": 0.5},
)
_VISEMES: tuple[dict[str, float], ...] = (
    {"jawOpen": 0.7},
    {"jawOpen": 0.3, "mouthStretch*": 0.4},
    {"mouthFunnel": 0.8, "jawOpen": 0.25},
    {"mouthPucker": 0.9},
    {"mouthRollLower": 0.6, "mouthRollUpper": 0.6, "mouthPress*": 0.4},
    {"mouthLowerDown*": 0.5, "mouthUpperUp*": 0.3, "jawOpen": 0.15},
    {"jawLeft": 0.6},
    {"jawRight": 0.6},
    {"mouthLeft": 0.6},
    {"mouthRight": 0.6},
)


def sample_expression(rng: np.random.Generator) -> dict[str, float]:
    """Draw a plausible expression: an emotion or a sound or both, a gaze, now and then a blink, a little asymmetry.

    Returns:
        Coefficients in (0, 1] by ARKit name; what is not named is 0.
    """
    weights: dict[str, float] = {}
    for faces, chance in ((_EMOTIONS, 0.6), (_VISEMES, 0.6)):
        if rng.random() < chance:
            strength = rng.uniform(0.3, 1.1)
            for name, value in faces[rng.integers(len(faces))].items():
                for full, share in _sides(rng, name):
                    weights[full] = weights.get(full, 0.0) + strength * value * share
    across, up = rng.normal(0, 0.3, 2)  # positive: to the subject's left, up
    gaze = {"eyeLookOutLeft": across, "eyeLookInRight": across, "eyeLookInLeft": -across, "eyeLookOutRight": -across}
    gaze |= {f"eyeLook{way}{side}": sign * up for way, sign in (("Up", 1), ("Down", -1)) for side in ("Left", "Right")}
    weights |= gaze
    if rng.random() < 0.2:
        closing = rng.uniform(0.3, 1.0)
        weights |= dict.fromkeys(rng.choice(_BLINKS).split(), closing)
    return {name: float(min(value, 1.0)) for name, value in weights.items() if value > 0.01}


_BLINKS = ("eyeBlinkLeft eyeBlinkRight", "eyeBlinkLeft eyeBlinkRight", "eyeBlinkLeft", "eyeBlinkRight")


def _sides(rng: np.random.Generator, name: str) -> list[tuple[str, float]]:
    if not name.endswith("*"):
        return [(name, 1.0)]
    tilt = float(rng.normal(0, 0.15))
    return [(name[:-1] + "Left", max(1 + tilt, 0.0)), (name[:-1] + "Right", max(1 - tilt, 0.0))]


def coefficients(expression: dict[str, float]) -> Float32[np.ndarray, "52"]:
    """An expression as a vector in ARKit's order."""
    return np.array([expression.get(name, 0.0) for name in ARKIT_NAMES], np.float32)
