"""The template's blendshapes carried over to a head's Gaussians: every head moves, with no training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Float32, Int, Int32, Int64
from scipy.spatial.transform import Rotation
from torch import Tensor

from headsup_cli.animation.curves import MAX_WEIGHT
from headsup_cli.animation.rig_kernels import pose_texels
from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.gaussians.head import Head
from headsup_cli.gaussians.spherical_harmonics import SH_C0
from headsup_cli.gaussians.uv_maps import texel_anchors
from headsup_cli.template.arkit import ARKIT_NAMES
from headsup_cli.template.coefficients import check_coefficients
from headsup_cli.template.template import Template
from headsup_cli.template.texels import Texels, sample_texels, texel_positions, uv_derivatives

_STILL_M = 2e-6  # texels that a blendshape moves by less do not follow it
_SHAPES_AT_ONCE = 13
_CAVITY_M = (0.004, 0.025)  # behind the lips: where the shade begins, and where it is deepest
_CAVITY_BRIGHTNESS = 0.15  # there, display-encoded
_OPEN_LIPS_M = 0.01  # how far lips part until the mouth is all in shade
_RIGID_PARTS = ("eye_left", "eye_right", "teeth_lower")


@dataclass(frozen=True)
class Pose:
    """What a head does at one moment."""

    weights: Float32[np.ndarray, " 52"]  # ARKit's, in the order of ARKIT_NAMES
    head_rad: Float32[np.ndarray, " 3"] | None = None  # yaw, pitch, roll: turns about y, x and z, in this order
    gaze_rad: Float32[np.ndarray, "2 2"] | None = None  # yaw and pitch of the left and right eye; None follows weights

    @staticmethod
    def of(coefficients: Mapping[str, float]) -> Pose:
        """The pose of some coefficients by ARKit name, zero for what is not named.

        Raises:
            InputError: A name that is not ARKit's, or a weight outside [0, 1].
        """
        check_coefficients("coefficients", coefficients, ARKIT_NAMES, low=0.0)
        return Pose(np.array([coefficients.get(name, 0.0) for name in ARKIT_NAMES], np.float32))


@dataclass(frozen=True)
class _Bindings:
    """How the texels of a template move with its blendshapes, in its own size."""

    first: Int64[np.ndarray, " n1"]  # rows of `deltas` of each texel, and their end
    shapes: Int32[np.ndarray, " m"]
    deltas: Float32[np.ndarray, "m 9"]  # metres at weight 1: the point, its tangent along u, its tangent along v
    tangents: Float32[np.ndarray, "n 2 3"]
    frames: Float32[np.ndarray, "n 3 3"]  # rows: along u, across, normal
    rigid: Int32[np.ndarray, " n"]  # index into _RIGID_PARTS, -1 for what bends
    head_share: Float32[np.ndarray, " n"]  # of a turn of the head
    pivot: Float32[np.ndarray, " 3"]  # of a turn of the head


@dataclass(frozen=True)
class GeometricRig:
    """A head with all that posing it needs, precomputed; `pose` is linear algebra on its texels.

    The points of the skin move as the template's do, scaled to the size of the subject's face; rotations, scales and
    directional colours follow the tangents of the surface. Eyes and lower teeth are carried rigidly. A turn of the head
    fades out over the neck. As the lips part, the inside of the mouth, which pictures with closed lips say nothing
    about, becomes no brighter than its depth allows.
    """

    neutral: Gaussians
    template: Template
    bindings: _Bindings
    anchors: Float32[np.ndarray, "n 3"]  # metres, on the neutral template
    centres: Float32[np.ndarray, "p 3"]  # of the subject's rigid parts
    size: float  # of the subject's face over the template's
    sh_in_shade: Float[Tensor, "n k 3"]  # colours with the cavity of the mouth darkened

    @staticmethod
    def of(head: Head, template: Template) -> GeometricRig:
        """Rig a head.

        Raises:
            InputError: `template` is not the one that the head was made with.
        """
        neutral = head.gaussians(template).to("cpu").detach()
        texels, at = texel_anchors(template, head.maps.resolution), _bindings(template, head.maps.resolution)
        anchors = texels.positions.numpy()
        size = _face_size(template, head.maps.resolution, neutral.means.numpy(), neutral.opacities.numpy(), anchors)
        moved = neutral.means.numpy() - anchors
        centres = [
            _part_centre(template, part) + (np.median(moved[at.rigid == index], 0) if (at.rigid == index).any() else 0)
            for index, part in enumerate(_RIGID_PARTS)
        ]
        bindings = replace(at, deltas=at.deltas * np.array([size] * 3 + [1] * 6, np.float32))
        shaded = _mouth_in_shade(neutral.sh, template, head.maps.resolution)
        return GeometricRig(neutral, template, bindings, anchors, np.array(centres, np.float32), size, shaded)

    def pose(self, pose: Pose) -> Gaussians:
        """The Gaussians of one moment, on the CPU, in the head frame of the head at rest."""
        weights = pose.weights.clip(0, MAX_WEIGHT).astype(np.float32)
        at, rest = self.bindings, self.neutral
        sh = rest.sh.lerp(self.sh_in_shade, parted) if (parted := self._lips_parted(weights)) > 0 else rest.sh
        attributes = [tensor.numpy() for tensor in (rest.means, rest.quats, rest.scales, sh)]
        posed = [np.empty_like(attribute) for attribute in attributes]
        pose_texels(
            weights, at.first, at.shapes, at.deltas, at.tangents, at.frames, self.anchors, at.rigid,
            self._transforms(pose, weights), at.head_share, _rotation_vector(pose.head_rad), at.pivot,
            *attributes, *posed,
        )  # fmt: skip
        means, quats, scales, sh = (torch.from_numpy(attribute) for attribute in posed)
        return Gaussians(means, quats, scales, rest.opacities, sh)

    def _lips_parted(self, weights: Float32[np.ndarray, " 52"]) -> float:
        """0 for lips as at rest, 1 for open ones."""
        if not {"upper_lip_inner", "lower_lip_inner"} <= set(self.template.landmarks):
            return 0.0
        upper, lower = (self.template.landmarks[f"{lip}_lip_inner"] for lip in ("upper", "lower"))
        shapes = self.template.blendshapes
        gap_y = weights @ (shapes[:, upper, 1] - shapes[:, lower, 1])
        return float(np.clip(gap_y / _OPEN_LIPS_M, 0, 1))

    def _transforms(self, pose: Pose, weights: Float32[np.ndarray, " 52"]) -> Float32[np.ndarray, "p 3 4"]:
        """Where the rigid parts go: eyes turn about their centres, the lower teeth follow the template's."""
        transforms = np.zeros((len(_RIGID_PARTS), 3, 4), np.float32)
        for index, part in enumerate(_RIGID_PARTS):
            rotation, shift = _rigid_motion(self.template, part, weights)
            if part.startswith("eye"):
                shift = np.zeros(3)
                if pose.gaze_rad is not None:
                    yaw, pitch = pose.gaze_rad[index]
                    rotation = Rotation.from_euler("YX", [yaw, -pitch]).as_matrix()
            transforms[index, :, :3] = rotation
            transforms[index, :, 3] = self.centres[index] + self.size * shift - rotation @ self.centres[index]
        return transforms


