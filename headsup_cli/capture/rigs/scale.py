"""How long a rig's unit is, judged by how far its cameras stand from what they look at."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float, Float64

Scale = Literal["metric", "arbitrary"]

_HEAD_RIG_M = (0.3, 3.0)  # how far cameras stand from a head
_UNITS_M = (1.0, 1e-2, 1e-3)


def guess_metres_per_unit(poses: Sequence[Float[np.ndarray, "4 4"]]) -> tuple[float, Scale]:
    """Metres, centimetres or millimetres, whichever puts the cameras 0.3 to 3 m from the point they look at.

    Where none does the scale is arbitrary, and the guess such that they stand 1 m away.

    Args:
        poses: `cam_from_world`, in the unknown units.
    """
    distance = _working_distance(poses)
    if distance is None:
        return 1.0, "arbitrary"
    for unit in _UNITS_M:
        if _HEAD_RIG_M[0] <= distance * unit < _HEAD_RIG_M[1]:
            return unit, "metric"
    return 1.0 / distance, "arbitrary"


def _working_distance(poses: Sequence[Float[np.ndarray, "4 4"]]) -> float | None:
    """Median distance of the cameras from the point closest to all optical axes; None where that is ill-defined."""
    stacked = np.stack(poses)  # [c, 4, 4]
    axes = stacked[:, 2, :3]
    centres = -np.einsum("cji,cj->ci", stacked[:, :3, :3], stacked[:, :3, 3])
    across = np.eye(3) - axes[:, :, None] * axes[:, None, :]  # [c, 3, 3]: what of a vector is not along the axis
    system: Float64[np.ndarray, "3 3"] = across.sum(0)
    if np.linalg.eigvalsh(system)[0] < 1e-4 * len(poses):  # axes all but parallel
        return None
    point = np.linalg.solve(system, np.einsum("cij,cj->i", across, centres))
    distance = float(np.median(np.linalg.norm(centres - point, axis=1)))
    return distance if 1e-9 < distance < 1e9 else None
