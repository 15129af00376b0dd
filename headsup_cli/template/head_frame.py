"""The head frame of a person, from landmarks."""

import numpy as np
from jaxtyping import Float


def head_frame(
    ear_canals: Float[np.ndarray, "2 3"], porions: Float[np.ndarray, "2 3"], orbits: Float[np.ndarray, "2 3"]
) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, " 3"]]:
    """Computes axes and origin of the head frame; a point p is `(p - origin) @ axes.T` in it.

    Args:
        ear_canals: Middles of the openings of the left and the right ear canal.
        porions: Their upper rims; with the orbits they span the Frankfurt plane.
        orbits: Lowest points of the left and the right orbit's lower rim.

    Returns:
        Rows: the unit axes +X (to the left ear canal), +Y (up) and +Z (out of the face); and the origin, midway
        between the ear canals.

    Raises:
        ValueError: The landmarks lie on one line.
    """
    x = ear_canals[0] - ear_canals[1]
    y = np.cross(orbits.mean(axis=0) - porions.mean(axis=0), x)
    axes = np.stack([x, y, np.cross(x, y)])
    lengths = np.linalg.norm(axes, axis=1, keepdims=True)
    if lengths.min() == 0:
        raise ValueError("the landmarks of the head frame lie on one line")
    return axes / lengths, ear_canals.mean(axis=0)
