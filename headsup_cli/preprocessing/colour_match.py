"""What makes the cameras' colours agree: one gain per camera and channel, from the skin that several of them see.

Pictures and clean plates are looked at here; `colour_gains` makes gains of what is seen.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64, UInt8

from headsup_cli.cameras.camera import Cameras
from headsup_cli.media.opencv import cv2
from headsup_cli.preprocessing.colour_gains import Observations, log_gains
from headsup_cli.rendering.mesh_rasteriser import rasterise_mesh

_POINTS = 3000
_SIZE_PX = 300  # longer side at which pictures are sampled
_PLATE_SIZE_PX = 100  # and clean plates, whose noise that averages away
_BLUR_M = 0.004  # on the head: by this much the template may miss the surface
_DEPTH_TOLERANCE_M = 0.01
_BESIDE_SHARE = 0.1  # of the views that may see a point beside the subject
_LEAST_FACING = 0.3  # cosine between normal and ray; beyond, outlines and sheen rule
_USABLE_LEVELS = (8, 250)  # of 255: neither noise nor clipped
_FEWEST_POINTS = 30  # that a camera must share with others
_DOUBTFUL_SPREAD = 0.25  # of what views say of a point, as a logarithm; skin in its place gives 0.04, long hair 0.17
_LARGEST_LOG_GAIN = 0.7  # a factor of two; what is beyond is not the cameras


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ColourView:
    """A picture of the head by a pinhole."""

    image: UInt8[np.ndarray, "h w 3"]
    mask: UInt8[np.ndarray, "h w"] | None
    K: Float64[np.ndarray, "3 3"]
    cam_from_head: Float64[np.ndarray, "4 4"]
    room_hue: Float64[np.ndarray, " 3"] | None = None  # of its clean plate, see `room_hue`


def match_colours(
    views: Mapping[str, ColourView], vertices: Float[np.ndarray, "v 3"], faces: Float[np.ndarray, "f 3"] | np.ndarray
) -> dict[str, Float64[np.ndarray, " 3"]]:
    """Factors on linear RGB that make the views agree; their geometric mean over the cameras is one.

    Args:
        views: By camera id.
        vertices: The head's surface, good to a few millimetres, head frame.
        faces: Its triangles.

    Returns:
        A factor for every camera: one where it shares too little of the head with others, and for all of them where the
        views disagree so much that the surface must be elsewhere.
    """
    names = list(views)
    factors = {name: np.ones(3) for name in names}
    observed = observe(list(views.values()), vertices, faces)
    shared = observed.seen & (observed.seen.sum(0) >= 2)
    enough = shared.sum(1) >= _FEWEST_POINTS
    if enough.sum() < 2:
        return factors
    gains, spread = log_gains(observed.of_cameras(enough))
    if spread > _DOUBTFUL_SPREAD:
        logger.warning(
            "the cameras' colours are left as they are: the views disagree too much about the head's surface"
        )
        return factors
    used = [name for name, kept in zip(names, enough, strict=True) if kept]
    for name, gain in zip(used, gains, strict=True):
        factors[name] = np.exp(-np.clip(gain, -_LARGEST_LOG_GAIN, _LARGEST_LOG_GAIN))
    return factors


def apply_gain(image: UInt8[np.ndarray, "h w 3"], gain: Float64[np.ndarray, " 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """Multiply the linear light of an sRGB picture by a factor for each channel."""
    if np.array_equal(gain, np.ones(3)):
        return image
    lit = np.clip(_linear(np.arange(256) / 255.0)[:, None] * gain, 0, 1)  # [256, 3]
    table = np.where(lit <= 0.0031308, 12.92 * lit, 1.055 * np.maximum(lit, 1e-9) ** (1 / 2.4) - 0.055)
    return cv2.LUT(image, (table * 255 + 0.5).astype(np.uint8)[None])


def room_hue(plate: UInt8[np.ndarray, "h w 3"]) -> Float64[np.ndarray, " 3"] | None:
    """The commonest hue of a clean plate: logarithm of linear light less its mean over the channels.

    None where the plate is all black or burnt out.
    """
    height, width = plate.shape[:2]
    factor = min(1.0, _PLATE_SIZE_PX / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    small = cv2.resize(plate, size, interpolation=cv2.INTER_AREA)
    pixels = small.reshape(-1, 3)
    usable = pixels[_usable(pixels)]
    if len(usable) < _FEWEST_POINTS:
        return None
    logarithm = np.log(_linear(usable / 255.0)).astype(np.float64)
    hue = np.median(logarithm - logarithm.mean(1, keepdims=True), axis=0)
    return hue - hue.mean()


def observe(
    views: list[ColourView], vertices: Float[np.ndarray, "v 3"], faces: np.ndarray, seed: int = 0
) -> Observations:
    """Look at points spread evenly over a surface through every view."""
    points, normals = _surface_points(vertices, faces, seed)
    rows = [_observed(view, vertices, faces, points, normals) for view in views]
    light, facing, mirrored, seen, beside = (np.stack(kind) for kind in zip(*rows, strict=True))
    # Where the template sticks out of the subject it says nothing; a bad mask here or there is borne.
    seen = seen & (beside.mean(0) <= _BESIDE_SHARE)
    rooms = np.stack([np.full(3, np.nan) if view.room_hue is None else view.room_hue for view in views])
    return Observations(light, facing, mirrored, seen, rooms)


def _observed(
    view: ColourView,
    vertices: Float[np.ndarray, "v 3"],
    faces: np.ndarray,
    points: Float64[np.ndarray, "p 3"],
    normals: Float64[np.ndarray, "p 3"],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What one view makes of the points: the fields of `Observations`, and whether each lies beside its mask."""
    image, inside, covered, K = _small(view)
    height, width = inside.shape
    pose = view.cam_from_head
    camera = Cameras(torch.from_numpy(pose[None]), torch.from_numpy(K[None]), width, height)
    surface = rasterise_mesh(vertices, faces, camera).depth[0]
    local = points @ pose[:3, :3].T + pose[:3, 3]
    projected = local @ K.T
    x, y = np.floor(projected[:, :2] / np.maximum(projected[:, 2:], 1e-6)).clip(-1, 1 << 20).astype(int).T
    within = (local[:, 2] > 0) & (x >= 0) & (y >= 0) & (x < width) & (y < height)
    x, y = x.clip(0, width - 1), y.clip(0, height - 1)

    towards = -pose[:3, :3].T @ pose[:3, 3] - points
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    facing = (towards * normals).sum(1)
    blur_px = _BLUR_M * K[0, 0] / max(float(np.median(local[:, 2])), 1e-3)
    weight = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), blur_px)
    light = cv2.GaussianBlur(_linear(image / 255.0) * inside[..., None], (0, 0), blur_px)
    light = light[y, x] / np.maximum(weight[y, x], 1e-3)[:, None]
    visible = local[:, 2] < surface[y, x] + _DEPTH_TOLERANCE_M
    seen = within & visible & _usable(image[y, x]) & inside[y, x] & (facing > _LEAST_FACING)
    logarithm = np.log(np.maximum(light, 1e-4)).astype(np.float64)
    return logarithm, facing, 2 * facing[:, None] * normals - towards, seen, within & ~covered[y, x]


