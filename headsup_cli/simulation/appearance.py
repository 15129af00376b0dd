"""What simulated people are made of: skin, lips, brows, eyes, hair and cloth, as numbers that `shading` paints with."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32

from headsup_cli.simulation.anatomy import Anatomy, smoothstep

# Kinds of pattern.
PLAIN, CLOUDS, BLOTCHES, STRIPES, CHECKS, BLOCKS = range(6)

# Absorption of melanin and of blood in linear red, green and blue: fitted by eye to the range of human skin.
MELANIN = np.array([1.0, 1.36, 1.75], np.float32)
BLOOD = np.array([0.06, 1.0, 0.75], np.float32)
BARE_SKIN = np.array([0.80, 0.64, 0.53], np.float32)  # linear albedo without either


class Pattern(NamedTuple):
    """Two colours laid out in space."""

    kind: int
    amount: float  # 0 leaves what is beneath, 1 covers it
    cell_m: float
    first: Float32[np.ndarray, "3"]  # linear
    second: Float32[np.ndarray, "3"]
    axes: Float32[np.ndarray, "3 3"]  # rows: directions of the stripes and of the blocks' edges
    offset: Float32[np.ndarray, "3"]  # cells


class Paint(NamedTuple):
    """One person's colours; lengths in metres of rest space, colours linear."""

    melanin: float
    blood: float
    mottle: float
    freckles: float
    moles: float
    shine: float
    lip_blood: float
    lip_colour: Float32[np.ndarray, "3"]
    lipstick: float
    mouth_y: float
    mouth_half_width: float
    eye_radius: float
    iris: Float32[np.ndarray, "3"]
    pupil: float
    lashes: float
    brow_density: float
    brow_lift: float
    brow_width: float
    hair: Float32[np.ndarray, "3"]
    grey: float
    streaks: float
    beard_density: float
    teeth: Float32[np.ndarray, "3"]
    collar_y: float
    neckline: float  # depth of the V
    cloth: Pattern
    skin_pattern: Pattern
    hair_pattern: Pattern
    offset: Float32[np.ndarray, "3"]


_PATTERN_RECORD = np.dtype(
    [
        ("kind", "i8"),
        ("amount", "f4"),
        ("cell_m", "f4"),
        ("first", "f4", 3),
        ("second", "f4", 3),
        ("axes", "f4", (3, 3)),
        ("offset", "f4", 3),
    ]
)
_VECTORS = {"lip_colour": 3, "iris": 3, "hair": 3, "teeth": 3, "offset": 3}
_PAINT_RECORD = np.dtype(
    [
        (name, _PATTERN_RECORD if name == "cloth" or name.endswith("_pattern") else ("f4", _VECTORS.get(name, ())))
        for name in Paint._fields
    ]
)


def paint_record(paint: Paint) -> np.ndarray:
    """The paint as one numpy record, which compiled code reads without counting references."""
    return np.array([tuple(paint)], dtype=_PAINT_RECORD)


def sample_paint(
    rng: np.random.Generator, anatomy: Anatomy, gender: float, age: float, melanin: float, pattern_share: float
) -> Paint:
    """Draw a person's colours.

    Args:
        rng: Source of all randomness.
        anatomy: For the places of mouth and eyes.
        gender: 0 male, 1 female.
        age: 1/3 a child, 2/3 a young adult, 1 old.
        melanin: 0 very fair to 2 very dark.
        pattern_share: Chance that the skin bears a random pattern, as nobody's does: models learn more from it.
    """
    elder = float(np.interp(age, [0.72, 0.98], [0, 1]))
    male, adult = rng.random() > gender, age > 0.52
    patterned = rng.random() < pattern_share
    return Paint(
        melanin=melanin,
        blood=rng.uniform(0.08, 0.32),
        mottle=rng.uniform(0.3, 1.2) + 0.6 * elder,
        freckles=max(rng.normal(-0.4, 0.8), 0.0) * (melanin < 0.7) + 0.5 * elder * rng.random(),
        moles=float(rng.random()),
        shine=rng.uniform(0.01, 0.07),
        lip_blood=rng.uniform(0.15, 0.55),
        lip_colour=(np.array([0.45, 0.05, 0.07]) * rng.uniform(0.4, 1.4) + rng.uniform(0, 0.08, 3)).astype(np.float32),
        lipstick=rng.uniform(0.3, 0.9) if not male and adult and rng.random() < 0.4 else 0.0,
        mouth_y=anatomy.mouth_y,
        mouth_half_width=anatomy.mouth_half_width,
        eye_radius=anatomy.eye_radius,
        iris=_iris(rng, melanin),
        pupil=rng.uniform(0.14, 0.26),
        lashes=rng.uniform(0.2, 0.6) if male else rng.uniform(0.4, 1.0),
        brow_density=rng.uniform(0.35, 1.0) * (1 - 0.4 * elder),
        brow_lift=rng.normal(0, 0.002),
        brow_width=rng.uniform(0.003, 0.0062) * (1.1 if male else 0.85),
        hair=_hair_colour(rng, melanin),
        grey=float(np.clip(elder * rng.uniform(0.3, 1.4), 0, 1)),
        streaks=rng.uniform(0.35, 1.0),
        beard_density=rng.choice([0.0, rng.uniform(0.1, 0.4), rng.uniform(0.6, 1.0)]) if male and adult else 0.0,
        teeth=(np.array([0.78, 0.74, 0.64]) * rng.uniform(0.75, 1.0)).astype(np.float32),
        collar_y=rng.normal(-0.135, 0.018) if rng.random() < 0.85 else -1.0,
        neckline=max(rng.normal(0, 0.03), 0.0),
        cloth=sample_pattern(rng, rng.choice([PLAIN, PLAIN, CLOUDS, BLOTCHES, STRIPES, STRIPES, CHECKS, BLOCKS]), 1.0),
        skin_pattern=sample_pattern(rng, rng.integers(1, 6), rng.uniform(0.15, 1.0) if patterned else 0.0),
        hair_pattern=sample_pattern(
            rng, rng.integers(1, 6), rng.uniform(0.2, 1.0) if patterned and rng.random() < 0.5 else 0.0
        ),
        offset=rng.uniform(0, 32, 3).astype(np.float32),
    )


