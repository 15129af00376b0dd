"""A head at rest beside the template, texel by texel: what lids and mouth are made from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Shaped

from headsup_cli.animation.rig import Movement
from headsup_cli.gaussians.gaussians import Gaussians


@dataclass(frozen=True)
class RestingHead:
    """A head at rest, and what is known of how its texels lie and move."""

    gaussians: Gaussians  # n of them, one for each texel inside the islands; head frame
    bare: Gaussians  # the template itself, likewise
    part: Shaped[np.ndarray, " n"]  # name of the part of the template that each texel is of
    own: Movement  # how the texels move, each by its own point
    at: Movement  # how they move
    points: Float[np.ndarray, "n 3"]  # metres: where the head has the texels' points, as far as is known
    size: float  # of the subject's face over the template's

    @property
    def skin(self) -> Bool[np.ndarray, " n"]:
        """Texels of it; a blink moves some of the mouth's cavity too."""
        return self.part == "skin"
