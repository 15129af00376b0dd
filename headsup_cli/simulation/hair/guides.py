"""Grows tresses: guides laid over the body, and strands along them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int

from headsup_cli.simulation.hair.body_field import BodyField
from headsup_cli.simulation.hair.growth_kernels import carry_across, grow_guides, lay_strands, nearest_guides

GUIDE_NODES = 40


class Flow(NamedTuple):
    """How guides run over the body; lengths in metres."""

    hold_m: float = 0.06  # combing holds over this length, then hair falls
    bend_m: float = 0.015  # length over which hair turns
    gravity: float = 1.0
    lift: float = 0.4  # how much roots stand up
    lift_m: float = 0.012  # over what length
    rise_m: float = 0.02  # over what length guides reach their layer
    cling: float = 0.5  # how much hair that stands off is drawn back to its layer
    pole_weight: float = 0.0  # combing away from (or, negative, towards) the pole
    pole: tuple[float, float, float] = (0.0, 0.0, 0.0)
    part: float = 0.0  # how strongly hair is drawn aside before the face
    parting_m: float = 0.0  # x that divides the roots drawn to either side
    face: tuple[float, float, float] = (1.0, 0.0, 0.0)  # half the face's width, its upper end (y), its depth (z)


class Lay(NamedTuple):
    """How strands lie along their guides; lengths in metres."""

    clump: float = 0.3  # 0 keeps the roots' spread, 1 ends in a point
    clump_m: float = 0.05  # over what length
    wave_m: float = 0.0  # amplitude
    period_m: float = 0.06
    helix: float = 0.0  # 0 waves, 1 coils
    onset_m: float = 0.04  # over what length waves set in
    loose: float = 0.2  # how far strands leave their lock's wave
    frizz: float = 0.03  # how far strands stray, per length
    ragged: float = 0.2  # share of the length by which the shortest fall short
    twist: float = 0.0  # of the lock, radians per metre


_FLOW_RECORD = np.dtype([(name, "f4", 3) if name in ("pole", "face") else (name, "f4") for name in Flow._fields])
_LAY_RECORD = np.dtype([(name, "f4") for name in Lay._fields])


@dataclass(frozen=True)
class Tress:
    """Strands of one kind with as many nodes each, in the head frame."""

    nodes: Float32[np.ndarray, "s n 3"]
    widths: Float32[np.ndarray, " s"]  # metres
    root_colours: Float32[np.ndarray, "s 3"]  # linear
    tip_colours: Float32[np.ndarray, "s 3"]
    kind: int  # of `strands`
    depth_m: float  # height over the skin at which strands lie in the open
    shade: float  # how dark those beneath are, 0..1
    taper: float  # share of the width lost at the tip


@dataclass(frozen=True)
class Guides:
    """Curves that strands follow."""

    paths: Float32[np.ndarray, "m g 3"]
    across: Float32[np.ndarray, "m g 3"]  # a unit vector across each, turned along without twist


def comb_guides(
    body: BodyField,
    roots: Float[np.ndarray, "m 3"],
    starts: Float[np.ndarray, "m 3"],
    combs: Float[np.ndarray, "m 3"],
    lengths_m: Float[np.ndarray, " m"],
    layers_m: Float[np.ndarray, " m"],
    floors_y: Float[np.ndarray, " m"],
    flow: Flow,
) -> Guides:
    """Let guides grow from their roots, combed, falling, and lying on the body.

    Args:
        body: What they lie on.
        roots: Where they start.
        starts: Directions at the roots.
        combs: Directions that they are combed to, shorter for less.
        lengths_m: Lengths.
        layers_m: Heights over the skin at which they lie.
        floors_y: Heights in the head frame at which they are cut.
        flow: How they run.
    """
    paths, across = (np.empty((len(roots), GUIDE_NODES, 3), np.float32) for _ in range(2))
    across[:, 0] = _across(starts, combs)
    grow_guides(
        *(_f32(values) for values in (roots, starts, combs, lengths_m, layers_m, floors_y)),
        np.array([tuple(flow)], _FLOW_RECORD), body.distance, body.origin, body.cell_m, paths, across,
    )  # fmt: skip
    return Guides(paths, across)


def given_guides(paths: Float[np.ndarray, "m g 3"]) -> Guides:
    """Guides along curves that are known already."""
    paths, across = _f32(paths), np.empty(paths.shape, np.float32)
    across[:, 0] = _across(paths[:, 1] - paths[:, 0], np.roll(paths[:, 1] - paths[:, 0], 1, axis=1))
    carry_across(paths, across)
    return Guides(paths, across)


def lay_along(
    rng: np.random.Generator,
    body: BodyField,
    guides: Guides,
    roots: Float[np.ndarray, "s 3"],
    choice: Int[np.ndarray, " s"],
    n_nodes: int,
    lay: Lay,
) -> Float32[np.ndarray, "s n 3"]:
    """Strands from `roots`, each along the guide of its choice."""
    nodes = np.empty((len(roots), n_nodes, 3), np.float32)
    chances = rng.random((len(roots), 6), np.float32)
    locks = rng.random((len(guides.paths), 3), np.float32)
    lay_strands(
        _f32(roots), choice.astype(np.int64), guides.paths, guides.across, chances, locks,
        np.array([tuple(lay)], _LAY_RECORD), body.distance, body.origin, body.cell_m, nodes,
    )  # fmt: skip
    return nodes


def choose_guides(
    roots: Float[np.ndarray, "s 3"],
    guide_roots: Float[np.ndarray, "m 3"],
    sides: Int[np.ndarray, " s"] | None = None,
    guide_sides: Int[np.ndarray, " m"] | None = None,
) -> Int[np.ndarray, " s"]:
    """The closest guide of each root, on its own side of the parting where sides are given."""
    sides = np.zeros(len(roots), np.int64) if sides is None else sides
    guide_sides = np.zeros(len(guide_roots), np.int64) if guide_sides is None else guide_sides
    choice = np.zeros(len(roots), np.int64)
    nearest_guides(_f32(roots), sides.astype(np.int64), _f32(guide_roots), guide_sides.astype(np.int64), choice)
    return choice


def _across(along: Float[np.ndarray, "m 3"], hint: Float[np.ndarray, "m 3"]) -> Float[np.ndarray, "m 3"]:
    """Unit vectors square to both."""
    across = np.cross(along, hint)
    weak = np.linalg.norm(across, axis=1) < 1e-5
    across[weak] = np.cross(along[weak], [0.3, 0.5, 0.81])
    return across / (np.linalg.norm(across, axis=1, keepdims=True) + 1e-12)


def _f32(values: Float[np.ndarray, "..."]) -> Float32[np.ndarray, "..."]:
    return np.ascontiguousarray(values, dtype=np.float32)
