"""Fit a head mesh to silhouettes: pose and size, by Gauss-Newton on distances between outlines.

The template's outline is compared with the masks' (not the other way round), with a kernel that lets go of outlines it
cannot explain: hair, clothes, shoulders cut differently.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64, Int
from scipy.spatial.transform import Rotation

from headsup_cli.cameras.camera import Cameras
from headsup_cli.media.opencv import cv2
from headsup_cli.rendering.mesh_rasteriser import rasterise_mesh

_OUTLINE_TOLERANCE_M = 0.003  # how far inside the mesh's own silhouette an edge may lie and still be its outline
_POINT_SIGMA_M = 0.006  # by which people's outlines differ from a scaled template's
_POINTS_PER_OBSERVATION = 20.0  # neighbouring outline points err alike
_SIZE_SIGMA = 0.10  # of people's heads around the template, child to adult, as log scale
_SHAPE_SIGMA = 0.05  # of one axis against the others, as log scale
_SCALE_RANGE = (0.65, 1.35)
_NECK_WEIGHT = 0.1  # of outline points below the chin: necks bend, shoulders and clothes differ
_LONGEST_TURN_RAD, _LONGEST_MOVE_M, _LARGEST_GROWTH = 0.35, 0.05, 0.1  # of one step
_CONVERGED = 1e-3  # radians, metres and log scale
_FEWEST_POINTS = 20


@dataclass(frozen=True)
class Silhouettes:
    """Masks seen by pinhole cameras, at a working resolution of a few hundred pixels, on canvases of one size."""

    cameras: Cameras  # world = the rig's, metres
    masks: Bool[np.ndarray, "c h w"]
    signed_distance: Float32[np.ndarray, "c h w"]  # pixels to the mask's outline, positive outside
    gradient: Float32[np.ndarray, "c h w 2"]  # of the signed distance along x and y
    border_distance: Float32[np.ndarray, "c h w"]  # pixels to the picture's border, 0 beyond it

    @property
    def cam_from_rig(self) -> Float64[np.ndarray, "c 4 4"]:
        """Poses as an array, metres."""
        return self.cameras.cam_from_world.numpy()

    @property
    def K(self) -> Float64[np.ndarray, "c 3 3"]:  # noqa: N802 - the field's name
        """Intrinsics as an array."""
        return self.cameras.K.numpy()

    def __getitem__(self, index: Sequence[int] | Int[np.ndarray, " n"]) -> Silhouettes:
        arrays = (self.masks, self.signed_distance, self.gradient, self.border_distance)
        chosen = [int(i) for i in index]
        return Silhouettes(self.cameras[chosen], *(array[chosen] for array in arrays))

    def halved(self) -> Silhouettes:
        """The same views at half the resolution."""
        height, width = self.masks.shape[1] // 2, self.masks.shape[2] // 2
        K = self.cameras.K * torch.tensor([[0.5], [0.5], [1.0]], dtype=torch.float64)
        masks, signed, gradient, border = (
            array[:, : 2 * height : 2, : 2 * width : 2]
            for array in (self.masks, self.signed_distance, self.gradient, self.border_distance)
        )
        return Silhouettes(
            Cameras(self.cameras.cam_from_world, K, width, height), masks, signed / 2, gradient, np.ceil(border / 2)
        )


@dataclass(frozen=True)
class HeadMesh:
    """What the fit needs to know of a template."""

    vertices: Float64[np.ndarray, "v 3"]  # head frame, metres
    faces: Int[np.ndarray, "f 3"]  # counter-clockwise from outside
    edge_vertices: Int[np.ndarray, "e 2"]
    edge_faces: Int[np.ndarray, "e 2"]
    chin_height_m: float  # y of the chin; what is below is neck and shoulders


@dataclass(frozen=True)
class Fit:
    """A placement of the template: `x_rig = rotation @ (scale * x_head) + translation`, metres."""

    rotation: Float64[np.ndarray, "3 3"]
    translation: Float64[np.ndarray, " 3"]
    scale: Float64[np.ndarray, " 3"]

    def apply(self, points: Float[np.ndarray, "*n 3"]) -> Float64[np.ndarray, "*n 3"]:
        """Points of the template in the rig's world."""
        return (points * self.scale) @ self.rotation.T + self.translation


