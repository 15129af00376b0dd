"""The template's blendshapes carried over to a head's Gaussians: every head moves, with no training."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int32
from scipy.spatial import cKDTree

from headsup_cli.animation.brow_lift import lifted_blendshapes
from headsup_cli.animation.rig import OPEN_LIPS, RIGID_PARTS, Movement, Paint, Rig, part_vertices
from headsup_cli.animation.sparse_rows import sparse_rows
from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.gaussians.head import Head
from headsup_cli.gaussians.spherical_harmonics import SH_C0
from headsup_cli.gaussians.uv_maps import texel_anchors
from headsup_cli.template.arkit import ARKIT_NAMES
from headsup_cli.template.template import Template
from headsup_cli.template.texels import Texels, sample_texels, texel_positions, uv_derivatives

_STILL_M = 2e-6  # texels that a blendshape moves by less do not follow it
_SHAPES_AT_ONCE = 13
_ON_EYE_M, _OFF_EYE_M = 0.0012, 0.002  # above the eyeball: what looks like it, and what is skin for certain
_CAVITY_M = (0.004, 0.025)  # behind the lips: where the shade begins, and where it is deepest
_CAVITY_BRIGHTNESS = 0.15  # there, display-encoded
_MOUTH_M = (0.026, 0.038)  # about the lips, as seen from in front: what is dark, and where that ends


def geometric_rig(head: Head, template: Template) -> Rig:
    """Rig a head by the template's blendshapes.

    The points of the skin move as the template's do, scaled to the size of the subject's face. As the lips part, the
    inside of the mouth, which pictures with closed lips say nothing about, becomes no brighter than its depth allows.

    Raises:
        InputError: `template` is not the one that the head was made with.
    """
    resolution = head.maps.resolution
    neutral = head.gaussians(template).to("cpu").detach()
    anchors, at = texel_anchors(template, resolution).positions.numpy(), _movement(template, resolution)
    size = _face_size(template, resolution, neutral.means.numpy(), neutral.opacities.numpy(), anchors)
    moved = neutral.means.numpy() - anchors
    part_centres = [
        _part_centre(template, part) + (np.median(moved[at.rigid == index], 0) if (at.rigid == index).any() else 0)
        for index, part in enumerate(RIGID_PARTS)
    ]
    centres = np.array(part_centres, np.float32)
    return Rig(
        neutral=neutral,
        template=template,
        movement=replace(at, deltas=at.deltas * np.array([size] * 3 + [1] * 6, np.float32)),
        paint=_joined(_mouth_in_shade(neutral, template, resolution), _lids_in_skin(neutral, at, centres)),
        centres=centres,
        size=size,
    )


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


def _mouth_in_shade(neutral: Gaussians, template: Template, resolution: int) -> Paint:
    """The cavity of the mouth darkened where it is bright, as the lips part.

    What lies behind cheeks and nose stays as it is: in a refined head it may show through the skin.
    """
    texels, sh = sample_texels(template, resolution), neutral.sh
    factor = torch.ones(len(sh))
    if {"mouth_inner", "tongue"} <= set(template.part_names) and "upper_lip_inner" in template.landmarks:
        part = template.face_parts[texels.face[texels.mask]]
        inside = np.isin(part, [template.part_names.index(name) for name in ("mouth_inner", "tongue")])
        lips = template.vertices[template.landmarks["upper_lip_inner"]]
        depth = lips[2] - texel_positions(texels, template.vertices)[texels.mask][:, 2]
        share = np.clip((depth - _CAVITY_M[0]) / (_CAVITY_M[1] - _CAVITY_M[0]), 0, 1)
        aside = np.linalg.norm(neutral.means.numpy()[:, :2] - lips[:2], axis=1)
        share *= np.clip((_MOUTH_M[1] - aside) / (_MOUTH_M[1] - _MOUTH_M[0]), 0, 1)
        allowed = torch.from_numpy(np.where(inside, 1 - share * (1 - _CAVITY_BRIGHTNESS), np.inf).astype(np.float32))
        factor = (allowed / (0.5 + SH_C0 * sh[:, 0]).amax(1).clamp_min(1e-3)).clamp_max(1.0)
    index = (factor < 1).nonzero()[:, 0]
    darker = (factor[index, None, None] - 1) * sh[index]
    darker[:, 0] -= (1 - factor[index, None]) * 0.5 / SH_C0  # colours are about mid grey
    deltas = torch.cat([darker.flatten(1), torch.zeros(len(index), 1)], 1)
    return Paint(
        texels=index.numpy(),
        first=np.arange(len(index) + 1),
        shapes=np.full(len(index), OPEN_LIPS, np.int32),
        deltas=deltas.numpy(),
    )


def _lids_in_skin(neutral: Gaussians, at: Movement, centres: Float32[np.ndarray, "p 3"]) -> Paint:
    """Splats of the lids that refinement put on the eyeball, where they look like it: skin once the lids are closed.

    They take the colour of the nearest texel of the same skin that lies off the eyeball.
    """
    means, blinks = neutral.means.numpy(), (ARKIT_NAMES.index("eyeBlinkLeft"), ARKIT_NAMES.index("eyeBlinkRight"))
    rows = [np.zeros((0, neutral.sh[0].numel() + 1), np.float32)]
    texels, shapes = [np.zeros(0, np.int64)], [np.zeros(0, np.int32)]
    for eye, blink in enumerate(blinks):
        own = at.rigid == eye
        if not own.any():
            continue
        radius_m = np.median(np.linalg.norm(means[own] - centres[eye], axis=1))
        apart_m = np.linalg.norm(means - centres[eye], axis=1)
        ahead = (at.rigid < 0) & (means[:, 2] > centres[eye, 2])
        on = np.flatnonzero(ahead & (apart_m < radius_m + _ON_EYE_M))
        off = np.flatnonzero(ahead & (apart_m > radius_m + _OFF_EYE_M) & (apart_m < 2 * radius_m))
        if len(on) == 0 or len(off) == 0:
            continue
        nearest = off[cKDTree(at.anchors[off]).query(at.anchors[on])[1]]
        change = (neutral.sh[nearest] - neutral.sh[on]).flatten(1).numpy()
        rows.append(np.pad(change, ((0, 0), (0, 1))))
        texels.append(on)
        shapes.append(np.full(len(on), blink, np.int32))
    index = np.concatenate(texels)
    return Paint(index, np.arange(len(index) + 1), np.concatenate(shapes), np.concatenate(rows))


def _joined(first: Paint, second: Paint) -> Paint:
    """Both."""
    return Paint(
        texels=np.concatenate([first.texels, second.texels]),
        first=np.concatenate([first.first, first.first[-1] + second.first[1:]]),
        shapes=np.concatenate([first.shapes, second.shapes]),
        deltas=np.concatenate([first.deltas, second.deltas]),
    )


def _part_centre(template: Template, part: str) -> Float[np.ndarray, " 3"]:
    """Middle of an eyeball, or of the teeth."""
    points = template.vertices[part_vertices(template, part)].astype(np.float64)
    if len(points) == 0:
        return np.zeros(3)
    if not part.startswith("eye"):
        return points.mean(0)
    sphere, *_ = np.linalg.lstsq(np.c_[2 * points, np.ones(len(points))], (points**2).sum(1), rcond=None)
    return sphere[:3]