@lru_cache(maxsize=4)
def _bindings(template: Template, resolution: int) -> _Bindings:
    texels = sample_texels(template, resolution)
    inside = texels.mask
    rows, shapes, deltas = [], [], []
    for start in range(0, len(template.blendshapes), _SHAPES_AT_ONCE):
        some = template.blendshapes[start : start + _SHAPES_AT_ONCE]
        moves = _moves(template, texels, some.transpose(1, 0, 2).reshape(len(template.vertices), -1))  # [n, 3, k * 3]
        for shape, move in enumerate(np.split(moves, len(some), axis=2), start):
            reach = np.linalg.norm(move, axis=2) / (1, resolution, resolution)
            moving = np.flatnonzero(reach.max(1) > _STILL_M)
            rows.append(moving)
            shapes.append(np.full(len(moving), shape, np.int32))
            deltas.append(move[moving].reshape(-1, 9))
    row = np.concatenate(rows)
    order = np.argsort(row, kind="stable")
    tangents = np.ascontiguousarray(_moves(template, texels, template.vertices)[:, 1:])
    part = template.face_parts[texels.face[inside]]
    names = list(template.part_names)
    rigid = np.full(len(part), -1, np.int32)
    for index, name in enumerate(_RIGID_PARTS):
        if name in names:
            rigid[part == names.index(name)] = index
    count = np.bincount(row, minlength=len(part))
    return _Bindings(
        first=np.concatenate([[0], np.cumsum(count)]).astype(np.int64),
        shapes=np.concatenate(shapes)[order],
        deltas=np.concatenate(deltas)[order],
        tangents=tangents,
        frames=_frames(tangents),
        rigid=rigid,
        head_share=_head_share(template, texels),
        pivot=_neck(template),
    )


def _moves(template: Template, texels: Texels, vertices: Float[np.ndarray, "v d"]) -> Float32[np.ndarray, "n 3 d"]:
    """Point, tangent along u and tangent along v at the texels inside the islands; linear in the vertices."""
    parts = texel_positions(texels, vertices), *uv_derivatives(template, texels, vertices)
    return np.stack([part[texels.mask] for part in parts], 1)


def _frames(tangents: Float32[np.ndarray, "n 2 3"]) -> Float32[np.ndarray, "n 3 3"]:
    """Orthonormal rows: along u, across, normal."""
    u = tangents[:, 0] / np.maximum(np.linalg.norm(tangents[:, 0], axis=1, keepdims=True), 1e-12)
    normal = np.cross(tangents[:, 0], tangents[:, 1])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-20)
    return np.stack([u, np.cross(normal, u), normal], 1).astype(np.float32)


