"""Arithmetic of kernels in single precision."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from headsup_cli.simulation.compilation import inline


def single(function: Callable) -> Callable:
    """The function with its literal floats in single precision: as doubles they would make doubles of all they meet.

    Whole numbers stay what they are and make doubles still, so kernels write `1.0` where they do arithmetic.
    """
    plain: Any = inspect.unwrap(function)
    constants = tuple(np.float32(value) if isinstance(value, float) else value for value in plain.__code__.co_consts)
    plain.__code__ = plain.__code__.replace(co_consts=constants)
    return plain


@inline
@single
def exp(power):
    """e^power for powers up to 1, to 6e-6 of it above -10: in line, where the library's is a call."""
    x = max(power, -20.0) * 0.03125
    y = 1.0 + x * (1.0 + x * (0.5 + x * (0.16666667 + x * (0.041666667 + x * (0.008333334 + x * 0.0013888889)))))
    y *= y
    y *= y
    y *= y
    y *= y
    return y * y
