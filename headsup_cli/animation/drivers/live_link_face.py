"""Epic's Live Link Face: CSV with a timecode, the 52 coefficients, head and eye rotations."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64

from headsup_cli.animation.curves import Curves, weights_from_columns
from headsup_cli.animation.drivers.text_table import TextTable, first_lines, read_text_table
from headsup_cli.errors import InputError

_TIMECODE = re.compile(r"(\d+):(\d\d):(\d\d):(\d\d(?:\.\d+)?)")
_DAY_S = 86_400
_HEAD = ("HeadYaw", "HeadPitch", "HeadRoll")
_EYES = (("LeftEyeYaw", "LeftEyePitch"), ("RightEyeYaw", "RightEyePitch"))


def recognises(path: Path) -> bool:
    """Whether the file starts as the app's export does."""
    return path.suffix.lower() == ".csv" and "".join(first_lines(path, 1)).lower().startswith("timecode,")


def read(path: Path) -> Curves:
    """Read a clip. Rows that repeat a timecode are left out; rotations that are zero throughout were switched off.

    Raises:
        InputError: A cell that is no number, or a timecode that is none.
    """
    table = read_text_table(path)
    times = _seconds(table)
    kept = np.concatenate([[True], np.diff(np.maximum.accumulate(times)) > 0])
    names = [name for name in table.columns if name.lower() not in ("timecode", "blendshapecount")]
    numbers = {name: table.numbers(name)[kept] for name in names}
    head = _angles(numbers, _HEAD)
    eyes = [_angles(numbers, eye) for eye in _EYES]
    return Curves(
        times_s=times[kept] - times[0],
        weights=weights_from_columns(numbers, int(kept.sum())),
        head_rad=head,
        gaze_rad=None if eyes[0] is None or eyes[1] is None else np.stack([eyes[0], eyes[1]], 1),
    )


def _seconds(table: TextTable) -> Float64[np.ndarray, " t"]:
    """Times from timecodes HH:MM:SS:FF.fraction, whose frames a second show in how far FF counts."""
    parsed = []
    for text, line in zip(table.texts(table.columns[0]), table.lines, strict=True):
        match = _TIMECODE.fullmatch(text.strip())
        if match is None:
            raise InputError(
                table.path,
                field=f"line {line}, column Timecode",
                found=f"'{text}'",
                expected="HH:MM:SS:FF.fraction",
                remedy="export the clip again",
            )
        parsed.append([float(group) for group in match.groups()])
    hours, minutes, seconds, frames = np.array(parsed).T
    rate = next((rate for rate in (24, 25, 30, 50, 60) if frames.max() < rate), 120)
    if frames.max() < 30 and len(frames) < 30:
        rate = 60 if len(np.unique(seconds)) == 1 else rate  # too short to have counted to the end
    times = hours * 3600 + minutes * 60 + seconds + frames / rate
    return times + _DAY_S * np.concatenate([[0], np.cumsum(np.diff(times) < -_DAY_S / 2)])


def _angles(numbers: dict[str, Float64[np.ndarray, " t"]], names: tuple[str, ...]) -> Float32[np.ndarray, "t k"] | None:
    """Rotations in radians; None where they are absent or switched off. Values beyond pi are degrees."""
    by_lower = {name.lower(): values for name, values in numbers.items()}
    if not all(name.lower() in by_lower for name in names):
        return None
    angles = np.stack([by_lower[name.lower()] for name in names], 1)
    if not angles.any():
        return None
    return (np.radians(angles) if np.abs(angles).max() > np.pi else angles).astype(np.float32)
