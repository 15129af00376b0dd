"""The subject's mask from a picture and a clean plate of the same camera."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Float32, Shaped, UInt8

from headsup_cli.media.opencv import cv2

_SMOOTHING_PX = 0.6  # of both pictures at half their size, against noise
_SURE = 10.0  # difference, in standard deviations of the background, that only the subject reaches
_LIKELY = 4.5  # difference that is subject where it touches what is sure
_QUIETEST = 1.0  # levels; below, rounding and the fitted gain err as much
_SATURATED = 250.0  # level from which a pixel tells nothing about the gain
_LOG_GAIN_BIN = 0.02
_LOG_GAIN_RANGE = 1.0  # natural logarithm of encoded values: more than two stops of light
_BAND_PX = 4  # half width of the zone around the outline in which coverage is fractional
_LOCAL_COLOUR_PX = 21  # window over which the subject's colour is taken to be the same


def mask_from_plate(image: UInt8[np.ndarray, "h w 3"], plate: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w"]:
    """Mask the subject by its difference from a clean plate.

    The gain between the two shots is fitted per channel, the noise measured where they agree. Differences are taken of
    display-encoded values, whose square-root-like curve makes shot noise nearly uniform.

    Args:
        image: The shot, sRGB.
        plate: The same camera's view without the subject.

    Returns:
        Coverage, 255 = subject, fractional along the outline.
    """
    half = max(1, image.shape[1] // 2), max(1, image.shape[0] // 2)  # twice the noise would be in it at full size
    shot, clean = (cv2.resize(x, half, interpolation=cv2.INTER_AREA).astype(np.float32) for x in (image, plate))
    gain = _gain(shot, clean)
    distance = _distance_in_noise(_blurred(shot, _SMOOTHING_PX), _blurred(_gained(clean, gain, shot), _SMOOTHING_PX))
    subject = filled(largest_part(_touching(distance > _LIKELY, distance > _SURE)))
    subject = cv2.resize(subject.astype(np.uint8) * 255, image.shape[1::-1], interpolation=cv2.INTER_LINEAR) > 127
    return outline_coverage(image, lambda band: _gained(plate[band], gain, image[band]), subject, _BAND_PX)


def _gained(
    clean: Shaped[np.ndarray, "*n 3"], gain: Float32[np.ndarray, " 3"], shot: Shaped[np.ndarray, "*n 3"]
) -> Float32[np.ndarray, "*n 3"]:
    """The plate as the shot's exposure would have it; where saturated, at least as bright as the shot."""
    gained = np.minimum(clean * gain, np.float32(255.0))
    return np.where(clean >= _SATURATED, np.maximum(gained, shot), gained)


