"""Hair drawn tight to one tie or two: tails, plaits and buns."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from headsup_cli.simulation.body.appearance import Paint
from headsup_cli.simulation.hair.fibre_colours import coloured
from headsup_cli.simulation.hair.guides import (
    Flow,
    Guides,
    Lay,
    Tress,
    choose_guides,
    comb_guides,
    given_guides,
    lay_along,
)
from headsup_cli.simulation.hair.hair import Hair
from headsup_cli.simulation.hair.roots import Body, Roots
from headsup_cli.simulation.hair.styles import STYLES

WIDTH_M = 0.00045  # of a strand seen closely: it stands for several hairs


def grow_tied(
    hair: Hair, paint: Paint, body: Body, roots: Roots, chosen: Int[np.ndarray, " m"], width: float
) -> list[Tress]:
    """Hair drawn tight to one tie or two, and what hangs from there."""
    style, tresses = STYLES[hair.style], []
    azimuths = (180.0,) if style.combing == "tie" else (112.0, -112.0)
    for number, azimuth in enumerate(azimuths):
        rng = np.random.default_rng([hair.seed, 2, number])
        ours = np.ones(len(roots), bool) if len(azimuths) == 1 else (roots.points[:, 0] > 0) == (azimuth > 0)
        some, guide_roots = roots[ours], roots[chosen[ours[chosen]]]
        point, outward = body.scalp_point(azimuth, hair.tie_deg)
        tie = point + outward * (0.012 * body.scale)
        flow = Flow(
            hold_m=9.0, gravity=0.0, lift=0.25, lift_m=0.006, cling=0.8, pole_weight=-1.5, pole=tuple(tie), bend_m=0.012
        )
        m = len(guide_roots)
        distance = np.linalg.norm(guide_roots.points - tie, axis=1)
        starts = (tie - guide_roots.points) / distance[:, None] + 0.6 * guide_roots.normals
        starts /= np.linalg.norm(starts, axis=1, keepdims=True)
        layers = body.scale * hair.thickness_m * rng.uniform(0.3, 1.0, m)
        guides = comb_guides(
            body.field,
            guide_roots.points,
            starts,
            np.zeros((m, 3)),
            1.7 * distance + 0.01,
            layers,
            body.bottom_y(guide_roots.rest[:, 2]),
            flow,
        )
        choice = choose_guides(some.points, guide_roots.points)
        lay = Lay(clump=0.5, clump_m=0.10, wave_m=0.25 * hair.wave_m, frizz=0.012, ragged=0.0, onset_m=0.03)
        nodes = lay_along(rng, body.field, guides, some.points, choice, style.nodes, lay)
        tresses.append(coloured(rng, hair, paint, nodes, width, choice, some.rest))
        tresses.append(_hanging(rng, hair, paint, body, tie, outward, width, len(azimuths)))
    return tresses


def _hanging(
    rng: np.random.Generator,
    hair: Hair,
    paint: Paint,
    body: Body,
    tie: Float[np.ndarray, "3"],
    outward: Float[np.ndarray, "3"],
    width: float,
    ties: int,
) -> Tress:
    """A tail, a plait or a bun."""
    length, count = hair.length_m * body.scale, int(2600 / ties * WIDTH_M / width)
    if hair.style == "bun":
        guides = given_guides(_bun_paths(rng, tie, outward, length))
        lay, spread = Lay(clump=0.0, frizz=0.015, ragged=0.0), 0.0035
    elif hair.style == "braid":
        core = _tail(rng, hair, body, tie, outward, 1, 0.0, length)
        guides = given_guides(_plait_paths(core.paths[0], 0.011 * body.scale))
        lay, spread = Lay(clump=0.0, frizz=0.01, ragged=0.06), 0.008
    else:
        guides = _tail(rng, hair, body, tie, outward, 48, 0.010 * body.scale / ties**0.5, length)
        lay = Lay(clump=0.25, wave_m=hair.wave_m, period_m=2 * hair.period_m, frizz=0.03, ragged=0.35, loose=0.5)
        spread = 0.006
    choice = rng.integers(len(guides.paths), size=count)
    away = rng.normal(size=(count, 3))
    away *= (spread * rng.random(count) ** 0.5 / np.linalg.norm(away, axis=1))[:, None]
    nodes = lay_along(rng, body.field, guides, guides.paths[choice, 0] + away, choice, 26, lay)
    return coloured(rng, hair, paint, nodes, width, choice, nodes[:, 0])


def _tail(
    rng: np.random.Generator,
    hair: Hair,
    body: Body,
    tie: Float[np.ndarray, "3"],
    outward: Float[np.ndarray, "3"],
    count: int,
    radius_m: float,
    length: float,
) -> Guides:
    """Guides that leave the tie outward and fall over the neck and the back."""
    away = rng.normal(size=(count, 3))
    away -= (away @ outward)[:, None] * outward
    away *= (radius_m * np.sqrt(rng.random(count)) / (np.linalg.norm(away, axis=1) + 1e-9))[:, None]
    start = outward + np.array([0, 0.35, 0])
    starts = start / np.linalg.norm(start) + 12 * away
    starts /= np.linalg.norm(starts, axis=1, keepdims=True)
    flow = Flow(hold_m=0.03, bend_m=0.035, gravity=1.0, lift=0.0, cling=0.0, rise_m=0.05)
    return comb_guides(
        body.field, tie + away, starts, 0.6 * outward + 20 * away, length * rng.uniform(0.8, 1.0, count),
        rng.uniform(0.008, 0.03, count), body.bottom_y(np.full(count, -0.16)), flow,
    )  # fmt: skip


def _plait_paths(core: Float[np.ndarray, "g 3"], amplitude: float) -> Float[np.ndarray, "3 n 3"]:
    """Three strands laid over one another along a curve."""
    at = np.linspace(0, len(core) - 1, 96)
    core = np.stack([np.interp(at, np.arange(len(core)), core[:, axis]) for axis in range(3)], -1)
    along = np.gradient(core, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-9
    aside = np.cross(along, np.cross([1.0, 0, 0], along))
    aside /= np.linalg.norm(aside, axis=1, keepdims=True) + 1e-9
    over = np.cross(aside, along)
    s = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(core, axis=0), axis=1))])
    size = amplitude * np.minimum(1, 0.35 + s / 0.03) * (1 - 0.45 * (s / s[-1]) ** 2)
    paths = []
    for strand in range(3):
        phase = 2 * np.pi * (s / (4.6 * amplitude) + strand / 3)
        paths.append(core + (size * np.sin(phase))[:, None] * aside + (0.55 * size * np.sin(2 * phase))[:, None] * over)
    return np.stack(paths)


def _bun_paths(
    rng: np.random.Generator, tie: Float[np.ndarray, "3"], outward: Float[np.ndarray, "3"], radius: float
) -> Float[np.ndarray, "m 48 3"]:
    """Coils wound round a flattened ball."""
    count, t = 220, np.linspace(0, 1, 48)[None]
    axis = outward + 0.55 * rng.normal(size=(count, 3))  # each coil is tilted its own way, so that none leave a hole
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    right = np.cross(axis, [0.3, 1.0, 0.1])
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    up = np.cross(right, axis)
    turn = rng.uniform(0, 2 * np.pi, (count, 1)) + rng.uniform(2.0, 4.0, (count, 1)) * t
    height = np.clip(rng.uniform(-0.7, 0.7, (count, 1)) + 0.25 * (t - 0.5), -0.95, 0.95)
    ball = radius * rng.uniform(0.84, 1.0, (count, 1))
    ring = ball * np.sqrt(1 - height**2)
    coils = (
        (ring * np.cos(turn))[..., None] * right[:, None]
        + (ring * np.sin(turn))[..., None] * up[:, None]
        + (ball * height)[..., None] * axis[:, None]
    )
    return tie + 0.5 * radius * outward + coils - 0.2 * (coils @ outward)[..., None] * outward
