"""Whose hair grows how, and where on the scalp."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32

from headsup_cli.simulation.body.anatomy import Anatomy, smoothstep
from headsup_cli.simulation.hair.styles import STYLES, HairStyle
from headsup_cli.simulation.noise import noise_at

# The hairline: polar angle by azimuth, degrees, on either side of the head.
_HAIRLINE_AZIMUTH = np.array([0, 20, 40, 52, 64, 72, 80, 87, 96, 106, 116, 130, 150, 180.0])
_HAIRLINE_POLAR = np.array([56, 57, 62, 68, 80, 103, 117, 103, 97, 101, 115, 130, 138, 141.0])
BeardShape = Literal["full", "goatee", "moustache"]
BEARDS: tuple[BeardShape, ...] = ("full", "goatee", "moustache")
_STUBBLE_M = 0.002  # shorter hair is painted on the scalp
WHORL_DEG = 25.0  # polar angle of the whorl, at the back


@dataclass(frozen=True)
class Hair:
    """How one person's hair grows; lengths in metres on an adult's head."""

    style: HairStyle
    thickness_m: float  # of the layer over the scalp
    length_m: float  # of the longest strands
    sides: float  # length at the sides and the back, as a share
    level_m: float  # the cut's height below the chin; infinite for none
    wave_m: float  # amplitude of waves or curls
    period_m: float
    clump: float  # 0 even .. 1 locks that end in points
    frizz: float
    ragged: float
    lift: float  # how much roots stand up
    hold_m: float  # over what length combing holds
    tuck: float  # how far hair is drawn back behind the ears, 0 to 1
    parting_m: float  # x of the parting
    tie_deg: float  # polar angle at the back at which hair is tied
    recession_deg: float  # how far the hairline has moved up in front
    crown_loss_deg: float  # radius of the bare patch on the crown
    beard: BeardShape  # of the beard, where there is one
    seed: int
    brow_strands: bool = True  # or brows are painted on the skin alone

    @property
    def root_cover(self) -> float:
        """How much of the scalp the roots hide; all there is of hair too short for strands."""
        if not STYLES[self.style].strands:
            return 0.0
        return 0.75 if self.has_strands else float(np.interp(self.length_m, [0.0005, _STUBBLE_M], [0.35, 1.0]))

    @property
    def has_strands(self) -> bool:
        """Whether hair grows as strands on the scalp."""
        return STYLES[self.style].strands > 0 and self.length_m >= _STUBBLE_M


def sample_hair(rng: np.random.Generator, gender: float, age: float, african: float = 0.3, asian: float = 0.3) -> Hair:
    """Draw a hair-do.

    Args:
        rng: Source of all randomness.
        gender: 0 male, 1 female.
        age: 1/3 a child, 2/3 a young adult, 1 old.
        african: Share of ancestry: tight curls are likelier.
        asian: Share of ancestry: straight hair is likelier.
    """
    male = rng.random() > gender
    style = _sample_style(rng, male, age, african, asian)
    ranges = STYLES[style]
    kinky = style not in ("afro", "curly", "locs", "wavy", "bald") and rng.random() < 0.5 * african
    balding = male and age > 0.62 and rng.random() < 0.3 + 0.9 * (age - 0.62)
    side = rng.choice([-1.0, 1.0])
    return Hair(
        style=style,
        thickness_m=rng.uniform(*ranges.thickness_m),
        length_m=rng.uniform(*ranges.length_m),
        sides=rng.uniform(*ranges.sides),
        level_m=rng.uniform(*ranges.level_m) if ranges.level_m else np.inf,
        wave_m=rng.uniform(*ranges.wave_m) + (0.002 if kinky else 0.0),
        period_m=rng.uniform(*ranges.period_m) * (0.5 if kinky else 1.0),
        clump=rng.uniform(*ranges.clump),
        frizz=rng.uniform(*ranges.frizz) * (2.0 if kinky else 1.0),
        ragged=rng.uniform(*ranges.ragged),
        lift=rng.uniform(*ranges.lift),
        hold_m=rng.uniform(*ranges.hold_m),
        tuck=float(rng.random() < 0.3) * rng.uniform(0.6, 1.0),
        parting_m=side
        * (rng.uniform(0.02, 0.042) if style == "parted" or rng.random() < 0.5 else rng.uniform(0, 0.008)),
        tie_deg=rng.uniform(15, 55) if style == "bun" and rng.random() < 0.5 else rng.uniform(45, 95),
        recession_deg=rng.uniform(5, 26) if balding else rng.normal(0, 2.5),
        crown_loss_deg=rng.uniform(0, 30) if balding else 0.0,
        beard=BEARDS[rng.choice(len(BEARDS), p=[0.62, 0.26, 0.12])],
        seed=int(rng.integers(2**31)),
        brow_strands=bool(rng.spawn(1)[0].random() < 0.85),
    )


def shorn(rng: np.random.Generator, hair: Hair) -> Hair:
    """The head without a strand: bald, or with hair that is painted on it, as the brows are."""
    hair = replace(hair, style="bald", brow_strands=False)
    return hair if rng.random() < 0.45 else replace(hair, style="shaved", length_m=rng.uniform(0.0005, _STUBBLE_M))


def _sample_style(rng: np.random.Generator, male: bool, age: float, african: float, asian: float) -> HairStyle:
    child = float(np.interp(age, [0.45, 0.55], [1, 0]))
    old = float(np.interp(age, [0.75, 0.95], [0, 1]))
    names = list(STYLES)
    weights = np.array([s.weights[0 if male else 1] * (1 - child) + s.weights[2] * child for s in STYLES.values()])
    likelier = {"afro": 0.15 + 3 * african, "locs": 0.1 + 3 * african, "curly": (1 - asian) * (0.6 + african)}
    likelier |= {"wavy": 1.2 - 0.7 * asian, "spiky": 1 - 0.9 * old, "long": 1 - 0.6 * old, "fringe": 0.6 + asian}
    likelier |= {"pigtails": (1 - old) * (0.3 if male else 1.0), "braid": 1 - 0.7 * old, "parted": 1 + 0.6 * old}
    likelier |= {"ponytail": 1 - 0.5 * child * male, "swept": 1 + 0.4 * old}
    weights = weights * [max(likelier.get(name, 1.0), 0.0) for name in names]
    return names[rng.choice(len(names), p=weights / weights.sum())]


def hairline_deg(hair: Hair, azimuth_deg: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """Polar angle at which the scalp's hair ends, by azimuth."""
    away = np.abs((azimuth_deg + 180) % 360 - 180)
    front = smoothstep(75, 30, away) * (1 + 0.45 * np.exp(-(((away - 34) / 13) ** 2)))
    return np.interp(away, _HAIRLINE_AZIMUTH, _HAIRLINE_POLAR) - hair.recession_deg * front


