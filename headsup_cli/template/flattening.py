"""Flattens triangulated discs onto rectangles, with a wanted texel density for each triangle.

A disc starts from an embedding that cannot fold and moves to the least symmetric Dirichlet energy (Smith and Schaefer
2015) by scalable locally injective mappings (Rabinovich et al. 2017); boundary vertices slide along the sides.
"""

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float, Int

from headsup_cli.template.head_mesh import boundary_loops

_STRETCH_STEPS = 12
_FIRST_STEPS, _LATER_STEPS, _YIELDING_ROUNDS = 30, 15, 5
_YIELD_LIMIT = 1.8  # the factor by which a density may give way
_FILLER_WEIGHT = 1e-4


@dataclass(frozen=True)
class Disc:
    """A triangulated disc to flatten onto a rectangle; filler triangles only keep it free of holes."""

    vertices: Float[np.ndarray, "n 3"]
    faces: Int[np.ndarray, "f 3"]
    filler: Int[np.ndarray, "g 3"]
    density: Float[np.ndarray, " f"]  # wanted texels along a metre, relative
    yielding: Float[np.ndarray, " f"]  # how far (0 to 1) the density may give way to rounder texels
    corners: Int[np.ndarray, " 4"]  # boundary vertices: bottom left, bottom right, top right, top left
    twins: Int[np.ndarray, " n"]  # for each vertex its mirror image


@dataclass(frozen=True)
class Rectangle:
    """A part of the unit square, v running down."""

    left: float
    right: float
    top: float
    bottom: float


def flatten(disc: Disc, rectangle: Rectangle) -> Float[np.ndarray, "n 2"]:
    """Maps a disc onto a rectangle without folds or overlaps.

    Args:
        disc: What to flatten; seen from outside, its boundary runs counterclockwise.
        rectangle: Where to.

    Returns:
        UVs of the disc's vertices.
    """
    boundary, xy = _on_rectangle(disc, rectangle)
    xy = _embedding(disc, boundary, xy)
    free = _free_coordinates(boundary, xy, rectangle)
    size = (rectangle.right - rectangle.left) * (rectangle.bottom - rectangle.top)
    xy = _minimise_distortion(disc, xy, free, size, _FIRST_STEPS)
    wanted = disc.density
    for _ in range(_YIELDING_ROUNDS):
        disc = replace(disc, density=_yielded(disc, wanted, xy, size))
        xy = _minimise_distortion(disc, xy, free, size, _LATER_STEPS)
    mirrored = np.column_stack([rectangle.right - rectangle.left - xy[:, 0], xy[:, 1]])
    xy = (xy + mirrored[disc.twins]) / 2
    if np.linalg.det(_edges(xy, disc.faces)).min() <= 0:
        raise RuntimeError("the UV layout folds over")
    return np.column_stack([rectangle.left + xy[:, 0], rectangle.bottom - xy[:, 1]])


def _on_rectangle(disc: Disc, rectangle: Rectangle) -> tuple[Int[np.ndarray, " b"], Float[np.ndarray, "n 2"]]:
    """The boundary in order, from the first corner, spread over the sides by length; y runs up from the bottom left."""
    loops = boundary_loops(np.concatenate([disc.faces, disc.filler]))
    loop = np.array(next(candidate for candidate in loops if disc.corners[0] in candidate))
    loop = np.roll(loop, -int(np.flatnonzero(loop == disc.corners[0])[0]))
    width, height = rectangle.right - rectangle.left, rectangle.bottom - rectangle.top
    targets = np.array([[0, 0], [width, 0], [width, height], [0, height], [0, 0]], dtype=float)
    stops = [int(np.flatnonzero(loop == corner)[0]) for corner in disc.corners] + [len(loop)]
    closed = disc.vertices[np.append(loop, loop[0])]
    along = np.concatenate([[0], np.linalg.norm(np.diff(closed, axis=0), axis=1).cumsum()])
    xy = np.zeros((len(disc.vertices), 2))
    for side in range(4):
        first, last = stops[side], stops[side + 1]
        share = (along[first:last] - along[first]) / (along[last] - along[first])
        xy[loop[first:last]] = targets[side] + share[:, None] * (targets[side + 1] - targets[side])
    return loop, xy


