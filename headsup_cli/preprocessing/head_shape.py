"""How people's heads differ: the mean head of simulated people, its main modes, and the landmarks on them.

Vertices are the default template's, each head in its own head frame and size, so a fitted head brings its frame along.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float64, Int
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from headsup_cli.errors import InputError, MissingDependencyError
from headsup_cli.runtime.atomic import atomic_write_bytes

SHAPE_FILE = Path(__file__).parent / "weights" / "head_shape.safetensors"


@dataclass(frozen=True, eq=False)
class HeadShape:
    """A Gaussian over heads: `mean + modes . b`, `b` of standard normal values; metres, head frame."""

    mean: Float64[np.ndarray, "v 3"]
    modes: Float64[np.ndarray, "m v 3"]  # one standard deviation each
    faces: Int[np.ndarray, "f 3"]
    landmark_mean: Float64[np.ndarray, "k 3"]
    landmark_modes: Float64[np.ndarray, "m k 3"]
    landmark_expressions: Float64[np.ndarray, "e k 3"]  # ARKit's blendshapes

    def vertices(self, coefficients: Float[np.ndarray, " m"]) -> Float64[np.ndarray, "v 3"]:
        """The neutral head of some coefficients."""
        return self.mean + np.tensordot(coefficients, self.modes, 1)

    @cached_property
    def modes_by_vertex(self) -> Float64[np.ndarray, "v m 3"]:
        """The modes with what belongs to a vertex side by side in memory."""
        return np.ascontiguousarray(self.modes.transpose(1, 0, 2))


def save_head_shape(path: Path, shape: HeadShape) -> None:
    """Write a shape model: the mean in single, the modes in half precision."""
    arrays = {
        "mean": shape.mean.astype(np.float32),
        "modes": shape.modes.astype(np.float16),
        "faces": shape.faces.astype(np.int32),
        "landmark_mean": shape.landmark_mean.astype(np.float32),
        "landmark_modes": shape.landmark_modes.astype(np.float16),
        "landmark_expressions": shape.landmark_expressions.astype(np.float16),
    }
    atomic_write_bytes(path, save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))


@cache
def load_head_shape(path: Path = SHAPE_FILE) -> HeadShape:
    """Read the shape model.

    Raises:
        InputError: The file is damaged.
        MissingDependencyError: The one that ships is not there.
    """
    if not path.exists():
        raise MissingDependencyError(f"{path}: the shape model is missing; install headsup again.")
    try:
        arrays = load_file(path)
        floats = {name: array.astype(np.float64) for name, array in arrays.items() if name != "faces"}
        return HeadShape(faces=arrays["faces"].astype(np.int64), **floats)
    except (OSError, SafetensorError, KeyError, TypeError) as error:
        raise InputError(
            path, found=f"unusable ({error})", expected="a shape model", remedy="install headsup again"
        ) from error
