"""Masks without masks or clean plates: the subject is what all cameras look at and stands out from what is behind it.

A plain background is told from the picture's border and taken for a clean plate. Other views are cut by GrabCut
at a small size, from a ball where the optical axes meet (surely subject) and the upper part of the picture's border
(mostly background). The views then vote: the visual hull of all cuts, projected back, says where single views went
wrong, and they are cut again. The outline is found anew at full size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8

from headsup_cli.media.opencv import cv2
from headsup_cli.preprocessing.head_frame import convergence_point
from headsup_cli.preprocessing.masks import filled, largest_part, mask_from_plate, outline_coverage
from headsup_cli.preprocessing.parallel import in_threads

_CUT_SIZE_PX = 280  # longer side at which pictures are cut
_BALL_OF_VIEW = 0.35  # radius of what is surely subject, of the narrowest half picture where the axes meet
_BALL_M = 0.07  # and at most; heads are wider
_BORDER = 0.03  # width of the frame that is taken for background, of the longer side
_SIDE_SHARE = 0.55  # of the left and right border, from the top, for which that holds; below there may be shoulders
_CUTS = (4, 3)  # iterations of GrabCut without and with the other views' votes
_HULL_CELLS = 72
_HULL_OF_VIEW = 1.5  # half side of the voted volume, as for the ball
_AGREEMENT = 0.8  # of the views that see a cell, for it to be subject
_FEW_AGREE = 0.45  # below this share it surely is not
_FEWEST_VOTERS = 3
_PLAIN_LEVELS = 3.0  # of 255: how far a plain background strays from a smooth surface
_PLAIN_SHARE = 0.95  # of the border that must be as plain


@dataclass(frozen=True)
class MaskedView:
    """A picture to be masked, without distortion."""

    image: UInt8[np.ndarray, "h w 3"]
    K: Float64[np.ndarray, "3 3"]
    cam_from_rig: Float64[np.ndarray, "4 4"]


@dataclass(frozen=True)
class _Small:
    """The same at the size that is cut; `K` is the small picture's."""

    image: UInt8[np.ndarray, "h w 3"]
    K: Float64[np.ndarray, "3 3"]
    cam_from_rig: Float64[np.ndarray, "4 4"]

    def project(self, points: Float64[np.ndarray, "n 3"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Column, row and depth of points of the rig's world."""
        local = points @ self.cam_from_rig[:3, :3].T + self.cam_from_rig[:3, 3]
        projected = local @ self.K.T
        x, y = (projected[:, :2] / np.maximum(projected[:, 2:], 1e-9)).T
        return x, y, local[:, 2]


def automatic_masks(views: list[MaskedView], threads: int) -> list[UInt8[np.ndarray, "h w"]]:
    """Masks of the subject in every view of one moment: coverage, 255 = subject; empty where none is found."""
    plates = in_threads(lambda view: _plain_background(view.image), views, threads)
    plain = [(view.image, plate) for view, plate in zip(views, plates, strict=True) if plate is not None]
    if len(plain) == len(views):
        return in_threads(lambda pair: mask_from_plate(*pair), plain, threads)
    small = [_small(view) for view in views]
    centre = convergence_point(np.stack([view.cam_from_rig for view in views]))
    reach = _visible_radius(small, centre)

    def cut_all(labels: list[UInt8[np.ndarray, "_ _"]], iterations: int) -> list[Bool[np.ndarray, "_ _"]]:
        pictures = [view.image for view in small]
        return in_threads(lambda pair: _cut(*pair, iterations), zip(pictures, labels, strict=True), threads)

    starts = [_start(view, centre, min(_BALL_M, _BALL_OF_VIEW * reach)) for view in small]
    cuts = cut_all(starts, _CUTS[0])
    if len(views) >= _FEWEST_VOTERS:
        cuts = cut_all(_voted(small, cuts, starts, centre, reach), _CUTS[1])
    return in_threads(lambda pair: _refined(*pair), zip(views, cuts, strict=True), threads)


def _plain_background(image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"] | None:
    """A smooth background, continued from the upper border to the whole picture; None if it is not smooth."""
    height, width = image.shape[:2]
    factor = min(1.0, _CUT_SIZE_PX / max(height, width))
    small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA).astype(np.float64)
    rows, columns = (np.arange(n) / n * 2 - 1 for n in small.shape[:2])
    y, x = np.meshgrid(rows, columns, indexing="ij")
    terms = np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], -1)  # [h, w, 6]
    band = max(1, round(_BORDER * max(small.shape)))
    border = np.zeros(x.shape, bool)
    border[:band] = border[: round(_SIDE_SHARE * len(small)), :band] = True
    border[: round(_SIDE_SHARE * len(small)), -band:] = True
    coefficients = np.linalg.lstsq(terms[border], small[border], rcond=None)[0]
    strays = np.abs(small[border] - terms[border] @ coefficients).max(-1)
    if (strays < _PLAIN_LEVELS).mean() < _PLAIN_SHARE:
        return None
    plate = np.clip(terms @ coefficients, 0, 255).astype(np.float32)
    return (cv2.resize(plate, (width, height), interpolation=cv2.INTER_LINEAR) + 0.5).astype(np.uint8)


