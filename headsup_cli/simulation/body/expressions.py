"""Faces people make, as ARKit coefficients."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

from headsup_cli.template.arkit import ARKIT_NAMES

# Each with both sides in one: a trailing * stands for Left and Right, a trailing ? for either of the two.
_EMOTIONS: tuple[dict[str, float], ...] = (
    {"mouthSmile*": 0.6, "cheekSquint*": 0.3},
    {"mouthSmile*": 0.9, "cheekSquint*": 0.6, "eyeSquint*": 0.3, "mouthUpperUp*": 0.2},
    {"mouthSmile*": 0.8, "jawOpen": 0.35, "mouthUpperUp*": 0.4, "cheekSquint*": 0.6, "eyeSquint*": 0.4},
    {"mouthSmile?": 0.6, "mouthDimple?": 0.5, "eyeSquint?": 0.3},  # contempt
    {"mouthFrown*": 0.8, "browInnerUp": 0.7, "mouthShrugLower": 0.4},
    {"mouthFrown*": 0.4, "browInnerUp": 0.9, "browDown*": 0.3, "eyeSquint*": 0.5, "mouthStretch*": 0.5},  # crying
    {"browInnerUp": 0.8, "browOuterUp*": 0.8, "eyeWide*": 0.8, "jawOpen": 0.5},
    {"browInnerUp": 0.9, "browDown*": 0.2, "eyeWide*": 0.9, "mouthStretch*": 0.7, "jawOpen": 0.2},  # fear
    {"browDown*": 0.9, "eyeSquint*": 0.4, "mouthPress*": 0.5, "noseSneer*": 0.3},
    {"browDown*": 0.8, "noseSneer*": 0.6, "mouthUpperUp*": 0.6, "mouthLowerDown*": 0.6, "jawOpen": 0.2},  # shouting
    {"noseSneer*": 0.9, "mouthUpperUp*": 0.5, "browDown*": 0.4, "cheekSquint*": 0.3},
    {"browOuterUp?": 0.8, "browDown?": 0.2, "mouthLeft": 0.25},  # doubt
    {"eyeSquint*": 0.8, "cheekSquint*": 0.7, "noseSneer*": 0.3, "mouthStretch*": 0.3},  # dazzled
    {"cheekPuff": 0.9, "mouthClose": 0.1},
    {"tongueOut": 0.9, "jawOpen": 0.5},
    {"mouthPucker": 0.9, "mouthFunnel": 0.2},
)
# Sounds as they look: vowels, lips closed, lip to teeth, tongue behind the teeth, rounded; and jaw and mouth pushed.
_VISEMES: tuple[dict[str, float], ...] = (
    {"jawOpen": 0.7},
    {"jawOpen": 0.5, "mouthLowerDown*": 0.4, "mouthUpperUp*": 0.2},
    {"jawOpen": 0.3, "mouthStretch*": 0.4},
    {"jawOpen": 0.2, "mouthSmile*": 0.3, "mouthStretch*": 0.3, "mouthLowerDown*": 0.3},
    {"mouthFunnel": 0.8, "jawOpen": 0.25},
    {"mouthPucker": 0.9},
    {"mouthPucker": 0.5, "mouthFunnel": 0.4, "jawOpen": 0.12},
    {"mouthPress*": 0.6, "mouthRollLower": 0.25, "mouthRollUpper": 0.25},
    {"mouthRollLower": 0.6, "mouthRollUpper": 0.6, "mouthPress*": 0.4},
    {"mouthRollLower": 0.5, "mouthUpperUp*": 0.35, "jawOpen": 0.08},
    {"mouthLowerDown*": 0.5, "mouthUpperUp*": 0.3, "jawOpen": 0.15},
    {"mouthFunnel": 0.5, "mouthUpperUp*": 0.3, "mouthLowerDown*": 0.4, "jawOpen": 0.08},
    {"jawOpen": 0.25, "tongueOut": 0.25, "mouthLowerDown*": 0.25},
    {"jawForward": 0.6},
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
            strength, side = rng.uniform(0.3, 1.1), str(rng.choice(["Left", "Right"]))
            for name, value in faces[rng.integers(len(faces))].items():
                for full, share in _sides(rng, name, side):
                    weights[full] = weights.get(full, 0.0) + strength * value * share
    across, up = rng.normal(0, 0.3, 2)  # positive: to the subject's left, up
    gaze = {"eyeLookOutLeft": across, "eyeLookInRight": across, "eyeLookInLeft": -across, "eyeLookOutRight": -across}
    gaze |= {f"eyeLook{way}{side}": sign * up for way, sign in (("Up", 1), ("Down", -1)) for side in ("Left", "Right")}
    weights |= gaze
    if rng.random() < 0.2:
        closing = rng.uniform(0.3, 1.0)
        blinking = str(rng.choice(_BLINKS)).split()
        weights |= dict.fromkeys(blinking, closing)
        for name in blinking:  # closing eyes are not wide
            weights.pop(name.replace("Blink", "Wide"), None)
    return {name: float(min(value, 1.0)) for name, value in weights.items() if value > 0.01}


def sample_shapes(rng: np.random.Generator) -> dict[str, float]:
    """Draw one to five of the 52 shapes, whichever they are, so that each is seen without its usual company.

    Every other time a shape comes with its like on the other side, at the same strength.

    Returns:
        Coefficients between 0.3 and 1 by ARKit name; what is not named is 0.
    """
    weights: dict[str, float] = {}
    for name in rng.choice(ARKIT_NAMES, rng.integers(1, 6), replace=False):
        strength, both = float(rng.uniform(0.3, 1.0)), rng.random() < 0.5
        weights[str(name)] = strength
        if both and (stem := name.removesuffix("Left").removesuffix("Right")) != name:
            weights |= {f"{stem}{side}": strength for side in ("Left", "Right")}
    return {name: weights[name] for name in ARKIT_NAMES if name in weights}


_BLINKS = (*["eyeBlinkLeft eyeBlinkRight"] * 4, "eyeBlinkLeft", "eyeBlinkRight")


def _sides(rng: np.random.Generator, name: str, side: str) -> list[tuple[str, float]]:
    if name.endswith("?"):
        return [(name[:-1] + side, 1.0)]
    if not name.endswith("*"):
        return [(name, 1.0)]
    tilt = float(rng.normal(0, 0.15))
    return [(name[:-1] + "Left", max(1 + tilt, 0.0)), (name[:-1] + "Right", max(1 - tilt, 0.0))]


def coefficients(expression: dict[str, float]) -> Float32[np.ndarray, "52"]:
    """An expression as a vector in ARKit's order."""
    return np.array([expression.get(name, 0.0) for name in ARKIT_NAMES], np.float32)
