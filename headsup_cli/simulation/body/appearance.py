"""What simulated people are made of: skin, lips, brows, eyes, hair and cloth, as numbers that `shading` paints with."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from headsup_cli.simulation.body.anatomy import Anatomy, smoothstep

# Kinds of pattern; those up to BLOCKS lie at random in space, the others as cloth is woven and printed.
PLAIN, CLOUDS, BLOTCHES, STRIPES, CHECKS, BLOCKS, BANDS, PLAID, DOTS, HEATHER, PRINT = range(11)
_CLOTH_KINDS = {PLAIN: 0.40, HEATHER: 0.16, BANDS: 0.15, PLAID: 0.10, DOTS: 0.04, PRINT: 0.12, BLOTCHES: 0.03}

# Absorption of melanin and of blood in linear red, green and blue: fitted by eye to the range of human skin.
MELANIN = np.array([1.0, 1.36, 1.75], np.float32)
BLOOD = np.array([0.05, 1.0, 0.75], np.float32)
_BARE_SKIN = np.array([0.82, 0.66, 0.545], np.float32)  # linear albedo without either


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
    bare: Float32[np.ndarray, "3"]  # albedo of skin with neither
    flush: float  # how much redder cheeks, nose and ears are
    mottle: float
    tired: float  # rings under the eyes
    pores: float
    freckles: float  # share of the places where one may be
    moles: float  # likewise
    shine: float
    wrinkles: float  # depth of those of old age, 0 to 1
    lip_blood: float
    lip_colour: Float32[np.ndarray, "3"]
    lipstick: float
    mouth_y: float
    mouth_half_width: float
    eye_radius: float
    iris: Float32[np.ndarray, "3"]
    collarette: float  # amber around the pupil
    pupil: float  # radians
    veins: float
    lashes: float
    brow_density: float
    brow_lift: float
    brow_width: float
    hair: Float32[np.ndarray, "3"]  # of the scalp, dyed or not
    natural: Float32[np.ndarray, "3"]  # of brows, lashes and beard
    grey: float
    beard_density: float
    teeth: Float32[np.ndarray, "3"]
    collar_y: float
    hem: float  # depth of the seam under the clothes' edge; 0 for none
    cloth_shine: float
    cloth: Pattern
    headwear: Pattern
    glasses: Float32[np.ndarray, "3"]
    lens: Float32[np.ndarray, "3"]  # share of light that passes
    metal: Float32[np.ndarray, "3"]  # of earrings
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
_PATTERNS = ("cloth", "headwear", "skin_pattern", "hair_pattern")
_VECTORS = ("bare", "lip_colour", "iris", "hair", "natural", "teeth", "glasses", "lens", "metal", "offset")
_PAINT_RECORD = np.dtype(
    [(name, _PATTERN_RECORD if name in _PATTERNS else ("f4", 3 if name in _VECTORS else ())) for name in Paint._fields]
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
        melanin: 0 very fair to 2.6 very dark.
        pattern_share: Chance that the skin bears a random pattern, as nobody's does: models learn more from it.
    """
    elder = float(np.interp(age, [0.72, 0.98], [0, 1]))
    male, adult = gender < 0.5, age > 0.56
    patterned = rng.random() < pattern_share
    yellow = rng.normal(0, 1)
    made_up = not male and adult and rng.random() < 0.4
    return Paint(
        melanin=melanin,
        blood=float(np.clip(rng.normal(0.15, 0.05), 0.06, 0.30)),
        bare=(_BARE_SKIN * np.exp(yellow * np.array([0.0, -0.01, -0.07]) + rng.normal(0, 0.02))).astype(np.float32),
        flush=rng.uniform(0.3, 1.5),
        mottle=rng.uniform(0.2, 0.9) + 0.5 * elder,
        tired=rng.uniform(0, 1.0) + 0.5 * elder,
        pores=rng.uniform(0.3, 1.0) * (1.0 if adult else 0.3) + 0.3 * elder,
        freckles=_freckles(rng, melanin, elder),
        moles=max(rng.normal(0.01, 0.02), 0.0) + 0.02 * elder,
        shine=0.008 * 10 ** rng.uniform(0, 1),
        wrinkles=elder * rng.spawn(1)[0].uniform(0.3, 1.0),
        lip_blood=rng.uniform(0.15, 0.45),
        lip_colour=(np.array([0.40, 0.05, 0.07]) * rng.uniform(0.4, 1.4) + rng.uniform(0, 0.08, 3)).astype(np.float32),
        lipstick=rng.uniform(0.2, 0.7) if made_up else 0.0,
        mouth_y=anatomy.mouth_y,
        mouth_half_width=anatomy.mouth_half_width,
        eye_radius=anatomy.eye_radius,
        iris=_iris(rng, melanin),
        collarette=rng.uniform(0, 0.6),
        pupil=rng.uniform(0.12, 0.22),
        veins=rng.uniform(0, 0.8) + 0.3 * elder,
        lashes=rng.uniform(0.3, 0.6) if male else rng.uniform(0.45, 0.95),
        brow_density=rng.uniform(0.4, 1.0) * (1 - 0.4 * elder),
        brow_lift=rng.normal(0.0015, 0.0035),
        brow_width=rng.uniform(0.003, 0.0062) * (1.1 if male else 0.85),
        **_hair_colours(rng, melanin),
        grey=float(np.clip(elder * rng.uniform(0.3, 1.4), 0, 1)),
        beard_density=rng.choice([0.0, rng.uniform(0.1, 0.4), rng.uniform(0.6, 1.0)], p=[0.5, 0.25, 0.25])
        * (male and adult),
        teeth=(np.array([0.72, 0.67, 0.57]) * rng.uniform(0.78, 1.0) * [1, 1, rng.uniform(0.85, 1.0)]).astype(
            np.float32
        ),
        collar_y=-1.0,
        hem=0.0,
        cloth_shine=rng.choice([0.004, 0.01, 0.03]),
        cloth=sample_cloth(rng),
        headwear=sample_cloth(rng),
        glasses=_frame_colour(rng),
        lens=np.full(3, rng.uniform(0.88, 0.96), np.float32),
        metal=(
            np.array([[0.80, 0.62, 0.28], [0.72, 0.72, 0.74], [0.80, 0.52, 0.42], [0.05, 0.05, 0.06]])[rng.integers(4)]
        ).astype(np.float32),
        skin_pattern=sample_pattern(rng, rng.integers(1, 6), rng.uniform(0.15, 1.0) if patterned else 0.0),
        hair_pattern=sample_pattern(
            rng, rng.integers(1, 6), rng.uniform(0.2, 1.0) if patterned and rng.random() < 0.5 else 0.0
        ),
        offset=rng.uniform(0, 32, 3).astype(np.float32),
    )


