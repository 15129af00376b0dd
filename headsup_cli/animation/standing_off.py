"""Gaussians that stand off the skin: glasses, hair that hangs before a face, headwear. Faces move under them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64
from scipy.interpolate import RBFInterpolator
from scipy.spatial import cKDTree

from headsup_cli.animation.lids import lid_share
from headsup_cli.animation.registration import FaceMarks
from headsup_cli.animation.rig import BLINKS, Movement
from headsup_cli.template.arkit import ARKIT_NAMES
from headsup_cli.template.template import Template
from headsup_cli.template.texels import vertex_normals

_SMOOTHING_M = 0.005  # landmarks nearer to each other than this are averaged
_NEAREST = 4  # vertices of the skin that say how far off it a Gaussian is
_ABOUT_M, _NEIGHBOURS = 0.012, 64  # of its foot: whose heights tell where the skin is
_LOW = 30  # percentile of these that is taken for it
_WRONG_M = (-0.01, 0.001)  # how far the skin may be from where landmarks put it: nearer, and farther out
_BROW_M, _BUSHY_M = 0.009, 0.003  # of the brows' landmarks: how far theirs reach, which move, and how far off the skin
_OFF_M = (0.004, 0.006)  # above the skin: where something stops following it, and where it follows no more
_JAW = 0.15  # of the longest way of an opened jaw: what goes farther may be a beard
_MOUSTACHE_M = 0.025  # likewise, from the landmarks of the mouth


def skin_share(
    own: Movement,
    means: Float32[np.ndarray, "n 3"],
    skin: Bool[np.ndarray, " n"],
    marks: FaceMarks,
    template: Template,
) -> Float[np.ndarray, " n"]:
    """How far each Gaussian follows the skin: 1 on it, 0 for what stands off it.

    Landmarks say about where the skin is, to some millimetres, and the lowest Gaussians about each place say it closer.
    Beards grow from what moves and follow it; so do the lids, of which `closing_lids` knows more.

    Args:
        own: How the texels move, each by its own point.
        means: Where the Gaussians are at rest.
        skin: Texels of it.
        marks: Landmarks of the face.
        template: The one that the head was made with.
    """
    share = np.ones(len(means))
    way = np.zeros(len(means))
    np.maximum.at(way, _texels(own), np.linalg.norm(own.deltas[:, :3], axis=1))
    lids = sum(lid_share(own, blink) for blink in BLINKS)
    judged = np.flatnonzero(skin & (way > 0) & (lids == 0))
    if len(judged) == 0:
        return share
    height, foot = _above_skin(means[judged], marks, template)
    _, about = cKDTree(foot).query(foot, _NEIGHBOURS, distance_upper_bound=_ABOUT_M)
    low = np.nanpercentile(np.append(height, np.nan)[about], _LOW, axis=1)
    bushy = np.zeros(len(judged))
    if len(marks.brows):
        bushy = _BUSHY_M * (cKDTree(marks.brows).query(means[judged])[0] < _BROW_M)
    off = height - np.clip(low, _WRONG_M[0], _WRONG_M[1] + bushy) - bushy
    share[judged] = 1 - np.clip((off - _OFF_M[0]) / (_OFF_M[1] - _OFF_M[0]), 0, 1)
    share[_grown_over(own, marks)] = 1
    return share


def _above_skin(
    means: Float32[np.ndarray, "m 3"], marks: FaceMarks, template: Template
) -> tuple[Float64[np.ndarray, " m"], Float64[np.ndarray, "m 3"]]:
    """Heights over the template's skin, bent to the landmarks, and the points beneath."""
    bend = RBFInterpolator(
        marks.on_template, marks.on_head - marks.on_template, kernel="linear", degree=1, smoothing=_SMOOTHING_M
    )
    vertices = template.vertices + bend(template.vertices)
    normals = vertex_normals(vertices, template.faces)
    skin = np.unique(template.faces[template.face_parts == template.part_names.index("skin")])
    nearest = skin[cKDTree(vertices[skin]).query(means, _NEAREST)[1]]
    height = np.median(((means[:, None] - vertices[nearest]) * normals[nearest]).sum(2), 1)
    return height, means - height[:, None] * normals[nearest[:, 0]]


def _grown_over(own: Movement, marks: FaceMarks) -> Bool[np.ndarray, " n"]:
    """Where beards and moustaches grow."""
    jaw = np.zeros(len(own.anchors))
    opening = own.shapes == ARKIT_NAMES.index("jawOpen")
    jaw[_texels(own)[opening]] = np.linalg.norm(own.deltas[opening, :3], axis=1)
    grown = jaw > _JAW * max(jaw.max(), 1e-9)
    return grown if marks.mouth is None else grown | (marks.mouth.apart_m(own.anchors) < _MOUSTACHE_M)


def _texels(at: Movement) -> np.ndarray:
    """Of each row of the deltas."""
    return np.repeat(np.arange(len(at.anchors)), np.diff(at.first))
