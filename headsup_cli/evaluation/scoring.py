"""One rendered view against its picture: every figure of the protocol."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from headsup_cli.evaluation.heldout import Reference
from headsup_cli.evaluation.regions import MIN_SIDE_PX, Box, box_around, region_boxes
from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.metrics.colour_fit import affine_colour_fit
from headsup_cli.metrics.flip import flip
from headsup_cli.metrics.image_quality import psnr, ssim
from headsup_cli.metrics.lpips import Lpips
from headsup_cli.rendering.render import render

AREAS = ("foreground", "full", "eyes", "mouth")
MEASURES = ("psnr", "psnr_affine", "ssim", "flip", "lpips")
UNCOVERED = "uncovered"
SCORE_NAMES = (*(f"{measure}_{area}" for area in AREAS for measure in MEASURES), UNCOVERED)
PSNR_CEILING_DB = 100.0  # of equal pictures
_REGIONS = ("eyes", "mouth")

Scores = dict[str, float | None]  # by SCORE_NAMES; None where an area is not seen or LPIPS has no weights


def higher_is_better(score: str) -> bool:
    """Whether a larger value of a score is the better one."""
    return score.startswith(("psnr", "ssim"))


@dataclass(frozen=True)
class ScoredView:
    """A view's figures and the pictures behind them."""

    scores: Scores
    prediction: Float[Tensor, "h w 3"]  # sRGB, rounded to 8 bits
    reference: Float[Tensor, "h w 3"]
    error: Float[Tensor, "h w"]  # FLIP


@torch.inference_mode()
def score_view(
    gaussians: Gaussians,
    weights: Float[Tensor, "n 3"],
    reference: Reference,
    background: Float[Tensor, "3"],
    lpips: Lpips | None,
) -> ScoredView:
    """Render a head as a held-out camera saw the subject, and compare.

    Args:
        gaussians: The head, in the head frame.
        weights: Of its Gaussians in the regions, from `regions.region_weights`.
        reference: The picture.
        background: Colour behind the head, the one that the reference is composited on.
        lpips: The metric, where its weights are at hand.
    """
    device = gaussians.means.device
    camera, wanted, mask = reference.camera.to(device), reference.rgb.to(device), reference.mask.to(device) > 0.5
    output = render(gaussians, camera, background=background)
    prediction = (output.rgb[0].clamp(0, 1) * 255).round() / 255  # as every file would hold it
    boxes = dict(zip(_REGIONS, region_boxes(gaussians, weights, camera), strict=True))
    error = flip(prediction, wanted)
    scores = _scores(prediction, wanted, mask, error, boxes, lpips)
    scores[UNCOVERED] = _number((output.alpha[0, ..., 0][mask] < 0.5).float().mean())
    return ScoredView(scores, prediction, wanted, error)


def _scores(
    prediction: Float[Tensor, "h w 3"],
    wanted: Float[Tensor, "h w 3"],
    mask: Tensor,
    error: Float[Tensor, "h w"],
    boxes: Mapping[str, Box | None],
    lpips: Lpips | None,
) -> Scores:
    """Figures of the four areas: SSIM and LPIPS of a box, PSNR and FLIP of the box or, for the foreground, the mask."""
    fitted = affine_colour_fit(prediction, wanted, mask)
    everything = slice(0, mask.shape[0]), slice(0, mask.shape[1])
    areas: dict[str, tuple[Box | None, Tensor]] = {
        "foreground": (box_around(mask), mask.float()),
        "full": (everything, torch.ones_like(error)),
        **{name: (box, torch.ones_like(error)) for name, box in boxes.items()},
    }
    scores: Scores = dict.fromkeys(SCORE_NAMES)
    for area, (box, weight) in areas.items():
        if box is None:
            continue
        one, other, inside = prediction[box], wanted[box], weight[box]
        large = lpips is not None and min(one.shape[:2]) >= lpips.min_side_px
        values = {
            "psnr": psnr(one, other, inside).clamp_max(PSNR_CEILING_DB),
            "psnr_affine": psnr(fitted[box], other, inside).clamp_max(PSNR_CEILING_DB),
            "ssim": ssim(one, other, border="reflect") if min(one.shape[:2]) >= MIN_SIDE_PX else None,
            "flip": (error[box] * inside).sum() / inside.sum(),
            "lpips": lpips(one, other) if lpips is not None and large else None,
        }
        scores |= {f"{measure}_{area}": _number(value) for measure, value in values.items()}
    return scores


def _number(value: Tensor | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(float(value), 6)
