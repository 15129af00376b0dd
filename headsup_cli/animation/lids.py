"""Lids that close: pictures of open eyes show little of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from scipy.spatial import cKDTree

from headsup_cli.animation.resting import RestingHead
from headsup_cli.animation.rig import BLINKS, Movement, Unseen
from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.gaussians.spherical_harmonics import SH_C0

_CALM = 0.01  # of a blink's longest way: skin about the eye that stays where it is
_LID = (0.02, 0.12)  # of it: where the lid begins, and where it is all lid
_ABOUT_M = 0.03  # of the lid's middle: how far that skin is looked for
_FACE_M = 0.07  # likewise: the cheek, by whose colour skin is told from glasses and hair
_LATE = 0.75  # weight of a blink from which on nothing is to be seen of the eye
_NEIGHBOURS, _LEAST = 24, 8  # texels of it that say what a lid is like: how many, and how few will do
_ALOOF_M = 0.01  # from where a lid should be, an eye's opening: what lies farther is glasses, or a lock of hair


def closing_lids(head: RestingHead) -> tuple[list[Unseen], Int64[np.ndarray, " a"]]:
    """The lids of both eyes as they are once closed: a sheet of skin, as the skin about the eye has it.

    Where eyes are open, refinement puts much of the lids, which are folded away, on the eyeball and paints it as that.

    Returns:
        Lids and eyeballs, and the texels of lids whose Gaussians show something else in front of the eye.
    """
    eyes = [_closing(head, eye) for eye in range(len(BLINKS))]
    return [part for parts, _ in eyes for part in parts], np.concatenate([aloof for _, aloof in eyes])


def _closing(head: RestingHead, eye: int) -> tuple[list[Unseen], Int64[np.ndarray, " a"]]:
    neutral, own, at, points = head.gaussians, head.own, head.at, head.points
    blink, means, looks = BLINKS[eye], neutral.means.numpy(), neutral.sh[:, 0].numpy()
    share = lid_share(own, blink) * head.skin
    chosen = np.flatnonzero(share)
    if len(chosen) == 0:
        return [], chosen
    share, middle = share[chosen, None], points[chosen].mean(0)
    apart_m, under = np.linalg.norm(at.anchors - middle, axis=1), at.anchors[:, 1] < middle[1]
    still = (at.rigid < 0) & (neutral.opacities.numpy() > 0.5) & (_way(at, blink) < _CALM * _way(own, blink).max())
    cheek = looks[still & under & (apart_m < _FACE_M)]  # and nose: seldom is hair in front of them
    calm = np.flatnonzero(still & (apart_m < _ABOUT_M))
    calm = calm[_plain(looks[calm], cheek)]
    if under[calm].sum() < _LEAST:
        return [], chosen[:0]

    def about(some: Int64[np.ndarray, " k"]) -> Int64[np.ndarray, "s n"]:
        return some[cKDTree(at.anchors[some]).query(points[chosen], min(_NEIGHBOURS, len(some)))[1]]

    home = points[chosen] + np.median((means - at.anchors)[about(calm)], 1)
    skin_colours = np.median(looks[about(calm[under[calm]])], 1)
    colours = 0.5 + SH_C0 * (looks[chosen] + share * (skin_colours - looks[chosen]))
    where = means[chosen] + share * (home - means[chosen])
    lids = np.linalg.norm(home - means[chosen], axis=1) < _ALOOF_M
    lid = Unseen.on_template(head.bare, chosen[lids], blink, where[lids], colours[lids], head.size)
    ball = _behind(neutral, np.flatnonzero(at.rigid == eye), blink, np.median(skin_colours, 0))
    return [lid, ball], chosen[~lids]


def _behind(neutral: Gaussians, ball: Int64[np.ndarray, " b"], blink: int, colour: Float[np.ndarray, " 3"]) -> Unseen:
    """An eyeball coloured as skin, should something of it come through."""
    own = neutral[torch.from_numpy(ball)]
    sh = torch.zeros_like(own.sh)
    sh[:, 0] = torch.from_numpy(colour)
    late = np.full(len(ball), _LATE, np.float32)
    return Unseen(ball, np.full(len(ball), blink, np.int32), late, replace(own, sh=sh))


def lid_share(own: Movement, blink: int) -> Float[np.ndarray, " n"]:
    """0 for what is no lid, 1 for what is wholly one."""
    way = _way(own, blink)
    return np.clip((way / max(way.max(), 1e-9) - _LID[0]) / (_LID[1] - _LID[0]), 0, 1) * (own.rigid < 0)


def _plain(colours: Float[np.ndarray, "n 3"], cheek: Float[np.ndarray, "m 3"]) -> Bool[np.ndarray, " n"]:
    """The half that looks most like the cheek: no brow, no glasses, no lock of hair."""
    apart = np.linalg.norm(colours - np.median(cheek, 0), axis=1)
    return apart <= np.median(apart)


def _way(at: Movement, shape: int) -> Float[np.ndarray, " n"]:
    """How far a blendshape moves each texel."""
    rows, way = at.shapes == shape, np.zeros(len(at.anchors))
    way[np.repeat(np.arange(len(at.anchors)), np.diff(at.first))[rows]] = np.linalg.norm(at.deltas[rows, :3], axis=1)
    return way