def _small(
    view: ColourView,
) -> tuple[UInt8[np.ndarray, "h w 3"], Bool[np.ndarray, "h w"], Bool[np.ndarray, "h w"], Float64[np.ndarray, "3 3"]]:
    """Picture, the inside of the mask, the mask, and intrinsics at the size that is sampled."""
    height, width = view.image.shape[:2]
    factor = min(1.0, _SIZE_PX / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    image = cv2.resize(view.image, size, interpolation=cv2.INTER_AREA)
    mask = np.full((height, width), 255, np.uint8) if view.mask is None else view.mask
    small = cv2.resize(mask, size, interpolation=cv2.INTER_AREA)
    inside = cv2.erode((small > 230).astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
    return image, inside, small > 25, np.diag([size[0] / width, size[1] / height, 1.0]) @ view.K


def _surface_points(
    vertices: Float[np.ndarray, "v 3"], faces: np.ndarray, seed: int
) -> tuple[Float64[np.ndarray, "p 3"], Float64[np.ndarray, "p 3"]]:
    """Points spread evenly over a surface, and the normals there."""
    corners = vertices[faces].astype(np.float64)  # [f, 3, 3]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    areas = np.linalg.norm(normals, axis=1)
    chosen = np.random.default_rng(seed).choice(
        len(faces), min(_POINTS, int((areas > 0).sum())), replace=False, p=areas / areas.sum()
    )
    return corners[chosen].mean(1), normals[chosen] / areas[chosen, None]


def _usable(pixels: UInt8[np.ndarray, "n 3"]) -> Bool[np.ndarray, " n"]:
    low, high = _USABLE_LEVELS
    return (pixels.min(1) >= low) & (pixels.max(1) <= high)


def _linear(encoded: Float[np.ndarray, "*n"]) -> Float32[np.ndarray, "*n"]:
    """Linear light from sRGB values in [0, 1] (IEC 61966-2-1)."""
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4).astype(np.float32)
