"""Distance to a posed person's skin and clothes on a grid, which keeps hair off them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int

from headsup_cli.simulation.body.anatomy import SKIN, default_anatomy
from headsup_cli.simulation.hair.growth_kernels import fill_distance

_LOW_M, _HIGH_M = np.array([-0.22, -0.42, -0.27]), np.array([0.22, 0.27, 0.21])
_SPACING_M = 0.007  # of the samples on the surface


@dataclass(frozen=True)
class BodyField:
    """Signed distances at the nodes of a grid in the head frame, negative inside the body."""

    distance: Float32[np.ndarray, "x y z"]
    origin: Float32[np.ndarray, "3"]
    cell_m: float


class Cover(NamedTuple):
    """Points of clothes, which keep hair off as skin does."""

    points: Float32[np.ndarray, "n 3"]
    normals: Float32[np.ndarray, "n 3"]


def body_field(
    vertices: Float[np.ndarray, "v 3"],
    normals: Float[np.ndarray, "v 3"],
    clothes: Sequence[Cover],
    cell_m: float = 0.010,
) -> BodyField:
    """The distance field of posed vertices of the template's topology, dressed."""
    anatomy = default_anatomy()
    face, weights = _surface_samples()
    corners = anatomy.faces[face]
    points = np.einsum("nk,nkd->nd", weights, vertices[corners]).astype(np.float32)
    facing = np.einsum("nk,nkd->nd", weights, normals[corners]).astype(np.float32)
    for piece in clothes:  # but for the inner sides of collars; the neck stands on the origin, or nearly
        away = np.einsum("nd,nd->n", piece.points * [1, 0, 1], piece.normals) / np.hypot(*piece.points[:, ::2].T)
        outer = away + 0.5 * piece.normals[:, 1] > -0.1
        points = np.concatenate([points, piece.points[outer]])
        facing = np.concatenate([facing, piece.normals[outer]])
    shape = tuple(np.ceil((_HIGH_M - _LOW_M) / cell_m).astype(int))
    origin = _LOW_M.astype(np.float32)
    distance = np.empty(shape, np.float32)
    fill_distance(points, facing, origin, np.float32(cell_m), distance)
    return BodyField(distance, origin, float(np.float32(cell_m)))


@lru_cache(maxsize=1)
def _surface_samples() -> tuple[Int[np.ndarray, " n"], Float32[np.ndarray, "n 3"]]:
    """Points spread over the skin but the ears, around which hair would tangle: faces and weights of their corners."""
    anatomy = default_anatomy()
    chosen = np.flatnonzero((anatomy.part == SKIN) & (anatomy.ear[anatomy.faces].mean(1) < 0.5))
    corners = anatomy.rest[anatomy.faces[chosen]]
    edge = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=-1).max(1)
    pieces = np.clip(np.ceil(edge / _SPACING_M), 1, 6).astype(int)
    face, weights = [], []
    for n in np.unique(pieces):
        i, j = np.meshgrid(np.arange(n), np.arange(n), indexing="ij")
        inside = i + j < n
        a, b = (i[inside] + 1 / 3) / n, (j[inside] + 1 / 3) / n
        some = chosen[pieces == n]
        face.append(np.repeat(some, len(a)))
        weights.append(np.tile(np.stack([a, b, 1 - a - b], -1), (len(some), 1)))
    return np.concatenate(face), np.concatenate(weights).astype(np.float32)
