"""A head with all that posing it needs; `Rig.pose` is linear algebra on its texels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Float32, Int, Int32, Int64
from scipy.spatial.transform import Rotation
from torch import Tensor

from headsup_cli.animation.curves import MAX_WEIGHT
from headsup_cli.animation.rig_kernels import paint_texels, pose_texels
from headsup_cli.gaussians.gaussians import Gaussians, concatenate
from headsup_cli.gaussians.spherical_harmonics import SH_C0
from headsup_cli.template.arkit import ARKIT_NAMES
from headsup_cli.template.coefficients import check_coefficients
from headsup_cli.template.template import Template

RIGID_PARTS = ("eye_left", "eye_right", "teeth_lower")
BLINKS = [ARKIT_NAMES.index(name) for name in ("eyeBlinkLeft", "eyeBlinkRight")]
OPEN_LIPS = len(ARKIT_NAMES)  # in `Unseen.shapes`: what goes with how far the lips are parted
_OPEN_LIPS_M = 0.004  # how far that is all the way: from there on one looks between them
_ATTRIBUTES = [attribute.name for attribute in fields(Gaussians)]
_RETRACTION_M = 0.006  # of an eye behind closed lids: further than people's, so that nothing comes through


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
class Movement:
    """How the texels move with the blendshapes."""

    first: Int64[np.ndarray, " n1"]  # rows of `deltas` of each texel, and their end
    shapes: Int32[np.ndarray, " m"]
    deltas: Float32[np.ndarray, "m 9"]  # metres at weight 1: the point, its tangent along u, its tangent along v
    anchors: Float32[np.ndarray, "n 3"]  # metres: the points that move, about which what hangs on them turns
    tangents: Float32[np.ndarray, "n 2 3"]
    frames: Float32[np.ndarray, "n 3 3"]  # rows: along u, across, normal
    rigid: Int32[np.ndarray, " n"]  # index into RIGID_PARTS, -1 for what bends
    head_share: Float32[np.ndarray, " n"]  # of a turn of the head
    pivot: Float32[np.ndarray, " 3"]  # of a turn of the head

    def without(self, texels: Int64[np.ndarray, " s"]) -> Movement:
        """The same with some texels that no blendshape moves."""
        kept = np.ones(len(self.anchors), bool)
        kept[texels] = False
        count = np.diff(self.first)
        rows = np.repeat(kept, count)
        first = np.concatenate([[0], np.cumsum(count * kept)])
        return replace(self, first=first, shapes=self.shapes[rows], deltas=self.deltas[rows])

    def following(self, share: Float[np.ndarray, " n"]) -> Movement:
        """The same with each texel going a share of its way."""
        slower = replace(self, deltas=self.deltas * np.repeat(share, np.diff(self.first))[:, None].astype(np.float32))
        return slower.without(np.flatnonzero(share == 0))


@dataclass(frozen=True)
class Paint:
    """How the texels' looks change with the blendshapes."""

    texels: Int64[np.ndarray, " p"]  # those that change
    first: Int64[np.ndarray, " p1"]  # rows of `deltas` of each, and their end
    shapes: Int32[np.ndarray, " m"]
    deltas: Float32[np.ndarray, "m d"]  # at weight 1: SH coefficients [k, 3], and the opacity's logit

    @staticmethod
    def none(sh: Float[Tensor, "n k 3"]) -> Paint:
        """All looks stay."""
        rows = np.zeros((0, sh[0].numel() + 1), np.float32)
        return Paint(np.zeros(0, np.int64), np.zeros(1, np.int64), np.zeros(0, np.int32), rows)


