"""What people look at: prediction, reference and error of a view, side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from headsup_cli.evaluation.scoring import ScoredView
from headsup_cli.media.images import to_8bit, write_image
from headsup_cli.media.opencv import cv2

STRIPS_FOLDER = "views"
PREDICTIONS_FOLDER, REFERENCES_FOLDER = "predictions", "references"
_SIDE_PX = 400  # longer side of each of the three
_GAP_PX = 4
_JPEG_QUALITY = 85


def strip_path(folder: Path, camera: str) -> Path:
    """Where the strip of a view lies in a subject's folder."""
    return folder / STRIPS_FOLDER / f"{camera}.jpg"


def write_strip(view: ScoredView, path: Path) -> None:
    """Write prediction, reference and FLIP's error map (black: none, bright: much) as one picture."""
    prediction, reference = (_small(_array(picture)) for picture in (view.prediction, view.reference))
    error = cv2.applyColorMap(_small(_array(view.error)), cv2.COLORMAP_MAGMA)[..., ::-1]
    gap = np.full((error.shape[0], _GAP_PX, 3), 24, np.uint8)
    strip = np.concatenate([prediction, gap, reference, gap, error], 1)
    write_image(path, np.ascontiguousarray(strip), jpeg_quality=_JPEG_QUALITY)


def write_scored_pictures(view: ScoredView, folder: Path, camera: str) -> None:
    """Write the pictures that the figures were taken from, as PNG: what they say is all that was compared."""
    write_image(folder / PREDICTIONS_FOLDER / f"{camera}.png", _array(view.prediction))
    write_image(folder / REFERENCES_FOLDER / f"{camera}.png", _array(view.reference))


def _array(picture: Float[Tensor, "h w *c"]) -> UInt8[np.ndarray, "h w *c"]:
    return to_8bit(picture.cpu().numpy())


def _small(picture: UInt8[np.ndarray, "h w *c"]) -> UInt8[np.ndarray, "h2 w2 *c"]:
    factor = min(1.0, _SIDE_PX / max(picture.shape[:2]))
    size = max(1, round(picture.shape[1] * factor)), max(1, round(picture.shape[0] * factor))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
