"""Grows beards, brows and lashes."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from headsup_cli.simulation.body.anatomy import HALF_EYE_DISTANCE_M, default_anatomy, smoothstep
from headsup_cli.simulation.body.appearance import Paint, beard_mask
from headsup_cli.simulation.drawing.strands import BEARD, BROW, LASH
from headsup_cli.simulation.hair.fibre_colours import fibre_colours
from headsup_cli.simulation.hair.guides import Flow, Lay, Tress, choose_guides, comb_guides, lay_along
from headsup_cli.simulation.hair.hair import Hair, beard_density
from headsup_cli.simulation.hair.roots import Body, Roots, sow
from headsup_cli.simulation.noise import noise_at


def grow_beard(hair: Hair, paint: Paint, body: Body, length_m: float, sample_m: float) -> list[Tress]:
    """A beard and a moustache; arguments as of `grow_hair`, and the length of the longest strands."""
    rng = np.random.default_rng([hair.seed, 3])
    if paint.beard_density < 0.05 or length_m < 0.002:
        return []
    anatomy, width = default_anatomy(), max(0.0004, sample_m)
    roots = sow(
        rng, "beard", 700_000 * min(1.0, 0.3 + 0.7 * paint.beard_density) * (0.0004 / width), body,
        lambda at: beard_density(hair, anatomy, at.rest), beard_mask(anatomy),
    )  # fmt: skip
    if len(roots) < 8:
        return []
    chosen = np.arange(0, len(roots), 10)
    at = roots[chosen]
    moustache = (at.rest[:, 1] > anatomy.mouth_y) & (np.abs(at.rest[:, 0]) < anatomy.mouth_half_width * 1.2)
    combs = _beard_combs(hair, at, moustache)
    lower = smoothstep(0.02, -0.05, at.rest[:, 1] - anatomy.mouth_y)
    lower *= smoothstep(0.075, 0.03, np.abs(at.rest[:, 0]))  # longest at the chin
    lengths = (np.minimum(length_m, 0.009) * (1 - lower) + length_m * lower) * rng.uniform(0.8, 1.1, len(at))
    lengths = np.where(moustache, np.minimum(lengths, 0.014), lengths)
    starts = combs + 1.2 * at.normals
    starts /= np.linalg.norm(starts, axis=1, keepdims=True)
    flow = Flow(
        hold_m=0.08, gravity=0.4, lift=0.7, lift_m=0.3 * length_m, rise_m=0.4 * length_m, cling=0.0,
        bend_m=max(0.4 * length_m, 0.002),
    )  # fmt: skip
    layers = length_m * rng.uniform(0.05, 0.5, len(at))
    guides = comb_guides(body.field, at.points, starts, combs, lengths, layers, np.full(len(at), -9.0), flow)
    choice = choose_guides(roots.points, at.points)
    lay = Lay(
        clump=0.2, clump_m=0.03, wave_m=0.08 * min(length_m, 0.02), period_m=0.018, helix=0.7, onset_m=0.01, loose=1.0,
        frizz=0.12, ragged=0.4,
    )  # fmt: skip
    nodes = lay_along(rng, body.field, guides, roots.points, choice, 5 if length_m < 0.012 else 9, lay)
    root_colours, tip_colours = fibre_colours(rng, paint, paint.natural, choice, roots.rest)
    widths = (width * rng.uniform(0.7, 1.2, len(nodes))).astype(np.float32)
    return [Tress(nodes, widths, root_colours, tip_colours, BEARD, max(0.5 * length_m, 0.003), 0.6, 0.7)]


def _beard_combs(hair: Hair, at: Roots, moustache: Bool[np.ndarray, " m"]) -> Float[np.ndarray, "m 3"]:
    """Down and a little outwards; moustaches to the sides."""
    combs = np.stack([0.35 * np.sign(at.rest[:, 0]), np.full(len(at), -1.0), np.full(len(at), 0.1)], -1)
    combs += 0.4 * noise_at(at.rest, 0.02, np.full(3, hair.seed % 61 / 2.0))[:, :3]
    combs[moustache] = np.stack([np.sign(at.rest[moustache, 0]), -0.8 + 0 * at.rest[moustache, 0]], -1) @ np.eye(2, 3)
    return combs


def grow_brows(hair: Hair, paint: Paint, body: Body, sample_m: float) -> list[Tress]:
    """Brows and lashes."""
    rng = np.random.default_rng([hair.seed, 4])
    tresses = []
    for kind, region, density, per_m2, length, width in (
        (BROW, "brow", lambda at: _brow_density(paint, at), 1_000_000, 0.0085, 0.00026),
        (LASH, "lash", lambda at: _lash_density(paint, at), 1_300_000 * paint.lashes, 0.0070, 0.00020),
    ):
        if kind == BROW and not hair.brow_strands:
            continue
        drawn = max(width, 0.7 * sample_m)
        roots = sow(rng, region, per_m2 * width / drawn, body, density, np.ones(len(body.vertices)))
        if len(roots) < 2:
            continue
        combs, lengths, rise = (_brow_shape if kind == BROW else _lash_shape)(rng, roots, length * body.scale)
        starts = combs + rise[:, None] * roots.normals
        starts /= np.linalg.norm(starts, axis=1, keepdims=True)
        s = np.linspace(0, 1, 5)[None, :, None] * lengths[:, None, None]
        bend = combs if kind == BROW else np.array([0, 1.0, 0]) * np.sign(combs[:, 1:2])
        nodes = roots.points[:, None] + s * starts[:, None] + 30 * s**2 * bend[:, None]
        root_colours, tip_colours = fibre_colours(rng, paint, paint.natural, np.arange(len(roots)), roots.rest)
        dark = 0.8 if kind == BROW else 0.35
        tresses.append(
            Tress(
                nodes.astype(np.float32), np.full(len(roots), drawn, np.float32), dark * root_colours,
                dark * tip_colours, kind, 0.002, 0.2, 0.8,
            )
        )  # fmt: skip
    return tresses


def _brow_density(paint: Paint, at: Roots) -> Float[np.ndarray, " n"]:
    """As `shading_kernels` paints brows: an arch over the eye that thins outwards."""
    along = (np.abs(at.rest[:, 0]) - 0.010) / 0.043
    arch = 0.0145 + paint.brow_lift + 0.0055 * np.sin(2.3 * along + 0.1) - 0.004 * along**2
    half = paint.brow_width * (1 - 0.65 * along)
    inside = 1 - np.abs(at.rest[:, 1] - arch) / (np.abs(half) + 1e-6)
    density = paint.brow_density * smoothstep(-0.2, 0.5, inside) * smoothstep(-0.02, 0.2, along)
    return density * (along < 1) * (at.rest[:, 2] > -0.03)


def _brow_shape(
    rng: np.random.Generator, at: Roots, length: float
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    along = np.clip((np.abs(at.rest[:, 0]) - 0.010) / 0.043, 0, 1)
    angle = np.interp(along, [0, 0.25, 0.6, 1.0], [1.35, 0.75, 0.25, -0.25]) + rng.normal(0, 0.15, len(at))
    combs = np.stack([np.sign(at.rest[:, 0]) * np.cos(angle), np.sin(angle), -0.5 * along], -1)
    return combs, length * rng.uniform(0.5, 1.0, len(at)), np.full(len(at), 0.15)


def _lash_density(paint: Paint, at: Roots) -> Float[np.ndarray, " n"]:
    """On the margins of the lids, where the skin meets the eyeball."""
    x = np.abs(at.rest[:, 0]) - HALF_EYE_DISTANCE_M
    orbit = np.sqrt(x**2 + at.rest[:, 1] ** 2 + at.rest[:, 2] ** 2)
    margin = np.abs(orbit - paint.eye_radius - 0.0009) < 0.0008
    return margin * (at.rest[:, 2] > 0.002) * np.where(at.rest[:, 1] > 0, 1.0, 0.45)


def _lash_shape(
    rng: np.random.Generator, at: Roots, length: float
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    x = at.rest[:, 0] - np.sign(at.rest[:, 0]) * HALF_EYE_DISTANCE_M
    upper = at.rest[:, 1] > 0
    combs = np.stack([18 * x, np.where(upper, 0.30, -0.45), np.full(len(at), 1.0)], -1)
    combs /= np.linalg.norm(combs, axis=1, keepdims=True)
    return combs, length * np.where(upper, 1.0, 0.45) * rng.uniform(0.6, 1.0, len(at)), np.zeros(len(at))