def _small(view: MaskedView) -> _Small:
    height, width = view.image.shape[:2]
    factor = min(1.0, _CUT_SIZE_PX / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    image = cv2.resize(view.image, size, interpolation=cv2.INTER_AREA)
    return _Small(image, np.diag([size[0] / width, size[1] / height, 1.0]) @ view.K, view.cam_from_rig)


def _visible_radius(views: list[_Small], centre: Float64[np.ndarray, " 3"]) -> float:
    """Half of the narrower side of what a typical camera sees where the axes meet, in the rig's metres."""
    halves = [
        view.project(centre[None])[2][0]
        * min(view.image.shape[1] / view.K[0, 0], view.image.shape[0] / view.K[1, 1])
        / 2
        for view in views
    ]
    return max(float(np.median(halves)), 1e-3)


def _start(view: _Small, centre: Float64[np.ndarray, " 3"], ball: float) -> UInt8[np.ndarray, "h w"]:
    """Labels of GrabCut: a ball is subject, the border's upper part background, all else to be found out."""
    height, width = view.image.shape[:2]
    labels = np.full((height, width), cv2.GC_PR_BGD, np.uint8)
    x, y, depth = (float(value[0]) for value in view.project(centre[None]))
    if depth > 0:
        radius = ball * view.K[0, 0] / depth
        rows, columns = np.mgrid[:height, :width] + 0.5
        distance = np.hypot(columns - x, rows - y)
        labels[distance < 1.8 * radius] = cv2.GC_PR_FGD
        labels[distance < radius] = cv2.GC_FGD
    band = max(1, round(_BORDER * max(height, width)))
    sides = round(_SIDE_SHARE * height)
    for border in (labels[:band], labels[:sides, :band], labels[:sides, -band:]):
        border[border != cv2.GC_FGD] = cv2.GC_BGD
    return labels


def _cut(
    image: UInt8[np.ndarray, "h w 3"], labels: UInt8[np.ndarray, "h w"], iterations: int
) -> Bool[np.ndarray, "h w"]:
    labels = labels.copy()
    subject = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
    if not subject.any() or subject.all():
        return subject
    cv2.setRNGSeed(0)  # of this thread: the colour models start from a random clustering
    behind, before = np.zeros((1, 65)), np.zeros((1, 65))  # colour models, to be filled
    whole = (0, 0, image.shape[1], image.shape[0])
    cv2.grabCut(
        np.ascontiguousarray(image[..., ::-1]), labels, whole, behind, before, iterations, cv2.GC_INIT_WITH_MASK
    )
    cut = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
    return filled(largest_part(cut)) if cut.any() else cut


def _voted(
    views: list[_Small],
    cuts: list[Bool[np.ndarray, "h w"]],
    starts: list[UInt8[np.ndarray, "h w"]],
    centre: Float64[np.ndarray, " 3"],
    reach: float,
) -> list[UInt8[np.ndarray, "h w"]]:
    """Labels for a second cut: the cut itself, overruled where the other views agree on something else."""
    grid = centre + _HULL_OF_VIEW * reach * _grid(_HULL_CELLS)
    seen, covered = np.zeros(len(grid)), np.zeros(len(grid))
    for view, cut in zip(views, cuts, strict=True):
        x, y, depth = view.project(grid)
        inside = (depth > 0) & (x >= 0) & (y >= 0) & (x < cut.shape[1]) & (y < cut.shape[0])
        seen += inside
        covered[inside] += cut[y[inside].astype(int), x[inside].astype(int)]
    known = seen >= max(_FEWEST_VOTERS, len(views) / 3)
    agreed = covered / np.maximum(seen, 1)
    cell = 2 * _HULL_OF_VIEW * reach / _HULL_CELLS
    likely, core = grid[~known | (agreed >= _FEW_AGREE)], grid[known & (agreed >= _AGREEMENT)]
    labels = []
    for view, cut, start in zip(views, cuts, starts, strict=True):
        voted = np.where(cut, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
        shadow, possible = _shadow(view, core, cell), _shadow(view, likely, cell)
        voted[_eroded(shadow, 2)] = cv2.GC_PR_FGD
        voted[_eroded(shadow, 6)] = cv2.GC_FGD
        voted[~possible] = cv2.GC_BGD
        voted[(start == cv2.GC_BGD) & ~shadow] = cv2.GC_BGD
        labels.append(voted)
    return labels


def _grid(cells: int) -> Float64[np.ndarray, "n 3"]:
    """Centres of the cells of a cube from -1 to 1."""
    along = (np.arange(cells) + 0.5) / cells * 2 - 1
    return np.stack(np.meshgrid(along, along, along, indexing="ij"), -1).reshape(-1, 3)


def _shadow(view: _Small, cells: Float64[np.ndarray, "n 3"], side: float) -> Bool[np.ndarray, "h w"]:
    """Where a view sees any of the cells."""
    height, width = view.image.shape[:2]
    hits = np.zeros((height, width), np.uint8)
    if not len(cells):
        return hits.astype(bool)
    x, y, depth = view.project(cells)
    inside = (depth > 0) & (x >= 0) & (y >= 0) & (x < width) & (y < height)
    hits[y[inside].astype(int), x[inside].astype(int)] = 1
    spread = 0.5 * side * view.K[0, 0] / max(float(np.median(depth)), 1e-6)
    size = 2 * int(np.ceil(spread)) + 1
    return cv2.morphologyEx(hits, cv2.MORPH_CLOSE, np.ones((size + 2, size + 2), np.uint8)).astype(bool)


def _eroded(mask: Bool[np.ndarray, "h w"], radius: int) -> Bool[np.ndarray, "h w"]:
    return cv2.erode(mask.astype(np.uint8), np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)).astype(bool)


def _refined(view: MaskedView, cut: Bool[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h2 w2"]:
    """The cut at full size, its outline where the picture has it."""
    height, width = view.image.shape[:2]
    enlarged = cv2.resize(cut.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC) > 0.5
    if not enlarged.any() or enlarged.all():
        return enlarged.astype(np.uint8) * 255
    band = int(np.ceil(1.5 * height / cut.shape[0])) + 1
    behind = _behind(view.image.astype(np.float32), enlarged, band)
    return outline_coverage(view.image, lambda pixels: behind[pixels], enlarged, band)


def _behind(
    image: Float32[np.ndarray, "h w 3"], subject: Bool[np.ndarray, "h w"], band: int
) -> Float32[np.ndarray, "h w 3"]:
    """What is likely behind the outline: the colours beside it."""
    outside = 1 - cv2.dilate(subject.astype(np.uint8), np.ones((2 * band + 1, 2 * band + 1), np.uint8)).astype(
        np.float32
    )
    window = (6 * band + 1, 6 * band + 1)
    weight = cv2.blur(outside, window)
    return cv2.blur(image * outside[..., None], window) / np.maximum(weight, 1e-6)[..., None]
