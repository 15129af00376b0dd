"""The mesh every head is told by: UV layout, blendshapes, landmarks, regions."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int32, UInt8

from headsup_cli.template.arkit import ARKIT_NAMES
from headsup_cli.template.coefficients import check_coefficients


@dataclass(frozen=True, eq=False)
class Template:
    """A head mesh in the head frame: metres, origin midway between the ear canals, +X the subject's left, +Z ahead.

    Texel (row, column) of an R x R map in the UV layout has its centre at u = (column + 0.5) / R, v = (row + 0.5) / R.
    """

    name: str
    vertices: Float32[np.ndarray, "v 3"]  # neutral
    faces: Int32[np.ndarray, "f 3"]  # counterclockwise seen from outside
    uvs: Float32[np.ndarray, "t 2"]  # in [0, 1], v runs down
    uv_faces: Int32[np.ndarray, "f 3"]  # the faces' corners in uvs
    blendshapes: Float32[np.ndarray, "52 v 3"]  # offsets from neutral, in the order of ARKIT_NAMES
    landmarks: dict[str, int]  # vertex indices
    part_names: tuple[str, ...]
    face_parts: UInt8[np.ndarray, " f"]  # indices into part_names
    regions: dict[str, Float32[np.ndarray, " v"]]  # soft, in [0, 1]
    sha256: str  # of everything but the name, in hexadecimal

    @classmethod
    def with_hash(cls, name: str, **content: Any) -> "Template":
        """Makes a template from all its other fields, which are hashed into `sha256`."""
        digest = hashlib.sha256()
        for key, value in sorted(content.items()):
            digest.update(key.encode())
            for entry in value.values() if key == "regions" else (value,):
                digest.update(entry.tobytes() if isinstance(entry, np.ndarray) else json.dumps(entry).encode())
        return cls(name=name, **content, sha256=digest.hexdigest())

    def posed(self, coefficients: Mapping[str, float]) -> Float32[np.ndarray, "v 3"]:
        """Vertices at some ARKit coefficients.

        Args:
            coefficients: Weights in [0, 1] by ARKit name; zero for what is not named.

        Raises:
            InputError: A name that is not ARKit's, or a weight outside [0, 1].
        """
        check_coefficients("coefficients", coefficients, ARKIT_NAMES, low=0.0)
        weights = np.array([coefficients.get(name, 0.0) for name in ARKIT_NAMES], dtype=np.float32)
        return self.vertices + np.tensordot(weights, self.blendshapes, 1)

    def landmark_positions(self, vertices: Float[np.ndarray, "v 3"]) -> dict[str, Float[np.ndarray, " 3"]]:
        """Where the landmarks are on a head of this topology."""
        return {name: vertices[index] for name, index in self.landmarks.items()}
