"""Which points of a head the landmark network finds."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

IBUG_COUNT = 68  # in iBUG's order (Sagonas et al., "300 Faces in-the-Wild Challenge", ICCVW 2013)
_SIDED = ("ear_canal", "ear_top", "ear_lobe", "pupil")
TEMPLATE_POINTS = tuple(f"{name}_{side}" for name in _SIDED for side in ("left", "right"))  # as the template names them
POINT_COUNT = IBUG_COUNT + len(TEMPLATE_POINTS)

LEFT_IRIS, RIGHT_IRIS = (IBUG_COUNT + TEMPLATE_POINTS.index(f"pupil_{side}") for side in ("left", "right"))
OUTER_EYE_CORNERS = (36, 45)  # the subject's right, left

# Runs of points that a mirror image lists in reverse, and pairs that it swaps.
_REVERSED = (range(17), range(17, 27), range(31, 36), range(48, 55), range(55, 60), range(60, 65), range(65, 68))
_SWAPPED = ((36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46))


def _mirrored() -> np.ndarray:
    order = np.arange(POINT_COUNT)
    for run in _REVERSED:
        order[list(run)] = list(run)[::-1]
    for first, second in _SWAPPED:
        order[[first, second]] = second, first
    for left in range(IBUG_COUNT, POINT_COUNT, 2):
        order[[left, left + 1]] = left + 1, left
    return order


MIRRORED = _mirrored()  # the point of a head that a point of its mirror image is


def faces_left(points_px: Float[np.ndarray, "*n k 2"]) -> Bool[np.ndarray, "*n"]:
    """Whether heads with these points in a picture look to its left; the network is only ever shown the others."""
    nose, canals = points_px[..., 30, 0], points_px[..., IBUG_COUNT : IBUG_COUNT + 2, 0].mean(-1)
    return nose < canals
