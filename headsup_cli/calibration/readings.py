"""Ways in which calibrations are misread, and which of them the pictures bear out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

from headsup_cli.calibration.adjustment import NOISE_FLOOR_PX, robust_cost
from headsup_cli.calibration.suspects import thinned
from headsup_cli.calibration.tracks import Tracks, reproject, triangulate
from headsup_cli.capture.lens import Lens
from headsup_cli.capture.rig_dump import RigCamera

_LEAST_GAIN = 100.0  # of chi-square units, for a reading that moves no point far
_POINTS = 1500
_SCALES = (0.125, 0.25, 0.5, 2.0, 4.0, 8.0)


@dataclass(frozen=True)
class Reading:
    """Another way to understand the numbers of a calibration."""

    name: str
    meaning: str  # "the file seems to hold ..."
    remedy: str
    read: Callable[[RigCamera], RigCamera]


@dataclass(frozen=True)
class ReadingFit:
    """How well a reading explains the pictures."""

    reading: Reading
    explained: float  # share of observations within a hundredth of the picture's diagonal
    median_px: float  # error of those, and half of the diagonal where there are none
    cost: float  # mean robust cost


def _posed(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[RigCamera], RigCamera]:
    return lambda camera: replace(camera, cam_from_rig=change(camera.cam_from_rig))


def _transposed_rotation(pose: Float64[np.ndarray, "4 4"]) -> Float64[np.ndarray, "4 4"]:
    out = pose.copy()
    out[:3, :3] = pose[:3, :3].T
    return out


def _centre_as_translation(pose: Float64[np.ndarray, "4 4"]) -> Float64[np.ndarray, "4 4"]:
    out = pose.copy()
    out[:3, 3] = -pose[:3, :3] @ pose[:3, 3]
    return out


_GL = np.diag([1.0, -1.0, -1.0, 1.0])


def _turned(quarters: int) -> Callable[[RigCamera], RigCamera]:
    """The camera whose picture is the calibrated one turned clockwise by so many quarters."""

    def read(camera: RigCamera) -> RigCamera:
        K, pose, (a, b) = camera.K, camera.cam_from_rig, (camera.K[0, 2], camera.K[1, 2])
        cosine, sine = ((1, 0), (0, 1), (-1, 0), (0, -1))[quarters]
        roll = np.eye(4)
        roll[:2, :2] = [[cosine, -sine], [sine, cosine]]
        focal = (K[0, 0], K[1, 1]) if quarters % 2 == 0 else (K[1, 1], K[0, 0])
        # A calibration for the other orientation has the sides exchanged; one of ours already has the picture's.
        sides = (camera.width, camera.height)
        before = sides if quarters % 2 == 0 or (a < b) == (sides[0] < sides[1]) else sides[::-1]
        centre = ((a, b), (before[1] - b, a), (before[0] - a, before[1] - b), (b, before[0] - a))[quarters]
        turned = np.array([[focal[0], 0, centre[0]], [0, focal[1], centre[1]], [0, 0, 1.0]])
        return replace(camera, K=turned, cam_from_rig=roll @ pose)  # tangential distortion is too small to matter here

    return read


def _scaled(factor: float) -> Callable[[RigCamera], RigCamera]:
    return lambda camera: replace(camera, K=camera.K * np.array([[factor], [factor], [1.0]]))


def _fitted(camera: RigCamera) -> RigCamera:
    """Scaled so that the principal point lies amid the picture."""
    factor = float(np.mean([camera.width / camera.K[0, 2], camera.height / camera.K[1, 2]]) / 2)
    return _scaled(factor)(camera)


def _shifted(by_px: float) -> Callable[[RigCamera], RigCamera]:
    return lambda camera: replace(camera, K=camera.K + np.array([[0, 0, by_px], [0, 0, by_px], [0, 0, 0.0]]))


AS_GIVEN = Reading("as given", "", "", lambda camera: camera)
_POSES = (
    Reading(
        "camera-to-world",
        "R and t take camera coordinates to the world (camera-to-world), not the world to the camera",
        "invert the poses: R becomes R^T, t becomes -R^T t",
        _posed(np.linalg.inv),
    ),
    Reading(
        "OpenGL axes",
        "the camera axes are OpenGL's (x right, y up, z backward), not OpenCV's",
        "negate the second and third rows of R and t",
        _posed(lambda pose: _GL @ pose),
    ),
    Reading(
        "camera-to-world with OpenGL axes",
        "the poses are camera-to-world with OpenGL axes, as in transforms.json of nerfstudio and Blender",
        "negate the second and third columns of R, then invert the poses",
        _posed(lambda pose: _GL @ np.linalg.inv(pose)),
    ),
    Reading(
        "centre given as t",
        "t holds the cameras' centres in the world, not the translation",
        "set t to -R times the centre",
        _posed(_centre_as_translation),
    ),
    Reading(
        "centre given as t, OpenGL axes",
        "t holds the cameras' centres, and the camera axes are OpenGL's",
        "negate the second and third rows of R, then set t to -R times the centre",
        _posed(lambda pose: _centre_as_translation(np.block([[(_GL @ pose)[:, :3], pose[:, 3:]]]))),
    ),
    Reading(
        "R transposed",
        "R is camera-to-world while t is world-to-camera",
        "transpose R (row-major against column-major order)",
        _posed(_transposed_rotation),
    ),
    Reading(
        "OpenGL axes in R alone",
        "R has OpenGL's camera axes (x right, y up, z backward), t has OpenCV's",
        "negate the second and third rows of R",
        _posed(lambda pose: np.block([[(_GL @ pose)[:, :3], pose[:, 3:]]])),
    ),
)
_UNDISTORTED = Reading(
    "already undistorted",
    "the pictures are undistorted already",
    "set dist to zeros, or give the pictures as taken",
    lambda camera: replace(camera, lens=Lens()),
)
_PICTURES = (
    Reading("turned by 90 degrees", "the pictures are turned clockwise against the calibration (portrait against "
            "landscape)", "turn them back, or calibrate pictures as they are stored", _turned(1)),
    Reading("turned by 270 degrees", "the pictures are turned anticlockwise against the calibration (portrait against "
            "landscape)", "turn them back, or calibrate pictures as they are stored", _turned(3)),
    Reading("turned by 180 degrees", "the pictures are upside down against the calibration", "turn them", _turned(2)),
    Reading("intrinsics for another resolution", "K is that of another resolution",
            "multiply the first two rows of K by the pictures' width over the calibrated width", _fitted),
    *(
        Reading("intrinsics for another resolution", f"K is that of pictures {1 / s:g} times as large",
                f"multiply the first two rows of K by {s:g}", _scaled(s))
        for s in _SCALES
    ),
    _UNDISTORTED,
)  # fmt: skip
_ORIGINS = (
    Reading("half a pixel", "pixels are counted from the centre of the first one, not from its corner",
            'say so in the file: "pixel_origin": "center"', _shifted(0.5)),
    Reading("half a pixel", "pixels are counted from the corner of the first one, not from its centre",
            'say so in the file: "pixel_origin": "corner"', _shifted(-0.5)),
)  # fmt: skip
READINGS = _POSES + _PICTURES


def best_reading(tracks: Tracks, cameras: Sequence[RigCamera]) -> tuple[ReadingFit, ReadingFit]:
    """The reading of the whole rig that explains the pictures best, and the calibration as given.

    The first is the second unless another is clearly better.
    """
    some = thinned(tracks, _POINTS)
    fits = [fit_reading(some, cameras, reading) for reading in (AS_GIVEN, *READINGS)]
    given = fits[0]
    best = max(fits[1:], key=lambda fit: (round(fit.explained, 2), -fit.cost))
    if best.explained > 1.5 * given.explained and best.explained > 0.3:
        return best, given
    if not all(camera.lens.is_ideal for camera in cameras) and _gain(some, cameras, given, _UNDISTORTED) > _LEAST_GAIN:
        return next(fit for fit in fits if fit.reading is _UNDISTORTED), given
    return given, given


def fit_reading(tracks: Tracks, cameras: Sequence[RigCamera], reading: Reading, *, scale_px: float = 1.0) -> ReadingFit:
    """Triangulate under a reading and see what comes of it.

    Args:
        tracks: What was seen.
        cameras: As given.
        reading: How to understand them.
        scale_px: Error from which an observation loses weight.
    """
    read = [reading.read(camera) for camera in cameras]
    diagonal = float(np.median([np.hypot(c.width, c.height) for c in cameras]))
    with np.errstate(all="ignore"):
        length = np.linalg.norm(tracks.pixel - reproject(tracks, triangulate(tracks, read), read), axis=1)
    length = np.where(np.isfinite(length), length, np.inf)
    near = length < diagonal / 100
    errors = np.stack([np.minimum(length, diagonal), np.zeros(len(length))], 1)
    return ReadingFit(
        reading,
        float(near.mean()) if len(near) else 0.0,
        float(np.median(length[near])) if near.any() else diagonal / 2,
        float(robust_cost(errors, scale_px).mean()) if len(near) else 0.0,
    )


def _gain(tracks: Tracks, cameras: Sequence[RigCamera], given: ReadingFit, reading: Reading) -> float:
    """By how much a reading explains the pictures better, chi-square units of the features' noise."""
    noise_px = max(given.median_px / 1.1774, NOISE_FLOOR_PX)  # Rayleigh's median
    costs = [fit_reading(tracks, cameras, each, scale_px=noise_px).cost for each in (given.reading, reading)]
    return (costs[0] - costs[1]) * len(tracks.point)


def fit_origin(tracks: Tracks, cameras: Sequence[RigCamera]) -> Reading | None:
    """The reading of pixel coordinates that is half a pixel off the given one and fits clearly better, if any."""
    some = thinned(tracks, _POINTS)
    given = fit_reading(some, cameras, AS_GIVEN)
    gains = {reading.remedy: _gain(some, cameras, given, reading) for reading in _ORIGINS}
    best = max(_ORIGINS, key=lambda reading: gains[reading.remedy])
    return best if gains[best.remedy] > _LEAST_GAIN else None


def fit_camera(pixels: Float64[np.ndarray, "n 2"], points: Float64[np.ndarray, "n 3"], camera: RigCamera) -> float:
    """Median error of one camera over points that others triangulated, pixels; infinite where it faces away."""
    mine = Tracks(np.zeros(len(pixels), int), np.arange(len(pixels)), pixels)
    length = np.linalg.norm(pixels - reproject(mine, points, [camera]), axis=1)
    return float(np.median(np.where(np.isfinite(length), length, np.inf))) if len(length) else float("inf")
