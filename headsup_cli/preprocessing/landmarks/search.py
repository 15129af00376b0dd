"""Look for a head all around where the cameras look, when nothing but pictures says where it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64
from scipy.spatial.transform import Rotation

from headsup_cli.preprocessing.landmarks.crops import CROP_MIDDLE_M
from headsup_cli.preprocessing.landmarks.detection import LandmarkDetector, RigView
from headsup_cli.preprocessing.landmarks.head_pose import LandmarkPose, pose_from_landmarks
from headsup_cli.preprocessing.landmarks.shape_fit import Size

_YAWS = 8
_SCALES = {"metric": (1.0,), "arbitrary": (1.0, 0.7, 1.4, 0.5, 2.0)}
_MOST_VIEWS = 8  # to try a start on
_FINALISTS = 3


def search_head(
    detector: LandmarkDetector, views: Sequence[RigView], rig_from_guess: Float64[np.ndarray, "4 4"], size: Size
) -> LandmarkPose | None:
    """The most credible head among starts that face all ways around the guess's upright axis; None without any.

    Args:
        detector: Finds landmarks in crops.
        views: What the rig saw.
        rig_from_guess: A head frame whose origin and up are about right, rigid.
        size: Whether the rig's metres are metres; if not, heads of other sizes are looked for, too.
    """
    few = views[:: -(-len(views) // _MOST_VIEWS)]
    starts = [_start(rig_from_guess, yaw, scale) for scale in _SCALES[size] for yaw in range(_YAWS)]
    tried = [pose_from_landmarks(detector, few, start, size, rounds=1) for start in starts]
    found = sorted((pose for pose in tried if pose is not None), key=_doubt)[:_FINALISTS]
    finals = [pose_from_landmarks(detector, views, pose.rig_from_head, size) for pose in found]
    return min((pose for pose in finals if pose is not None), key=_doubt, default=None)


def _start(rig_from_guess: Float64[np.ndarray, "4 4"], yaw: int, scale: float) -> Float64[np.ndarray, "4 4"]:
    """A head turned by `yaw` of all the ways, the middle of its face where the guess has the middle of the head."""
    turned = np.eye(4)
    turned[:3, :3] = scale * Rotation.from_euler("y", 360 / _YAWS * yaw, degrees=True).as_matrix()
    turned[:3, 3] = -turned[:3, :3] @ (CROP_MIDDLE_M * [1, 1, 0.5])
    return rig_from_guess @ turned


def _doubt(pose: LandmarkPose) -> float:
    return pose.doubt_m
