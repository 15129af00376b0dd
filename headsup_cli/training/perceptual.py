"""How different two pictures look: LPIPS where its weights are at hand, else gradients at several scales."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from headsup_cli.metrics.lpips import load_lpips

logger = logging.getLogger(__name__)

_SCALES = 4

PerceptualDistance = Callable[[Tensor, Tensor], Tensor]  # of pictures [v, h, w, 3], sRGB in [0, 1]; their mean


def perceptual_distance(weights: Path | None, device: torch.device) -> PerceptualDistance:
    """A differentiable distance: LPIPS with these weights, without any `gradient_distance`; the log says which.

    Raises:
        InputError: The file does not hold weights of LPIPS.
    """
    if weights is None:
        logger.info("perceptual term: image gradients at %d scales (no weights for LPIPS are given)", _SCALES)
        return gradient_distance
    metric = load_lpips(weights, device).requires_grad_(False)
    logger.info("perceptual term: LPIPS %s of %s", metric.name, weights)
    return lambda image, reference: metric(image, reference).mean()


def gradient_distance(image: Float[Tensor, "v h w 3"], reference: Float[Tensor, "v h w 3"]) -> Tensor:
    """L1 between the pictures' finite differences at full, half, quarter and eighth size, averaged over the scales."""
    difference = (image - reference).permute(0, 3, 1, 2)  # gradients are linear: those of the difference will do
    total = difference.new_zeros(())
    for scale in range(_SCALES):
        if scale:
            difference = F.avg_pool2d(difference, 2, ceil_mode=True)
        steps = [difference.diff(dim=axis).abs() for axis in (2, 3) if difference.shape[axis] > 1]
        total = total + sum(step.mean() for step in steps)
    return total / _SCALES
