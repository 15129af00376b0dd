"""Where things are on the template: parts, scalp, ears, lips, eyes. Computed once, shared by all simulated people."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int, UInt8

from headsup_cli.cameras.camera import Cameras
from headsup_cli.rendering.mesh_rasteriser import rasterise_mesh
from headsup_cli.template.anny_source import AVERAGE_ADULT, AnnySource
from headsup_cli.template.brow_lift import with_lifted_brows
from headsup_cli.template.head_mesh import PARTS


class Part(IntEnum):
    """What a face of a simulated person belongs to; the values are those of the label images."""

    SKIN = 0
    EYE = 1
    TEETH = 2
    MOUTH = 3
    HAIR = 4
    TONGUE = 5
    CLOTHES = 6
    GLASSES = 7  # the frame
    LENS = 8  # transparent: labels and depth show what lies behind
    EARRING = 9
    HAT = 10
    SCARF = 11


# Plain numbers for compiled code.
SKIN, EYE, TEETH, MOUTH, HAIR, TONGUE = range(6)
CLOTHES, GLASSES, LENS, EARRING, HAT, SCARF = range(6, 12)
_PART_KINDS = np.array(
    [{"skin": SKIN, "eye": EYE, "teeth": TEETH, "tongue": TONGUE}.get(name.split("_")[0], MOUTH) for name in PARTS],
    np.uint8,
)
HALF_EYE_DISTANCE_M = 0.030  # `Anatomy.rest` is scaled to this, so that distances below hold for any template
SKULL_CENTRE_M = np.array([0.0, 0.030, -0.085])  # in rest space: from here every ray meets the scalp once
AZIMUTHS, POLARS = 128, 96  # samples of the skull map
MAX_POLAR_DEG = 150.0
CUBE_PX = 256
_SKY_LAMPS, _SKY_PX, _SKY_EXTENT_M, _SKY_DISTANCE_M, _SKY_BIAS_M = 48, 224, 0.46, 20.0, 0.0025


@dataclass(frozen=True)
class Anatomy:
    """The template as the simulator sees it.

    Rest space: the template's neutral vertices, origin midway between the eyeballs, same axes as the head frame, scaled
    so that the eyeballs' centres lie at x = +-30 mm. Painting is done there, so it sticks to the surface.
    """

    rest: Float32[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]
    part: UInt8[np.ndarray, " f"]  # SKIN, EYE, TEETH, MOUTH or TONGUE
    skin: Bool[np.ndarray, " v"]
    eye_vertices: list[Int[np.ndarray, " e"]]  # left, right
    blendshapes: Float32[np.ndarray, "52 v 3"]  # ARKit's, brows lifted, metres in the template's own scale
    half_eye_distance_m: float  # in the template's own scale
    scalp_azimuth_deg: Float32[np.ndarray, " v"]  # about the skull's centre, 0 at the front, positive to the left
    scalp_polar_deg: Float32[np.ndarray, " v"]  # 0 at the crown
    ear: Float32[np.ndarray, " v"]  # 0..1
    openness: Float32[np.ndarray, " v"]  # share of the sky that the skin sees, 1 in the open; 1 on all but skin
    mouth_y: float  # rest space
    mouth_half_width: float  # rest space
    eye_radius: float  # rest space
    skull_face: Int[np.ndarray, "azimuth polar"]  # face met by the ray from the skull's centre
    skull_barycentric: Float32[np.ndarray, "azimuth polar 3"]

    def skull_points(self, vertices: Float[np.ndarray, "v 3"]) -> Float[np.ndarray, "azimuth polar 3"]:
        """Where the rays of the skull map meet a person's own skin; `vertices` in any frame."""
        return np.einsum("apk,apkd->apd", self.skull_barycentric, vertices[self.faces[self.skull_face]])


def polar_angles(points: Float[np.ndarray, "*n 3"]) -> tuple[Float[np.ndarray, "*n"], Float[np.ndarray, "*n"]]:
    """Azimuth and polar angle in degrees about the skull's centre of points in rest space."""
    offset = points - SKULL_CENTRE_M
    azimuth = np.degrees(np.arctan2(offset[..., 0], offset[..., 2]))
    polar = np.degrees(np.arccos(np.clip(offset[..., 1] / np.linalg.norm(offset, axis=-1), -1, 1)))
    return azimuth, polar


