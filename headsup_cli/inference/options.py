"""What can be chosen about reconstruction and refinement; importing it costs no torch."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class RefinePriors:
    """Weights of means over all texels."""

    bending: float = 200.0  # squared metres between a texel's displacement and the mean of its neighbours'
    colour_tv: float = 2e-3  # differences between the changes of colour of neighbours
    scale: float = 1e-3  # squared change of log scale
    directional: float = 1e-3  # squared directional colour
    unseen: float = 0.4  # squared change of colour, opacity and log scale where no picture shows the texel


@dataclass(frozen=True)
class RefineOptions:
    """How long, how fine and how stiff."""

    seconds: float | None = None  # stop after this time ...
    steps: int | None = None  # ... or after so many steps; one of the two is given
    resolution: int = 256  # UV texels along one side
    image_size_px: int = 500  # longer side of the pictures compared
    views_per_step: int = 2
    cameras: bool = False  # correct their poses too
    withhold_from: int = 24  # views: of so many one is kept aside to judge by; of 16 it costs 1.7 dB on new views (lps)
    priors: RefinePriors = field(default_factory=RefinePriors)
    seed: int = 0


@dataclass(frozen=True)
class ReconstructOptions:
    """What to reconstruct and how hard to try."""

    frame: str | None = None  # the capture's first by default, which is its most neutral one
    views: int | None = None
    resolution: int | None = None  # UV texels along one side without refinement; the model's own by default
    refine: RefineOptions | None = None
    seed: int = 0
