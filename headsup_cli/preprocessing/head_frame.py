"""The head frame: roughly from cameras and masks, then from the landmarks of the face.

Where the optical axes meet and what the masks enclose say where a head is; the pictures' upright and the side on which
the body leaves them say which way is up; the template's outline, fitted from starts all around, says the rest. Where
faces are seen their landmarks, triangulated, and the shape model fitted to them say it better.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64
from scipy.spatial.transform import Rotation

from headsup_cli.preprocessing.head_shape import load_head_shape
from headsup_cli.preprocessing.landmarks.detection import LandmarkDetector, NetworkDetector, RigView
from headsup_cli.preprocessing.landmarks.head_pose import LandmarkPose, pose_from_landmarks, with_outlines
from headsup_cli.preprocessing.landmarks.search import search_head
from headsup_cli.preprocessing.landmarks.shape_fit import Size
from headsup_cli.preprocessing.silhouette_fit import (
    Fit,
    HeadMesh,
    Silhouettes,
    coarsened,
    mismatch,
    outline_distances,
    refine,
)

_YAW_STARTS = 12
_START_VIEWS = 8  # enough to tell the starts apart; the winners are refined on all views
_COARSE_CELL_M = 0.012  # of the mesh that the starts are fitted with
_START_KERNELS_M = (0.05, 0.05, 0.04, 0.03, 0.02)
_FINALISTS = 4
_FINALIST_KERNELS_M = (0.03, 0.02, 0.02, 0.02)
_LAST_KERNELS_M = (0.02,) * 15
_MIN_VIEWS = 2  # below, silhouettes do not enclose anything
_SAME_POSE_DEG = 30.0
_SAME_UP_DEG = 40.0
_POOR_MISMATCH = 0.1  # above, starts from another up are worth their time
_DOUBTFUL_MISMATCH = 0.25  # above, say so
_TILT_DEG = 25.0
_AMBIGUOUS = 1.25  # ratio of mismatches below which the layout of the rig decides between two poses
_ROUNDS_FROM_SILHOUETTES, _ROUNDS_FROM_GLIMPSE = 2, 4  # of crops; the first are good
_HULL_HALF_SIDE_M = 0.4
_HULL_CELLS = 40
_HULL_AGREEMENT = 0.9  # share of the views that must see a cell covered, so that one bad mask does not carve all away

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class HeadFrame:
    """Where the head is in the rig."""

    rig_from_head: Float64[np.ndarray, "4 4"]  # metres; rigid but for a scale where the rig's metres are none
    method: Literal["landmarks", "silhouettes", "cameras"]
    template_scale: Float64[np.ndarray, " 3"]  # the subject's size over the template's along x, y, z
    residual_m: float | None  # median distance of landmarks, or between outlines
    scale_sigma: float = 0.0  # relative standard deviation of `rig_from_head`'s scale; 0 where the rig is metric
    landmarks: Float64[np.ndarray, "k 3"] | None = None  # triangulated, metres, head frame; order of `landmarks.points`
    surface: Float64[np.ndarray, "v 3"] | None = None  # the fitted neutral head, template's topology; of metric rigs


def find_head_frame_by_landmarks(
    rough: HeadFrame,
    views: Sequence[RigView],
    mesh: HeadMesh,
    size: Size,
    masks: Silhouettes | None = None,
    detector: LandmarkDetector | None = None,
) -> HeadFrame:
    """Refine a rough head frame by the landmarks of the face; the rough one itself where no face is seen.

    Args:
        rough: From `find_head_frame`; or `head_frame_from_cameras`, around which a head is then looked for.
        views: The undistorted pictures, at any resolution.
        mesh: The template, whose size is compared with.
        size: Whether the rig's metres are metres. If not, `rig_from_head` is a similarity by which the subject has the
            mean size of people's heads.
        masks: What `find_head_frame` was given; in metric rigs the outlines have their say, too.
        detector: Finds landmarks; headsup's own network by default.
    """
    detector = detector or NetworkDetector()
    found = None
    if rough.method == "silhouettes":
        found = pose_from_landmarks(detector, views, rough.rig_from_head, size, _ROUNDS_FROM_SILHOUETTES)
    if found is None or not found.credible:
        found = search_head(detector, views, rough.rig_from_head, size)
    if found is None or not found.credible:
        logger.warning("no face is seen by at least two cameras: the head frame is from the %s alone", rough.method)
        return rough
    outlined = masks if rough.method == "silhouettes" else None
    return _frame_of(found, rough.template_scale, mesh, size, outlined)


@dataclass(frozen=True)
class RoughFits:
    """Fits of the template to silhouettes, from starts all around the likeliest up: good enough to look for a face."""

    views: Silhouettes  # those that show a subject
    hull: Float64[np.ndarray, "n 3"]
    coarse: HeadMesh
    scored: tuple[tuple[float, Fit], ...]  # each with its mismatch
    other_ups: tuple[Float64[np.ndarray, " 3"], ...]  # as likely, but not tried

    def around(self, up: Float64[np.ndarray, " 3"]) -> list[tuple[float, Fit]]:
        """The same from another up."""
        return _fits_around(up, self.hull, self.views, self.coarse)


def rough_fits(masks: Silhouettes, mesh: HeadMesh) -> RoughFits | None:
    """Fit roughly; None where fewer than two masks show a subject."""
    used = np.flatnonzero(masks.masks.any((1, 2)))
    if len(used) < _MIN_VIEWS:
        return None
    views = masks[used]
    up, *others = _expected_ups(views)
    hull, coarse = _visual_hull(views), coarsened(mesh, _COARSE_CELL_M)
    return RoughFits(views, hull, coarse, tuple(_fits_around(up, hull, views, coarse)), tuple(others))


def glimpse_head_frame(
    rough: RoughFits, views: Sequence[RigView], mesh: HeadMesh, size: Size, detector: LandmarkDetector | None = None
) -> HeadFrame | None:
    """The head frame by the landmarks of the face that the best rough fit leads to; None if it leads to none.

    It is as good as by `find_head_frame` and `find_head_frame_by_landmarks`, in a part of the time.

    Args:
        rough: Fits to the silhouettes.
        views: The undistorted pictures, at any resolution.
        mesh: The template.
        size: Whether the rig's metres are metres.
        detector: Finds landmarks; headsup's own network by default.
    """
    best = min(rough.scored, key=_mismatch_of)[1]
    start = _rigid(best.rotation, best.translation)
    found = pose_from_landmarks(detector or NetworkDetector(), views, start, size, _ROUNDS_FROM_GLIMPSE)
    return _frame_of(found, best.scale, mesh, size, rough.views) if found is not None and found.credible else None


def _frame_of(
    found: LandmarkPose, scale: Float64[np.ndarray, " 3"], mesh: HeadMesh, size: Size, masks: Silhouettes | None
) -> HeadFrame:
    """A pose found by landmarks as a head frame, outlines having their say; `scale` is for templates of one's own."""
    if masks is not None and size == "metric":
        found = with_outlines(found, masks[np.flatnonzero(masks.masks.any((1, 2)))])
    same_topology = len(mesh.vertices) == len(load_head_shape().mean)
    return HeadFrame(
        found.rig_from_head,
        "landmarks",
        _growth(found, mesh) if same_topology else scale,
        float(np.median(found.fit.residuals_m)),
        found.fit.log_scale_sigma,
        found.landmarks_in_head,
        found.fit.surface(load_head_shape()) if same_topology and size == "metric" else None,
    )


