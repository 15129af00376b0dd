"""Places on a posed body from which hair grows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from headsup_cli.simulation.body.anatomy import (
    AZIMUTHS,
    HALF_EYE_DISTANCE_M,
    MAX_POLAR_DEG,
    POLARS,
    SKIN,
    SKULL_CENTRE_M,
    default_anatomy,
    polar_angles,
    vertex_normals,
)
from headsup_cli.simulation.hair.body_field import BodyField, Cover, body_field
from headsup_cli.template.anny_source import AnnySource

_FINE_CELL_M, _COARSE_CELL_M, _COARSE_SAMPLE_M = 0.010, 0.013, 0.0003  # small pictures make do with a coarser grid


@dataclass(frozen=True)
class Body:
    """A posed person to grow hair on, in the head frame."""

    vertices: Float32[np.ndarray, "v 3"]
    normals: Float32[np.ndarray, "v 3"]
    field: BodyField
    scale: float  # of the head against an adult's
    landmarks: dict[str, Float[np.ndarray, "3"]]
    bottom_m: float  # height in rest space under which there is neither body nor hair
    bottom_tilt: float  # its slope, forward

    def bottom_y(self, rest_z: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Height in the head frame at which hair ends with the body."""
        eyes_y = 0.5 * (self.landmarks["pupil_left"][1] + self.landmarks["pupil_right"][1])
        return eyes_y + self.scale * (self.bottom_m + self.bottom_tilt * (rest_z - SKULL_CENTRE_M[2]))

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
    vertices: Float32[np.ndarray, "v 3"],
    clothes: Sequence[Cover] = (),
    sample_m: float = 0.0004,
    bottom_m: float = -1.0,
    bottom_tilt: float = 0.0,
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
        bottom_m=bottom_m,
        bottom_tilt=bottom_tilt,
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


def sow(
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


def spread_choice(roots: Roots, count: int) -> Int[np.ndarray, " m"]:
    """Indices of roots spread evenly over the scalp, `count` if it were whole: one in each of many equal cells."""
    side = np.degrees(np.sqrt(2 * np.pi * 1.6 / count))
    band = (roots.polar_deg / side).astype(int)
    around = np.maximum(np.round(360 * np.sin(np.radians((band + 0.5) * side)) / side), 1)
    cell = np.floor(
        ((roots.azimuth_deg + 180) / 360 + 0.381 * band) % 1 * around
    )  # bands are turned against each other
    return np.unique(band * 1000 + cell, return_index=True)[1]
