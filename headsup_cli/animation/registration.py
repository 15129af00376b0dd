"""Which point of the template each Gaussian about the mouth lies on, told by landmarks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Float64
from scipy.interpolate import RBFInterpolator
from scipy.spatial import cKDTree

from headsup_cli.animation.rig import Movement

_SMOOTHING_M = 0.005  # landmarks nearer to each other than this are averaged
_REACH_M, _FADED = 0.02, 2.0  # about the landmarks: how far they tell much, and how many times that nothing more
_FAR_M = 0.015  # from every point of the surface: what lies there keeps its own
_LEAST = 12  # landmarks
_WILD_M = 0.03  # median distance of landmarks from where the template has them: no mouth was found


@dataclass(frozen=True)
class MouthMarks:
    """Landmarks about a mouth, where the template has them and where the head shows them."""

    on_template: Float64[np.ndarray, "k 3"]  # metres, head frame
    on_head: Float64[np.ndarray, "k 3"]

    @property
    def tell(self) -> bool:
        """Whether they are enough, and in the place of a mouth."""
        if len(self.on_template) < _LEAST:
            return False
        return float(np.median(np.linalg.norm(self.on_head - self.on_template, axis=1))) < _WILD_M

    def moved(self, points: Float[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
        """Where the head has points of the template: a biharmonic spline that fades out away from the landmarks."""
        spline = RBFInterpolator(
            self.on_template, self.on_head - self.on_template, kernel="linear", degree=1, smoothing=_SMOOTHING_M
        )
        apart_m = self.apart_m(points)
        near = apart_m < _FADED * _REACH_M
        moved = points.astype(np.float64)
        moved[near] += np.exp(-((apart_m[near, None] / _REACH_M) ** 2)) * spline(moved[near])
        return moved

    def apart_m(self, points: Float[np.ndarray, "n 3"]) -> Float64[np.ndarray, " n"]:
        """Distance of points of the template to the nearest landmark."""
        return cKDTree(self.on_template).query(points)[0]


@dataclass(frozen=True)
class FaceMarks:
    """Landmarks of brows, eyes, nose and mouth, where the template has them and where the head shows them."""

    on_template: Float64[np.ndarray, "k 3"]  # metres, head frame
    on_head: Float64[np.ndarray, "k 3"]
    brows: Float64[np.ndarray, "b 3"]  # those of `on_head` that are brows
    mouth: MouthMarks | None  # of which it may not be sure

    @property
    def tell(self) -> bool:
        """Whether they are enough, and in the place of a face."""
        return MouthMarks(self.on_template, self.on_head).tell


def registered(
    at: Movement,
    points: Float[np.ndarray, "n 3"],
    means: Float[np.ndarray, "n 3"],
    marks: MouthMarks,
    *,
    surface: Bool[np.ndarray, " n"],
    free: Bool[np.ndarray, " n"],
) -> Movement:
    """The movement with each Gaussian about the mouth moved as the point of the template that it lies on.

    Reconstruction puts a texel's Gaussian some millimetres beside the feature that the texel is of, and refinement
    farther. So lips would part beside the lips.

    Args:
        at: How the texels move, each by its own point.
        points: Where the head has the texels' points, by the landmarks.
        means: Where the Gaussians are at rest.
        marks: Landmarks.
        surface: Texels that one sees.
        free: Those whose Gaussians may lie on other points than their own.
    """
    apart_m = marks.apart_m(at.anchors)
    near = apart_m < _FADED * _REACH_M
    pool = np.flatnonzero(near & surface)
    share = np.exp(-((apart_m[pool, None] / _REACH_M) ** 2))
    points = means[pool] + share * (points[pool] - means[pool])
    some = np.flatnonzero(near & free)
    apart_m, nearest = cKDTree(points).query(means[some])
    taken = apart_m < _FAR_M
    source = np.arange(len(means))
    source[some[taken]] = pool[nearest[taken]]
    anchors = at.anchors.copy()
    anchors[some[taken]] = points[nearest[taken]]
    return replace(_following(at, source), anchors=anchors)


def _following(at: Movement, source: np.ndarray) -> Movement:
    """Every texel moving as another one does."""
    count = np.diff(at.first)[source]
    first = np.concatenate([[0], np.cumsum(count)])
    rows = np.arange(first[-1]) + np.repeat(at.first[source] - first[:-1], count)
    return replace(
        at,
        first=first,
        shapes=at.shapes[rows],
        deltas=at.deltas[rows],
        tangents=at.tangents[source],
        frames=at.frames[source],
        rigid=at.rigid[source],
    )