@dataclass(frozen=True)
class Outline:
    """Points on the template's outline, each seen by one view."""

    edge: Int[np.ndarray, " n"]
    own: Float64[np.ndarray, "n 3"]  # head frame, scaled
    residual_m: Float64[np.ndarray, " n"]  # distance to the mask's outline, positive outside
    by_rig: Float64[np.ndarray, "n 3"]  # derivative of the residual by the point, rig's world
    by_own: Float64[np.ndarray, "n 3"]  # the same, head frame
    weight: Float64[np.ndarray, " n"]

    def by_pose(self) -> Float64[np.ndarray, "n 6"]:
        """Derivative of the residual by a turn in the head frame (radians) and a move in the rig's world."""
        return np.concatenate([np.cross(self.own, self.by_own), self.by_rig], 1)

    def information(self, kernel_m: float) -> Float64[np.ndarray, " n"]:
        """Inverse variances, falling with the residual by a Geman-McClure kernel."""
        kept = self.weight / (1 + (self.residual_m / kernel_m) ** 2) ** 2
        return kept / (_POINT_SIGMA_M**2 * _POINTS_PER_OBSERVATION)


def silhouettes(
    cam_from_rig: Sequence[Float64[np.ndarray, "4 4"]],
    K: Sequence[Float64[np.ndarray, "3 3"]],
    coverages: Sequence[Float32[np.ndarray, "_ _"]],
) -> Silhouettes:
    """Prepare masks (coverage in [0, 1], sizes may differ) for fitting; a picture's border is no outline."""
    height, width = np.max([coverage.shape for coverage in coverages], 0)
    layers = [_distances(coverage > 0.5) for coverage in coverages]
    padded = [
        np.stack([np.pad(layer, [(0, height - h), (0, width - w)] + [(0, 0)] * (layer.ndim - 2)) for layer in kind])
        for kind in zip(*layers, strict=True)
        for h, w in [kind[0].shape[:2]]
    ]
    cameras = Cameras(torch.from_numpy(np.stack(cam_from_rig)), torch.from_numpy(np.stack(K)), int(width), int(height))
    return Silhouettes(cameras, *padded)


def head_mesh(vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], chin_height_m: float) -> HeadMesh:
    """Prepare a mesh for fitting: its edges with the two faces at each."""
    edges = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), 1)  # [3 f, 2]
    order = np.lexsort(edges.T)
    edges, face_of = edges[order], order // 3
    twins = np.flatnonzero((edges[1:] == edges[:-1]).all(1))
    edge_faces = np.stack([face_of[twins], face_of[twins + 1]], -1)
    return HeadMesh(vertices.astype(np.float64), faces, edges[twins], edge_faces, chin_height_m)


def coarsened(mesh: HeadMesh, cell_m: float) -> HeadMesh:
    """The mesh with the vertices in each cube of a grid drawn together; what is smaller than a cube is gone."""
    _, cluster = np.unique(np.floor(mesh.vertices / cell_m).astype(int), axis=0, return_inverse=True)
    cluster = cluster.reshape(-1)
    sums = np.stack([np.bincount(cluster, weights=axis) for axis in mesh.vertices.T], -1)
    faces = cluster[mesh.faces]
    whole = (faces != np.roll(faces, 1, axis=1)).all(1)
    _, first = np.unique(np.sort(faces[whole], 1), axis=0, return_index=True)
    return head_mesh(sums / np.bincount(cluster)[:, None], faces[whole][np.sort(first)], mesh.chin_height_m)


def refine(
    fit: Fit,
    mesh: HeadMesh,
    views: Silhouettes,
    kernels_m: Sequence[float],
    shape: Literal["size", "proportions"],
) -> Fit:
    """Gauss-Newton with a Geman-McClure kernel and a prior on size.

    Args:
        fit: Where to start.
        mesh: The template.
        views: The silhouettes.
        kernels_m: Kernel width for each step, falling; steps of the last width end early where they no longer move.
        shape: What is free besides the pose: one scale, or one along each axis.
    """
    freed = np.eye(9)
    if shape == "size":
        freed = np.concatenate([freed[:, :6], freed[:, 6:].sum(1, keepdims=True)], 1)  # [9, 7]
    for kernel_m in kernels_m:
        seen = outline(fit, mesh, views)
        if len(seen.residual_m) < _FEWEST_POINTS:
            break
        information = seen.information(kernel_m)
        jacobian = np.concatenate([seen.by_pose(), seen.by_own * seen.own], 1)  # [n, 9]: log scales at the end
        normal = jacobian.T @ (jacobian * information[:, None])
        downhill = -jacobian.T @ (seen.residual_m * information)
        precision = _size_precision()
        normal[6:, 6:] += precision
        downhill[6:] -= precision @ np.log(fit.scale)
        normal += np.eye(9) * 1e-6 * np.trace(normal)
        step = freed @ np.linalg.solve(freed.T @ normal @ freed, freed.T @ downhill)
        fit = _stepped(fit, step)
        if kernel_m == kernels_m[-1] and np.abs(step).max() < _CONVERGED:
            break
    return fit


