"""Smooth random fields in space, cheap enough to evaluate at every pixel."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Float, Float32

from headsup_cli.simulation.noise_kernels import CELLS, fill_noise


@lru_cache(maxsize=1)
def noise_volume() -> Float32[np.ndarray, "nodes 4"]:
    """Four independent fields of standard normal values on a periodic lattice, the same in every process."""
    return np.random.default_rng(20260504).standard_normal((CELLS**3, 4), dtype=np.float32)


def noise_at(
    points: Float[np.ndarray, "n 3"], cell_m: float, offset: Float[np.ndarray, "3"]
) -> Float32[np.ndarray, "n 4"]:
    """The four fields at points in metres, with lattice cells of `cell_m`, shifted by `offset` cells."""
    out = np.empty((len(points), 4), np.float32)
    fill_noise(noise_volume(), np.ascontiguousarray(points / cell_m + offset, dtype=np.float32), out)
    return out
