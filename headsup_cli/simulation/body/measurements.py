"""What an anthropometrist's calipers would read on a head of the template's topology."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int

from headsup_cli.simulation.body.anatomy import default_anatomy
from headsup_cli.template.anny_source import AnnySource

TRAGION_ABOVE_CANAL_M = 0.006  # the notch over the tragus lies this much higher than the ear canal


@lru_cache(maxsize=1)
def _caliper_vertices() -> dict[str, Int[np.ndarray, " n"]]:
    """Where the branches of the calipers are moved about, by breadth."""
    anatomy = default_anatomy()
    x, y, z = np.abs(anatomy.rest).T * [[1], [0], [0]] + anatomy.rest.T * [[0], [1], [1]]
    free = anatomy.skin & (anatomy.ear == 0)
    regions = {
        "bizygomatic_breadth": (y > -0.045) & (y < -0.008) & (z > -0.055) & (z < 0.0),
        "bigonial_breadth": (y > -0.090) & (y < -0.072) & (z > -0.050) & (z < -0.020),
        "head_breadth": (y > 0.015) & (y < 0.085) & (z > -0.15) & (z < -0.03),
    }
    return {name: np.flatnonzero(free & region & (x > 0.03)) for name, region in regions.items()}


def face_measurements(vertices: Float[np.ndarray, "v 3"]) -> dict[str, float]:
    """Measure a neutral head in the head frame; all in millimetres.

    Sellion and menton are the landmarks `nose_bridge` and `chin_bottom`, subnasale is `nose_base`; the breadths are the
    greatest over a region of the template; tragion to top of head is vertical in the Frankfurt orientation.
    """
    landmarks = AnnySource.shared().mesh.landmarks

    def apart(one: str, other: str) -> float:
        return float(np.linalg.norm(vertices[landmarks[one]] - vertices[landmarks[other]])) * 1000

    measured = {
        "interpupillary_breadth": apart("pupil_left", "pupil_right"),
        "menton_sellion_length": apart("nose_bridge", "chin_bottom"),
        "subnasale_sellion_length": apart("nose_bridge", "nose_base"),
        "nose_breadth": apart("nose_wing_left", "nose_wing_right"),
        "lip_length": apart("mouth_corner_left", "mouth_corner_right"),
        "tragion_to_top_of_head": float(vertices[landmarks["crown"], 1] - TRAGION_ABOVE_CANAL_M) * 1000,
        "head_length": apart("glabella", "occiput"),
    }
    for name, region in _caliper_vertices().items():
        x = vertices[region, 0]
        measured[name] = float(x.max() - x.min()) * 1000
    return measured
