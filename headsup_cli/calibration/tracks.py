"""Points of the scene with the pixels at which cameras saw them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from headsup_cli.calibration.features import Features
from headsup_cli.calibration.matching import PairMatches
from headsup_cli.capture.rig_dump import RigCamera


@dataclass(frozen=True)
class Tracks:
    """Observations of points: observation k is of point `point[k]` by camera `camera[k]`, sorted by point."""

    camera: Int[np.ndarray, " n"]  # index into the rig's cameras
    point: Int[np.ndarray, " n"]  # 0 to count - 1
    pixel: Float64[np.ndarray, "n 2"]  # of the picture as stored

    @property
    def count(self) -> int:
        """Number of points."""
        return int(self.point[-1]) + 1 if len(self.point) else 0

    def where(self, kept: Bool[np.ndarray, " n"]) -> Tracks:
        """The kept observations of points that keep at least two, renumbered."""
        kept = kept & (np.bincount(self.point[kept], minlength=self.count)[self.point] >= 2)
        _, renumbered = np.unique(self.point[kept], return_inverse=True)
        return Tracks(self.camera[kept], renumbered, self.pixel[kept])

    def of_points_seen_by(self, camera: int) -> Tracks:
        """All observations of the points that `camera` sees."""
        seen = np.zeros(self.count, bool)
        seen[self.point[self.camera == camera]] = True
        return self.where(seen[self.point])


def join_matches(cameras: Sequence[int], features: Sequence[Features], matches: Sequence[PairMatches]) -> Tracks:
    """Chain the matches of the pictures of one moment.

    A chain that comes back to a picture at another place holds a wrong match; it is left out.

    Args:
        cameras: The camera of each picture.
        features: By picture.
        matches: Of pairs of pictures.
    """
    offsets = np.concatenate([[0], np.cumsum([len(f) for f in features])])
    ends = [np.zeros((0, 2), int)] + [pair.indices + offsets[[pair.first, pair.second]] for pair in matches]
    edges = np.concatenate(ends)  # [m, 2]
    graph = coo_matrix((np.ones(len(edges)), edges.T), shape=(offsets[-1], offsets[-1]))
    _, label = connected_components(graph, directed=False)
    matched = np.unique(edges)
    picture = np.searchsorted(offsets, matched, "right") - 1
    pixels = np.concatenate([f.pixels for f in features])[matched]
    place = label[matched] * len(features) + picture
    _, first, twice = np.unique(place, return_inverse=True, return_counts=True)[0:3]
    clean = np.bincount(label[matched], weights=(twice[first] > 1), minlength=label.max(initial=0) + 1) == 0
    kept = clean[label[matched]]
    order = np.argsort(label[matched][kept], kind="stable")
    _, point = np.unique(label[matched][kept][order], return_inverse=True)
    return Tracks(np.asarray(cameras)[picture[kept][order]], point, pixels[kept][order])


def concatenate(parts: Sequence[Tracks]) -> Tracks:
    """The tracks of several moments as one set."""
    offsets = np.concatenate([[0], np.cumsum([part.count for part in parts])]).astype(int)
    return Tracks(
        np.concatenate([np.zeros(0, int), *(part.camera for part in parts)]),
        np.concatenate([np.zeros(0, int), *(part.point + start for part, start in zip(parts, offsets, strict=False))]),
        np.concatenate([np.zeros((0, 2)), *(part.pixel for part in parts)]),
    )


def triangulate(tracks: Tracks, cameras: Sequence[RigCamera]) -> Float64[np.ndarray, "p 3"]:
    """The points nearest to their rays, in the rig's world; NaN where the rays are parallel."""
    ray = np.zeros((len(tracks.point), 3))
    centre = np.zeros((len(tracks.point), 3))
    for index, camera in enumerate(cameras):
        seen = tracks.camera == index
        if seen.any():
            towards = np.pad(camera.unproject(tracks.pixel[seen]), ((0, 0), (0, 1)), constant_values=1.0)
            ray[seen] = towards @ camera.cam_from_rig[:3, :3]
            centre[seen] = camera.centre
    ray /= np.linalg.norm(ray, axis=1, keepdims=True)
    across = np.eye(3) - ray[:, :, None] * ray[:, None, :]  # [n, 3, 3]
    normal = np.zeros((tracks.count, 3, 3))
    target = np.zeros((tracks.count, 3))
    np.add.at(normal, tracks.point, across)
    np.add.at(target, tracks.point, np.einsum("nij,nj->ni", across, centre))
    sound = np.isfinite(normal).all((1, 2)) & (np.abs(np.linalg.det(np.nan_to_num(normal))) > 1e-9)
    points = np.full((tracks.count, 3), np.nan)
    points[sound] = np.linalg.solve(normal[sound], target[sound][..., None])[..., 0]
    return points


def reproject(
    tracks: Tracks, points: Float64[np.ndarray, "p 3"], cameras: Sequence[RigCamera]
) -> Float64[np.ndarray, "n 2"]:
    """Where the cameras should have seen the points, pixels; NaN behind a camera."""
    pixels = np.full((len(tracks.point), 2), np.nan)
    for index, camera in enumerate(cameras):
        seen = tracks.camera == index
        if not seen.any():
            continue
        local = points[tracks.point[seen]] @ camera.cam_from_rig[:3, :3].T + camera.cam_from_rig[:3, 3]
        with np.errstate(all="ignore"):
            pixels[seen] = np.where(local[:, 2:] > 0, camera.project(local[:, :2] / local[:, 2:]), np.nan)
    return pixels


def leave_one_out(
    tracks: Tracks, index: int, judged: RigCamera, cameras: Sequence[RigCamera]
) -> Float64[np.ndarray, "m 2"]:
    """What a camera saw less where it should have seen points triangulated from the others alone, pixels.

    Args:
        tracks: What was seen.
        index: The camera left out.
        judged: Its calibration.
        cameras: The rig, of which the others are taken.
    """
    mine = tracks.of_points_seen_by(index)
    counts = np.bincount(mine.point[mine.camera != index], minlength=mine.count)
    mine = mine.where(counts[mine.point] >= 2)
    others = mine.camera != index
    if not others.any():
        return np.zeros((0, 2))
    points = triangulate(mine.where(others), cameras)
    own = Tracks(np.zeros((~others).sum(), int), mine.point[~others], mine.pixel[~others])
    return own.pixel - reproject(own, points, [judged])


def median_length(errors: Float64[np.ndarray, "n 2"]) -> float:
    """Median length in pixels, lost observations counting as very long; 0 of none."""
    length = np.linalg.norm(errors, axis=1)
    return float(np.median(np.where(np.isfinite(length), length, 1e4))) if len(length) else 0.0