def _freckles(rng: np.random.Generator, melanin: float, elder: float) -> float:
    """One in three of the fair has some; the old have age spots."""
    many = rng.choice([0.0, rng.uniform(0, 0.3), rng.uniform(0.4, 1.0)], p=[0.65, 0.2, 0.15])
    return float(np.clip(max(0.9 - melanin, 0.0) * many, 0, 1) + 0.10 * elder * rng.random())


def _frame_colour(rng: np.random.Generator) -> Float32[np.ndarray, "3"]:
    """Of glasses: mostly black, metal or tortoise."""
    choices = np.array([[0.012] * 3, [0.02, 0.02, 0.025], [0.09, 0.035, 0.012], [0.45, 0.44, 0.43], [0.55, 0.40, 0.18]])
    colour = choices[rng.integers(5)] if rng.random() < 0.8 else rng.uniform(0.01, 0.6, 3)
    return np.asarray(colour, np.float32)


# Linear colours that clothes come in; the bright ones are rarer.
_MUTED = np.array([
    [0.012, 0.012, 0.014], [0.035, 0.036, 0.040], [0.10, 0.10, 0.105], [0.30, 0.30, 0.31], [0.78, 0.77, 0.74],
    [0.62, 0.56, 0.44], [0.36, 0.26, 0.15], [0.10, 0.05, 0.03], [0.012, 0.022, 0.075], [0.03, 0.07, 0.18],
    [0.16, 0.28, 0.45], [0.05, 0.075, 0.03], [0.13, 0.16, 0.07], [0.16, 0.02, 0.03], [0.35, 0.16, 0.14],
    [0.06, 0.12, 0.12], [0.45, 0.34, 0.36], [0.12, 0.08, 0.16],
])  # fmt: skip
_BRIGHT = np.array([
    [0.55, 0.03, 0.04], [0.80, 0.45, 0.03], [0.05, 0.30, 0.08], [0.02, 0.12, 0.55], [0.65, 0.20, 0.02],
    [0.60, 0.08, 0.28], [0.05, 0.42, 0.45],
])  # fmt: skip