def _head_share(template: Template, texels: Texels) -> Float32[np.ndarray, " n"]:
    """How far each texel takes part when the head turns: not at the torso, half way down the neck."""
    still = np.zeros(len(template.vertices), np.float32)
    still += template.regions.get("torso", 0)
    still += 0.5 * template.regions.get("neck", 0)
    corners = still[texels.vertex_indices[texels.mask]]
    return 1 - (corners * texels.barycentric[texels.mask]).sum(1)


def _neck(template: Template) -> Float32[np.ndarray, " 3"]:
    """What the head turns about: the middle of the neck, or a point under the ears where no neck is named."""
    neck = template.regions.get("neck")
    if neck is None or not (neck > 0.5).any():
        return np.array([0.0, -0.06, -0.02], np.float32)
    return template.vertices[neck > 0.5].mean(0)


def _face_size(
    template: Template,
    resolution: int,
    means: Float32[np.ndarray, "n 3"],
    opacities: Float32[np.ndarray, " n"],
    anchors: Float32[np.ndarray, "n 3"],
) -> float:
    """Ratio of the spreads of the subject's and the template's face."""
    texels = sample_texels(template, resolution)
    face = template.regions.get("face", np.ones(len(template.vertices), np.float32))
    weight = (face[texels.vertex_indices[texels.mask]] * texels.barycentric[texels.mask]).sum(1) * opacities

    def spread(points: Float32[np.ndarray, "n 3"]) -> float:
        centred = points - np.average(points, axis=0, weights=weight)
        return float(np.sqrt(np.average((centred**2).sum(1), weights=weight)))

    return spread(means) / spread(anchors)


def _mouth_in_shade(sh: Float[Tensor, "n k 3"], template: Template, resolution: int) -> Float[Tensor, "n k 3"]:
    """Colours with the cavity of the mouth darkened where it is bright."""
    if not {"mouth_inner", "tongue"} <= set(template.part_names) or "upper_lip_inner" not in template.landmarks:
        return sh
    texels = sample_texels(template, resolution)
    part = template.face_parts[texels.face[texels.mask]]
    inside = np.isin(part, [template.part_names.index(name) for name in ("mouth_inner", "tongue")])
    lips_z = template.vertices[template.landmarks["upper_lip_inner"], 2]
    depth = lips_z - texel_positions(texels, template.vertices)[texels.mask][:, 2]
    share = np.clip((depth - _CAVITY_M[0]) / (_CAVITY_M[1] - _CAVITY_M[0]), 0, 1)
    allowed = torch.from_numpy(np.where(inside, 1 - share * (1 - _CAVITY_BRIGHTNESS), np.inf).astype(np.float32))
    colour = 0.5 + SH_C0 * sh[:, 0]  # [n, 3]
    factor = (allowed / colour.amax(1).clamp_min(1e-3)).clamp_max(1.0)[:, None]
    return torch.cat([((colour * factor - 0.5) / SH_C0)[:, None], sh[:, 1:] * factor[..., None]], 1)


def _part_vertices(template: Template, part: str) -> Int[np.ndarray, " k"]:
    if part not in template.part_names:
        return np.zeros(0, np.int64)
    return np.unique(template.faces[template.face_parts == template.part_names.index(part)])


def _part_centre(template: Template, part: str) -> Float[np.ndarray, " 3"]:
    """Middle of an eyeball, or of the teeth."""
    points = template.vertices[_part_vertices(template, part)].astype(np.float64)
    if len(points) == 0:
        return np.zeros(3)
    if not part.startswith("eye"):
        return points.mean(0)
    sphere, *_ = np.linalg.lstsq(np.c_[2 * points, np.ones(len(points))], (points**2).sum(1), rcond=None)
    return sphere[:3]


def _rigid_motion(
    template: Template, part: str, weights: Float32[np.ndarray, " 52"]
) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, " 3"]]:
    """Rotation and shift of a part's middle that come nearest to what the blendshapes do to it (Kabsch 1976)."""
    indices, active = _part_vertices(template, part), np.flatnonzero(weights)
    if len(indices) == 0 or len(active) == 0:
        return np.eye(3), np.zeros(3)
    rest = template.vertices[indices].astype(np.float64)
    moved = rest + np.tensordot(weights[active], template.blendshapes[active][:, indices], 1)
    left, _, right = np.linalg.svd((moved - moved.mean(0)).T @ (rest - rest.mean(0)))
    rotation = left @ np.diag([1.0, 1.0, np.linalg.det(left @ right)]) @ right
    return rotation, moved.mean(0) - rest.mean(0)


def _rotation_vector(head_rad: Float32[np.ndarray, " 3"] | None) -> Float32[np.ndarray, " 3"]:
    if head_rad is None:
        return np.zeros(3, np.float32)
    return Rotation.from_euler("YXZ", head_rad).as_rotvec().astype(np.float32)