def _growth(found: LandmarkPose, mesh: HeadMesh) -> Float64[np.ndarray, " 3"]:
    """Size of the fitted neutral head over the template's, of the same topology, along each axis."""
    head = mesh.vertices[:, 1] > mesh.chin_height_m
    own, theirs = found.fit.surface(load_head_shape())[head], mesh.vertices[head]
    return (own * theirs).sum(0) / (theirs**2).sum(0)


def head_frame_from_cameras(cam_from_rig: Float64[np.ndarray, "c 4 4"]) -> HeadFrame:
    """A rough head frame without masks: where the axes meet, upright as the pictures, facing the mean camera."""
    centre, up = convergence_point(cam_from_rig), _image_up(cam_from_rig)
    forward = _camera_centres(cam_from_rig).mean(0) - centre
    rotation = _upright(up, forward)
    return HeadFrame(_rigid(rotation, centre), "cameras", np.ones(3), None)


def find_head_frame(views: Silhouettes, mesh: HeadMesh, rough: RoughFits | None = None) -> HeadFrame:
    """Fit the template to the silhouettes from many starts and return the frame of the best fit.

    The order of evidence for front against back: the outlines (nose and chin against the back of the head); where they
    fit both ways about as well, the side on which the rig has its cameras.

    Args:
        views: The silhouettes; views without any subject may be among them.
        mesh: The template, whose frame is the head frame by definition.
        rough: What `rough_fits` gave, where that is known.
    """
    rough = rough or rough_fits(views, mesh)
    if rough is None:
        logger.warning("fewer than %d masks show a subject: the head frame is rough", _MIN_VIEWS)
        return head_frame_from_cameras(views.cam_from_rig)
    views, fits = rough.views, list(rough.scored)
    for likely_ups in (rough.other_ups, _tilted_ups(views), _odd_ups(views)):
        for up in likely_ups:
            fits += rough.around(up)
        fits.sort(key=_mismatch_of)
        if fits[0][0] < _POOR_MISMATCH:
            break
    refined = [refine(fit, mesh, views, _FINALIST_KERNELS_M, "proportions") for _, fit in _distinct(fits)[:_FINALISTS]]
    chosen = _chosen(sorted(((mismatch(fit, mesh, views), fit) for fit in refined), key=_mismatch_of), views)
    best = refine(chosen, mesh, views, _LAST_KERNELS_M, "proportions")
    score = mismatch(best, mesh, views)
    if score > _DOUBTFUL_MISMATCH:
        logger.warning("the masks look little like a head (mismatch %.2f): check the head frame", score)
    distances = np.abs(outline_distances(best, mesh, views))
    residual_m = float(np.median(distances)) if len(distances) else None
    return HeadFrame(_rigid(best.rotation, best.translation), "silhouettes", best.scale, residual_m)