def _gain(shot: Float32[np.ndarray, "h w 3"], clean: Float32[np.ndarray, "h w 3"]) -> Float32[np.ndarray, " 3"]:
    """The commonest ratio of shot to plate in each channel: that of the background, wherever it is."""
    size = max(1, shot.shape[1] // 4), max(1, shot.shape[0] // 4)
    shot, clean = (cv2.resize(x, size, interpolation=cv2.INTER_AREA) for x in (shot, clean))
    usable = (shot.max(-1) < _SATURATED) & (clean.max(-1) < _SATURATED)
    logs = np.log((shot[usable] + 1) / (clean[usable] + 1))  # [n, 3]
    if not len(logs):
        return np.ones(3, np.float32)
    return np.exp([_mode(channel) for channel in logs.T]).astype(np.float32)


def _mode(values: Float[np.ndarray, " n"]) -> float:
    counts, edges = np.histogram(values, np.arange(-_LOG_GAIN_RANGE, _LOG_GAIN_RANGE, _LOG_GAIN_BIN))
    peak = int(np.convolve(counts, [1, 2, 1], "same").argmax())
    near = values[(values >= edges[peak] - _LOG_GAIN_BIN) & (values <= edges[peak + 1] + _LOG_GAIN_BIN)]
    return float(np.median(near)) if len(near) else 0.0


def _distance_in_noise(
    shot: Float32[np.ndarray, "h w 3"], clean: Float32[np.ndarray, "h w 3"]
) -> Float32[np.ndarray, "h w"]:
    """Difference over the three channels in standard deviations of what differs by noise alone."""
    apart = shot - clean
    difference = np.sqrt(np.einsum("hwc,hwc->hw", apart, apart))
    # A tenth of the picture is surely background. For the norm of three normal variables the median is twice the
    # first decile, and from there the sample grows to all of the background and nothing else.
    sample = np.sort(difference[::4, ::4], axis=None)
    noise = 2.0 * sample[len(sample) // 10]
    for _ in range(3):
        noise = max(float(np.median(sample[: np.searchsorted(sample, 3.0 * noise, "right")])), _QUIETEST)
    return difference / noise


def _touching(likely: Bool[np.ndarray, "h w"], sure: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    _, labels = cv2.connectedComponents(likely.astype(np.uint8))
    kept = np.zeros(labels.max() + 1, bool)
    kept[np.unique(labels[sure])] = True
    kept[0] = False
    return kept[labels]


def largest_part(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """The largest part once threads thinner than noise are cut."""
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, _disc(2))
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(opened)
    if count < 2:
        return mask
    return labels == 1 + int(statistics[1:, cv2.CC_STAT_AREA].argmax())


def filled(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Notches closed and holes filled: parts of the subject that match the plate behind them."""
    radius = max(1, max(mask.shape) // 150)
    padded = np.pad(mask.astype(np.uint8), radius, mode="edge")
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, _disc(radius))[radius:-radius, radius:-radius]
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(1 - closed, connectivity=4)
    holes = np.zeros(count, bool)
    for label in range(1, count):
        x, y, width, height, area = statistics[label]
        at_border = x == 0 or y == 0 or x + width == mask.shape[1] or y + height == mask.shape[0]
        holes[label] = not at_border and area < 0.05 * closed.sum()
    return closed.astype(bool) | holes[labels]


def outline_coverage(
    shot: UInt8[np.ndarray, "h w 3"],
    clean: Callable[[Bool[np.ndarray, "h w"]], Float32[np.ndarray, "n 3"]],
    subject: Bool[np.ndarray, "h w"],
    band_px: int,
) -> UInt8[np.ndarray, "h w"]:
    """Solve shot = a colour + (1 - a) clean for a around the outline, with the subject's colour taken from inside.

    Args:
        shot: The picture.
        clean: What is behind the subject in some of its pixels, levels from 0 to 255.
        subject: The subject, good to `band_px`.
        band_px: Half width of the zone in which coverage may be fractional.

    Returns:
        Coverage, 255 = subject.
    """
    mask = subject.astype(np.uint8)
    inside = cv2.erode(mask, _disc(band_px), borderValue=1)
    band = (cv2.dilate(mask, _disc(band_px), borderValue=0) > 0) & (inside == 0)
    coverage = mask * 255
    if not band.any():
        return coverage
    weight, colour = _local_colour(shot, inside, band, max(_LOCAL_COLOUR_PX, 5 * band_px | 1))
    behind = clean(band)
    contrast = colour - behind  # [n, 3]
    power = np.square(contrast).sum(-1)
    seen = cv2.GaussianBlur(shot, (0, 0), 0.6)[band]
    solved = ((seen - behind) * contrast).sum(-1) / np.maximum(power, 1e-6)
    trusted = (weight > 1e-3) & (power > 20.0**2)  # levels; below, noise decides
    coverage[band] = np.where(trusted, np.clip(solved, 0, 1) * 255 + 0.5, coverage[band])
    return coverage


def _local_colour(
    shot: UInt8[np.ndarray, "h w 3"], inside: UInt8[np.ndarray, "h w"], band: Bool[np.ndarray, "h w"], window_px: int
) -> tuple[Float32[np.ndarray, " n"], Float32[np.ndarray, "n 3"]]:
    """Share of `inside` in a window around each pixel of a band, and the mean colour there; found at half the size."""
    half = max(1, shot.shape[1] // 2), max(1, shot.shape[0] // 2)
    small = cv2.resize(shot, half, interpolation=cv2.INTER_AREA)
    within = cv2.resize(inside, half, interpolation=cv2.INTER_NEAREST) * 255
    layers = cv2.merge([cv2.bitwise_and(small, small, mask=within), within])  # [h/2, w/2, 4]
    window = window_px // 2 | 1
    means = cv2.boxFilter(layers, cv2.CV_32F, (window, window))
    rows, columns = np.nonzero(band)
    near = means[np.minimum(rows // 2, half[1] - 1), np.minimum(columns // 2, half[0] - 1)]
    return near[:, 3] / 255, near[:, :3] / np.maximum(near[:, 3:] / 255, 1e-6)


def _blurred(picture: Float32[np.ndarray, "h w *c"], sigma_px: float) -> Float32[np.ndarray, "h w *c"]:
    return cv2.GaussianBlur(picture, (0, 0), sigma_px)


def _disc(radius_px: int) -> UInt8[np.ndarray, "d d"]:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius_px + 1, 2 * radius_px + 1))
