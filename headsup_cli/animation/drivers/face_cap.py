"""Bannaflak's Face Cap: text lines `info`, `bs` (names) and `k` (one frame each)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from headsup_cli.animation.curves import MAX_FRAMES, Curves, weights_from_columns
from headsup_cli.animation.drivers.text_table import TextTable, first_lines, read_lines
from headsup_cli.errors import InputError

_FIXED = ("time_ms", "hx", "hy", "hz", "rx", "ry", "rz", "left_x", "left_y", "right_x", "right_y")


def recognises(path: Path) -> bool:
    """Whether the first lines start as the app writes them."""
    return any(line.startswith(("bs,", "bs|")) for line in first_lines(path, 20))


def read(path: Path) -> Curves:
    """Read a clip; times are milliseconds, rotations degrees (x, y, z for the head, x, y for each eye).

    Raises:
        InputError: No names, no frames, or a cell that is no number.
    """
    table = _table(path)
    values = {name: table.numbers(name) for name in table.columns}
    times = values["time_ms"] / 1000
    if (np.diff(times) <= 0).any():
        raise InputError(
            path, field="time", found="not ascending", expected="later frames further down", remedy="sort the lines"
        )
    pitch, yaw, roll = (np.radians(values[name]) for name in ("rx", "ry", "rz"))
    gaze = np.array([[values["left_y"], values["left_x"]], [values["right_y"], values["right_x"]]])  # [2, 2, t]
    return Curves(
        times_s=times - times[0],
        weights=weights_from_columns(values, len(times)),
        head_rad=np.stack([yaw, pitch, roll], 1).astype(np.float32),
        gaze_rad=np.radians(gaze).transpose(2, 0, 1).astype(np.float32),
    )


def _table(path: Path) -> TextTable:
    lines = read_lines(path)
    names, rows, numbers = None, [], []
    for number, line in enumerate(lines, 1):
        kind, *cells = line.split("|" if "|" in line else ",")
        if kind == "bs":
            names = (*_FIXED, *(cell.strip() for cell in cells))
        elif kind == "k":
            rows.append(cells)
            numbers.append(number)
    if names is None or not 1 <= len(rows) <= MAX_FRAMES:
        raise InputError(
            path, found="no 'bs' line or no 'k' lines", expected="a Face Cap recording", remedy="export it again"
        )
    for number, row in zip(numbers, rows, strict=True):
        if len(row) != len(names):
            raise InputError(
                path, field=f"line {number}", found=f"{len(row)} cells", expected=str(len(names)),
                remedy="correct or remove the line",
            )  # fmt: skip
    return TextTable(path, names, rows, numbers)