def sample_cloth(rng: np.random.Generator, kinds: dict[int, float] | None = None) -> Pattern:
    """Draw a fabric: its weave or print in colours that people wear; `kinds`: chances by kind of pattern."""
    kinds = kinds or _CLOTH_KINDS
    chances = np.array(list(kinds.values()))
    kind = int(rng.choice(list(kinds), p=chances / chances.sum()))
    pair = []
    for _ in range(2):
        palette = _BRIGHT if rng.random() < 0.14 else _MUTED
        pair.append(palette[rng.integers(len(palette))] * np.exp(rng.normal(0, 0.15, 3)))
    if kind == HEATHER:
        pair[1] = pair[0] * rng.uniform(0.6, 0.85) + 0.02
    cell = {BANDS: (0.008, 0.05), PLAID: (0.014, 0.05), DOTS: (0.008, 0.022), HEATHER: (0.0012, 0.0025)}
    upright = np.eye(3)
    if kind == BANDS and rng.random() < 0.35:  # upright stripes
        upright = upright[[1, 0, 2]]
    return Pattern(
        kind=kind,
        amount=1.0,
        cell_m=float(np.exp(rng.uniform(*np.log(cell.get(kind, (0.012, 0.05)))))),
        first=np.clip(pair[0], 0.008, 0.85).astype(np.float32),
        second=np.clip(pair[1], 0.008, 0.85).astype(np.float32),
        axes=upright.astype(np.float32),
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
    return float(np.clip(rng.normal(0.16 + 1.6 * african + 0.20 * asian, 0.12 + 0.35 * african), 0.02, 2.6))


def _hair_colours(rng: np.random.Generator, melanin: float) -> dict[str, Float32[np.ndarray, "3"]]:
    """Colours of the scalp's hair, and of the hair that nobody dyes.

    Eumelanin and pheomelanin absorb; fair and red hair go with fair skin, dyed hair with anybody.
    """
    own = rng.spawn(1)[0]
    dyed = rng.uniform(0.02, 0.9, 3) ** 1.5 if rng.random() < 0.06 else None
    source = rng if dyed is None else own
    dark = source.uniform(0.82, 1.12) if melanin > 0.6 or source.random() < 0.5 else source.uniform(0.05, 0.85)
    red = source.beta(1, 4)
    if melanin < 0.45 and own.random() < 0.05:
        dark, red = own.uniform(0.1, 0.4), own.uniform(0.7, 1.2)
    absorption = dark * 3.4 * np.array([0.95, 1.30, 1.70]) + (0.12 + red) * np.array([0.1, 0.9, 1.9])
    natural = 0.006 + 0.74 * np.exp(-absorption)
    scalp = natural if dyed is None else dyed
    return {"hair": scalp.astype(np.float32), "natural": natural.astype(np.float32)}


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