@dataclass(frozen=True)
class Unseen:
    """Gaussians that are others, before anything moves, once a blendshape is on or the lips are parted.

    Pictures of a face at rest do not show them, and what was made of them there would come to light.
    """

    texels: Int64[np.ndarray, " s"]  # each at most once
    shapes: Int32[np.ndarray, " s"]  # ARKit's, or OPEN_LIPS
    onset: Float32[np.ndarray, " s"]  # weight at which the change begins; it is complete at 1
    others: Gaussians  # [s], at weight 1

    @staticmethod
    def on_template(
        bare: Gaussians,
        texels: Int64[np.ndarray, " s"],
        shape: int,
        means: Float[np.ndarray, "s 3"],
        colours: Float[np.ndarray, "s 3"],
        size: float,
    ) -> Unseen:
        """Some of the template's (`bare`: all), moved and coloured, as large as the face asks."""
        bare = bare[torch.from_numpy(texels)]
        sh = torch.zeros_like(bare.sh)
        sh[:, 0] = torch.from_numpy((colours - 0.5) / SH_C0)
        placed = replace(bare, means=torch.from_numpy(means).float(), scales=size * bare.scales, sh=sh)
        return Unseen(texels, np.full(len(texels), shape, np.int32), np.zeros(len(texels), np.float32), placed)

    @staticmethod
    def joined(parts: Sequence[Unseen], sh: Float[Tensor, "n k 3"]) -> Unseen:
        """All of the parts, for Gaussians with colours like `sh`."""
        none = Gaussians(*(torch.zeros(0, *shape) for shape in ((3,), (4,), (3,), (), sh.shape[1:])))
        return Unseen(
            np.concatenate([np.zeros(0, np.int64), *(part.texels for part in parts)]),
            np.concatenate([np.zeros(0, np.int32), *(part.shapes for part in parts)]),
            np.concatenate([np.zeros(0, np.float32), *(part.onset for part in parts)]),
            concatenate([none, *(part.others for part in parts)]),
        )

    def show(self, at_rest: Sequence[Float32[np.ndarray, "n ..."]], looks: Float32[np.ndarray, " 53"]) -> None:
        """Bring the Gaussians at rest, attribute by attribute, as far on the way to the others as the weights say."""
        share = ((looks[self.shapes] - self.onset) / (1 - self.onset)).clip(0, 1)
        at = np.flatnonzero(share)
        if len(at) == 0:
            return
        texels, part = self.texels[at], torch.from_numpy(share[at, None])
        before = Gaussians(*(torch.from_numpy(attribute[texels]) for attribute in at_rest))
        after = self.others[torch.from_numpy(at)]
        quats = torch.nn.functional.normalize(before.quats)
        quats = quats * torch.where((quats * after.quats).sum(1, keepdim=True) < 0, -1.0, 1.0)
        between = Gaussians(
            means=torch.lerp(before.means, after.means, part),
            quats=torch.lerp(quats, after.quats, part),
            scales=before.scales * (after.scales / before.scales) ** part,
            opacities=torch.lerp(before.opacities, after.opacities, part[:, 0]),
            sh=torch.lerp(before.sh, after.sh, part[..., None]),
        )
        for attribute, name in zip(at_rest, _ATTRIBUTES, strict=True):
            attribute[texels] = getattr(between, name).numpy()