def sample_pattern(rng: np.random.Generator, kind: int | np.integer, amount: float) -> Pattern:
    """Draw the colours, the scale and the directions of a pattern."""
    colours = rng.uniform(0, 1, (2, 3)) ** 2.2
    grey = colours.mean(1, keepdims=True)
    colours = grey + (colours - grey) * rng.uniform(0.2, 1.0)
    axes = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    return Pattern(
        kind=int(kind),
        amount=float(amount),
        cell_m=float(np.exp(rng.uniform(np.log(0.004), np.log(0.06)))),
        first=(0.02 + 0.85 * colours[0]).astype(np.float32),
        second=(0.02 + 0.85 * colours[1]).astype(np.float32),
        axes=axes.astype(np.float32),
        offset=rng.uniform(0, 32, 3).astype(np.float32),
    )


def sample_melanin(rng: np.random.Generator, african: float, asian: float) -> float:
    """Draw skin darkness given the shares of ancestry; wide, as it is within every one of them."""
    return float(np.clip(rng.normal(0.22 + 1.15 * african + 0.18 * asian, 0.12 + 0.3 * african), 0.02, 1.95))


def _hair_colour(rng: np.random.Generator, melanin: float) -> Float32[np.ndarray, "3"]:
    """Eumelanin and pheomelanin absorb; fair hair goes with fair skin, dyed hair with anybody."""
    if rng.random() < 0.06:
        return (rng.uniform(0.02, 0.9, 3) ** 1.5).astype(np.float32)
    dark = rng.uniform(0.7, 1.0) if melanin > 0.6 or rng.random() < 0.5 else rng.uniform(0.05, 0.8)
    red = rng.beta(1, 4)
    absorption = dark * 3.6 * np.array([0.95, 1.12, 1.35]) + red * np.array([0.1, 0.9, 1.9])
    return (0.75 * np.exp(-absorption)).astype(np.float32)


def _iris(rng: np.random.Generator, melanin: float) -> Float32[np.ndarray, "3"]:
    brown, blue, green = np.array([0.16, 0.07, 0.03]), np.array([0.20, 0.33, 0.48]), np.array([0.22, 0.26, 0.12])
    if melanin > 0.5 or rng.random() < 0.45:
        colour = brown * rng.uniform(0.3, 1.5)
    else:
        share = rng.random()
        colour = (share * blue + (1 - share) * green) * rng.uniform(0.5, 1.2)
    return colour.astype(np.float32)


def beard_mask(anatomy: Anatomy) -> Float32[np.ndarray, " v"]:
    """Where a beard and a moustache grow on the template, 0 to 1."""
    x, y, z = np.abs(anatomy.rest[:, 0]), anatomy.rest[:, 1] - anatomy.mouth_y, anatomy.rest[:, 2]
    jaw = smoothstep(0.004, -0.012, y - 0.55 * np.clip(x - 0.025, 0, None) - 1.1 * np.clip(x - 0.052, 0, None))
    moustache = smoothstep(0.022, 0.014, y) * smoothstep(0.036, 0.026, x)
    above_neck = smoothstep(-0.075, -0.055, y + 0.35 * np.clip(-z, 0, None))
    front = smoothstep(-0.088, -0.070, z)
    return (np.maximum(jaw, moustache) * above_neck * front * (1 - anatomy.ear) * anatomy.skin).astype(np.float32)


def collar_height(rest: Float[np.ndarray, "n 3"], collar_y: float, neckline: float) -> Float[np.ndarray, " n"]:
    """Height over the neckline of points in rest space: cloth where negative. `shading` repeats it per pixel."""
    v = neckline * np.clip(1 - np.abs(rest[:, 0]) / 0.07, 0, 1) * (rest[:, 2] > -0.08)
    return rest[:, 1] - (collar_y - 0.45 * (rest[:, 2] + 0.085) - v)