def outline_distances(fit: Fit, mesh: HeadMesh, views: Silhouettes) -> Float64[np.ndarray, " n"]:
    """Signed distances (metres, positive outside) of the head's outline points to the masks' outlines."""
    seen = outline(fit, mesh, views)
    return seen.residual_m[seen.weight == 1]


def mismatch(fit: Fit, mesh: HeadMesh, views: Silhouettes) -> float:
    """Solid angle around the head in which template and masks disagree, over the head's; 0 is perfect."""
    drawn = _drawn(fit, mesh, views)
    head = fit.apply(mesh.vertices[mesh.vertices[:, 1] > mesh.chin_height_m])  # [n, 3]
    view = np.repeat(np.arange(len(views.cameras)), len(head))
    pixels, depth = _project(np.tile(head, (len(views.cameras), 1)), view, views)
    if (depth <= 0).any():
        return float("inf")
    pixels = pixels.reshape(-1, len(head), 2)
    low, high = pixels.min(1), pixels.max(1)  # [c, 2]
    margin = 0.1 * (high - low)
    y, x = np.ogrid[: drawn.shape[1], : drawn.shape[2]]
    around = (  # [c, h, w]: a box around the head, none of it below the chin
        (x >= (low - margin)[:, 0, None, None])
        & (x < (high + margin)[:, 0, None, None])
        & (y >= (low - margin)[:, 1, None, None])
        & (y < high[:, 1, None, None])
        & (views.border_distance > 0)
    )
    per_pixel = 1 / views.K[:, 0, 0] ** 2
    differing = ((drawn != views.masks) & around).sum((1, 2)) @ per_pixel
    return float(differing / max((drawn & around).sum((1, 2)) @ per_pixel, 1e-12))


def _distances(
    mask: Bool[np.ndarray, "h w"],
) -> tuple[
    Bool[np.ndarray, "h w"], Float32[np.ndarray, "h w"], Float32[np.ndarray, "h w 2"], Float32[np.ndarray, "h w"]
]:
    far = float(max(mask.shape))
    inside, outside = (
        np.minimum(cv2.distanceTransform(side.astype(np.uint8), cv2.DIST_L2, 5), far) for side in (mask, ~mask)
    )
    signed = cv2.GaussianBlur(outside - inside, (0, 0), 1.0)
    gradient = [cv2.Sobel(signed, cv2.CV_32F, *axis, ksize=3, scale=1 / 8) for axis in ((1, 0), (0, 1))]
    rows, columns = (np.minimum(np.arange(n) + 1, n - np.arange(n)) for n in mask.shape)
    return mask, signed, np.stack(gradient, -1), np.minimum(rows[:, None], columns).astype(np.float32)


def outline(fit: Fit, mesh: HeadMesh, views: Silhouettes) -> Outline:
    """The template's outline in all views against the masks'."""
    view, edge, pixels, depth = _outline(fit, mesh, views)
    x, y = np.floor(pixels).astype(int).T
    distance = views.signed_distance[view, y, x]
    distance = distance + (views.gradient[view, y, x] * (pixels - np.stack([x, y], -1) - 0.5)).sum(-1)
    known = np.abs(distance) < views.border_distance[view, y, x]  # else the nearest outline may be out of the picture
    view, edge, pixels, depth, distance, x, y = (a[known] for a in (view, edge, pixels, depth, distance, x, y))

    own = mesh.vertices[mesh.edge_vertices[edge]].mean(1) * fit.scale  # [n, 3] head frame, scaled
    focal = views.K[view][:, [0, 1], [0, 1]]  # [n, 2]
    along = views.gradient[view, y, x] * focal / depth[:, None]  # by x and y of the camera frame
    ray = (pixels - views.K[view, :2, 2]) / focal
    by_camera = np.concatenate([along, -(along * ray).sum(1, keepdims=True)], 1)  # [n, 3]
    metres_per_px = depth / focal[:, 0]
    by_rig = np.einsum("ni,nij->nj", by_camera, views.cam_from_rig[view, :3, :3]) * metres_per_px[:, None]
    weight = np.where(own[:, 1] > mesh.chin_height_m * fit.scale[1], 1.0, _NECK_WEIGHT)
    return Outline(edge, own, distance * metres_per_px, by_rig, by_rig @ fit.rotation, weight)