def _embedding(disc: Disc, boundary: Int[np.ndarray, " b"], xy: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
    """Every inner vertex at a weighted mean of its neighbours, which cannot fold in a convex boundary (Tutte 1963).

    Weights are divided by how much the surface around the neighbour was shrunk, again and again, which evens areas out
    (Yoshizawa et al. 2004); plain means would shrink pouches such as the mouth to nothing.
    """
    faces = np.concatenate([disc.faces, disc.filler])
    pairs = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    pairs = np.unique(np.concatenate([pairs, pairs[:, ::-1]]), axis=0)
    inner = np.setdiff1d(pairs, boundary)
    rest, areas = _rest_triangles(disc, 1.0)
    weights = np.ones(len(xy))
    for _ in range(_STRETCH_STEPS):
        links = sp.csr_array((weights[pairs[:, 1]], (pairs[:, 0], pairs[:, 1])), (len(xy), len(xy)))
        system = (sp.diags_array(links.sum(axis=1)) - links).tocsr()[inner]
        xy = xy.copy()
        xy[inner] = sp.linalg.spsolve(system[:, inner].tocsc(), -system[:, boundary] @ xy[boundary])
        growth = np.linalg.svd(_edges(xy, disc.faces) @ rest, compute_uv=False)
        stretch = 1 / np.sqrt((np.maximum(growth, 1e-6) ** -2).mean(axis=1))
        shares = np.bincount(disc.faces.ravel(), np.repeat(areas, 3), len(xy))
        mean = np.bincount(disc.faces.ravel(), np.repeat(areas * stretch, 3), len(xy)) / np.maximum(shares, 1e-12)
        weights = weights * np.where(shares > 0, mean, 1.0) ** 0.5
    return xy


def _free_coordinates(
    boundary: Int[np.ndarray, " b"], xy: Float[np.ndarray, "n 2"], rectangle: Rectangle
) -> Bool[np.ndarray, "n 2"]:
    """Which coordinates may change: a vertex on a side keeps the one across it, a corner both."""
    extent = np.array([rectangle.right - rectangle.left, rectangle.bottom - rectangle.top])
    free = np.ones(xy.shape, dtype=bool)
    free[boundary] = (xy[boundary] > 1e-12) & (xy[boundary] < extent - 1e-12)
    return free


def _minimise_distortion(
    disc: Disc, xy: Float[np.ndarray, "n 2"], free: Bool[np.ndarray, "n 2"], size: float, iterations: int
) -> Float[np.ndarray, "n 2"]:
    rest, areas = _rest_triangles(disc, size)
    count = len(xy)
    faces = np.concatenate([disc.faces, disc.filler])
    free_index = np.flatnonzero(free.T.ravel())
    energy_weight = np.concatenate([areas, np.full(len(disc.filler), _FILLER_WEIGHT * size)])
    for _ in range(iterations):
        # Filler has no shape of its own: its rest state is wherever it is now (Jiang et al. 2017).
        inverse = np.concatenate([rest, np.linalg.inv(_edges(xy, disc.filler))])  # [f + g, 2, 2]
        jacobians = _edges(xy, faces) @ inverse
        u, sigma, vt = np.linalg.svd(jacobians)
        gain = np.sqrt((1 + sigma**-2) * (1 + 1 / sigma) / sigma)  # sqrt((s - s^-3) / (s - 1))
        weights = (u * gain[:, None, :]) @ u.transpose(0, 2, 1)  # [f + g, 2, 2]
        operator = _gradient_operator(faces, inverse, weights * np.sqrt(energy_weight)[:, None, None], count)
        target = (weights @ u @ vt) * np.sqrt(energy_weight)[:, None, None]
        residual = target.reshape(-1) - operator @ xy.T.ravel()
        reduced = operator[:, free_index]
        system = (reduced.T @ reduced + 1e-9 * sp.eye_array(len(free_index))).tocsc()
        step = np.zeros(2 * count)
        step[free_index] = sp.linalg.splu(system).solve(reduced.T @ residual)
        moved = _line_search(xy, step.reshape(2, count).T, faces, inverse, energy_weight)
        change, xy = np.abs(moved - xy).max(), moved
        if change < 1e-5:
            break
    return xy


def _yielded(
    disc: Disc, wanted: Float[np.ndarray, " f"], xy: Float[np.ndarray, "n 2"], size: float
) -> Float[np.ndarray, " f"]:
    """Densities halfway (in logarithms) to those the map has now, within a factor of those wanted at first."""
    rest, areas = _rest_triangles(replace(disc, density=np.ones(len(disc.faces))), size)
    density = np.sqrt(np.linalg.det(_edges(xy, disc.faces) @ rest))
    corners, shares = disc.faces.ravel(), np.repeat(areas, 3)
    share_at = np.maximum(np.bincount(corners, shares, len(xy)), 1e-12)
    for _ in range(5):  # smoothed over neighbours
        density = (np.bincount(corners, shares * np.repeat(density, 3), len(xy)) / share_at)[disc.faces].mean(axis=1)
    density *= np.exp(np.average(np.log(wanted / density), weights=areas))
    halfway = np.clip(np.sqrt(disc.density * density), wanted / _YIELD_LIMIT, wanted * _YIELD_LIMIT)
    return wanted ** (1 - disc.yielding) * halfway**disc.yielding


def _rest_triangles(disc: Disc, size: float) -> tuple[Float[np.ndarray, "f 2 2"], Float[np.ndarray, " f"]]:
    """Inverse edge matrices of the triangles at their wanted size in UV, and their wanted areas."""
    a, b, c = (disc.vertices[disc.faces[:, corner]] for corner in range(3))
    first, second = (b - a) * disc.density[:, None], (c - a) * disc.density[:, None]
    length = np.linalg.norm(first, axis=1)
    along = (first * second).sum(axis=1) / length
    height = np.sqrt(np.maximum((second**2).sum(axis=1) - along**2, (1e-2 * length) ** 2))  # slivers held open
    areas = length * height / 2
    scale = np.sqrt(size / areas.sum())
    edges = np.zeros((len(areas), 2, 2))
    edges[:, 0, 0], edges[:, 0, 1], edges[:, 1, 1] = length * scale, along * scale, height * scale
    return np.linalg.inv(edges), areas * scale**2


def _edges(xy: Float[np.ndarray, "n 2"], faces: Int[np.ndarray, "f 3"]) -> Float[np.ndarray, "f 2 2"]:
    """Columns: the two edges that leave the first corner."""
    return np.stack([xy[faces[:, 1]] - xy[faces[:, 0]], xy[faces[:, 2]] - xy[faces[:, 0]]], axis=-1)


def _gradient_operator(
    faces: Int[np.ndarray, "f 3"],
    inverse: Float[np.ndarray, "f 2 2"],
    weights: Float[np.ndarray, "f 2 2"],
    count: int,
) -> sp.csr_array:
    """Matrix from (all x, all y) to the weighted Jacobians, flattened as [f, 2, 2]."""
    # J[i, j] = sum over corners of xy[corner, i] * gradient[corner, j]
    gradients = np.stack([-inverse.sum(axis=1), inverse[:, 0], inverse[:, 1]], axis=1)  # [f, corner, j]
    values = np.einsum("fki,fcj->fkjci", weights, gradients)  # [f, k, j, corner, i]
    f, k, j, corner, i = np.indices(values.shape, sparse=True)
    rows = np.broadcast_to(f * 4 + k * 2 + j, values.shape)
    columns = np.broadcast_to(faces[f, corner] + count * i, values.shape)
    return sp.csr_array((values.ravel(), (rows.ravel(), columns.ravel())), (4 * len(faces), 2 * count))


def _line_search(
    xy: Float[np.ndarray, "n 2"],
    step: Float[np.ndarray, "n 2"],
    faces: Int[np.ndarray, "f 3"],
    inverse: Float[np.ndarray, "f 2 2"],
    weights: Float[np.ndarray, " f"],
) -> Float[np.ndarray, "n 2"]:
    """The longest halving of the step that lowers the energy and turns no triangle over."""
    start = _symmetric_dirichlet(xy, faces, inverse, weights)
    length = min(1.0, 0.8 * _first_collapse(xy, step, faces))
    for _ in range(30):
        moved = xy + length * step
        if _symmetric_dirichlet(moved, faces, inverse, weights) < start:
            return moved
        length /= 2
    return xy


def _symmetric_dirichlet(
    xy: Float[np.ndarray, "n 2"],
    faces: Int[np.ndarray, "f 3"],
    inverse: Float[np.ndarray, "f 2 2"],
    weights: Float[np.ndarray, " f"],
) -> float:
    jacobians = _edges(xy, faces) @ inverse
    determinants = np.linalg.det(jacobians)
    if determinants.min() <= 0:
        return np.inf
    return float((weights * (jacobians**2).sum(axis=(1, 2)) * (1 + determinants**-2)).sum())


def _first_collapse(
    xy: Float[np.ndarray, "n 2"], step: Float[np.ndarray, "n 2"], faces: Int[np.ndarray, "f 3"]
) -> float:
    """The smallest positive multiple of the step at which a triangle loses its area."""
    now, move = _edges(xy, faces), _edges(step, faces)
    a, c = np.linalg.det(move), np.linalg.det(now)
    b = np.linalg.det(now + move) - a - c
    with np.errstate(divide="ignore", invalid="ignore"):
        root = np.sqrt(b**2 - 4 * a * c)
        q = -(b + np.where(b >= 0, root, -root)) / 2
        roots = np.concatenate([q / a, c / q])
    roots = roots[(roots > 0) & np.isfinite(roots)]
    return float(roots.min(initial=np.inf))
