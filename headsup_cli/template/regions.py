"""Soft regions of the default template: how much each vertex belongs to the face, the ears and so on."""

import numpy as np
from jaxtyping import Float, Float32, Int, UInt8

from headsup_cli.template.head_mesh import eye_centre
from headsup_cli.template.parts import PARTS, REGIONS

_EAR_M = np.array([0.082, 0.002, -0.012])  # middle of the left ear of the average head
_LIPS_M = np.array([0.0, -0.052, 0.1])


def soft_regions(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], parts: UInt8[np.ndarray, " f"]
) -> dict[str, Float32[np.ndarray, " v"]]:
    """Weights of the regions at each vertex of the average head; they sum to one."""
    x, y, z = vertices.T
    members = {name: np.unique(faces[parts == index]) for index, name in enumerate(PARTS)}
    mirrored = np.column_stack([np.abs(x), y, z])  # the right half laid over the left
    eye = eye_centre(vertices[members["eye_left"]])
    inside_mouth = np.zeros(len(vertices))
    inside_mouth[
        np.concatenate([members[name] for name in ("teeth_upper", "teeth_lower", "tongue", "mouth_inner")])
    ] = 1
    eyeball = np.zeros(len(vertices))
    eyeball[np.concatenate([members["eye_left"], members["eye_right"]])] = 1
    claims = {  # in order: each takes its part of what the ones before have left
        "mouth": np.maximum(inside_mouth, _within(vertices - _LIPS_M, (0.03, 0.017, 0.03))),
        "eyes": np.maximum(eyeball, _within(mirrored - eye, (0.022, 0.017, 0.03))),
        "ears": _within(mirrored - _EAR_M, (0.022, 0.036, 0.026)),
        "torso": _rise((-0.15 - 0.35 * (z + 0.03) - y) / 0.03),
        "neck": _rise((-0.075 - 0.3 * np.clip(z + 0.07, 0, 0.11) - y) / 0.025),
        "face": _rise((z - 0.02) / 0.04) * _rise((0.1 - y) / 0.03),
        "scalp": np.ones(len(vertices)),
    }
    left, regions = np.ones(len(vertices)), {}
    for name, claim in claims.items():
        regions[name] = (left * claim).astype(np.float32)
        left = left * (1 - claim)
    return {name: regions[name] for name in REGIONS}


def _rise(value: Float[np.ndarray, " v"]) -> Float[np.ndarray, " v"]:
    """A smooth step from 0 at -0.5 to 1 at 0.5."""
    clipped = np.clip(value + 0.5, 0, 1)
    return clipped**2 * (3 - 2 * clipped)


def _within(offsets: Float[np.ndarray, "v 3"], radii_m: tuple[float, float, float]) -> Float[np.ndarray, " v"]:
    """One inside an ellipsoid, falling to zero about it."""
    return _rise((1.25 - np.linalg.norm(offsets / radii_m, axis=1)) / 0.5)
