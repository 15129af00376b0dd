"""The template's blendshapes carried over to a head's Gaussians: every head moves, with no training."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Float32, Int32, Shaped

from headsup_cli.animation.lids import closing_lids
from headsup_cli.animation.mouth import can_be_opened, inside_of_the_mouth, taken_for_lips, tongue_in_the_light
from headsup_cli.animation.registration import FaceMarks, registered
from headsup_cli.animation.resting import RestingHead
from headsup_cli.animation.rig import RIGID_PARTS, Movement, Paint, Rig, Unseen, part_vertices
from headsup_cli.animation.sparse_rows import sparse_rows
from headsup_cli.animation.standing_off import skin_share
from headsup_cli.gaussians.head import Head
from headsup_cli.gaussians.uv_maps import bind, template_maps, texel_anchors
from headsup_cli.template.brow_lift import lifted_blendshapes
from headsup_cli.template.template import Template
from headsup_cli.template.texels import Texels, sample_texels, texel_positions, uv_derivatives

_STILL_M = 2e-6  # texels that a blendshape moves by less do not follow it
_SHAPES_AT_ONCE = 13


def geometric_rig(head: Head, template: Template, marks: FaceMarks | None = None) -> Rig:
    """Rig a head by the template's blendshapes.

    The points of the skin move as the template's do, scaled to the size of the subject's face. The inside of the mouth
    and the lids, of which pictures with closed lips and open eyes say little, are the template's own as they show.

    Args:
        head: Any.
        template: The one that it was made with.
        marks: Where its features are; without them every texel is taken for what it is on the template.

    Raises:
        InputError: `template` is not the one that the head was made with.
    """
    resolution = head.maps.resolution
    neutral = head.gaussians(template).to("cpu").detach()
    bare, own = bind(template_maps(resolution), texel_anchors(template, resolution)), _movement(template, resolution)
    means, at, points = neutral.means.numpy(), own, own.anchors
    part = _texel_parts(template, resolution)
    skin = part == "skin"
    share = np.ones(len(means)) if marks is None else skin_share(own, means, skin, marks, template)
    size = _face_size(template, resolution, means, neutral.opacities.numpy() * share, own.anchors)
    lips = np.zeros(len(means), bool)
    if marks is not None and marks.mouth is not None:
        points, lips = marks.mouth.moved(own.anchors), taken_for_lips(neutral, part)
        at = registered(own, points, means, marks.mouth, surface=skin, free=skin | lips)
    resting = RestingHead(neutral, bare, part, own, at, points, size)
    unseen, aloof = closing_lids(resting)
    at = at.without(aloof).following(share)
    paint = Paint.none(neutral.sh)
    if can_be_opened(template):
        unseen.append(inside_of_the_mouth(replace(resting, at=at), template, lips))
        paint = tongue_in_the_light(unseen[-1], part)
    return Rig(
        neutral=neutral,
        template=template,
        movement=replace(at, deltas=at.deltas * np.array([size] * 3 + [1] * 6, np.float32)),
        paint=paint,
        unseen=Unseen.joined(unseen, neutral.sh),
        centres=_centres(template, own, means),
        size=size,
    )


def _centres(template: Template, at: Movement, means: Float[np.ndarray, "n 3"]) -> Float32[np.ndarray, "p 3"]:
    """Where the subject has the middles of the rigid parts."""
    centres = np.stack([_part_centre(template, part) for part in RIGID_PARTS])
    for index in range(len(RIGID_PARTS)):
        if (own := at.rigid == index).any():
            centres[index] += np.median((means - at.anchors)[own], 0)
    return centres.astype(np.float32)


@lru_cache(maxsize=4)
def _movement(template: Template, resolution: int) -> Movement:
    """That of the template itself, in its own size."""
    texels = sample_texels(template, resolution)
    blendshapes, scale = lifted_blendshapes(template), (1, resolution, resolution)

    def moves(start: int) -> Float32[np.ndarray, "k n 9"]:
        some = blendshapes[start : start + _SHAPES_AT_ONCE]
        joined = _moves(template, texels, some.transpose(1, 0, 2).reshape(len(template.vertices), -1))  # [n, 3, k 3]
        return np.stack([part.reshape(len(part), 9) for part in np.split(joined, len(some), axis=2)])

    def follows(move: Float32[np.ndarray, "n 9"]) -> Bool[np.ndarray, " n"]:
        reach = np.linalg.norm(move.reshape(-1, 3, 3), axis=2) / scale
        return reach.max(1) > _STILL_M

    every = (move for start in range(0, len(blendshapes), _SHAPES_AT_ONCE) for move in moves(start))
    first, shapes, deltas = sparse_rows(every, follows)
    tangents = np.ascontiguousarray(_moves(template, texels, template.vertices)[:, 1:])
    return Movement(
        first=first,
        shapes=shapes,
        deltas=deltas,
        anchors=texel_positions(texels, template.vertices)[texels.mask],
        tangents=tangents,
        frames=_frames(tangents),
        rigid=_rigid_texels(template, texels),
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


def _rigid_texels(template: Template, texels: Texels) -> Int32[np.ndarray, " n"]:
    """Index into RIGID_PARTS of each texel, -1 for what bends."""
    part = template.face_parts[texels.face[texels.mask]]
    rigid = np.full(len(part), -1, np.int32)
    for index, name in enumerate(RIGID_PARTS):
        if name in template.part_names:
            rigid[part == template.part_names.index(name)] = index
    return rigid


def _texel_parts(template: Template, resolution: int) -> Shaped[np.ndarray, " n"]:
    """Name of each texel's part."""
    texels = sample_texels(template, resolution)
    return np.array(template.part_names)[template.face_parts[texels.face[texels.mask]]]


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
    weights: Float[np.ndarray, " n"],
    anchors: Float32[np.ndarray, "n 3"],
) -> float:
    """Ratio of the spreads of the subject's and the template's face."""
    texels = sample_texels(template, resolution)
    face = template.regions.get("face", np.ones(len(template.vertices), np.float32))
    weight = (face[texels.vertex_indices[texels.mask]] * texels.barycentric[texels.mask]).sum(1) * weights

    def spread(points: Float32[np.ndarray, "n 3"]) -> float:
        centred = points - np.average(points, axis=0, weights=weight)
        return float(np.sqrt(np.average((centred**2).sum(1), weights=weight)))

    return spread(means) / spread(anchors)


def _part_centre(template: Template, part: str) -> Float[np.ndarray, " 3"]:
    """Middle of an eyeball, or of the teeth."""
    points = template.vertices[part_vertices(template, part)].astype(np.float64)
    if len(points) == 0:
        return np.zeros(3)
    if not part.startswith("eye"):
        return points.mean(0)
    sphere, *_ = np.linalg.lstsq(np.c_[2 * points, np.ones(len(points))], (points**2).sum(1), rcond=None)
    return sphere[:3]
