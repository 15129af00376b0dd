"""The terms of the training loss."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from headsup_cli.gaussians.gaussians import Gaussians, concatenate
from headsup_cli.gaussians.uv_maps import GaussianMaps, TexelAnchors, bind
from headsup_cli.metrics.image_quality import ssim
from headsup_cli.model.head_model import HeadPrediction
from headsup_cli.model.views import Views
from headsup_cli.rendering.render import render
from headsup_cli.training.config import LossWeights


def image_terms(
    gaussians: Gaussians, targets: Views, behind: Float[Tensor, "3"], background: Gaussians | None
) -> dict[str, Tensor]:
    """L1, SSIM and silhouette of renderings against the target views.

    Args:
        gaussians: The head.
        targets: What the cameras saw.
        behind: A colour to put behind masked subjects, so that black cannot stand for "nothing there".
        background: Gaussians of the room, for views without masks.
    """
    if background is None:
        output = render(gaussians, targets.cameras, background=behind)
        wanted = targets.rgb + (1 - targets.mask) * behind
        alpha = (output.alpha - targets.mask).abs().mean()
    else:
        output = render(concatenate([gaussians, background]), targets.cameras)
        wanted, alpha = targets.rgb, output.alpha.new_zeros(())
    similarity = ssim(output.rgb, wanted).mean()
    return {"l1": (output.rgb - wanted).abs().mean(), "ssim": 1 - similarity, "alpha": alpha}


def surface_terms(
    prediction: HeadPrediction,
    anchors: TexelAnchors,
    surface_points: Float[Tensor, "n 3"],
    trust: Float[Tensor, "n 1"],
) -> dict[str, Tensor]:
    """Mean distance (metres) of the predicted Gaussians to where the tracked mesh has their texels.

    Args:
        prediction: The model's output.
        anchors: Texels of the neutral template at the maps' resolution.
        surface_points: The same texels on the tracked mesh, metres, head frame.
        trust: How far the tracked mesh is what one sees there: 1 on skin, 0 under hair.
    """
    wanted = (anchors.frames.mT @ (surface_points - anchors.positions)[..., None])[..., 0]  # tangent frame, [n, 3]

    def distance(maps: GaussianMaps) -> Tensor:
        apart = (anchors.gather(maps.offset) - wanted).norm(dim=-1, keepdim=True)
        return (trust * apart).sum() / trust.sum()

    coarse = torch.nn.functional.adaptive_avg_pool2d(
        anchors.scatter(torch.cat([trust * wanted, trust], -1)).permute(2, 0, 1),
        (prediction.anchor_offset.shape[-2], prediction.anchor_offset.shape[-1]),
    )  # [4, q, q]
    weight = coarse[3]
    moved = (prediction.anchor_offset * weight - coarse[:3]).norm(dim=0).sum() / weight.sum().clamp_min(1)
    return {"surface": moved + 0.5 * (distance(prediction.maps) + distance(prediction.latent_maps))}


def map_terms(maps: GaussianMaps, anchors: TexelAnchors) -> dict[str, Tensor]:
    """Smoothness of offsets (metres between neighbours) and restraint of scales."""
    inside = anchors.mask.to(maps.offset)[..., None]
    across = (maps.offset.diff(dim=1) * inside[:, 1:] * inside[:, :-1]).abs().mean()
    down = (maps.offset.diff(dim=0) * inside[1:] * inside[:-1]).abs().mean()
    return {"offset_tv": across + down, "scale": anchors.gather(maps.log_scale).square().mean()}


def total_loss(
    prediction: HeadPrediction,
    targets: Views,
    anchors: TexelAnchors,
    surface: tuple[Float[Tensor, "n 3"], Float[Tensor, "n 1"]] | None,
    behind: Float[Tensor, "3"],
    weights: LossWeights,
) -> tuple[Tensor, dict[str, float]]:
    """The weighted sum, and every term by name; `surface` holds points of a tracked mesh and how far to trust them."""
    terms = image_terms(bind(prediction.maps, anchors), targets, behind, prediction.background)
    terms |= map_terms(prediction.maps, anchors)
    if surface is not None:
        terms |= surface_terms(prediction, anchors, *surface)
    loss = torch.stack([getattr(weights, name) * term for name, term in terms.items()]).sum()
    if weights.latent > 0 and prediction.latent_maps is not prediction.maps:
        first = targets[:1]
        latent_terms = image_terms(bind(prediction.latent_maps, anchors), first, behind, prediction.background)
        loss = loss + weights.latent * sum(getattr(weights, name) * term for name, term in latent_terms.items())
        terms |= {f"latent_{name}": term for name, term in latent_terms.items()}
    return loss, {name: float(term.detach()) for name, term in terms.items()}
