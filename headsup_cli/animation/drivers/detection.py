"""Which reader takes a file of curves: decided by looking at it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headsup_cli.animation.curves import Curves
from headsup_cli.animation.drivers import face_cap, json_curves, live_link_face, weight_table
from headsup_cli.errors import InputError


@dataclass(frozen=True)
class Driver:
    """A format of curves."""

    name: str
    description: str
    recognises: Callable[[Path], bool]
    read: Callable[[Path], Curves]


_LONGEST_S = 86_400.0  # a day; longer are wrong times

DRIVERS = (  # the first that recognises a file reads it
    Driver("live-link-face", "Live Link Face CSV", live_link_face.recognises, live_link_face.read),
    Driver("face-cap", "Face Cap text", face_cap.recognises, face_cap.read),
    Driver("json", "Audio2Face, MediaPipe or plain JSON", json_curves.recognises, json_curves.read),
    Driver("table", "CSV with a header of coefficient names", weight_table.recognises, weight_table.read),
)


def read_curves(path: Path) -> Curves:
    """Read a file of curves of whichever format it is.

    Raises:
        InputError: No reader recognises the file, or the one that does finds fault with it.
    """
    for driver in DRIVERS:
        if driver.recognises(path):
            with np.errstate(over="ignore", invalid="ignore"):  # what they leave is told below
                return _checked(path, driver.read(path))
    raise InputError(
        path,
        found="no curves",
        expected="; ".join(driver.description for driver in DRIVERS),
        remedy="see docs/animation.md for the formats",
    )


def _checked(path: Path, curves: Curves) -> Curves:
    """A clip of sound length and finite angles: sums and degrees of numbers that are finite need not be."""
    if not curves.times_s[-1] - curves.times_s[0] <= _LONGEST_S:
        raise InputError(
            path, field="time", found=f"{curves.times_s[-1]:g} s at the end", expected="at most a day",
            remedy="correct the times or the rate",
        )  # fmt: skip
    for name, angles in (("head rotation", curves.head_rad), ("eye rotation", curves.gaze_rad)):
        if angles is not None and not np.isfinite(angles).all():
            raise InputError(path, field=name, found="not finite", expected="angles", remedy="correct the columns")
    return curves
