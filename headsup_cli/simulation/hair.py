"""Hair as shells: grids that follow the scalp and then fall, with noise, ragged tips and gaps between locks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32, Int

from headsup_cli.simulation.anatomy import AZIMUTHS, MAX_POLAR_DEG, POLARS, Anatomy, smoothstep
from headsup_cli.simulation.noise import noise_at

HairStyle = Literal["bald", "shaved", "short", "swept", "bob", "long", "curly", "afro", "ponytail", "bun", "fringe"]
STYLES: tuple[HairStyle, ...] = (
    "bald", "shaved", "short", "swept", "bob", "long", "curly", "afro", "ponytail", "bun", "fringe",
)  # fmt: skip

# The hairline: polar angle by azimuth, degrees, on either side of the head.
_HAIRLINE_AZIMUTH = np.array([0, 20, 40, 52, 64, 74, 84, 96, 110, 125, 145, 180.0])
_HAIRLINE_POLAR = np.array([56, 57, 62, 68, 80, 98, 106, 92, 90, 108, 124, 131.0])

_COLUMNS, _SCALP_ROWS, _FALL_ROWS = 90, 13, 11
_STRAND_M_PER_RADIAN = 0.09  # arc length across strands, for the streaks


@dataclass(frozen=True)
class Hair:
    """How one person's hair grows; lengths in metres."""

    style: HairStyle
    thickness_m: float  # of the layer over the scalp
    fall_m: float  # length below the hairline at the back and the sides; 0 ends there
    fringe_m: float  # length over the forehead
    open_deg: float  # azimuth from which hair falls beside the face
    curl: float  # 0 straight .. 1
    recession_deg: float  # how far the hairline has moved up in front
    crown_loss_deg: float  # radius of the bare patch on the crown
    raggedness: float  # 0 cut straight .. 1
    parting_m: float  # x of the parting
    layers: int
    offset: Float[np.ndarray, "3"]  # into the noise


@dataclass(frozen=True)
class HairMesh:
    """A mesh in the frame of the vertices it was grown on."""

    vertices: Float32[np.ndarray, "n 3"]
    faces: Int[np.ndarray, "m 3"]
    strand: Float32[np.ndarray, "n 3"]  # metres across and along the strands, and the layer: where streaks are painted


# style: thickness range, fall range, fringe range, curl range
_RANGES: dict[HairStyle, tuple[tuple[float, float], ...]] = {
    "short": ((0.006, 0.018), (0.0, 0.0), (0.0, 0.012), (0.0, 0.5)),
    "swept": ((0.012, 0.032), (0.0, 0.012), (0.0, 0.0), (0.0, 0.4)),
    "bob": ((0.014, 0.030), (0.04, 0.13), (0.0, 0.0), (0.0, 0.5)),
    "long": ((0.012, 0.028), (0.15, 0.34), (0.0, 0.0), (0.0, 0.6)),
    "curly": ((0.018, 0.040), (0.0, 0.16), (0.0, 0.02), (0.7, 1.0)),
    "afro": ((0.030, 0.075), (0.0, 0.0), (0.0, 0.0), (0.6, 1.0)),
    "ponytail": ((0.004, 0.012), (0.0, 0.0), (0.0, 0.0), (0.0, 0.2)),
    "bun": ((0.004, 0.012), (0.0, 0.0), (0.0, 0.0), (0.0, 0.2)),
    "fringe": ((0.012, 0.026), (0.0, 0.30), (0.02, 0.045), (0.0, 0.3)),
}


def sample_hair(rng: np.random.Generator, gender: float, age: float) -> Hair:
    """Draw a hair-do; `gender` 0 is male, `age` 1/3 a child, 2/3 a young adult, 1 old."""
    male = rng.random() > gender
    weights = np.array(
        [0.07, 0.16, 0.26, 0.16, 0.05, 0.07, 0.08, 0.06, 0.02, 0.02, 0.05] if male
        else [0.01, 0.03, 0.09, 0.09, 0.16, 0.22, 0.11, 0.06, 0.08, 0.06, 0.09]
    )  # fmt: skip
    style = STYLES[rng.choice(len(STYLES), p=weights / weights.sum())]
    (thick, fall, fringe, curl) = _RANGES.get(style, ((0.0, 0.0),) * 4)
    balding = male and age > 0.62 and rng.random() < 0.25 + 0.8 * (age - 0.62)
    return Hair(
        style=style,
        thickness_m=rng.uniform(*thick),
        fall_m=rng.uniform(*fall),
        fringe_m=rng.uniform(*fringe),
        open_deg=rng.uniform(48, 92),
        curl=rng.uniform(*curl),
        recession_deg=rng.uniform(5, 28) if balding else rng.normal(0, 2.5),
        crown_loss_deg=rng.uniform(0, 28) if balding else 0.0,
        raggedness=rng.uniform(0.05, 1.0),
        parting_m=rng.uniform(-0.05, 0.05),
        layers=2 if style in ("short", "ponytail", "bun") else 3,
        offset=rng.uniform(0, 32, 3),
    )


