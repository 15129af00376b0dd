"""Clothes: where they end, how thick they are, and the shells, ribs, collars and hoods that they are drawn as."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32, Int

from headsup_cli.simulation.body.anatomy import Anatomy, smoothstep, vertex_normals
from headsup_cli.simulation.dress.cutting import compacted, split
from headsup_cli.simulation.noise import noise_at

GarmentKind = Literal["none", "t-shirt", "v-neck", "tank top", "sweater", "polo", "shirt", "hoodie", "turtleneck"]
KINDS: tuple[GarmentKind, ...] = (
    "none", "t-shirt", "v-neck", "tank top", "sweater", "polo", "shirt", "hoodie", "turtleneck",
)  # fmt: skip
_CHANCES = np.array([0.11, 0.27, 0.09, 0.07, 0.10, 0.10, 0.12, 0.09, 0.05])
NECK_Z_M = -0.085  # the neck's axis in rest space
_SKIN_UNDER_M = 0.012  # how far the skin goes on under the cloth
_RING = 96  # points around the neck
_RISE_M = 0.0025  # cloth stands off the skin, besides its thickness


@dataclass(frozen=True)
class Garment:
    """What somebody wears; lengths in metres of rest space."""

    kind: GarmentKind
    edge_y: float  # height of the neckline at the neck's axis
    neckline: float  # depth of the V or of the scoop in front
    thickness_m: float  # of what the tracked mesh shows, padding included
    folds_m: float
    rib_m: float  # width of the ribbed band along the edge
    collar_m: float  # length of the collar's leaf, height of a turtleneck, radius of a hood
    open_rad: float  # half the gap of a collar in front
    offset: Float[np.ndarray, "3"]  # into the noise

    def height(self, rest: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
        """Height over the neckline of points in rest space, metres: cloth where negative."""
        x, y, z = np.abs(rest[:, 0]), rest[:, 1], rest[:, 2] - NECK_Z_M
        if self.kind == "none":
            return np.ones(len(rest))
        front = smoothstep(-0.005, 0.03, z)
        shape = np.clip(1 - x / 0.07, 0, 1) if self.kind in ("v-neck", "polo", "shirt") else smoothstep(0.075, 0.02, x)
        edge = self.edge_y - 0.45 * z - self.neckline * shape * front
        if self.kind == "tank top":
            strap = smoothstep(0.030, 0.010, np.abs(x - 0.086))
            edge = self.edge_y - 0.02 - 0.09 * (1 - strap) - 0.25 * np.clip(np.abs(z) - 0.02, 0, None) * strap
        return y - edge


def sample_garment(rng: np.random.Generator, gender: float) -> Garment:
    """Draw what a person wears; `gender` 0 is male."""
    chances = _CHANCES * np.where(np.isin(KINDS, ["tank top", "v-neck"]), 0.6 + 0.8 * gender, 1.0)
    kind = KINDS[rng.choice(len(KINDS), p=chances / chances.sum())]
    lift = {"turtleneck": 0.012, "hoodie": -0.006, "polo": 0.002, "shirt": 0.004}.get(kind, 0.0)
    deep = {"v-neck": (0.03, 0.085), "t-shirt": (0.0, 0.022), "polo": (0.02, 0.06), "shirt": (0.01, 0.06)}
    padded = kind in ("sweater", "hoodie", "turtleneck")
    leaf = {"turtleneck": (0.025, 0.042), "hoodie": (0.016, 0.026), "polo": (0.026, 0.036), "shirt": (0.032, 0.046)}
    return Garment(
        kind=kind,
        edge_y=rng.normal(-0.134 + lift, 0.009),
        neckline=rng.uniform(*deep.get(kind, (0.0, 0.012))),
        thickness_m=0.0 if kind == "none" else rng.uniform(0.005, 0.016) if padded else rng.uniform(0.001, 0.006),
        folds_m=rng.uniform(0.0015, 0.0045),
        rib_m=rng.uniform(0.012, 0.022) if kind in ("t-shirt", "sweater", "v-neck") else 0.0,
        collar_m=rng.uniform(*leaf.get(kind, (0.0, 0.0))),
        open_rad=rng.uniform(0.12, 0.5),
        offset=rng.uniform(0, 32, 3),
    )


@dataclass(frozen=True)
class ClothMesh:
    """Clothes in the frame of the vertices that they were put on."""

    vertices: Float32[np.ndarray, "n 3"]
    rest: Float32[np.ndarray, "n 3"]
    below: Float32[np.ndarray, " n"]  # depth under the edge, metres
    rib: Float32[np.ndarray, " n"]  # 1 on ribs
    faces: Int[np.ndarray, "m 3"]


def dress(
    garment: Garment, vertices: Float[np.ndarray, "v 3"], rest: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]
) -> ClothMesh | None:
    """Put a garment on the skin, given by its vertices, where they are at rest, and its faces; None for nothing."""
    if garment.kind == "none":
        return None
    columns = np.concatenate([vertices, rest, vertex_normals(vertices, faces), rest[:, :1]], 1)
    near = (garment.height(rest)[faces] < 0.03).any(1)
    columns, faces = _refined(*compacted(columns, faces[near]))
    columns[:, 9] = -garment.height(columns[:, 3:6])
    columns, faces, _, inside = split(columns, faces, columns[:, 9])
    columns, faces = compacted(columns, faces[inside])
    levels = [0.0022, 0.006] + ([garment.rib_m, garment.rib_m + 0.0025] if garment.rib_m else [])
    for level in levels:
        columns, faces, _, _ = split(columns, faces, columns[:, 9] - level)
    below = np.maximum(columns[:, 9], 0)
    points, at = columns[:, :3], columns[:, 3:6]
    thick = 0.0004 + _RISE_M * smoothstep(-0.0005, 0.0024, below)
    if garment.rib_m:
        thick = thick + 0.0012 * smoothstep(garment.rib_m + 0.002, garment.rib_m, below)
    thick = thick + garment.folds_m * _folds(garment, at) * smoothstep(0.004, 0.05, below)
    points = points + columns[:, 6:9] * thick[:, None]
    rib = (below < garment.rib_m) * 1.0 if garment.rib_m else 0 * below
    points, at, below, rib = (np.asarray(a, np.float32) for a in (points, at, below, rib))
    shell = ClothMesh(points, at, below, rib, faces)
    collar = _collar(garment, columns[below < 1e-6])
    return shell if collar is None else _joined(shell, collar)


def _folds(garment: Garment, at: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
    """Creases that run down from the neck and the shoulders, 0 to about 2."""
    x, y, z = at.T
    around, away = np.arctan2(x, z - NECK_Z_M), np.hypot(x, z - NECK_Z_M)
    across = np.stack([around * 0.10, 0.25 * (away - y), 0.10 * np.sign(z - NECK_Z_M)], -1)
    sharp = noise_at(across, 0.02, garment.offset)[:, 0]
    broad = noise_at(at * [1, 0.6, 1], 0.05, garment.offset)[:, 1]
    return np.clip(1 - np.abs(sharp) * 1.8, 0, 1) ** 2 * 1.2 + np.clip(0.6 + broad, 0, None)


def _refined(
    columns: Float[np.ndarray, "v k"], faces: Int[np.ndarray, "f 3"]
) -> tuple[Float[np.ndarray, "w k"], Int[np.ndarray, "g 3"]]:
    """Divide every triangle in four."""
    sides = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    edges, index = np.unique(sides, axis=0, return_inverse=True)
    (a, b, c), (ab, bc, ca) = faces.T, len(columns) + index.reshape(-1, 3).T
    pieces = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    return np.concatenate([columns, columns[edges].mean(1)]), np.concatenate([np.stack(p, 1) for p in pieces])


def _collar(garment: Garment, edge: Float[np.ndarray, "e k"]) -> ClothMesh | None:
    """Sweep the collar's profile along the garment's edge."""
    profile = _profile(garment)
    if profile is None or len(edge) < 8:
        return None
    out, up, along, start = profile  # [p] metres outwards, upwards, along the cloth
    turn = np.linspace(-np.pi, np.pi, _RING + 1) if start == 0 else np.linspace(start, 2 * np.pi - start, _RING + 1)
    at = np.arctan2(edge[:, 3], edge[:, 5] - NECK_Z_M)
    order = np.argsort(at)
    ring = np.stack([np.interp(turn, at[order], edge[order, k], period=2 * np.pi) for k in range(6)], -1)
    centre = ring[:, :3].mean(0)
    outward = (ring[:, :3] - centre) * [1, 0, 1]
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    size = np.ones(_RING + 1)
    if garment.kind == "hoodie":  # heaped up behind, thin in front
        size = 0.45 + 0.75 * smoothstep(0.5, -0.7, np.cos(turn))
    lift = np.array([0, 1.0, 0])
    offset = outward[:, None] * (out + along)[None, :, None] + lift * (up - 0.75 * along)[None, :, None]
    points = ring[:, None, :3] + size[:, None, None] * offset
    index = np.arange(points.shape[0] * points.shape[1]).reshape(points.shape[:2])
    # The profile rises at the neck and comes down outside, so these turn towards whoever looks on.
    quads = np.stack([index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]], -1).reshape(-1, 4)
    length = np.concatenate([[0], np.cumsum(np.hypot(np.diff(out + along), np.diff(up - 0.75 * along)))])
    rest = ring[:, None, 3:] + 0.9 * size[:, None, None] * offset
    rib = float(garment.kind == "turtleneck")
    from_end = np.broadcast_to((length[-1] - length), points.shape[:2])
    return ClothMesh(
        points.reshape(-1, 3).astype(np.float32),
        rest.reshape(-1, 3).astype(np.float32),
        (from_end.reshape(-1) + 0.0005).astype(np.float32),
        np.full(points.shape[0] * points.shape[1], rib, np.float32),
        np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]),
    )


_Profile = tuple[Float[np.ndarray, " p"], Float[np.ndarray, " p"], Float[np.ndarray, " p"], float]


def _profile(garment: Garment) -> _Profile | None:
    """A collar's cross-section, millimetres outwards, up, and along the cloth below; and where it opens."""
    leaf = garment.collar_m
    if garment.kind in ("polo", "shirt"):
        stand = 0.6 * leaf
        t = np.linspace(0, 1, 9)
        out = np.concatenate([[0.0012, 0.0015, 0.0025], 0.005 + 0.006 * np.sin(np.pi * 0.5 * t)])
        up = np.concatenate([[-0.003, 0.5 * stand, 0.92 * stand], stand * (1 - 0.15 * t)])
        return out, up, np.concatenate([[0, 0, 0], leaf * 0.95 * t**1.15]), garment.open_rad
    if garment.kind == "turtleneck":
        up = np.array([-0.004, *(leaf * np.array([0.2, 0.6, 0.93, 1.0, 0.97, 0.7, 0.3, -0.05]))])
        out = np.array([0.001, 0.001, 0.001, 0.0015, 0.0035, 0.0065, 0.0085, 0.0085, 0.006])
        return out, up, np.zeros(9), 0.0
    if garment.kind == "hoodie":
        angle = np.linspace(-2.6, 3.5, 16)
        return leaf * (1.0 - np.cos(angle - 0.6)) * 0.9, leaf * (0.35 + np.sin(angle - 0.6)), np.zeros(16), 0.0
    return None


def _joined(one: ClothMesh, other: ClothMesh) -> ClothMesh:
    return ClothMesh(
        vertices=np.concatenate([one.vertices, other.vertices]),
        rest=np.concatenate([one.rest, other.rest]),
        below=np.concatenate([one.below, other.below]),
        rib=np.concatenate([one.rib, other.rib]),
        faces=np.concatenate([one.faces, other.faces + len(one.vertices)]),
    )


def skin_left(garment: Garment, rest: Float[np.ndarray, "v 3"]) -> Float[np.ndarray, " v"]:
    """Positive where skin is drawn: down to a little under the edge of the clothes."""
    return garment.height(rest) + _SKIN_UNDER_M


def padding(garment: Garment, anatomy: Anatomy) -> Float[np.ndarray, " v"]:
    """How far the clothes lift the tracked mesh off the body, metres."""
    over = smoothstep(0.002, -0.012, garment.height(anatomy.rest)) * anatomy.skin
    broad = noise_at(anatomy.rest, 0.045, garment.offset)[:, 0]
    return garment.thickness_m * over * (1 + 0.5 * broad)
