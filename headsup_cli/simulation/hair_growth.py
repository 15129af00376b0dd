"""Grows a person's hair, beard, brows and lashes on posed vertices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from headsup_cli.simulation.anatomy import (
    AZIMUTHS,
    HALF_EYE_DISTANCE_M,
    MAX_POLAR_DEG,
    POLARS,
    SKIN,
    default_anatomy,
    polar_angles,
    smoothstep,
    vertex_normals,
)
from headsup_cli.simulation.appearance import Paint, beard_mask, paint_record
from headsup_cli.simulation.body_field import BodyField, Cover, body_field
from headsup_cli.simulation.hair import WHORL_DEG, Hair, beard_density, hairline_deg, scalp_density
from headsup_cli.simulation.hair_light_kernels import pattern_at
from headsup_cli.simulation.hair_styles import STYLES
from headsup_cli.simulation.noise import noise_at, noise_volume
from headsup_cli.simulation.strand_growth import (
    Flow,
    Guides,
    Lay,
    Tress,
    choose_guides,
    comb_guides,
    given_guides,
    lay_along,
)
from headsup_cli.simulation.strands import BEARD, BROW, LASH, SCALP
from headsup_cli.template.anny_source import AnnySource

HiddenDeg = Callable[[Float[np.ndarray, " n"]], Float[np.ndarray, " n"]]
WIDTH_M = 0.00045  # of a strand seen closely: it stands for several hairs
_FINE_CELL_M, _COARSE_CELL_M, _COARSE_SAMPLE_M = 0.010, 0.013, 0.0006  # small pictures make do with a coarser grid
_SCALP_M2 = 0.062  # area that `Style.strands` and `Style.locks` count for


@dataclass(frozen=True)
class Body:
    """A posed person to grow hair on, in the head frame."""

    vertices: Float32[np.ndarray, "v 3"]
    normals: Float32[np.ndarray, "v 3"]
    field: BodyField
    scale: float  # of the head against an adult's
    landmarks: dict[str, Float[np.ndarray, "3"]]

    def scalp_point(
        self, azimuth_deg: float, polar_deg: float
    ) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
        """A point of the skull and the outward direction there."""
        skull = default_anatomy().skull_points(self.vertices)
        point = skull[
            round((azimuth_deg + 180) / 360 * AZIMUTHS) % AZIMUTHS, round(polar_deg / MAX_POLAR_DEG * (POLARS - 1))
        ]
        outward = point - skull[:, : POLARS // 2].reshape(-1, 3).mean(0)
        return point, outward / np.linalg.norm(outward)


def measured_body(
    vertices: Float32[np.ndarray, "v 3"], clothes: Sequence[Cover] = (), sample_m: float = 0.0004
) -> Body:
    """The body of posed vertices of the template's topology, and the clothes that it wears; `sample_m` as below."""
    anatomy = default_anatomy()
    left, right = (vertices[eye].mean(0) for eye in anatomy.eye_vertices)
    normals = vertex_normals(vertices, anatomy.faces)
    return Body(
        vertices=vertices,
        normals=normals,
        field=body_field(vertices, normals, clothes, _FINE_CELL_M if sample_m < _COARSE_SAMPLE_M else _COARSE_CELL_M),
        scale=float(np.linalg.norm(left - right)) / 2 / HALF_EYE_DISTANCE_M,
        landmarks={name: vertices[index] for name, index in AnnySource.shared().mesh.landmarks.items()},
    )