def scalp_density(
    hair: Hair,
    azimuth_deg: Float[np.ndarray, " n"],
    polar_deg: Float[np.ndarray, " n"],
    rest: Float[np.ndarray, "n 3"],
) -> Float[np.ndarray, " n"]:
    """How densely hair grows at points of the scalp, 0 to 1: thinning out, unevenly, towards the hairline."""
    if hair.style == "bald":
        return np.zeros(len(azimuth_deg))
    offset = np.full(3, hair.seed % 997 / 31.0)
    uneven = 2.4 * noise_at(rest, 0.012, offset)[:, 0] + 1.6 * noise_at(rest, 0.004, offset)[:, 1]
    inside = hairline_deg(hair, azimuth_deg) - polar_deg + uneven
    density = smoothstep(-2.5, 6.0, inside) ** 1.5
    if hair.crown_loss_deg > 0:
        bare = hair.crown_loss_deg + uneven
        density = density * (0.04 + 0.96 * smoothstep(-5.0, 9.0, _from_whorl(azimuth_deg, polar_deg) - bare))
    return density


def beard_density(hair: Hair, anatomy: Anatomy, rest: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
    """How densely a beard of this shape grows at points within `appearance.beard_mask`, 0 to 1: not on the lips."""
    x, y = np.abs(rest[:, 0]), rest[:, 1] - anatomy.mouth_y
    along = np.clip(1 - (x / (1.05 * anatomy.mouth_half_width)) ** 2, 0, 1)
    on_lip = (y < 0.0105 * along + 0.0015) & (y > -0.0145 * along - 0.001) & (along > 0)
    cheek = smoothstep(0.0, 0.03, y) * smoothstep(0.034, 0.044, x) * smoothstep(0.066, 0.056, x)
    density = (1 - 0.85 * cheek) * (1 - 0.6 * smoothstep(-0.045, -0.07, y))
    if hair.beard == "goatee":
        density = density * smoothstep(0.036, 0.028, x - 0.2 * np.clip(-0.03 - y, 0, None))
    if hair.beard == "moustache":
        density = density * smoothstep(-0.001, 0.002, y) * smoothstep(0.036, 0.030, x)
    return density * ~on_lip


def _from_whorl(azimuth_deg: Float[np.ndarray, " n"], polar_deg: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    azimuth, polar, whorl = np.radians(azimuth_deg), np.radians(polar_deg), np.radians(WHORL_DEG)
    cosine = np.cos(polar) * np.cos(whorl) - np.sin(polar) * np.cos(azimuth) * np.sin(whorl)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def scalp_mask(hair: Hair, anatomy: Anatomy) -> Float32[np.ndarray, " v"]:
    """How much hair roots colour the template's skin, 0 to 1, within the strands' hairline, which hides its edge."""
    azimuth, polar = anatomy.scalp_azimuth_deg, anatomy.scalp_polar_deg
    inside = scalp_density(hair, azimuth, polar + 3.0, anatomy.rest)
    return (hair.root_cover * inside * (1 - anatomy.ear) * anatomy.skin).astype(np.float32)
