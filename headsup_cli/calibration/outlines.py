"""The subject's outline in each picture, and how far the rays through one outline miss the others.

A point on the outline of one picture is the image of some point of the subject, which every other picture must show
inside its outline. So each ray through an outline has to pass through all other outlines at once, somewhere along its
way: the visual hull of Laurentini (PAMI 1994), asked about one ray at a time. No texture is needed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64

from headsup_cli.calibration.outline_kernels import clearances
from headsup_cli.calibration.sanity import convergence
from headsup_cli.capture.rig_dump import RigCamera
from headsup_cli.media.opencv import cv2

UNITS = 1000.0  # lengths in pictures are thousandths of the longer side, so that nothing depends on their size
_MAP_SIDE = 384  # of the distance maps
_MARGIN = 0.12  # of the longer side, around the picture, for lens distortion
_BLUR = 0.003  # of the longer side: outlines of hair frizz otherwise
_RIM_RAYS = 96
_BORDER = 0.008  # of the longer side: outlines this near the picture's border may be the border itself
_OPEN = 0.1  # of the longer side: how near to where the subject leaves a picture nothing is known beyond it
_UNKNOWN = 1e3
_REACH = 0.35  # of the cameras' distance: as far as the subject may extend from what they look at


@dataclass(frozen=True)
class Outline:
    """What the mask of one picture says, free of lens distortion, so that poses can change without making it anew."""

    distances: Float32[np.ndarray, "384 384"]  # thousandths of the picture's longer side, positive inside
    rim: Float64[np.ndarray, "n 2"]  # points on the outline, pixels that the picture would have without distortion
    scale: float  # of the map's pixels against the picture's
    margin_px: float  # that the map has around the picture, in its own pixels

    def rays(self, K: Float64[np.ndarray, "3 3"]) -> Float64[np.ndarray, "n 3"]:
        """Directions of the rim in the frame of a camera with these intrinsics, z being 1."""
        return np.linalg.solve(K, np.pad(self.rim, ((0, 0), (0, 1)), constant_values=1.0).T).T


def outline_of(mask: Float32[np.ndarray, "h w"], camera: RigCamera) -> Outline | None:
    """The outline of a mask; None where too little of one is inside the picture.

    Args:
        mask: Coverage, 0 to 1.
        camera: Whose picture it is of; only lens and K matter.
    """
    longer = max(mask.shape)
    inside = cv2.GaussianBlur(mask, (0, 0), _BLUR * longer, borderType=cv2.BORDER_REPLICATE) > 0.5
    rim = camera.unproject(_rim(inside))
    rim = rim[np.isfinite(rim).all(1)]
    if len(rim) < _RIM_RAYS // 4:
        return None
    margin = round(_MARGIN * longer)
    scale = _MAP_SIDE / (longer + 2 * margin)
    y, x = (np.mgrid[:_MAP_SIDE, :_MAP_SIDE] + 0.5) / scale - margin
    flat = np.stack([x.ravel(), y.ravel()], -1)
    bent = camera.project(np.linalg.solve(camera.K[:2, :2], (flat - camera.K[:2, 2]).T).T)
    pad = 2 * margin
    u, v = np.moveaxis((bent + pad - 0.5).astype(np.float32).reshape(_MAP_SIDE, _MAP_SIDE, 2), 2, 0).copy()
    distances = cv2.remap(_extended(inside, pad), u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return Outline(distances, rim @ camera.K[:2, :2].T + camera.K[:2, 2], scale, margin * scale)


def _rim(inside: Bool[np.ndarray, "h w"]) -> Float64[np.ndarray, "n 2"]:
    """Pixels evenly along the outline of the largest part, but for where the picture ends."""
    contours, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    contour = max(contours, key=len, default=np.zeros((0, 1, 2)))[:, 0] + 0.5
    size = np.array(inside.shape[::-1])
    border = _BORDER * size.max()
    contour = contour[((contour > border) & (contour < size - border)).all(1)]
    return contour[np.linspace(0, len(contour), min(_RIM_RAYS, len(contour)), endpoint=False).astype(int)]


def _extended(inside: Bool[np.ndarray, "h w"], pad: int) -> Float32[np.ndarray, "h2 w2"]:
    """Signed distances, also for what lies beyond the picture: outside, but for where the subject leaves it."""
    unit = UNITS / max(inside.shape)
    wide = cv2.copyMakeBorder(inside.astype(np.uint8), pad, pad, pad, pad, cv2.BORDER_REPLICATE)
    distances = cv2.distanceTransform(wide, cv2.DIST_L2, 5) - cv2.distanceTransform(1 - wide, cv2.DIST_L2, 5)
    distances = (distances - 0.5 * np.sign(distances)) * np.float32(unit)
    border = inside.copy()
    border[1:-1, 1:-1] = False
    if not border.any():
        return distances
    reach = cv2.distanceTransform(1 - border.astype(np.uint8), cv2.DIST_L2, 3)
    unknown = (reach < _OPEN * max(inside.shape)).astype(np.uint8)
    unknown = cv2.copyMakeBorder(unknown, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
    unknown[pad:-pad, pad:-pad] = 0
    return np.where(unknown > 0, np.float32(_UNKNOWN), distances)


class OutlineRig:
    """The outlines of one moment, to be held against each other under one calibration or another.

    Args:
        outlines: By camera; None where there is none.
    """

    def __init__(self, outlines: Sequence[Outline | None]) -> None:
        self.outlines = {i: outline for i, outline in enumerate(outlines) if outline is not None}
        self.maps = np.stack([o.distances for o in self.outlines.values()])
        self.own = np.concatenate([np.full(len(o.rim), i) for i, o in self.outlines.items()])  # camera of each ray
        self._places = {i: place for place, i in enumerate(self.outlines)}

    def misses(
        self,
        cameras: Sequence[RigCamera],
        without: Collection[int] = (),
        rows: Bool[np.ndarray, " n"] | None = None,
    ) -> Float32[np.ndarray, " n"]:
        """By how much each ray misses the other outlines, thousandths of the longer side; 0 where it meets them all.

        Args:
            cameras: The calibration.
            without: Cameras whose rays and outlines do not count.
            rows: Rays that matter; the others miss nothing.
        """
        ignored = np.array([i in without for i in self.outlines])
        place = np.array([self._places[i] for i in self.own.tolist()])
        rows = ~ignored[place] if rows is None else rows & ~ignored[place]
        target = convergence(cameras)
        reach = _REACH * float(np.median([np.linalg.norm(c.centre - target) for c in cameras]))
        origin, direction = self._rays(cameras)
        along = np.einsum("ni,ni->n", target - origin, direction)
        out = np.zeros(len(self.own), np.float32)
        clear = clearances(
            self.maps, self._matrices(cameras), ignored, origin[rows], direction[rows], place[rows],
            (along - reach)[rows], (along + reach)[rows],
        )  # fmt: skip
        out[rows] = np.maximum(-clear, 0)
        return out

    def _rays(self, cameras: Sequence[RigCamera]) -> tuple[Float64[np.ndarray, "n 3"], Float64[np.ndarray, "n 3"]]:
        origin, direction = [], []
        for i, outline in self.outlines.items():
            towards = outline.rays(cameras[i].K) @ cameras[i].cam_from_rig[:3, :3]
            direction.append(towards / np.linalg.norm(towards, axis=1, keepdims=True))
            origin.append(np.broadcast_to(cameras[i].centre, towards.shape))
        return np.concatenate(origin), np.concatenate(direction)

    def _matrices(self, cameras: Sequence[RigCamera]) -> Float64[np.ndarray, "c 3 4"]:
        """From the world to pixels of the maps."""
        out = []
        for i, outline in self.outlines.items():
            K = cameras[i].K.copy()
            K[:2] *= outline.scale
            K[:2, 2] += outline.margin_px
            out.append(K @ cameras[i].cam_from_rig[:3])
        return np.stack(out)
