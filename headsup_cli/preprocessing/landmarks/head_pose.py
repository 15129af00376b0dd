"""Where a head is, from its landmarks in calibrated views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

from headsup_cli.preprocessing.head_shape import load_head_shape
from headsup_cli.preprocessing.landmarks.crops import CROP_MIDDLE_M
from headsup_cli.preprocessing.landmarks.detection import LandmarkDetector, RigView, detect
from headsup_cli.preprocessing.landmarks.points import IBUG_COUNT
from headsup_cli.preprocessing.landmarks.shape_fit import HeadFit, Size, fit_head, outlines
from headsup_cli.preprocessing.landmarks.triangulation import SpacePoints, triangulate
from headsup_cli.preprocessing.silhouette_fit import Silhouettes

_ROUNDS = 4  # crops follow the pose found
_SETTLED_M, _SETTLED_DEG, _SETTLED_SCALE = 0.002, 0.7, 0.01
_MIN_VIEWS = 2
_DOUBTFUL_M = 0.006  # faces come at 2 mm, noise at 9: landmarks less certain than this are no evidence of a head


@dataclass(frozen=True)
class LandmarkPose:
    """A head found by its landmarks."""

    rig_from_head: Float64[np.ndarray, "4 4"]  # similarity; its scale is 1 where the rig's metres are metres
    fit: HeadFit  # in the world of `points`
    points: SpacePoints  # in the frame of the last crops, about the head's
    rig_from_points: Float64[np.ndarray, "4 4"]  # similarity

    @property
    def doubt_m(self) -> float:
        """Median uncertainty and misfit of the landmarks."""
        variance = np.trace(self.points.covariance, axis1=1, axis2=2) / 3 + self.fit.residuals_m**2
        return float(np.sqrt(np.median(variance[:IBUG_COUNT])))

    @property
    def landmarks_in_head(self) -> Float64[np.ndarray, "k 3"]:
        """The triangulated points, metres, head frame."""
        head_from_points = np.linalg.inv(self.rig_from_head) @ self.rig_from_points
        return self.points.positions @ head_from_points[:3, :3].T + head_from_points[:3, 3]

    @property
    def credible(self) -> bool:
        """Whether there is a head at all where it was looked for."""
        return self.doubt_m < _DOUBTFUL_M


def pose_from_landmarks(
    detector: LandmarkDetector,
    views: Sequence[RigView],
    rig_from_head: Float64[np.ndarray, "4 4"],
    size: Size,
    rounds: int = _ROUNDS,
) -> LandmarkPose | None:
    """Detect, triangulate and fit, again with better crops until the pose settles.

    Args:
        detector: Finds landmarks in crops.
        views: What the rig saw.
        rig_from_head: Where to look, see `detect`; a similarity.
        size: Whether the rig's metres are metres.
        rounds: At most.

    Returns:
        The head, credible or not; None if fewer than two views may see a face.
    """
    found = None
    for _ in range(rounds):
        seen = detect(detector, views, rig_from_head)
        if len(seen.cameras) < _MIN_VIEWS:
            return found
        points = triangulate(seen, CROP_MIDDLE_M)
        fit = fit_head(points, load_head_shape(), size)
        found = LandmarkPose(rig_from_head @ fit.world_from_head, fit, points, rig_from_head)
        if _settled(fit) or fit.escaped:
            break
        rig_from_head = found.rig_from_head
    return found


def with_outlines(found: LandmarkPose, views: Silhouettes) -> LandmarkPose:
    """Fit again, to landmarks and silhouettes; of metric rigs alone."""
    shape = load_head_shape()
    fit = fit_head(found.points, shape, "metric", outlines(views, found.rig_from_points, shape))
    return replace(found, rig_from_head=found.rig_from_points @ fit.world_from_head, fit=fit)


def _settled(fit: HeadFit) -> bool:
    turn_deg = np.degrees(np.arccos(np.clip((np.trace(fit.rotation) - 1) / 2, -1, 1)))
    moved_m = float(np.linalg.norm(fit.translation))
    return bool(moved_m < _SETTLED_M and turn_deg < _SETTLED_DEG and abs(np.log(fit.scale)) < _SETTLED_SCALE)
