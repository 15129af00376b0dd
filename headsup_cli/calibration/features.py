"""Points of a picture that are found again in pictures of other cameras."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8

from headsup_cli.media.opencv import cv2

_LONGER_SIDE_PX = 1200  # of the picture that is searched; a point of it is good to a small part of a pixel
_MAX_FEATURES = 3000
_CONTRAST = 0.015  # of SIFT, low: skin has little
_EDGE_RATIO = 12.0
_SIGMA_PX = 1.2  # blur that the pictures are taken to have
_LARGE_PX = 12.0  # diameter up to which features are worth more the larger they are: small ones may be noise
_NEAR_SUBJECT_PX = 9  # the outline belongs to nothing that other cameras see, but masks are not exact either


@dataclass(frozen=True)
class Features:
    """Feature points of one picture, most promising first."""

    pixels: Float64[np.ndarray, "n 2"]  # of the picture as stored, pixel centres at half-integers
    descriptors: Float32[np.ndarray, "n 128"]  # unit length

    def __len__(self) -> int:
        return len(self.pixels)


def detect_features(picture: UInt8[np.ndarray, "h w 3"], subject: Bool[np.ndarray, "h w"] | None = None) -> Features:
    """Find SIFT features, descriptors square-rooted (RootSIFT: Arandjelović and Zisserman, CVPR 2012).

    Args:
        picture: sRGB.
        subject: Where the subject is, if that is known: its features go before those of the room, which cameras that
            look at each other do not share.
    """
    scale = min(1.0, _LONGER_SIDE_PX / max(picture.shape[:2]))
    gray = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    if scale < 1:
        gray = cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    gray = cv2.createCLAHE(clipLimit=3.0, tileGridSize=(8, 8)).apply(gray)
    sift = cv2.SIFT.create(
        contrastThreshold=_CONTRAST, edgeThreshold=_EDGE_RATIO, sigma=_SIGMA_PX, enable_precise_upscale=True
    )
    found = sift.detect(gray, None)
    if not found:
        return Features(np.zeros((0, 2)), np.zeros((0, 128), np.float32))
    strength = np.array([point.response * min(point.size, _LARGE_PX) for point in found])
    pixels = (np.array([point.pt for point in found]) + 0.5) / (np.array(gray.shape[::-1]) / picture.shape[1::-1])
    if subject is not None:
        reach = cv2.dilate(subject.astype(np.uint8), np.ones((_NEAR_SUBJECT_PX,) * 2, np.uint8)).astype(bool)
        x, y = np.minimum(pixels.astype(int), np.array(picture.shape[1::-1]) - 1).T
        strength = strength + reach[y, x] * strength.max()
    kept = np.argsort(-strength, kind="stable")[:_MAX_FEATURES]
    _, descriptors = sift.compute(gray, [found[index] for index in kept])
    rooted = np.sqrt(descriptors / np.maximum(descriptors.sum(1, keepdims=True), 1e-9))
    return Features(pixels[kept], rooted.astype(np.float32))
