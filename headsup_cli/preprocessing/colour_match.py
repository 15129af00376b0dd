"""What makes the cameras' colours agree: one gain per camera and channel, from the skin that several of them see.

Where cameras i see point p of the head, linear light is I = g_i (A_p + S_ip): a gain, what the point scatters all
around, and its sheen. A_p is the point's own unknown. The sheen is white light, the same function of direction for the
whole head: spherical harmonics of the mirrored ray (soft lights) and powers of the angle between normal and ray
(Fresnel, lights beside the cameras). In logarithms, log I = log g_i + log A_p + S_ip / A_p, which is linear in gains
and sheen once A_p is known well enough, so it is solved by iteratively reweighted least squares.

Gains and sheen have normal priors around zero, whose variances are estimated along with them (empirical Bayes, by
expectation maximisation): a camera that sees nothing but hair is drawn to what cameras of its rig usually are, and
sheen is held back as far as the subject's own skin has little.
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
from headsup_cli.rendering.mesh_rasteriser import rasterise_mesh

_POINTS = 3000
_SIZE_PX = 300  # longer side at which pictures are sampled
_BLUR_M = 0.004  # on the head: by this much the template may miss the surface
_DEPTH_TOLERANCE_M = 0.01
_BESIDE_SHARE = 0.1  # of the views that may see a point beside the subject
_LEAST_FACING = 0.3  # cosine between normal and ray; beyond, outlines and sheen rule
_USABLE_LEVELS = (8, 250)  # of 255: neither noise nor clipped
_LEAST_ALBEDO = 0.05  # relative to the mean: division by darker ones amplifies noise
_ITERATIONS = 12
_USUAL_SPREAD, _USUAL_GAIN = 0.05, 0.1  # standard deviations of logarithms to start from
_GAIN_SD, _SHEEN_SD = (0.02, 0.3), (1e-4, 1.0)  # limits of what is estimated
_ALIKE = 7.0  # observations that go wrong together: many are worth as much as so many times fewer of chance errors
_KERNEL = 1.5  # width of the robust kernel, in standard deviations of the residuals
_POINT_PRIOR = 0.1  # observations that a point's own standard deviation is drawn to the usual one by
_POINT_POWER = 1.5  # of a point's variance that divides its weight; 1 for chance errors, but hair's go one way together
_FEWEST_POINTS = 30  # that a camera must share with others
_DOUBTFUL_SPREAD = 0.25  # of what views say of a point, as a logarithm; skin in its place gives 0.04, long hair 0.17
_LARGEST_LOG_GAIN = 0.7  # a factor of two; what is beyond is not the cameras


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Observations:
    """What the cameras see of the points of a surface."""

    light: Float64[np.ndarray, "c p 3"]  # logarithm of linear light
    facing: Float64[np.ndarray, "c p"]  # cosine between the normal and the direction to the camera
    mirrored: Float64[np.ndarray, "c p 3"]  # direction from which a mirror there would show light
    seen: Bool[np.ndarray, "c p"]


@dataclass(frozen=True)
class ColourView:
    """A picture of the head by a pinhole."""

    image: UInt8[np.ndarray, "h w 3"]
    mask: UInt8[np.ndarray, "h w"] | None
    K: Float64[np.ndarray, "3 3"]
    cam_from_head: Float64[np.ndarray, "4 4"]


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
    gains, spread = _log_gains(
        Observations(*(array[enough] for array in (observed.light, observed.facing, observed.mirrored, observed.seen)))
    )
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


def observe(
    views: list[ColourView], vertices: Float[np.ndarray, "v 3"], faces: np.ndarray, seed: int = 0
) -> Observations:
    """Look at points spread evenly over a surface through every view."""
    points, normals = _surface_points(vertices, faces, seed)
    rows = [_observed(view, vertices, faces, points, normals) for view in views]
    light, facing, mirrored, seen, beside = (np.stack(kind) for kind in zip(*rows, strict=True))
    # Where the template sticks out of the subject it says nothing; a bad mask here or there is borne.
    seen = seen & (beside.mean(0) <= _BESIDE_SHARE)
    return Observations(light, facing, mirrored, seen)


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
    low, high = _USABLE_LEVELS
    usable = (image[y, x] >= low).all(1) & (image[y, x] <= high).all(1)
    visible = local[:, 2] < surface[y, x] + _DEPTH_TOLERANCE_M
    seen = within & visible & usable & inside[y, x] & (facing > _LEAST_FACING)
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


def _log_gains(observed: Observations) -> tuple[Float64[np.ndarray, "c 3"], float]:
    """Logarithms of the cameras' gains, of mean zero over the cameras, and how far views of a point still differ."""
    weight = observed.seen * np.maximum(observed.facing, 0) ** 2
    weight = weight * ((weight > 0).sum(0) >= 2)  # [c, p]
    basis, light = _sheen_basis(observed), observed.light
    basis = basis / np.sqrt(np.maximum((weight[..., None] * basis**2).sum((0, 1)) / weight.sum(), 1e-12))
    trust, sheen = np.ones_like(light), np.zeros_like(light)
    fit, spread = _Fit(np.zeros((len(light), 3)), np.zeros(basis.shape[-1]), 0.0, 0.0), np.full(3, _USUAL_SPREAD)
    gain_sd, sheen_sd = _USUAL_GAIN, _USUAL_GAIN
    for _ in range(_ITERATIONS):
        albedo = np.exp(_centre(weight[..., None], light - fit.gains[:, None] - sheen))  # [p, 3]
        relative = np.maximum(albedo / albedo[weight.any(0)].mean(), _LEAST_ALBEDO)
        variance = _ALIKE * float(np.mean(spread**2))  # of an observation of weight one
        fit = _solved(weight[..., None] * trust, light, basis, relative, variance / gain_sd**2, variance / sheen_sd**2)
        sheen = (basis @ fit.sheen)[..., None] / relative
        residual = light - fit.gains[:, None] - sheen
        residual = residual - _centre(weight[..., None] * trust, residual)
        spread = np.maximum(1.4826 * np.median(np.abs(residual[weight > 0]), axis=0), 1e-4)  # [3]
        trust = _trust(residual, (weight > 0)[..., None] * trust, spread)
        deviation = fit.gains - fit.gains.mean(0)
        gain_sd = float(np.sqrt(np.mean(deviation**2) + variance * fit.gain_variance).clip(*_GAIN_SD))
        sheen_sd = float(np.sqrt(np.mean(fit.sheen**2) + variance * fit.sheen_variance).clip(*_SHEEN_SD))
    return fit.gains - fit.gains.mean(0), float(spread.max())


