"""Styles of hair as ranges of numbers, to be drawn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

HairStyle = Literal[
    "bald", "shaved", "short", "spiky", "swept", "parted", "fringe", "bob", "long", "wavy", "curly", "afro",
    "ponytail", "pigtails", "bun", "braid", "locs",
]  # fmt: skip
Range = tuple[float, float]
# Where hair is combed: away from the whorl, back, to the sides of the parting, forward over the brow, straight out, or
# to one or two ties.
Combing = Literal["whorl", "back", "parting", "forward", "out", "tie", "ties"]


@dataclass(frozen=True)
class Style:
    """What people with one style share; lengths in metres."""

    combing: Combing
    length_m: Range  # of the longest strands
    sides: Range = (1.0, 1.0)  # length at the sides and the back, as a share
    level_m: Range | None = None  # hair is cut level this far below the chin
    thickness_m: Range = (0.008, 0.02)  # of the layer over the scalp
    wave_m: Range = (0.0, 0.002)  # amplitude
    period_m: Range = (0.04, 0.09)
    helix: float = 0.0
    clump: Range = (0.15, 0.5)
    clump_m: float = 0.05
    frizz: Range = (0.01, 0.04)
    lift: Range = (0.3, 0.5)
    hold_m: Range = (0.05, 0.09)
    gravity: float = 1.0
    cling: float = 0.4
    ragged: Range = (0.05, 0.4)
    locks: int = 600  # guides on a whole scalp
    strands: int = 9000  # on a whole scalp, when seen closely
    nodes: int = 18
    twist: float = 0.0
    weights: tuple[float, float, float] = (0.0, 0.0, 0.0)  # how often: men, women, children


STYLES: dict[HairStyle, Style] = {
    "bald": Style("whorl", (0.0, 0.0), strands=0, weights=(9.0, 1.2, 0.0)),
    "shaved": Style(
        "whorl", (0.0005, 0.007), (0.5, 1.0), thickness_m=(0.003, 0.005), lift=(0.8, 1.1), gravity=0.0, cling=0.0,
        wave_m=(0.0, 0.0), clump=(0.0, 0.0), locks=500, strands=15000, nodes=3, weights=(17.0, 2.0, 8.0),
    ),
    "short": Style(
        "whorl", (0.022, 0.045), (0.3, 0.8), thickness_m=(0.007, 0.016), lift=(0.5, 0.9), hold_m=(0.1, 0.2),
        gravity=0.3, cling=0.2, clump=(0.3, 0.75), clump_m=0.02, locks=700, strands=12000, nodes=8,
        weights=(22.0, 4.0, 22.0),
    ),
    "spiky": Style(
        "forward", (0.03, 0.055), (0.25, 0.5), thickness_m=(0.012, 0.022), lift=(1.3, 2.2), hold_m=(0.1, 0.2),
        gravity=0.1, cling=0.05, clump=(0.75, 0.95), clump_m=0.02, locks=420, strands=11000, nodes=8,
        weights=(6.0, 1.0, 5.0),
    ),
    "swept": Style(
        "back", (0.05, 0.12), (0.35, 0.8), thickness_m=(0.014, 0.030), lift=(0.8, 1.3), hold_m=(0.15, 0.3),
        gravity=0.5, cling=0.5, locks=500, strands=10000, nodes=14, weights=(12.0, 4.0, 2.0),
    ),
    "parted": Style(
        "parting", (0.05, 0.10), (0.35, 0.7), thickness_m=(0.012, 0.026), lift=(0.6, 1.0), hold_m=(0.12, 0.2),
        gravity=0.6, locks=500, strands=10000, nodes=14, weights=(14.0, 4.0, 8.0),
    ),
    "fringe": Style(
        "forward", (0.20, 0.42), level_m=(-0.05, 0.2), thickness_m=(0.012, 0.022), hold_m=(0.05, 0.09),
        clump=(0.2, 0.5), locks=600, nodes=20, weights=(3.0, 9.0, 14.0),
    ),
    "bob": Style(
        "parting", (0.24, 0.34), level_m=(-0.02, 0.06), thickness_m=(0.014, 0.03), clump=(0.1, 0.45), locks=600,
        nodes=20, ragged=(0.0, 0.15), weights=(3.0, 14.0, 8.0),
    ),
    "long": Style(
        "parting", (0.4, 0.55), level_m=(0.08, 0.26), thickness_m=(0.012, 0.026), clump=(0.3, 0.7), locks=450,
        strands=6500, nodes=24, ragged=(0.1, 0.5), weights=(4.0, 17.0, 12.0),
    ),
    "wavy": Style(
        "parting", (0.34, 0.55), level_m=(0.02, 0.22), thickness_m=(0.018, 0.034), wave_m=(0.006, 0.013),
        period_m=(0.05, 0.10), helix=0.35, clump=(0.35, 0.7), locks=380, strands=6500, nodes=30, frizz=(0.03, 0.08),
        ragged=(0.2, 0.5), weights=(5.0, 15.0, 9.0),
    ),
    "curly": Style(
        "whorl", (0.10, 0.26), (0.7, 1.0), level_m=(-0.06, 0.12), thickness_m=(0.024, 0.045), wave_m=(0.006, 0.011),
        period_m=(0.022, 0.042), helix=1.0, clump=(0.5, 0.8), clump_m=0.03, locks=520, strands=8000, nodes=40,
        frizz=(0.03, 0.08), lift=(0.8, 1.6), hold_m=(0.04, 0.08), ragged=(0.2, 0.5), cling=0.2,
        weights=(8.0, 11.0, 8.0),
    ),
    "afro": Style(
        "out", (0.03, 0.085), (0.7, 1.0), thickness_m=(0.03, 0.05), wave_m=(0.003, 0.006), period_m=(0.010, 0.020),
        helix=1.0, clump=(0.1, 0.4), locks=1500, strands=10000, nodes=24, frizz=(0.05, 0.10), lift=(2.0, 2.5),
        hold_m=(0.2, 0.3), gravity=0.05, cling=0.0, ragged=(0.1, 0.3), weights=(7.0, 7.0, 6.0),
    ),
    "ponytail": Style(
        "tie", (0.18, 0.40), thickness_m=(0.003, 0.009), clump=(0.0, 0.2), lift=(0.2, 0.3), hold_m=(9.0, 9.0),
        gravity=0.0, cling=0.8, locks=500, strands=10000, nodes=12, ragged=(0.0, 0.05), weights=(2.0, 9.0, 8.0),
    ),
    "pigtails": Style(
        "ties", (0.10, 0.24), thickness_m=(0.003, 0.008), clump=(0.0, 0.2), lift=(0.2, 0.3), hold_m=(9.0, 9.0),
        gravity=0.0, cling=0.8, locks=500, strands=10000, nodes=12, ragged=(0.0, 0.05), weights=(0.0, 1.5, 9.0),
    ),
    "bun": Style(
        "tie", (0.025, 0.04), thickness_m=(0.003, 0.009), clump=(0.0, 0.2), lift=(0.2, 0.3), hold_m=(9.0, 9.0),
        gravity=0.0, cling=0.8, locks=500, strands=10000, nodes=12, ragged=(0.0, 0.05), weights=(3.0, 7.0, 4.0),
    ),
    "braid": Style(
        "tie", (0.20, 0.38), thickness_m=(0.003, 0.008), clump=(0.0, 0.2), lift=(0.2, 0.3), hold_m=(9.0, 9.0),
        gravity=0.0, cling=0.8, locks=500, strands=10000, nodes=12, ragged=(0.0, 0.05), weights=(1.0, 6.0, 6.0),
    ),
    "locs": Style(
        "parting", (0.16, 0.5), level_m=(-0.05, 0.2), thickness_m=(0.010, 0.024), wave_m=(0.001, 0.0025),
        period_m=(0.03, 0.06), helix=1.0, clump=(0.55, 0.7), clump_m=0.008, locks=130, strands=6000, nodes=30,
        lift=(1.0, 1.8), frizz=(0.0, 0.01), ragged=(0.0, 0.02), twist=120.0, weights=(5.0, 5.0, 3.0),
    ),
}  # fmt: skip
