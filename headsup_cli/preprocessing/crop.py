"""The part of a picture that is kept around a subject."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import UInt8

from headsup_cli.preprocessing.undistort import Pinhole

_CROP_MARGIN = 0.05  # around the subject, of the longer side of its box

Box = tuple[int, int, int, int]  # x, y, width and height, pixels


def extent(mask: UInt8[np.ndarray, "h w"]) -> Box:
    """The box of what a mask covers, which must be something."""
    rows, columns = np.flatnonzero((mask > 127).any(1)), np.flatnonzero((mask > 127).any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1] - columns[0] + 1), int(rows[-1] - rows[0] + 1)


def around(extents: Iterable[Box], view: Pinhole) -> Box:
    """The box around all extents with a margin, inside the picture."""
    corners = np.array([(x, y, x + width, y + height) for x, y, width, height in extents])
    low, high = corners[:, :2].min(0), corners[:, 2:].max(0)
    margin = round(_CROP_MARGIN * float((high - low).max()))
    low, high = np.maximum(low - margin, 0), np.minimum(high + margin, (view.width, view.height))
    return int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1])