@dataclass(frozen=True)
class Roots:
    """Places on the skin from which strands grow."""

    points: Float[np.ndarray, "n 3"]  # head frame
    normals: Float[np.ndarray, "n 3"]
    rest: Float[np.ndarray, "n 3"]
    azimuth_deg: Float[np.ndarray, " n"]
    polar_deg: Float[np.ndarray, " n"]

    def __getitem__(self, chosen: Int[np.ndarray, " m"] | Bool[np.ndarray, " n"]) -> Roots:
        return Roots(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    def __len__(self) -> int:
        return len(self.points)


def grow_hair(
    hair: Hair, paint: Paint, body: Body, sample_m: float, hidden_deg: HiddenDeg | None = None
) -> list[Tress]:
    """Grow all hair of the head: on the scalp, brows and lashes. Beards: `grow_beard`.

    Args:
        hair: What grows on the scalp.
        paint: Colours of hair; shape of brows and lashes.
        body: The posed person.
        sample_m: Width of a picture's sample at the head, metres: strands are no thinner, and fewer the wider they are.
        hidden_deg: Polar angle about the skull's centre, by azimuth, down to which headwear covers the scalp: no
            strand grows there, and those just below lie flat.
    """
    return [*_grow_scalp(hair, paint, body, sample_m, hidden_deg), *_grow_brows(hair, paint, body, sample_m)]


# --- roots


@cache
def _skin_faces(region: str) -> tuple[Int[np.ndarray, " f"], Float[np.ndarray, " f"]]:
    """Faces of a region of the skin and their areas in rest space."""
    anatomy = default_anatomy()
    corners = anatomy.rest[anatomy.faces]
    middle = corners.mean(1)
    _, polar = polar_angles(middle)
    x, y, z = np.abs(middle[:, 0]), middle[:, 1], middle[:, 2]
    inside = {
        "scalp": polar < 150,
        "beard": (z > -0.1) & (np.abs(y + 0.075) < 0.065),
        "brow": (z > -0.03) & (np.abs(y - 0.018) < 0.022) & (x < 0.065),
        "lash": (z > -0.01) & (np.hypot(x - HALF_EYE_DISTANCE_M, y) < 0.024),
    }[region]
    chosen = np.flatnonzero(inside & (anatomy.part == SKIN))
    sides = corners[chosen, 1:] - corners[chosen, :1]
    return chosen, np.linalg.norm(np.cross(sides[:, 0], sides[:, 1]), axis=1) / 2


def _sow(
    rng: np.random.Generator,
    region: str,
    per_m2: float,
    body: Body,
    density: Callable[[Roots], Float[np.ndarray, " n"]],
    weight: Float[np.ndarray, " v"],
) -> Roots:
    """Random roots, `per_m2` where `density` of a place and `weight`, blended between vertices, are 1."""
    anatomy = default_anatomy()
    faces, areas = _skin_faces(region)
    n = int(per_m2 * areas.sum())
    face = faces[np.searchsorted(np.cumsum(areas / areas.sum()), rng.random(n)).clip(max=len(faces) - 1)]
    first, second, keep = rng.random((3, n))
    first = np.sqrt(first)
    blend = np.stack([1 - first, first * (1 - second), first * second], -1)
    corners = anatomy.faces[face]
    rest, points, normals = (
        np.einsum("nk,nkd->nd", blend, values[corners]) for values in (anatomy.rest, body.vertices, body.normals)
    )
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-9
    roots = Roots(points, normals, rest, *polar_angles(rest))
    return roots[keep < density(roots) * (blend * weight[corners]).sum(1)]


def _spread_choice(roots: Roots, count: int) -> Int[np.ndarray, " m"]:
    """Indices of roots spread evenly over the scalp, `count` if it were whole: one in each of many equal cells."""
    side = np.degrees(np.sqrt(2 * np.pi * 1.6 / count))
    band = (roots.polar_deg / side).astype(int)
    around = np.maximum(np.round(360 * np.sin(np.radians((band + 0.5) * side)) / side), 1)
    cell = np.floor(
        ((roots.azimuth_deg + 180) / 360 + 0.381 * band) % 1 * around
    )  # bands are turned against each other
    return np.unique(band * 1000 + cell, return_index=True)[1]


# --- scalp


def _grow_scalp(hair: Hair, paint: Paint, body: Body, sample_m: float, hidden_deg: HiddenDeg | None) -> list[Tress]:
    style, rng = STYLES[hair.style], np.random.default_rng([hair.seed, 1])
    if style.strands == 0:
        return []
    width = max(WIDTH_M, 1.1 * sample_m)
    anatomy = default_anatomy()
    roots = _sow(
        rng, "scalp", style.strands / _SCALP_M2 * (WIDTH_M / width), body,
        lambda at: scalp_density(hair, at.azimuth_deg, at.polar_deg, at.rest), 1 - anatomy.ear,
    )  # fmt: skip
    below = np.full(len(roots), 180.0) if hidden_deg is None else roots.polar_deg - hidden_deg(roots.azimuth_deg)
    roots, below = roots[below > 0], below[below > 0]
    if len(roots) < 8:
        return []
    chosen = _spread_choice(roots, style.locks)
    sides = _sides(hair, body, roots)
    if style.combing in ("tie", "ties"):
        return _grow_tied(hair, paint, body, roots, chosen, width)
    guides = _comb_scalp(rng, hair, body, roots[chosen], below[chosen])
    choice = choose_guides(roots.points, roots.points[chosen], sides, sides[chosen])
    nodes = lay_along(rng, body.field, guides, roots.points, choice, style.nodes, _lay_of(hair, body))
    return [_coloured(rng, hair, paint, nodes, width, choice, roots.rest)]


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
    floors = np.full(len(at), -9.0)
    if np.isfinite(hair.level_m):
        floors[:] = (
            body.landmarks["chin"][1] - body.scale * hair.level_m + 0.05 * hair.ragged * rng.normal(size=len(at))
        )
    if hair.style == "fringe":
        brow = body.landmarks["brow_middle_left"][1] + body.scale * (0.006 + 0.004 * (hair.seed % 7))
        floors = np.where(_over_brow(at), brow + 0.004 * rng.normal(size=len(at)), floors)
    whorl, _ = body.scalp_point(180.0, WHORL_DEG)
    flow = Flow(
        hold_m=hair.hold_m * body.scale, gravity=style.gravity, lift=hair.lift, cling=style.cling,
        lift_m=0.2 if style.combing == "out" else 0.4 * min(hair.length_m, 0.03),
        rise_m=min(0.02, 0.4 * hair.length_m), bend_m=min(0.015, 0.5 * hair.length_m),
        pole_weight={"whorl": 1.0, "out": 0.05, "forward": 0.5}.get(style.combing, 0.0), pole=tuple(whorl),
    )  # fmt: skip
    starts = combs + 1e-3 - (combs * at.normals).sum(1, keepdims=True) * at.normals
    starts /= np.linalg.norm(starts, axis=1, keepdims=True)
    starts = at.normals * (0.25 + hair.lift) + starts
    starts /= np.linalg.norm(starts, axis=1, keepdims=True)
    return comb_guides(body.field, at.points, starts, combs, lengths, layers, floors, flow)


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


# --- tied hair


def _grow_tied(
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
            np.full(m, -9.0),
            flow,
        )
        choice = choose_guides(some.points, guide_roots.points)
        lay = Lay(clump=0.5, clump_m=0.10, wave_m=0.25 * hair.wave_m, frizz=0.012, ragged=0.0, onset_m=0.03)
        nodes = lay_along(rng, body.field, guides, some.points, choice, style.nodes, lay)
        tresses.append(_coloured(rng, hair, paint, nodes, width, choice, some.rest))
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
    return _coloured(rng, hair, paint, nodes, width, choice, nodes[:, 0])


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
        rng.uniform(0.008, 0.03, count), np.full(count, -9.0), flow,
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


# --- colour


def _coloured(
    rng: np.random.Generator,
    hair: Hair,
    paint: Paint,
    nodes: Float32[np.ndarray, "s n 3"],
    width: float,
    choice: Int[np.ndarray, " s"],
    rest: Float[np.ndarray, "s 3"],
) -> Tress:
    roots, tips = _fibre_colours(rng, paint, choice, rest)
    return Tress(
        nodes=nodes,
        widths=(width * rng.uniform(0.75, 1.25, len(nodes))).astype(np.float32),
        root_colours=roots,
        tip_colours=tips,
        kind=SCALP,
        depth_m=max(0.9 * hair.thickness_m, 0.003),
        shade=0.35 if hair.style == "shaved" else 0.75,
        taper=0.75,
    )


def _fibre_colours(
    rng: np.random.Generator, paint: Paint, choice: Int[np.ndarray, " s"], rest: Float[np.ndarray, "s 3"]
) -> tuple[Float32[np.ndarray, "s 3"], Float32[np.ndarray, "s 3"]]:
    """Colours at roots and tips: pigment absorbs (Beer and Lambert), more or less of it by strand and by lock.

    Each strand stands for several hairs, a share of which is grey and has none; temples go grey first. Sun bleaches
    tips.
    """
    n = len(choice)
    absorption = -np.log(np.clip(paint.hair, 1e-3, 0.75) / 0.75)
    amount = np.exp(rng.normal(0, 0.12, choice.max() + 1)[choice] + rng.normal(0, 0.10, n))[:, None]
    temple = np.clip((np.abs(rest[:, 0]) - 0.03) / 0.05, 0, 1)
    turned = paint.grey * (0.7 + 0.6 * temple)
    grey = np.clip(turned + rng.normal(0, 0.55, n) * np.sqrt(np.clip(turned * (1 - turned), 0, 1)), 0, 1)[:, None]
    white = grey * np.array([0.46, 0.45, 0.43])
    bleached = amount * (1 - rng.uniform(0.05, 0.25))
    roots, tips = (white + (1 - grey) * 0.75 * np.exp(-absorption * share) for share in (amount, bleached))
    if paint.hair_pattern.amount > 0:
        brightness = amount.mean() / amount
        roots, tips = (
            _patterned(paint, rest + shift, colours, brightness) for shift, colours in ((0.0, roots), (0.02, tips))
        )
    return roots.astype(np.float32), tips.astype(np.float32)


def _patterned(
    paint: Paint, at: Float[np.ndarray, "s 3"], colours: Float[np.ndarray, "s 3"], brightness: Float[np.ndarray, "s 1"]
) -> Float[np.ndarray, "s 3"]:
    """Colours under the random pattern that some people wear in their hair."""
    pattern = np.empty((len(at), 3), np.float32)
    pattern_at(paint_record(paint), noise_volume(), np.ascontiguousarray(at, dtype=np.float32), pattern)
    share = paint.hair_pattern.amount
    return colours * (1 - share) + share * pattern * np.clip(brightness, 0.6, 1.6)


# --- face


def grow_beard(hair: Hair, paint: Paint, body: Body, length_m: float, sample_m: float) -> list[Tress]:
    """A beard and a moustache; arguments as of `grow_hair`, and the length of the longest strands."""
    rng = np.random.default_rng([hair.seed, 3])
    if paint.beard_density < 0.05 or length_m < 0.002:
        return []
    anatomy, width = default_anatomy(), max(0.0004, sample_m)
    roots = _sow(
        rng, "beard", 700_000 * min(1.0, 0.3 + 0.7 * paint.beard_density) * (0.0004 / width), body,
        lambda at: beard_density(hair, anatomy, at.rest), beard_mask(anatomy),
    )  # fmt: skip
    if len(roots) < 8:
        return []
    chosen = np.arange(0, len(roots), 10)
    at = roots[chosen]
    combs = np.stack([0.35 * np.sign(at.rest[:, 0]), np.full(len(at), -1.0), np.full(len(at), 0.1)], -1)
    combs += 0.4 * noise_at(at.rest, 0.02, np.full(3, hair.seed % 61 / 2.0))[:, :3]
    moustache = (at.rest[:, 1] > anatomy.mouth_y) & (np.abs(at.rest[:, 0]) < anatomy.mouth_half_width * 1.2)
    combs[moustache] = np.stack([np.sign(at.rest[moustache, 0]), -0.8 + 0 * at.rest[moustache, 0]], -1) @ np.eye(2, 3)
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
    root_colours, tip_colours = _fibre_colours(rng, paint, choice, roots.rest)
    widths = (width * rng.uniform(0.7, 1.2, len(nodes))).astype(np.float32)
    return [Tress(nodes, widths, root_colours, tip_colours, BEARD, max(0.5 * length_m, 0.003), 0.6, 0.7)]


def _grow_brows(hair: Hair, paint: Paint, body: Body, sample_m: float) -> list[Tress]:
    """Brows and lashes."""
    rng = np.random.default_rng([hair.seed, 4])
    tresses = []
    for kind, region, density, per_m2, length, width in (
        (BROW, "brow", lambda at: _brow_density(paint, at), 800_000, 0.010, 0.00030),
        (LASH, "lash", lambda at: _lash_density(paint, at), 900_000 * paint.lashes, 0.0085, 0.00026),
    ):
        drawn = max(width, 0.7 * sample_m)
        roots = _sow(rng, region, per_m2 * width / drawn, body, density, np.ones(len(body.vertices)))
        if len(roots) < 2:
            continue
        combs, lengths, rise = (_brow_shape if kind == BROW else _lash_shape)(rng, roots, length * body.scale)
        starts = combs + rise[:, None] * roots.normals
        starts /= np.linalg.norm(starts, axis=1, keepdims=True)
        s = np.linspace(0, 1, 5)[None, :, None] * lengths[:, None, None]
        bend = combs if kind == BROW else np.array([0, 1.0, 0]) * np.sign(combs[:, 1:2])
        nodes = roots.points[:, None] + s * starts[:, None] + 30 * s**2 * bend[:, None]
        root_colours, tip_colours = _fibre_colours(rng, paint, np.arange(len(roots)), roots.rest)
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
    return combs, length * np.where(upper, 1.0, 0.55) * rng.uniform(0.6, 1.0, len(at)), np.zeros(len(at))