def hairline_deg(hair: Hair, azimuth_deg: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """Polar angle at which the scalp's hair ends, by azimuth."""
    away = np.abs((azimuth_deg + 180) % 360 - 180)
    front = smoothstep(75, 30, away) * (1 + 0.35 * np.exp(-(((away - 32) / 12) ** 2)))
    return np.interp(away, _HAIRLINE_AZIMUTH, _HAIRLINE_POLAR) - hair.recession_deg * front


def scalp_mask(hair: Hair, anatomy: Anatomy) -> Float32[np.ndarray, " v"]:
    """Where hair roots colour the template's skin, 0 to 1."""
    if hair.style == "bald":
        return np.zeros(len(anatomy.rest), np.float32)
    line = hairline_deg(hair, anatomy.scalp_azimuth_deg)
    mask = smoothstep(3.0, -5.0, anatomy.scalp_polar_deg - line) * (1 - anatomy.ear) * anatomy.skin
    patch = smoothstep(hair.crown_loss_deg - 6, hair.crown_loss_deg + 4, _from_vertex(anatomy))
    return (mask * (patch if hair.crown_loss_deg > 0 else 1.0)).astype(np.float32)


def _from_vertex(anatomy: Anatomy) -> Float[np.ndarray, " v"]:
    """Degrees from the whorl, 25 degrees behind the crown."""
    azimuth, polar = np.radians(anatomy.scalp_azimuth_deg), np.radians(anatomy.scalp_polar_deg)
    whorl = np.radians(25)
    cosine = np.cos(polar) * np.cos(whorl) - np.sin(polar) * np.cos(azimuth) * np.sin(whorl)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def grow_hair(hair: Hair, anatomy: Anatomy, vertices: Float[np.ndarray, "v 3"]) -> HairMesh | None:
    """Grow hair on a person whose template-topology vertices are given in the head frame (+Y up); None for none."""
    if hair.thickness_m == 0:
        return None
    skull = anatomy.skull_points(vertices)
    centre = skull[:, : POLARS // 2].reshape(-1, 3).mean(0)
    parts = [_shell(hair, skull, centre, layer) for layer in range(hair.layers)]
    if hair.style in ("ponytail", "bun"):
        parts.append(_tail(hair, skull, centre))
    starts = np.cumsum([0] + [len(part.vertices) for part in parts[:-1]])
    return HairMesh(
        np.concatenate([part.vertices for part in parts]),
        np.concatenate([part.faces + start for part, start in zip(parts, starts, strict=True)]),
        np.concatenate([part.strand for part in parts]),
    )


def _shell(hair: Hair, skull: Float[np.ndarray, "a p 3"], centre: Float[np.ndarray, "3"], layer: int) -> HairMesh:
    """One layer; the outermost is layer 0."""
    azimuth = np.linspace(-180, 180, _COLUMNS + 1)  # the seam column appears twice
    away = np.abs(azimuth)
    depth = 1 - 0.30 * layer / max(hair.layers - 1, 1)
    falls = hair.fall_m * smoothstep(hair.open_deg - 8, hair.open_deg + 8, away)
    falls = falls + hair.fringe_m * smoothstep(hair.open_deg, hair.open_deg - 25, away)
    line = hairline_deg(hair, azimuth)
    start = hair.crown_loss_deg
    scalp = np.linspace(0, 1, _SCALP_ROWS)[None] * (line - start)[:, None] + start  # polar angles [columns, rows]
    roots = _sample_skull(skull, azimuth[:, None], scalp)
    outward = roots - centre
    outward /= np.linalg.norm(outward, axis=-1, keepdims=True)
    thickness = depth * hair.thickness_m * _profile(hair, azimuth, scalp, line, falls, roots)
    noise = noise_at((roots.reshape(-1, 3) + layer), 0.028, hair.offset).reshape(*roots.shape[:2], 4)
    fine = noise_at((roots.reshape(-1, 3) + layer), 0.011, hair.offset).reshape(*roots.shape[:2], 4)
    bumps = (0.25 + 0.15 * hair.curl) * noise[..., 0] + (0.10 + 0.12 * hair.curl) * fine[..., 0]
    points = roots + outward * (thickness * (1 + bumps) - 0.0015 * (layer + 1))[..., None]
    fallen = _fallen(hair, points[:, -1], points[:, -2], centre, falls, azimuth, layer)
    grid = np.concatenate([points, fallen], axis=1)  # [columns + 1, rows, 3]
    return _grid_mesh(hair, grid, azimuth, layer, scalp_rows=_SCALP_ROWS)


def _profile(
    hair: Hair,
    azimuth: Float[np.ndarray, " c"],
    polar: Float[np.ndarray, "c r"],
    line: Float[np.ndarray, " c"],
    falls: Float[np.ndarray, " c"],
    roots: Float[np.ndarray, "c r 3"],
) -> Float[np.ndarray, "c r"]:
    """Relative thickness: tapering at the hairline where nothing falls below it, lower at the parting."""
    edge = smoothstep(-2.0, 24.0, line[:, None] - polar)
    rooted = smoothstep(0.0, 0.02, falls)[:, None]
    taper = edge * (1 - rooted) + rooted * (0.55 + 0.45 * edge)
    top = smoothstep(45, 25, polar) + 0 * azimuth[:, None]
    parting = 1 - 0.45 * np.exp(-(((roots[..., 0] - hair.parting_m) / 0.010) ** 2)) * smoothstep(70, 50, polar)
    lift = 1 + 0.5 * top * (hair.style in ("swept", "short"))
    return taper * parting * lift - 0.10 * (1 - edge) ** 3 * (1 - rooted)


def _fallen(
    hair: Hair,
    last: Float[np.ndarray, "c 3"],
    before: Float[np.ndarray, "c 3"],
    centre: Float[np.ndarray, "3"],
    falls: Float[np.ndarray, " c"],
    azimuth: Float[np.ndarray, " c"],
    layer: int,
) -> Float[np.ndarray, "c f 3"]:
    """Rows below the hairline: first along the scalp, then straight down, clear of cheeks, neck and shoulders."""
    ragged = noise_at(np.stack([azimuth * 0.0016, 0 * azimuth, 0 * azimuth + layer], -1), 0.006, hair.offset)[:, 1]
    length = falls * (1 - 0.12 * layer) * np.clip(1 + 0.35 * hair.raggedness * ragged, 0.2, 1.6)
    steps = (np.arange(1, _FALL_ROWS + 1) / _FALL_ROWS)[None] * length[:, None]  # [columns, rows] metres along
    tangent = last - before
    tangent /= np.linalg.norm(tangent, axis=-1, keepdims=True) + 1e-9
    bend = 0.03 * (1 - np.exp(-steps / 0.03))
    away = np.stack([last[:, 0] - centre[0], 0 * last[:, 0], last[:, 2] - centre[2]], -1)
    away /= np.linalg.norm(away, axis=-1, keepdims=True) + 1e-9
    flare = 0.10 * steps + 0.25 * np.clip(steps - 0.12, 0, None) * (np.abs(azimuth) > 60)[:, None]
    down = steps - bend
    points = last[:, None] + tangent[:, None] * bend[..., None] + away[:, None] * flare[..., None]
    points = points - np.array([0, 1.0, 0]) * down[..., None]
    wave = noise_at(points.reshape(-1, 3) * [1, 0.45, 1] + layer, 0.022, hair.offset).reshape(*steps.shape, 4)
    amount = (0.004 + 0.012 * hair.curl) * smoothstep(0, 0.05, steps)
    return points + wave[..., :3] * amount[..., None]


def _grid_mesh(
    hair: Hair, grid: Float[np.ndarray, "c r 3"], azimuth: Float[np.ndarray, " c"], layer: int, scalp_rows: int
) -> HairMesh:
    """Close a grid of columns along the strands into a mesh, with gaps towards the tips."""
    columns, rows = grid.shape[:2]
    along = np.concatenate([np.zeros((columns, 1)), np.cumsum(np.linalg.norm(np.diff(grid, axis=1), axis=-1), 1)], 1)
    across = np.radians(azimuth)[:, None] * _STRAND_M_PER_RADIAN + 0 * along
    strand = np.stack([across, along, np.full_like(along, 0.02 * layer)], -1)
    index = np.arange(columns * rows).reshape(columns, rows)
    quads = np.stack([index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]], -1)  # [c - 1, r - 1, 4]
    locks = noise_at(strand[:-1, :-1].reshape(-1, 3) * [1, 0.15, 1], 0.007, hair.offset + 7).reshape(
        *quads.shape[:2], 4
    )
    row = np.arange(rows - 1)[None]
    fallen = along[:-1, -1:] > along[:-1, scalp_rows - 1 :][:, :1] + 0.004
    fall_tip = np.clip((row - scalp_rows) / max(rows - 1 - scalp_rows, 1), 0, 1) ** 1.5
    hairline_tip = np.clip((row - 0.6 * scalp_rows) / (0.4 * scalp_rows), 0, 1) ** 2
    tip = np.where(fallen, fall_tip, hairline_tip)
    keep = locks[..., 0] > -1.4 + (0.4 + 1.4 * hair.raggedness) * tip - 0.3 * layer
    area = np.linalg.norm(np.diff(grid, axis=1)[:-1], axis=-1) > 1e-5  # rows that have not fallen have no length
    quads = quads[keep & area]
    faces = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    return HairMesh(grid.reshape(-1, 3).astype(np.float32), faces, strand.reshape(-1, 3).astype(np.float32))


def _tail(hair: Hair, skull: Float[np.ndarray, "a p 3"], centre: Float[np.ndarray, "3"]) -> HairMesh:
    """A ponytail or a bun at the back of the head: a tube along a curve."""
    root = _sample_skull(skull, np.array([180.0]), np.array([40.0 + 40 * (hair.offset[0] % 1)]))[0]
    outward = (root - centre) / np.linalg.norm(root - centre)
    t = np.linspace(0, 1, 24)
    turn = np.linspace(-np.pi, np.pi, 33)
    if hair.style == "bun":
        radius = (0.026 + 0.012 * (hair.offset[1] % 1)) * np.sqrt(np.clip(1 - (2 * t - 1) ** 2, 0, 1))
        line = root + outward * (0.06 * t)[:, None]
    else:
        radius = 0.006 + 0.020 * np.sin(np.pi * np.clip(t * 1.05, 0, 1)) ** 0.7
        fall = (0.12 + 0.16 * (hair.offset[1] % 1)) * t**1.6
        line = root + outward * (0.05 * np.sqrt(t))[:, None] - np.array([0, 1, 0]) * fall[:, None]
    normal = np.array([0, outward[2], -outward[1]])
    normal /= np.linalg.norm(normal)
    ring = np.cos(turn)[:, None] * np.array([1.0, 0, 0]) + np.sin(turn)[:, None] * normal  # [columns, 3]
    grid = line[None] + ring[:, None] * radius[None, :, None]
    grid = grid + 0.004 * noise_at(grid.reshape(-1, 3) * [1, 0.4, 1], 0.01, hair.offset)[:, :3].reshape(grid.shape)
    return _grid_mesh(hair, grid, np.degrees(turn) * 0.5, layer=0, scalp_rows=24)


def _sample_skull(
    skull: Float[np.ndarray, "a p 3"], azimuth_deg: Float[np.ndarray, "..."], polar_deg: Float[np.ndarray, "..."]
) -> Float[np.ndarray, "... 3"]:
    """Bilinear look-up in a skull map."""
    column = ((azimuth_deg + 180) / 360 * AZIMUTHS) % AZIMUTHS
    row = np.clip(polar_deg / MAX_POLAR_DEG * (POLARS - 1), 0, POLARS - 1.001)
    column, row = np.broadcast_arrays(column, row)
    c0, r0 = np.floor(column).astype(int), np.floor(row).astype(int)
    fc, fr = (column - c0)[..., None], (row - r0)[..., None]
    c0, c1 = c0 % AZIMUTHS, (c0 + 1) % AZIMUTHS
    upper = skull[c0, r0] * (1 - fc) + skull[c1, r0] * fc
    lower = skull[c0, r0 + 1] * (1 - fc) + skull[c1, r0 + 1] * fc
    return upper * (1 - fr) + lower * fr
