"""The subject's mask from a picture and a clean plate of the same camera."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from headsup_cli.media.opencv import cv2

_SMOOTHING_PX = 1.2  # of both pictures, against noise
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
    shot, clean = image.astype(np.float32), plate.astype(np.float32)
    gained = np.minimum(clean * _gain(shot, clean), 255.0)
    # A saturated plate says only how bright the background is at least.
    clean = np.where(clean >= _SATURATED, np.maximum(gained, shot), gained)
    distance = _distance_in_noise(_blurred(shot, _SMOOTHING_PX), _blurred(clean, _SMOOTHING_PX))
    subject = filled(largest_part(_touching(distance > _LIKELY, distance > _SURE)))
    coverage = outline_coverage(shot, clean, subject, _BAND_PX)
    return (coverage * 255 + 0.5).astype(np.uint8)


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
    shot: Float32[np.ndarray, "h w 3"],
    clean: Float32[np.ndarray, "h w 3"],
    subject: Bool[np.ndarray, "h w"],
    band_px: int,
) -> Float32[np.ndarray, "h w"]:
    """Solve shot = a colour + (1 - a) clean for a around the outline, with the subject's colour taken from inside.

    Args:
        shot: The picture, levels from 0 to 255.
        clean: What is behind the subject.
        subject: The subject, good to `band_px`.
        band_px: Half width of the zone in which coverage may be fractional.
    """
    inside = cv2.erode(subject.astype(np.uint8), _disc(band_px), borderValue=1).astype(np.float32)
    outside = 1 - cv2.dilate(subject.astype(np.uint8), _disc(band_px), borderValue=0)
    side = max(_LOCAL_COLOUR_PX, 5 * band_px | 1)
    window = (side, side)
    weight = cv2.blur(inside, window)  # [h, w]
    colour_sum = cv2.blur(shot * inside[..., None], window)
    coverage = subject.astype(np.float32)
    band = (inside == 0) & (outside == 0)
    weight, clean = weight[band], clean[band]  # [n], [n, 3]
    contrast = colour_sum[band] / np.maximum(weight, 1e-6)[:, None] - clean
    power = np.square(contrast).sum(-1)
    solved = ((_blurred(shot, 0.6)[band] - clean) * contrast).sum(-1) / np.maximum(power, 1e-6)
    trusted = (weight > 1e-3) & (power > 20.0**2)  # levels; below, noise decides
    coverage[band] = np.where(trusted, np.clip(solved, 0, 1), coverage[band])
    return coverage


def _blurred(picture: Float32[np.ndarray, "h w *c"], sigma_px: float) -> Float32[np.ndarray, "h w *c"]:
    return cv2.GaussianBlur(picture, (0, 0), sigma_px)


def _disc(radius_px: int) -> UInt8[np.ndarray, "d d"]:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius_px + 1, 2 * radius_px + 1))