def convergence_point(cam_from_rig: Float64[np.ndarray, "c 4 4"]) -> Float64[np.ndarray, " 3"]:
    """The point nearest to all optical axes, in the cameras' unit; a metre ahead where they are parallel."""
    centres, axes = _camera_centres(cam_from_rig), cam_from_rig[:, 2, :3]
    across = np.eye(3) - axes[:, :, None] * axes[:, None]  # [c, 3, 3]
    ahead = centres.mean(0) + axes.mean(0)
    damping = 1e-3 * np.eye(3)
    return np.linalg.solve(across.sum(0) + damping, (across @ centres[..., None]).sum(0)[:, 0] + damping @ ahead)


def _visual_hull(views: Silhouettes) -> Float64[np.ndarray, "n 3"]:
    """Centres of the grid cells that the masks enclose, rig's world."""
    offsets = np.linspace(-_HULL_HALF_SIDE_M, _HULL_HALF_SIDE_M, _HULL_CELLS)
    grid = np.stack(np.meshgrid(offsets, offsets, offsets, indexing="ij"), -1).reshape(-1, 3)
    grid = grid + convergence_point(views.cam_from_rig)
    seen, covered = np.zeros(len(grid)), np.zeros(len(grid))
    height, width = views.masks.shape[1:]
    for index in range(len(views.cameras)):
        points = grid @ views.cam_from_rig[index, :3, :3].T + views.cam_from_rig[index, :3, 3]
        homogeneous = points @ views.K[index].T
        x, y = np.floor(homogeneous[:, :2] / np.maximum(homogeneous[:, 2:], 1e-6)).clip(-1, 1 << 20).astype(int).T
        inside = (points[:, 2] > 0) & (x >= 0) & (x < width) & (y >= 0) & (y < height)
        inside[inside] = views.border_distance[index, y[inside], x[inside]] > 0
        seen += inside
        covered[inside] += views.masks[index, y[inside], x[inside]]
    enclosed = (seen >= max(2, len(views.cameras) / 2)) & (covered >= _HULL_AGREEMENT * seen)
    return grid[enclosed] if enclosed.any() else grid[[len(grid) // 2]]


def _expected_ups(views: Silhouettes) -> list[Float64[np.ndarray, " 3"]]:
    """Up as the pictures have it, and away from where the body leaves them if that differs."""
    ups = [_image_up(views.cam_from_rig)]
    away = np.zeros(3)
    for index, mask in enumerate(views.masks):
        cut = mask & (views.border_distance[index] == 1)
        if cut.any():
            rows_columns = np.argwhere(mask).mean(0) - np.argwhere(cut).mean(0)
            direction = np.array([rows_columns[1], rows_columns[0], 0.0]) @ views.cam_from_rig[index, :3, :3]
            away += direction / max(float(np.linalg.norm(direction)), 1e-9)
    if away.any():
        away /= np.linalg.norm(away)
        if _angle_deg(away, ups[0]) > _SAME_UP_DEG:
            ups.append(away)
    return ups


def _tilted_ups(views: Silhouettes) -> list[Float64[np.ndarray, " 3"]]:
    """Up for heads that nod or lean."""
    up = _image_up(views.cam_from_rig)
    level = _upright(up, views.cam_from_rig[0, 0, :3])[:, [0, 2]].T  # two horizontal axes
    return [
        Rotation.from_rotvec(np.radians(angle) * axis).apply(up) for axis in level for angle in (-_TILT_DEG, _TILT_DEG)
    ]


def _odd_ups(views: Silhouettes) -> list[Float64[np.ndarray, " 3"]]:
    """Up if the cameras hang on their side or upside down."""
    sideways = views.cam_from_rig[:, 0, :3].mean(0)
    sideways = sideways / max(float(np.linalg.norm(sideways)), 1e-9)
    return [-_image_up(views.cam_from_rig), sideways, -sideways]


def _fits_around(
    up: Float64[np.ndarray, " 3"], hull: Float64[np.ndarray, "n 3"], views: Silhouettes, mesh: HeadMesh
) -> list[tuple[float, Fit]]:
    """Fits of one scale from starts all around `up`, each with its mismatch."""
    views = views[_spread(views, _START_VIEWS)].halved()
    base = _upright(up, views.cam_from_rig[0, 0, :3])
    own = mesh.vertices[mesh.vertices[:, 1] > mesh.chin_height_m]
    own_middle, crown = (own.max(0) + own.min(0)) / 2, own[:, 1].max()
    heights = hull @ up
    top = np.percentile(heights, 99.5)
    head = hull[heights > top - (crown - mesh.chin_height_m)]
    middle = (np.percentile(head, 98, axis=0) + np.percentile(head, 2, axis=0)) / 2
    fits = []
    for yaw in 360.0 / _YAW_STARTS * np.arange(_YAW_STARTS):
        rotation = base @ Rotation.from_euler("y", yaw, degrees=True).as_matrix()
        translation = middle - rotation @ own_middle
        translation += up * (top - crown - translation @ up)
        fit = refine(Fit(rotation, translation, np.ones(3)), mesh, views, _START_KERNELS_M, "size")
        fits.append((mismatch(fit, mesh, views), fit))
    return fits


def _distinct(fits: list[tuple[float, Fit]]) -> list[tuple[float, Fit]]:
    """The best of each group of like poses."""
    kept: list[tuple[float, Fit]] = []
    for score, fit in fits:
        turns = [Rotation.from_matrix(fit.rotation.T @ other.rotation).magnitude() for _, other in kept]
        if all(np.degrees(turn) > _SAME_POSE_DEG for turn in turns):
            kept.append((score, fit))
    return kept


def _chosen(ranked: list[tuple[float, Fit]], views: Silhouettes) -> Fit:
    """The best fit, or where one facing the other way is about as good, the one facing more cameras."""
    score, best = ranked[0]
    candidates = [
        fit
        for rival_score, fit in ranked
        if fit is best
        or (rival_score < _AMBIGUOUS * score and _angle_deg(fit.rotation[:, 2], best.rotation[:, 2]) > 90)
    ]
    if len(candidates) > 1:
        logger.warning("the outlines do not tell front from back; the side with more cameras is taken for the front")
    towards = _camera_centres(views.cam_from_rig).mean(0) - best.translation
    return max(candidates, key=lambda fit: float(fit.rotation[:, 2] @ towards))


def _spread(views: Silhouettes, count: int) -> list[int]:
    """Indices of at most `count` views that see the subject from sides as different as can be."""
    axes = views.cam_from_rig[:, 2, :3]
    chosen = [0]
    while len(chosen) < min(count, len(axes)):
        chosen.append(int((axes @ axes[chosen].T).max(1).argmin()))
    return sorted(chosen)


def _image_up(cam_from_rig: Float64[np.ndarray, "c 4 4"]) -> Float64[np.ndarray, " 3"]:
    """The direction that is up in the pictures of most cameras."""
    ups = -cam_from_rig[:, 1, :3]  # image y points down
    mean = ups.mean(0)
    for _ in range(5):  # towards the median, so that a camera hung upside down has no say
        weights = 1 / np.maximum(np.linalg.norm(ups - mean, axis=1), 1e-3)
        mean = (ups * weights[:, None]).sum(0) / weights.sum()
    norm = float(np.linalg.norm(mean))
    return mean / norm if norm > 1e-6 else ups[0]


def _upright(up: Float64[np.ndarray, " 3"], forward: Float64[np.ndarray, " 3"]) -> Float64[np.ndarray, "3 3"]:
    """The rotation whose y axis is `up` and whose z axis is as near to `forward` as that allows."""
    forward = forward - up * (forward @ up)
    if np.linalg.norm(forward) < 1e-6:
        forward = np.cross(up, np.eye(3)[np.abs(up).argmin()])
    forward = forward / np.linalg.norm(forward)
    return np.stack([np.cross(up, forward), up, forward], 1)


def _rigid(rotation: Float64[np.ndarray, "3 3"], translation: Float64[np.ndarray, " 3"]) -> Float64[np.ndarray, "4 4"]:
    transform = np.eye(4)
    transform[:3, :3], transform[:3, 3] = rotation, translation
    return transform


def _camera_centres(cam_from_rig: Float64[np.ndarray, "c 4 4"]) -> Float64[np.ndarray, "c 3"]:
    return -np.einsum("cji,cj->ci", cam_from_rig[:, :3, :3], cam_from_rig[:, :3, 3])


def _mismatch_of(scored: tuple[float, Fit]) -> float:
    return scored[0]


def _angle_deg(first: Float64[np.ndarray, " 3"], second: Float64[np.ndarray, " 3"]) -> float:
    return float(np.degrees(np.arccos(np.clip(first @ second, -1, 1))))