def _trust(
    residual: Float64[np.ndarray, "c p 3"], weight: Float64[np.ndarray, "c p 3"], spread: Float64[np.ndarray, " 3"]
) -> Float64[np.ndarray, "c p 3"]:
    """Weights by how far the views of a point disagree, as those of hair and cloth do, and each observation with them.

    Args:
        residual: What gains and sheen leave.
        weight: Of each observation for its point; zero where it is not seen.
        spread: The usual standard deviation.
    """
    views = (weight > 0).sum(0)  # [p, 3]
    own = (weight * residual**2).sum(0) / np.maximum(weight.sum(0), 1e-9) * views / np.maximum(views - 1, 1)
    variance = (_POINT_PRIOR * spread**2 + views * own) / (_POINT_PRIOR + views)  # [p, 3]
    variance = variance.mean(-1, keepdims=True)
    return (np.square(spread) / variance) ** _POINT_POWER / (1 + residual**2 / (_KERNEL**2 * variance))


@dataclass(frozen=True)
class _Fit:
    """Gains and sheen, and their mean variances a posteriori in units of an observation's."""

    gains: Float64[np.ndarray, "c 3"]  # logarithms
    sheen: Float64[np.ndarray, " k"]
    gain_variance: float
    sheen_variance: float


def _solved(
    weight: Float64[np.ndarray, "c p 3"],
    light: Float64[np.ndarray, "c p 3"],
    basis: Float64[np.ndarray, "c p k"],
    albedo: Float64[np.ndarray, "p 3"],
    gain_precision: float,
    sheen_precision: float,
) -> _Fit:
    """Least squares for gains and sheen, both near zero a priori; the points' logarithms are eliminated by centring."""
    cameras, count = len(light), basis.shape[-1]
    normal = np.diag([*[gain_precision] * (3 * cameras), *[sheen_precision] * count])
    right = np.zeros(len(normal))
    shared = slice(3 * cameras, None)
    for channel in range(3):
        w = weight[..., channel]
        scaled = basis / albedo[:, channel, None]
        scaled = scaled - _centre(w[..., None], scaled)
        values = light[..., channel] - _centre(w, light[..., channel])
        own = slice(channel * cameras, (channel + 1) * cameras)
        normal[own, own] += np.diag(w.sum(1)) - (w / np.maximum(w.sum(0), 1e-9)) @ w.T
        normal[own, own] += w.sum() / cameras**2  # the mean of the gains, which nothing else fixes, is zero
        weighted = w[..., None] * scaled
        normal[own, shared] = weighted.sum(1)
        normal[shared, own] = normal[own, shared].T
        normal[shared, shared] += np.tensordot(weighted, scaled, ([0, 1], [0, 1]))
        right[own] = (w * values).sum(1)
        right[shared] += np.tensordot(weighted, values, ([0, 1], [0, 1]))
    inverse = np.linalg.inv(normal + 1e-9 * np.eye(len(normal)))
    solution, variances = inverse @ right, np.diag(inverse)
    gains = solution[: shared.start].reshape(3, cameras).T
    return _Fit(gains, solution[shared], float(variances[: shared.start].mean()), float(variances[shared].mean()))


def _sheen_basis(observed: Observations) -> Float64[np.ndarray, "c p k"]:
    """Harmonics up to degree 3 of the mirrored direction, without the constant, and powers of the facing cosine."""
    x, y, z = np.moveaxis(observed.mirrored, -1, 0)
    facing = observed.facing
    terms = [x, y, z, x * y, y * z, x * z, 3 * z * z - 1, x * x - y * y]
    terms += [y * (3 * x * x - y * y), x * y * z, y * (5 * z * z - 1), z * (5 * z * z - 3), x * (5 * z * z - 1)]
    terms += [z * (x * x - y * y), x * (x * x - 3 * y * y), facing, facing**2, facing**4, facing**8]
    return np.stack(terms, -1)


def _centre(weight: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Weighted means over the cameras."""
    return (weight * values).sum(0) / np.maximum(weight.sum(0), 1e-9)


def _linear(encoded: Float[np.ndarray, "*n"]) -> Float32[np.ndarray, "*n"]:
    """Linear light from sRGB values in [0, 1] (IEC 61966-2-1)."""
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4).astype(np.float32)