@dataclass(frozen=True)
class Rig:
    """A head that can be posed.

    Rotations, scales and directional colours follow the tangents of the surface. Eyes and lower teeth are carried
    rigidly. A turn of the head fades out over the neck.
    """

    neutral: Gaussians
    template: Template
    movement: Movement
    paint: Paint
    unseen: Unseen
    centres: Float32[np.ndarray, "p 3"]  # of the subject's rigid parts
    size: float  # of the subject's face over the template's

    def pose(self, pose: Pose) -> Gaussians:
        """The Gaussians of one moment, on the CPU, in the head frame of the head at rest."""
        weights = pose.weights.clip(0, MAX_WEIGHT).astype(np.float32)
        at, paint = self.movement, self.paint
        attributes = [getattr(self.neutral, name).numpy().copy() for name in _ATTRIBUTES]
        self.unseen.show(attributes, np.append(weights, np.float32(self._lips_parted(weights))))
        means, quats, scales, opacities, sh = attributes
        paint_texels(weights, paint.texels, paint.first, paint.shapes, paint.deltas, sh, opacities)
        pose_texels(
            weights, at.first, at.shapes, at.deltas, at.tangents, at.frames, at.anchors, at.rigid,
            self._transforms(pose, weights), at.head_share, _rotation_vector(pose.head_rad), at.pivot,
            means, quats, scales, sh,
        )  # fmt: skip
        return Gaussians(*(torch.from_numpy(attribute) for attribute in attributes))

    def _lips_parted(self, weights: Float32[np.ndarray, " 52"]) -> float:
        """0 for lips as at rest, 1 for open ones."""
        return float(np.clip(weights @ self._lip_gaps_m / _OPEN_LIPS_M, 0, 1))

    @cached_property
    def _lip_gaps_m(self) -> Float32[np.ndarray, " 52"]:
        """How far each blendshape parts the lips."""
        if not {"upper_lip_inner", "lower_lip_inner"} <= set(self.template.landmarks):
            return np.zeros(len(ARKIT_NAMES), np.float32)
        upper, lower = (self.template.landmarks[f"{lip}_lip_inner"] for lip in ("upper", "lower"))
        return self.template.blendshapes[:, upper, 1] - self.template.blendshapes[:, lower, 1]

    @cached_property
    def _rigid_parts(self) -> list[_RigidPart]:
        return [_RigidPart.of(self.template, part) for part in RIGID_PARTS]

    def _transforms(self, pose: Pose, weights: Float32[np.ndarray, " 52"]) -> Float32[np.ndarray, "p 3 4"]:
        """Where the rigid parts go: eyes turn about their centres and draw back from closed lids, teeth follow."""
        transforms = np.zeros((len(RIGID_PARTS), 3, 4), np.float32)
        for index, part in enumerate(RIGID_PARTS):
            rotation, shift = self._rigid_parts[index].motion(weights)
            if part.startswith("eye"):
                shift = np.array([0, 0, -_RETRACTION_M * min(1.0, weights[BLINKS[index]]) ** 2])
                if pose.gaze_rad is not None:
                    yaw, pitch = pose.gaze_rad[index]
                    rotation = Rotation.from_euler("YX", [yaw, -pitch]).as_matrix()
            transforms[index, :, :3] = rotation
            transforms[index, :, 3] = self.centres[index] + self.size * shift - rotation @ self.centres[index]
        return transforms


def part_vertices(template: Template, part: str) -> Int[np.ndarray, " k"]:
    """Indices of the vertices of a part, none where the template has no such part."""
    if part not in template.part_names:
        return np.zeros(0, np.int64)
    return np.unique(template.faces[template.face_parts == template.part_names.index(part)])


@dataclass(frozen=True)
class _RigidPart:
    """How far the blendshapes turn and shift a part: linear in their weights, row 0 being the part at rest."""

    turns: Float[np.ndarray, "53 3 3"]  # sum of moved points times resting ones, each from their middle
    middles: Float[np.ndarray, "53 3"]

    @staticmethod
    def of(template: Template, part: str) -> _RigidPart:
        vertices = part_vertices(template, part)
        if len(vertices) == 0:
            return _RigidPart(np.zeros((1 + len(ARKIT_NAMES), 3, 3)), np.zeros((1 + len(ARKIT_NAMES), 3)))
        rest = template.vertices[vertices].astype(np.float64)
        points = np.concatenate([rest[None], template.blendshapes[:, vertices].astype(np.float64)])
        middles = points.mean(1)
        centred = rest - middles[0]
        return _RigidPart(np.einsum("kvi,vj->kij", points - middles[:, None], centred), middles)

    def motion(self, weights: Float32[np.ndarray, " 52"]) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, " 3"]]:
        """Rotation and shift of the middle that come nearest to what the blendshapes do to it (Kabsch 1976)."""
        shift = weights @ self.middles[1:]
        moved = self.turns[0] + np.tensordot(weights, self.turns[1:], 1)
        if not weights.any() or not moved.any():
            return np.eye(3), shift
        left, _, right = np.linalg.svd(moved)
        return left @ np.diag([1.0, 1.0, np.linalg.det(left @ right)]) @ right, shift


def _rotation_vector(head_rad: Float32[np.ndarray, " 3"] | None) -> Float32[np.ndarray, " 3"]:
    if head_rad is None:
        return np.zeros(3, np.float32)
    return Rotation.from_euler("YXZ", head_rad).as_rotvec().astype(np.float32)