def _outline(
    fit: Fit, mesh: HeadMesh, views: Silhouettes
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"], Float64[np.ndarray, "n 2"], Float64[np.ndarray, " n"]]:
    """Edges on the template's outline: view and edge index, pixel coordinates and depth (metres) of their middles."""
    placed = fit.apply(mesh.vertices)
    corners = placed[mesh.faces]  # [f, 3, 3]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    centres = views.cameras.centres.numpy()  # [c, 3]
    facing = centres @ normals.T > (corners[:, 0] * normals).sum(-1)  # [c, f]
    view, edge = np.nonzero(facing[:, mesh.edge_faces[:, 0]] != facing[:, mesh.edge_faces[:, 1]])
    pixels, depth = _project(placed[mesh.edge_vertices[edge]].mean(1), view, views)
    height, width = views.masks.shape[1:]
    seen = (depth > 0) & (pixels >= 0).all(1) & (pixels < (width, height)).all(1)
    view, edge, pixels, depth = view[seen], edge[seen], pixels[seen], depth[seen]
    depth_inside = np.stack(
        [cv2.distanceTransform(drawn.astype(np.uint8), cv2.DIST_L2, 3) for drawn in _drawn(fit, mesh, views)]
    )
    x, y = np.floor(pixels).astype(int).T
    tolerance_px = np.maximum(_OUTLINE_TOLERANCE_M * views.K[view, 0, 0] / depth, 1.5)
    outer = depth_inside[view, y, x] <= tolerance_px
    return view[outer], edge[outer], pixels[outer], depth[outer]


def _drawn(fit: Fit, mesh: HeadMesh, views: Silhouettes) -> Bool[np.ndarray, "c h w"]:
    return rasterise_mesh(fit.apply(mesh.vertices), mesh.faces, views.cameras).face >= 0


def _project(
    points: Float64[np.ndarray, "n 3"], view: Int[np.ndarray, " n"], views: Silhouettes
) -> tuple[Float64[np.ndarray, "n 2"], Float64[np.ndarray, " n"]]:
    """Pixel coordinates and depth (metres) of each point in the view of its own."""
    K, pose = views.K[view], views.cam_from_rig[view]
    camera = np.einsum("nij,nj->ni", pose[:, :3, :3], points) + pose[:, :3, 3]
    depth = camera[:, 2]
    safe = np.where(np.abs(depth) < 1e-6, 1e-6, depth)
    return camera[:, :2] / safe[:, None] * K[:, [0, 1], [0, 1]] + K[:, :2, 2], depth


def _size_precision() -> Float64[np.ndarray, "3 3"]:
    """Inverse covariance of the log scales: their mean varies by the size's sigma, their differences by the shape's."""
    mean = np.full((3, 3), 1 / 3)
    return (np.eye(3) - mean) / _SHAPE_SIGMA**2 + mean / (3 * _SIZE_SIGMA**2)


def _stepped(fit: Fit, step: Float64[np.ndarray, " 9"]) -> Fit:
    turn, move = (
        part * min(1.0, longest / max(float(np.linalg.norm(part)), 1e-12))
        for part, longest in ((step[:3], _LONGEST_TURN_RAD), (step[3:6], _LONGEST_MOVE_M))
    )
    growth = np.exp(np.clip(step[6:], -_LARGEST_GROWTH, _LARGEST_GROWTH))
    return Fit(
        fit.rotation @ Rotation.from_rotvec(turn).as_matrix(),
        fit.translation + move,
        np.clip(fit.scale * growth, *_SCALE_RANGE),
    )
