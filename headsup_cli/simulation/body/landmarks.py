"""The 68 points that face landmark detectors speak of, on a head of the default template's topology."""

from __future__ import annotations

from functools import cache, lru_cache

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int

from headsup_cli.simulation.body.anatomy import SKIN, default_anatomy
from headsup_cli.template.anny_source import AnnySource

# iBUG's order (Sagonas et al., "300 Faces in-the-Wild Challenge", ICCVW 2013). Lines run from the subject's right to
# the left, the bridge of the nose down; eyes and lips run clockwise on a picture of the face, from its left. Each point
# is a blend of vertices of one face: shares by vertex. On pictures the jaw is the face's outline; on heads it is where
# ICT-FaceKit's generic face (Li et al., CVPR 2020) has it, on whose skin the shape model was laid to 0.4 mm.
# fmt: off
_POINTS: tuple[dict[int, float], ...] = (
    # jaw
    {870: 0.31, 1909: 0.41, 1913: 0.28}, {1756: 0.14, 1757: 0.08, 867: 0.78}, {270: 0.13, 1635: 0.35, 1767: 0.52},
    {736: 0.37, 910: 0.34, 1763: 0.29}, {737: 0.45, 735: 0.29, 1761: 0.26}, {1819: 0.13, 915: 0.16, 1446: 0.71},
    {1745: 0.12, 1816: 0.21, 1815: 0.67}, {1687: 0.07, 1742: 0.07, 1688: 0.86}, {1746: 0.41, 1692: 0.59},
    {3876: 0.07, 3928: 0.07, 3877: 0.86}, {3931: 0.12, 3998: 0.21, 3997: 0.67}, {4000: 0.13, 3143: 0.16, 3643: 0.71},
    {2983: 0.45, 2981: 0.29, 3946: 0.26}, {2982: 0.37, 3138: 0.34, 3948: 0.29}, {2565: 0.13, 3826: 0.35, 3951: 0.52},
    {3941: 0.14, 3942: 0.08, 3098: 0.78}, {3101: 0.31, 4084: 0.41, 4088: 0.28},
    # right brow
    {225: 0.4, 255: 0.49, 232: 0.11}, {225: 0.08, 224: 0.63, 206: 0.29}, {222: 0.59, 205: 0.16, 204: 0.25},
    {205: 0.69, 233: 0.31}, {208: 0.63, 228: 0.37},
    # left brow
    {2509: 0.63, 2527: 0.37}, {2506: 0.69, 2532: 0.31}, {2522: 0.59, 2506: 0.16, 2505: 0.25},
    {2525: 0.08, 2524: 0.63, 2507: 0.29}, {2525: 0.4, 2550: 0.49, 2531: 0.11},
    # nose, its bridge
    {132: 1}, {131: 1}, {201: 1}, {1597: 1},
    # nose, its base
    {360: 1}, {314: 1}, {343: 1}, {2603: 1}, {2647: 1},
    # right eye
    {21: 1}, {6: 1}, {54: 1}, {66: 1}, {47: 1}, {36: 1},
    # left eye
    {2376: 1}, {2364: 1}, {2316: 1}, {2331: 1}, {2346: 1}, {2357: 1},
    # lips outside
    {425: 1}, {1863: 0.31, 447: 0.69}, {460: 1}, {455: 0.14, 466: 0.86}, {2745: 1}, {4041: 0.31, 2733: 0.69},
    {2711: 1}, {2692: 0.34, 2759: 0.49, 2765: 0.17}, {2767: 0.74, 4026: 0.18, 2761: 0.08}, {492: 1},
    {486: 0.74, 1846: 0.18, 480: 0.08}, {406: 0.34, 478: 0.49, 484: 0.17},
    # lips inside
    {444: 1}, {471: 1}, {474: 1}, {2753: 1}, {2730: 1}, {2762: 1}, {493: 1}, {481: 1},
)
# fmt: on
_BROWS = slice(17, 27)
_UPPER_LIDS, _LOWER_LIDS = [37, 38, 43, 44], [41, 40, 47, 46]
_BRIDGE, _NOSE_BASE = 27, 33


def landmarks_68(vertices: Float[np.ndarray, "v 3"], brow_lift_m: float = 0.0) -> Float[np.ndarray, "68 3"]:
    """The 68 landmarks of a head in iBUG's order, in the frame of `vertices`.

    Args:
        vertices: In the default template's topology, in any pose.
        brow_lift_m: How much higher than usual the brows are painted, in rest space.
    """
    points = _blends(len(vertices)) @ vertices
    if brow_lift_m:
        corners, shares = _brows_on_skin(round(brow_lift_m, 4))
        points[_BROWS] = (vertices[corners] * shares[..., None]).sum(1)
    return _with_lids_met(points)


def _with_lids_met(points: Float[np.ndarray, "68 3"]) -> Float[np.ndarray, "68 3"]:
    """Where a lid that shuts has slid over the other, both end where the upper one is seen to."""
    upper, lower = points[_UPPER_LIDS], points[_LOWER_LIDS]
    open_ = (upper - lower) @ (points[_BRIDGE] - points[_NOSE_BASE]) > 0
    points[_LOWER_LIDS] = np.where(open_[:, None], lower, upper)
    return points


def named_landmarks(vertices: Float[np.ndarray, "v 3"]) -> dict[str, Float[np.ndarray, "3"]]:
    """The template's own landmarks by name, in the frame of `vertices`."""
    return {name: vertices[index] for name, index in AnnySource.shared().mesh.landmarks.items()}


@cache
def _blends(count: int) -> sp.csr_array:
    """Shares of `count` vertices in each landmark, [68, count]."""
    rows = np.repeat(np.arange(len(_POINTS)), [len(point) for point in _POINTS])
    columns, shares = zip(*(entry for point in _POINTS for entry in point.items()), strict=True)
    return sp.csr_array((np.array(shares), (rows, np.array(columns))), (len(_POINTS), count))


@lru_cache(maxsize=256)
def _brows_on_skin(lift_m: float) -> tuple[Int[np.ndarray, "10 3"], Float[np.ndarray, "10 3"]]:
    """Corners and shares of the faces in front of which the brows' points lie once they are lifted in rest space."""
    anatomy = default_anatomy()
    rest = anatomy.rest.astype(np.float64)
    places = (_blends(len(rest)) @ rest)[_BROWS, :2] + [0.0, lift_m]
    middles = rest[anatomy.faces].mean(1)
    near = (middles[:, 2] > -0.04) & (np.abs(middles[:, 1] - places[:, 1].mean()) < 0.03)
    corners = anatomy.faces[near & (anatomy.part == SKIN)]
    a, b, c = (rest[corners[:, k], :2] for k in range(3))
    shares = np.empty((len(places), len(corners), 3))
    area = _cross(b - a, c - a)
    for k, (p, q) in enumerate(((b, c), (c, a), (a, b))):
        shares[..., k] = _cross(p - places[:, None], q - places[:, None]) / area
    height = np.where(shares.min(-1) >= -1e-6, (shares * rest[corners, 2]).sum(-1), -np.inf)
    frontmost = height.argmax(1)
    return corners[frontmost], shares[np.arange(len(places)), frontmost]


def _cross(first: Float[np.ndarray, "*n 2"], second: Float[np.ndarray, "*n 2"]) -> Float[np.ndarray, "*n"]:
    return first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0]