def smoothstep(low: float | int, high: float | int, value: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """0 at `low`, 1 at `high` (which may be the smaller of the two), with level ends."""
    fraction = np.clip((value - low) / (high - low), 0.0, 1.0)
    return fraction * fraction * (3 - 2 * fraction)


@lru_cache(maxsize=1)
def default_anatomy() -> Anatomy:
    """The anatomy of the default template."""
    source = AnnySource.shared()
    vertices, faces, landmarks = source.vertices_for(AVERAGE_ADULT), source.mesh.faces, source.mesh.landmarks
    part = _PART_KINDS[source.mesh.face_parts]
    eye_vertices = [
        np.unique(faces[source.mesh.face_parts == PARTS.index(f"eye_{side}")]) for side in ("left", "right")
    ]
    (left, radius), (right, _) = (_sphere(vertices[eye]) for eye in eye_vertices)
    scale = 2 * HALF_EYE_DISTANCE_M / np.linalg.norm(left - right)
    rest = ((vertices - (left + right) / 2) * scale).astype(np.float32)
    mouth_corner = rest[landmarks["mouth_corner_left"]]
    skin = np.zeros(len(rest), bool)
    skin[faces[part == SKIN]] = True
    azimuth, polar = polar_angles(rest)
    skull_face, skull_barycentric = _skull_map(rest, faces, np.flatnonzero(part == SKIN))
    return Anatomy(
        rest=rest,
        faces=faces,
        part=part,
        skin=skin,
        eye_vertices=eye_vertices,
        blendshapes=with_lifted_brows(source.blendshapes_for(AVERAGE_ADULT), vertices, faces, skin, landmarks),
        half_eye_distance_m=float(np.linalg.norm(left - right)) / 2,
        scalp_azimuth_deg=azimuth.astype(np.float32),
        scalp_polar_deg=polar.astype(np.float32),
        ear=_ear_mask(rest, faces, skull_face, skull_barycentric),
        openness=_openness(rest, faces, skin),
        mouth_y=float(mouth_corner[1]),
        mouth_half_width=float(mouth_corner[0]),
        eye_radius=float(radius * scale),
        skull_face=skull_face,
        skull_barycentric=skull_barycentric,
    )


def _sphere(points: Float[np.ndarray, "n 3"]) -> tuple[Float[np.ndarray, "3"], float]:
    """Centre and radius of the sphere closest to the points: |p|^2 = 2 p.centre + (radius^2 - |centre|^2)."""
    points = points.astype(np.float64)
    solution = np.linalg.lstsq(np.c_[2 * points, np.ones(len(points))], (points**2).sum(1), rcond=None)[0]
    return solution[:3], float(np.sqrt(solution[3] + (solution[:3] ** 2).sum()))


def vertex_normals(vertices: Float[np.ndarray, "n 3"], faces: Int[np.ndarray, "m 3"]) -> Float32[np.ndarray, "n 3"]:
    """Unit normals, the mean of the adjacent faces' weighted by area."""
    corners = vertices[faces]  # [m, 3, 3]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.stack([np.bincount(faces.ravel(), np.repeat(normal[:, k], 3), len(vertices)) for k in range(3)], -1)
    return (total / (np.linalg.norm(total, axis=1, keepdims=True) + 1e-12)).astype(np.float32)


def _ear_mask(
    rest: Float32[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    skull_face: Int[np.ndarray, "azimuth polar"],
    skull_barycentric: Float32[np.ndarray, "azimuth polar 3"],
) -> Float32[np.ndarray, " v"]:
    """1 on what stands out from the skull at the sides, 0 elsewhere."""
    skull = np.einsum("apk,apkd->apd", skull_barycentric, rest[faces[skull_face]])
    azimuth, polar = polar_angles(rest)
    column = np.round((azimuth + 180) / 360 * AZIMUTHS).astype(int) % AZIMUTHS
    row = np.clip(np.round(polar / MAX_POLAR_DEG * (POLARS - 1)).astype(int), 0, POLARS - 1)
    radius = np.linalg.norm(rest - SKULL_CENTRE_M, axis=1)
    above_skull = radius - np.linalg.norm(skull - SKULL_CENTRE_M, axis=-1)[column, row]
    near = np.abs(rest[:, 1:] - [-0.022, -0.078]).max(1) < 0.048
    return (near * (np.abs(rest[:, 0]) > 0.065) * smoothstep(0.001, 0.005, above_skull)).astype(np.float32)


def _openness(
    rest: Float32[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], skin: Bool[np.ndarray, " v"]
) -> Float32[np.ndarray, " v"]:
    """Ambient visibility of the skin, from depth maps taken all around: dark in nostrils and ears."""
    index = np.arange(_SKY_LAMPS) + 0.5
    height, turn = 1 - 2 * index / _SKY_LAMPS, index * np.pi * (3 - 5**0.5)
    radius = np.sqrt(1 - height**2)
    forward = -np.stack([radius * np.sin(turn), height, radius * np.cos(turn)], -1)
    right = np.cross(forward, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    pose = np.tile(np.eye(4), (_SKY_LAMPS, 1, 1))
    pose[:, :3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    pose[:, :3, 3] = [0, 0, _SKY_DISTANCE_M] + pose[:, :3, :3] @ [0.0, 0.03, 0.06]
    focal, half = _SKY_PX * _SKY_DISTANCE_M / _SKY_EXTENT_M, _SKY_PX / 2
    K = np.tile(np.array([[focal, 0, half], [0, focal, half], [0, 0, 1]]), (_SKY_LAMPS, 1, 1))
    depth = rasterise_mesh(rest, faces, Cameras(torch.from_numpy(pose), torch.from_numpy(K), _SKY_PX, _SKY_PX)).depth
    seen, total = np.zeros(len(rest)), np.full(len(rest), 1e-6)
    normals = vertex_normals(rest, faces)
    for lamp in range(_SKY_LAMPS):
        local = rest @ pose[lamp, :3, :3].T + pose[lamp, :3, 3]
        column, row = (np.clip(local[:, k] / local[:, 2] * focal + half, 0, _SKY_PX - 1).astype(int) for k in (0, 1))
        weight = np.clip(-normals @ forward[lamp], 0, None)
        slope = _SKY_BIAS_M / np.clip(weight, 0.25, None)
        seen += weight * (depth[lamp, row, column] > local[:, 2] - slope)
        total += weight
    return np.where(skin, np.clip(seen / total / 0.92, 0, 1), 1.0).astype(np.float32)


def _skull_map(
    rest: Float32[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], skin_faces: Int[np.ndarray, " s"]
) -> tuple[Int[np.ndarray, "azimuth polar"], Float32[np.ndarray, "azimuth polar 3"]]:
    """What each ray from the skull's centre meets first, looked up in six square views taken from there."""
    axes = np.concatenate([np.eye(3), -np.eye(3)])  # [6, 3]
    down = np.roll(axes, 1, axis=1)
    rotation = np.stack([np.cross(down, axes), down, axes], axis=1)  # [6, 3, 3]
    pose = np.tile(np.eye(4), (6, 1, 1))
    pose[:, :3, :3] = rotation
    pose[:, :3, 3] = -rotation @ SKULL_CENTRE_M
    half = CUBE_PX / 2
    K = torch.tensor([[half, 0, half], [0, half, half], [0, 0, 1]], dtype=torch.float64).repeat(6, 1, 1)
    views = rasterise_mesh(rest, faces[skin_faces], Cameras(torch.from_numpy(pose), K, CUBE_PX, CUBE_PX))
    azimuth = np.radians(np.arange(AZIMUTHS) / AZIMUTHS * 360 - 180)[:, None]
    polar = np.radians(np.linspace(0, MAX_POLAR_DEG, POLARS))[None]
    direction = np.stack(
        [np.sin(polar) * np.sin(azimuth), np.cos(polar) + 0 * azimuth, np.sin(polar) * np.cos(azimuth)], axis=-1
    )
    view = np.argmax(direction @ axes.T, axis=-1)
    local = np.einsum("apij,apj->api", rotation[view], direction)
    column, row = (np.clip((local[..., k] / local[..., 2] + 1) * half, 0, CUBE_PX - 1).astype(int) for k in (0, 1))
    return skin_faces[views.face[view, row, column]], views.barycentric[view, row, column]
