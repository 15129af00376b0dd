"""Grows the hair of a person's head."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int

from headsup_cli.simulation.body.anatomy import default_anatomy, smoothstep
from headsup_cli.simulation.body.appearance import Paint
from headsup_cli.simulation.hair.facial_hair import grow_brows
from headsup_cli.simulation.hair.fibre_colours import coloured
from headsup_cli.simulation.hair.guides import Flow, Guides, Lay, Tress, choose_guides, comb_guides, lay_along
from headsup_cli.simulation.hair.hair import WHORL_DEG, Hair, hairline_deg, scalp_density
from headsup_cli.simulation.hair.roots import Body, Roots, sow, spread_choice
from headsup_cli.simulation.hair.styles import STYLES
from headsup_cli.simulation.hair.tied_hair import WIDTH_M, grow_tied
from headsup_cli.simulation.noise import noise_at

HiddenDeg = Callable[[Float[np.ndarray, " n"]], Float[np.ndarray, " n"]]
_SCALP_M2 = 0.062  # area that `Style.strands` and `Style.locks` count for


def grow_hair(
    hair: Hair,
    paint: Paint,
    body: Body,
    sample_m: float,
    hidden_deg: HiddenDeg | None = None,
    face: Body | None = None,
) -> list[Tress]:
    """Grow all hair of the head: on the scalp, brows and lashes. Beards: `grow_beard`.

    Args:
        hair: What grows on the scalp.
        paint: Colours of hair; shape of brows and lashes.
        body: The person.
        sample_m: Width of a picture's sample at the head, metres: strands are no thinner, and fewer the wider they are.
        hidden_deg: Polar angle about the skull's centre, by azimuth, down to which headwear covers the scalp: no
            strand grows there, and those just below lie flat.
        face: The same person in an expression, which brows and lashes follow; `body` where not given.
    """
    return [*_grow_scalp(hair, paint, body, sample_m, hidden_deg), *grow_brows(hair, paint, face or body, sample_m)]


def _grow_scalp(hair: Hair, paint: Paint, body: Body, sample_m: float, hidden_deg: HiddenDeg | None) -> list[Tress]:
    style, rng = STYLES[hair.style], np.random.default_rng([hair.seed, 1])
    if not hair.has_strands:
        return []
    width = max(WIDTH_M, 1.5 * sample_m)
    anatomy = default_anatomy()
    roots = sow(
        rng, "scalp", style.strands / _SCALP_M2 * (WIDTH_M / width), body,
        lambda at: scalp_density(hair, at.azimuth_deg, at.polar_deg, at.rest), 1 - anatomy.ear,
    )  # fmt: skip
    below = np.full(len(roots), 180.0) if hidden_deg is None else roots.polar_deg - hidden_deg(roots.azimuth_deg)
    roots, below = roots[below > 0], below[below > 0]
    if len(roots) < 8:
        return []
    chosen = spread_choice(roots, style.locks)
    sides = _sides(hair, body, roots)
    if style.combing in ("tie", "ties"):
        return grow_tied(hair, paint, body, roots, chosen, width)
    guides = _comb_scalp(rng, hair, body, roots[chosen], below[chosen])
    choice = choose_guides(roots.points, roots.points[chosen], sides, sides[chosen])
    nodes = lay_along(rng, body.field, guides, roots.points, choice, style.nodes, _lay_of(hair, body))
    return [coloured(rng, hair, paint, nodes, width, choice, roots.rest)]


def _sides(hair: Hair, body: Body, roots: Roots) -> Int[np.ndarray, " n"]:
    parted = (roots.points[:, 0] > hair.parting_m * body.scale) & (roots.polar_deg < 75)
    return np.where(STYLES[hair.style].combing == "parting", parted, False).astype(np.int64)


def _lay_of(hair: Hair, body: Body) -> Lay:
    style = STYLES[hair.style]
    return Lay(
        clump=hair.clump, clump_m=style.clump_m, wave_m=hair.wave_m, period_m=hair.period_m, helix=style.helix,
        onset_m=min(0.05, 0.5 * hair.length_m), loose=0.12 if style.helix else 0.35, frizz=hair.frizz,
        ragged=hair.ragged, twist=style.twist,
    )  # fmt: skip


def _comb_scalp(
    rng: np.random.Generator, hair: Hair, body: Body, at: Roots, below_hat_deg: Float[np.ndarray, " m"]
) -> Guides:
    """Guides of all styles but the tied ones."""
    style = STYLES[hair.style]
    combs = _comb_directions(rng, hair, body, at)
    edge = hairline_deg(hair, at.azimuth_deg) - at.polar_deg
    rooted = smoothstep(0, 26, edge)
    lower = smoothstep(32, 72, at.polar_deg) * smoothstep(20, 75, np.abs(at.azimuth_deg))
    lengths = body.scale * hair.length_m * (1 - lower * (1 - hair.sides)) * rng.uniform(0.88, 1.08, len(at))
    free = 0.5 if style.level_m is None else 0.9  # short hair gets shorter still towards the hairline
    lengths = lengths * (free + (1 - free) * rooted)
    layers = body.scale * hair.thickness_m * (0.3 + 0.7 * rooted) * rng.uniform(0.25, 1.0, len(at))
    layers *= 0.25 + 0.75 * smoothstep(0, 30, below_hat_deg)
    floors = _floors(rng, hair, body, at)
    starts, flow = _starts(hair, at, combs), _flow_of(hair, body)
    guides = comb_guides(body.field, at.points, starts, combs, lengths, layers, floors, flow)
    astray = _before_eyes(guides, body)  # what still falls over the face is cut above the brows
    if style.combing in ("parting", "back"):  # and single locks on the forehead are cut short
        loose = _on_forehead(guides, body)
        lengths, astray = np.where(loose, np.minimum(lengths, 0.03 * body.scale), lengths), astray | loose
    above = np.full(len(at), body.landmarks["brow_middle_left"][1] + 0.008 * body.scale + hair.wave_m)
    cut = comb_guides(
        body.field, at.points[astray], starts[astray], combs[astray], lengths[astray], layers[astray], above[astray],
        flow,
    )  # fmt: skip
    guides.paths[astray], guides.across[astray] = cut.paths, cut.across
    return guides


def _flow_of(hair: Hair, body: Body) -> Flow:
    style = STYLES[hair.style]
    whorl, _ = body.scalp_point(180.0, WHORL_DEG)
    return Flow(
        hold_m=hair.hold_m * body.scale, gravity=style.gravity, lift=hair.lift, cling=style.cling,
        lift_m=0.2 if style.combing == "out" else 0.4 * min(hair.length_m, 0.03),
        rise_m=min(0.02, 0.4 * hair.length_m), bend_m=min(0.015, 0.5 * hair.length_m),
        pole_weight={"whorl": 1.0, "out": 0.05, "forward": 0.5}.get(style.combing, 0.0), pole=tuple(whorl),
        part=0.0 if style.combing == "forward" else 3.0, parting_m=hair.parting_m * body.scale, face=_face(body),
    )  # fmt: skip


def _floors(rng: np.random.Generator, hair: Hair, body: Body, at: Roots) -> Float[np.ndarray, " m"]:
    """Heights at which hair is cut."""
    floors = body.bottom_y(at.rest[:, 2])
    if np.isfinite(hair.level_m):
        level = body.landmarks["chin"][1] - body.scale * hair.level_m
        floors = np.maximum(floors, level + 0.05 * hair.ragged * rng.normal(size=len(at)))
    if hair.style == "fringe":
        brow = body.landmarks["brow_middle_left"][1] + body.scale * (0.006 + 0.004 * (hair.seed % 7))
        return np.where(_over_brow(at), brow + 0.004 * rng.normal(size=len(at)), floors)
    return floors


def _starts(hair: Hair, at: Roots, combs: Float[np.ndarray, "m 3"]) -> Float[np.ndarray, "m 3"]:
    """Directions at the roots: combed, but standing up a little."""
    starts = combs + 1e-3 - (combs * at.normals).sum(1, keepdims=True) * at.normals
    starts /= np.linalg.norm(starts, axis=1, keepdims=True)
    starts = at.normals * (0.25 + hair.lift) + starts
    return starts / np.linalg.norm(starts, axis=1, keepdims=True)


def _face(body: Body) -> tuple[float, float, float]:
    """Half the width of the face, its height at the hairline, and the depth before which it lies."""
    eye, brow = body.landmarks["eye_outer_left"], body.landmarks["brow_middle_left"]
    return float(eye[0] + 0.014 * body.scale), float(brow[1] + 0.04 * body.scale), float(eye[2] - 0.012 * body.scale)


def _before_eyes(guides: Guides, body: Body) -> Bool[np.ndarray, " m"]:
    """Guides that pass before the eyes and the middle of the face."""
    x, y, z = np.moveaxis(guides.paths, -1, 0)
    half, _, depth = _face(body)
    return ((np.abs(x) < half - 0.006) & (y < body.landmarks["brow_middle_left"][1]) & (z > depth)).any(1)


def _on_forehead(guides: Guides, body: Body) -> Bool[np.ndarray, " m"]:
    """Guides that pass over the middle of the forehead."""
    x, y, z = np.moveaxis(guides.paths, -1, 0)
    half, top, depth = _face(body)
    return ((np.abs(x) < 0.85 * half) & (y < top - 0.004) & (z > depth)).any(1)


def _over_brow(at: Roots) -> Bool[np.ndarray, " n"]:
    return (np.abs(at.azimuth_deg) < 58 - 0.25 * (60 - at.polar_deg)) & (at.polar_deg < 70)


def _comb_directions(rng: np.random.Generator, hair: Hair, body: Body, at: Roots) -> Float[np.ndarray, "m 3"]:
    combing = STYLES[hair.style].combing
    whorl, _ = body.scalp_point(180.0, WHORL_DEG)
    away = at.points - whorl
    away /= np.linalg.norm(away, axis=1, keepdims=True) + 1e-6
    # Neighbours agree, but for a slow drift over the scalp.
    drift = 0.35 * noise_at(at.rest, 0.05, np.full(3, hair.seed % 89 / 3.0))[:, :3]
    side = np.where(at.points[:, 0] > hair.parting_m * body.scale, 1.0, -1.0)[:, None]
    behind = smoothstep(95, 140, np.abs(at.azimuth_deg))[:, None]
    if combing == "back":
        lateral = np.stack([0.10 * side[:, 0], np.full(len(at), -0.05), np.full(len(at), -1.0)], -1)
        return (1 - behind) * lateral + behind * np.array([0, -1.0, 0]) + drift
    if combing == "parting":
        front = smoothstep(80, 40, at.polar_deg)[:, None]
        lateral = side * [1.0, 0, 0] + [0, 0, -0.45 - 0.7 * hair.tuck] - front * [0, 0, 0.6]
        return (1 - behind) * lateral + behind * (0.5 * away + [0, -0.8, 0]) + drift
    if combing == "forward":
        brow = _over_brow(at)[:, None]
        return np.where(brow, [0.0, 0.0, 1.6] + 0.5 * side * [hair.seed % 3 - 1.0, 0, 0], 0.4 * away) + drift
    return 0.3 * away + drift
