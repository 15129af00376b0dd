"""Curves drawn under a picture, with a line where the picture stands in time."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

from headsup_cli.animation.curves import Curves
from headsup_cli.media.opencv import cv2
from headsup_cli.template.arkit import ARKIT_NAMES

MOST_CURVES = 6  # that are named
_NAMES = 0.28  # of the height, for their names
_PALETTE = ((86, 180, 233), (230, 159, 0), (0, 158, 115), (240, 228, 66), (213, 94, 0), (204, 121, 167))  # Okabe-Ito
_PAPER, _INK, _FAINT = (24, 24, 28), (200, 200, 200), (74, 74, 80)


class CurvePlot:
    """The curves of a clip under the names of those that move most, as a strip of a fixed size."""

    def __init__(self, curves: Curves, width: int, height: int) -> None:
        self.duration_s, self.width, self.height = max(curves.duration_s, 1e-6), width, height
        travel = np.abs(np.diff(curves.weights, axis=0)).sum(0) if len(curves) > 1 else curves.weights.sum(0)
        moving = [index for index in np.argsort(-travel, kind="stable") if travel[index] > 0]
        self.strip = np.full((height, width, 3), _PAPER, np.uint8)
        scale, top, bottom = height / 120, round(_NAMES * height), height - 4
        x = self._columns(curves.times_s)
        for row, index in reversed(list(enumerate(moving))):
            colour, weights = _PALETTE[row] if row < MOST_CURVES else _FAINT, curves.weights[:, index].clip(0, 1)
            points = np.stack([x, bottom - weights * (bottom - top)], 1).round().astype(np.int32)
            cv2.polylines(self.strip, [points], False, colour, max(1, round(scale)), cv2.LINE_AA)
        for row, index in enumerate(moving[:MOST_CURVES]):
            place = (6 + (row % 3) * width // 3, round((14 + 13 * (row // 3)) * scale))
            font = cv2.FONT_HERSHEY_SIMPLEX, 0.36 * scale, _PALETTE[row], 1, cv2.LINE_AA
            cv2.putText(self.strip, ARKIT_NAMES[index], place, *font)

    def at(self, time_s: float) -> UInt8[np.ndarray, "h w 3"]:
        """The strip with its line at a time."""
        strip = self.strip.copy()
        column = round(float(self._columns(np.array([time_s]))[0]))
        cv2.line(strip, (column, 0), (column, self.height), _INK, 1, cv2.LINE_AA)
        return strip

    def _columns(self, times_s: np.ndarray) -> np.ndarray:
        return 2 + times_s / self.duration_s * (self.width - 5)
