"""What comes to light as the lips part: pictures of a closed mouth tell nothing about it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped
from scipy.spatial import cKDTree

from headsup_cli.animation.resting import RestingHead
from headsup_cli.animation.rig import OPEN_LIPS, Paint, Unseen
from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.gaussians.spherical_harmonics import SH_C0
from headsup_cli.template.arkit import ARKIT_NAMES
from headsup_cli.template.template import Template

_PARTS = ("mouth_inner", "tongue", "teeth_upper", "teeth_lower")
_REACH_M = (0.028, 0.016)  # across and up from the lips' middle: what lies farther is never seen between them
_LIPS_M, _VERMILION_M = 0.012, 0.004  # beyond the skin nearest to them: what tells their place, and colour
_WIDTHS, _LEAST_M = 2.0, 0.002  # standard deviations of a splat that end there; the least that one may have
_DEEP_M = (0.004, 0.025)  # behind the lips: where the shade begins, and where it is deepest
_POINTS = 16  # texels that say where that middle is
_SHADE, _FAINTER_SHADE = 0.85, 0.5  # what is lost there, of the cavity and of teeth and tongue
_SKIN, _BEHIND_M = 16, 0.006  # splats that say where the skin is, and how far the rest stays behind it
_FACE_M = 0.04  # behind the lips: skin farther back is not the face's
_SHOWN, _ON_SKIN, _ON_SKIN_M = 0.3, 4, 0.003  # opacity from which one sees it; so many splats of the skin so near
_IVORY = np.array([0.78, 0.74, 0.67], np.float32)  # display-encoded
_TONGUE = np.array([0.74, 0.45, 0.44], np.float32)  # likewise, of people of any colour


def inside_of_the_mouth(head: RestingHead, template: Template, kept: Bool[np.ndarray, " n"]) -> Unseen:
    """Teeth, tongue and cavity, put where the template has them behind the subject's lips, in colours of their own.

    In a head that was captured with closed lips they hold whatever helped to explain the lips. The cavity takes the
    colour of the lips, teeth and tongue their own, the darker the deeper. What lies behind cheeks and nose stays.

    Args:
        head: At rest.
        template: The one that it was made with.
        kept: Texels that stay what they are, `taken_for_lips`.
    """
    part, at, skin = head.part, head.at, head.skin
    anchors, means, looks = head.bare.means.numpy(), head.gaussians.means.numpy(), head.gaussians.sh[:, 0].numpy()
    lips = template.vertices[[template.landmarks[f"{lip}_lip_inner"] for lip in ("upper", "lower")]].mean(0)
    skin_of_lips = np.flatnonzero(skin)[np.linalg.norm(anchors[skin] - lips, axis=1).argsort()[:_POINTS]]
    shown = lips + (head.points - anchors)[skin_of_lips].mean(0)
    apart_m = np.where(skin, np.linalg.norm(at.anchors - shown, axis=1), np.inf)
    middle = shown + np.median((means - at.anchors)[apart_m < apart_m.min() + _LIPS_M], 0)  # of the subject's lips
    home = middle + head.size * (anchors - lips)
    chosen = np.flatnonzero(np.isin(part, _PARTS) & ~kept & _near(means, middle) & _near(home, middle))
    home = _behind_skin(home[chosen], means[skin & (means[:, 2] > middle[2] - _FACE_M)])
    depth = np.clip((lips[2] - anchors[chosen, 2] - _DEEP_M[0]) / (_DEEP_M[1] - _DEEP_M[0]), 0, 1)[:, None]
    vermilion = 0.5 + SH_C0 * np.median(looks[apart_m < apart_m.min() + _VERMILION_M], 0)
    teeth, cavity = np.char.startswith(part[chosen], "teeth")[:, None], (part[chosen] == "mouth_inner")[:, None]
    tongue, shade = (part[chosen] == "tongue")[:, None], np.where(cavity, _SHADE, _FAINTER_SHADE)
    colours = np.where(teeth, _IVORY, np.where(tongue, _TONGUE, vermilion)) * (1 - shade * depth)
    inside = Unseen.on_template(head.bare, chosen, OPEN_LIPS, home, colours, head.size)
    room_m = np.maximum(_REACH_M[0] * (1 - _reach(home, middle)), 0) / _WIDTHS + _LEAST_M
    scales = inside.others.scales.minimum(torch.from_numpy(room_m[:, None]).float())  # or they show through the cheeks
    return replace(inside, others=replace(inside.others, scales=scales))


def tongue_in_the_light(inside: Unseen, part: Shaped[np.ndarray, " n"]) -> Paint:
    """A tongue that is put out lies in no shade."""
    tongue = np.flatnonzero(part[inside.texels] == "tongue")
    sh = inside.others.sh[torch.from_numpy(tongue)].numpy()
    deltas = np.zeros((len(tongue), sh.shape[1] * 3 + 1), np.float32)
    deltas[:, :3] = (_TONGUE - 0.5) / SH_C0 - sh[:, 0]
    shapes = np.full(len(tongue), ARKIT_NAMES.index("tongueOut"), np.int32)
    return Paint(inside.texels[tongue], np.arange(len(tongue) + 1), shapes, deltas)


def taken_for_lips(neutral: Gaussians, part: Shaped[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Gaussians of the inside that refinement took to explain closed lips: they lie on them, and show."""
    means, shown = neutral.means.numpy(), neutral.opacities.numpy() > _SHOWN
    inside, skin = np.flatnonzero(shown & np.isin(part, _PARTS)), shown & (part == "skin")
    taken = np.zeros(len(means), bool)
    if skin.sum() >= _ON_SKIN and len(inside):
        apart_m = cKDTree(means[skin]).query(means[inside], _ON_SKIN)[0][:, -1]
        taken[inside] = apart_m < _ON_SKIN_M
    return taken


def _behind_skin(points: Float[np.ndarray, "m 3"], skin: Float[np.ndarray, "k 3"]) -> Float[np.ndarray, "m 3"]:
    """The points drawn back as far as it takes to lie behind the skin in front of them."""
    _, nearest = cKDTree(skin[:, :2]).query(points[:, :2], min(_SKIN, len(skin)))
    front = np.median(skin[nearest, 2], 1)
    return np.c_[points[:, :2], np.minimum(points[:, 2], front - _BEHIND_M)]


def can_be_opened(template: Template) -> bool:
    """Whether a template has a mouth, and says where."""
    return {*_PARTS, "skin"} <= set(template.part_names) and {"upper_lip_inner", "lower_lip_inner"} <= set(
        template.landmarks
    )


def _near(points: Float[np.ndarray, "n 3"], middle: Float[np.ndarray, " 3"]) -> Bool[np.ndarray, " n"]:
    return _reach(points, middle) < 1


def _reach(points: Float[np.ndarray, "n 3"], middle: Float[np.ndarray, " 3"]) -> Float[np.ndarray, " n"]:
    """0 behind the middle of the lips, 1 where nothing is seen between them any more."""
    return np.linalg.norm((points - middle)[:, :2] / _REACH_M, axis=1)
