"""Plain tables: CSV whose header names coefficients, as MediaPipe's tools and spreadsheets write them."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from headsup_cli.animation.curves import Curves, arkit_name, weights_from_columns
from headsup_cli.animation.drivers.text_table import TextTable, read_text_table
from headsup_cli.errors import InputError

DEFAULT_FPS = 30.0
_SECONDS_PER_UNIT = {
    "time": 1.0, "time_s": 1.0, "seconds": 1.0, "timestamp": 1.0, "t": 1.0,
    "time_ms": 1e-3, "timestamp_ms": 1e-3, "milliseconds": 1e-3,
}  # fmt: skip
_HEAD_DEG = ("head_yaw_deg", "head_pitch_deg", "head_roll_deg")
_NOT_CURVES = {"frame", "index", "_neutral", "neutral", *_SECONDS_PER_UNIT, *_HEAD_DEG}

logger = logging.getLogger(__name__)


def recognises(path: Path) -> bool:
    """Any CSV or TSV."""
    return path.suffix.lower() in (".csv", ".tsv", ".txt")


def read(path: Path) -> Curves:
    """Read a clip: one row a frame, columns by name; time from a column that says so, 30 frames a second otherwise.

    Raises:
        InputError: No column is a coefficient, times do not ascend, or a cell is no number.
    """
    table = read_text_table(path)
    known = [name for name in table.columns if arkit_name(name)]
    unknown = [name for name in table.columns if not arkit_name(name) and name.lower() not in _NOT_CURVES]
    if not known:
        raise InputError(
            path,
            field="line 1",
            found=f"columns {', '.join(table.columns[:5])}, ...",
            expected="at least one of ARKit's coefficients, such as jawOpen",
            remedy="name the columns after them",
        )
    if unknown:
        logger.warning("%s: columns that are no coefficients are left out: %s", path, ", ".join(unknown))
    lower = {name.lower(): name for name in table.columns}
    head = None
    if all(name in lower for name in _HEAD_DEG):
        head = np.radians(np.stack([table.numbers(lower[name]) for name in _HEAD_DEG], 1)).astype(np.float32)
    return Curves(
        times_s=_times(table, lower),
        weights=weights_from_columns({name: table.numbers(name) for name in known}, len(table.rows)),
        head_rad=head,
    )


def _times(table: TextTable, lower: dict[str, str]) -> Float64[np.ndarray, " t"]:
    for name, seconds in _SECONDS_PER_UNIT.items():
        if name not in lower:
            continue
        times = table.numbers(lower[name]) * seconds
        late = np.flatnonzero(np.diff(times) <= 0)
        if len(late):
            raise InputError(
                table.path,
                field=f"line {table.lines[late[0] + 1]}, column {lower[name]}",
                found="a time that is not after the one before",
                expected="ascending times",
                remedy="sort or remove the line",
            )
        return times - times[0]
    return np.arange(len(table.rows)) / DEFAULT_FPS
