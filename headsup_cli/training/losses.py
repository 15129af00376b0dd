"""The terms of the training loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from headsup_cli.gaussians.gaussians import Gaussians, concatenate
from headsup_cli.gaussians.uv_maps import GaussianMaps, TexelAnchors, bind, texel_anchors
from headsup_cli.metrics.image_quality import ssim
from headsup_cli.model.head_model import HeadPrediction
from headsup_cli.model.views import Views
from headsup_cli.rendering.render import render
from headsup_cli.template.template import Template
from headsup_cli.template.texels import sample_texels, texel_positions
from headsup_cli.training.config import LossWeights, TrainingConfig
from headsup_cli.training.discriminator import PatchDiscriminator, adversarial_terms
from headsup_cli.training.perceptual import PerceptualDistance, perceptual_distance

_IMAGE_TERMS = ("l1", "ssim", "alpha")
LOSS_TERMS = (
    *_IMAGE_TERMS,
    *("surface", "template", "offset_tv", "scale"),
    *(f"latent_{term}" for term in _IMAGE_TERMS),
    *("drafts", "perceptual", "eyes_mouth", "adversarial", "discriminator"),
)
_DRAFT_DECAY = 0.5  # weight of the maps before the last round of feedback, of those before that, and so on
_LATENT_VIEWS = 2  # in which what the latent alone gives is rendered, at most
_DETAILED_REGIONS = ("eyes", "mouth")


@dataclass(frozen=True)
class Surface:
    """The texels on a tracked mesh."""

    points: Float[Tensor, "n 3"]  # metres, head frame
    trust: Float[Tensor, "n 1"]  # how far the mesh is what one sees there: 1 on skin, 0 under hair


@dataclass(frozen=True)
class Rendering:
    """Renderings beside what they should show."""

    shown: Float[Tensor, "v h w 3"]
    wanted: Float[Tensor, "v h w 3"]
    alpha_error: Tensor


def compared(
    gaussians: Gaussians,
    targets: Views,
    behind: Float[Tensor, "3"],
    background: Gaussians | None,
    *,
    render_scale: int = 1,
) -> Rendering:
    """Renderings of the target views.

    Args:
        gaussians: The head.
        targets: What the cameras saw.
        behind: A colour to put behind masked subjects, so that black cannot stand for "nothing there".
        background: Gaussians of the room, for views without masks.
        render_scale: Renderings are drawn so many times larger and averaged.
    """
    cameras = targets.cameras.resized(targets.cameras.width * render_scale, targets.cameras.height * render_scale)
    scene = gaussians if background is None else concatenate([gaussians, background])
    output = render(scene, cameras, background=behind if background is None else None)
    shown, alpha = (_averaged(picture, render_scale) for picture in (output.rgb, output.alpha))
    if background is not None:
        return Rendering(shown, targets.rgb, alpha.new_zeros(()))
    return Rendering(shown, targets.rgb + (1 - targets.mask) * behind, (alpha - targets.mask).abs().mean())


def _averaged(picture: Float[Tensor, "v hs ws c"], scale: int) -> Float[Tensor, "v h w c"]:
    if scale == 1:
        return picture
    return torch.nn.functional.avg_pool2d(picture.permute(0, 3, 1, 2), scale).permute(0, 2, 3, 1)


def image_terms(rendering: Rendering) -> dict[str, Tensor]:
    """L1, SSIM and silhouette."""
    similarity = ssim(rendering.shown, rendering.wanted).mean()
    return {
        "l1": (rendering.shown - rendering.wanted).abs().mean(),
        "ssim": 1 - similarity,
        "alpha": rendering.alpha_error,
    }


def surface_terms(prediction: HeadPrediction, anchors: TexelAnchors, surface: Surface) -> dict[str, Tensor]:
    """Mean distance (metres) of the predicted Gaussians to where the tracked mesh has their texels.

    Args:
        prediction: The model's output.
        anchors: Texels of the neutral template at the maps' resolution.
        surface: The same texels on the tracked mesh.
    """
    trust = surface.trust
    wanted = (anchors.frames.mT @ (surface.points - anchors.positions)[..., None])[..., 0]  # tangent frame, [n, 3]

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


def template_terms(prediction: HeadPrediction, anchors: TexelAnchors) -> dict[str, Tensor]:
    """Mean distance (metres) of the predicted Gaussians to the neutral template, where nothing better is known."""
    distances = [anchors.gather(maps.offset).norm(dim=-1).mean() for maps in (prediction.maps, prediction.latent_maps)]
    return {"template": 0.5 * (distances[0] + distances[1])}


def map_terms(maps: GaussianMaps, anchors: TexelAnchors) -> dict[str, Tensor]:
    """Smoothness of offsets (metres between neighbours) and restraint of scales."""
    inside = anchors.mask.to(maps.offset)[..., None]
    across = (maps.offset.diff(dim=1) * inside[:, 1:] * inside[:, :-1]).abs().mean()
    down = (maps.offset.diff(dim=0) * inside[1:] * inside[:-1]).abs().mean()
    return {"offset_tv": across + down, "scale": anchors.gather(maps.log_scale).square().mean()}


class HeadLoss:
    """The weighted sum of all terms; one for a run, because some terms need to know the template or other weights."""

    def __init__(self, config: TrainingConfig, template: Template, resolution: int, device: torch.device) -> None:
        self.anchors = texel_anchors(template, resolution).to(device)
        self.perceptual: PerceptualDistance | None = None
        if config.uses("perceptual"):
            self.perceptual = perceptual_distance(config.perceptual_weights, device)
        self.detailed: Tensor | None = None  # how much each texel belongs to eyes or mouth, [n, 1]
        if config.uses("eyes_mouth"):
            self.detailed = _region_weights(template, resolution, self.anchors).to(device)

    def __call__(
        self,
        prediction: HeadPrediction,
        targets: Views,
        surface: Surface | None,
        behind: Float[Tensor, "3"],
        stage: TrainingConfig,
        discriminator: PatchDiscriminator | None = None,
    ) -> tuple[Tensor, dict[str, float]]:
        """The weighted sum, and every term by name.

        Args:
            prediction: The model's output.
            targets: What the cameras saw.
            surface: A tracked mesh, where there is one.
            behind: Colour behind masked subjects, sRGB.
            stage: Weights of the terms, and how large to draw.
            discriminator: Judges the renderings, where it is time for that.
        """
        weights = stage.losses
        head = bind(prediction.maps, self.anchors)
        compare = partial(compared, behind=behind, background=prediction.background, render_scale=stage.render_scale)
        rendering = compare(head, targets)
        terms = image_terms(rendering) | map_terms(prediction.maps, self.anchors)
        if surface is not None:
            terms |= surface_terms(prediction, self.anchors, surface)
        elif weights.template > 0:
            terms |= template_terms(prediction, self.anchors)
        if prediction.drafts:
            terms["drafts"] = self._of_drafts(prediction.drafts, weights, partial(compare, targets=targets))
        if self.perceptual is not None and weights.perceptual > 0:
            terms["perceptual"] = self.perceptual(rendering.shown, rendering.wanted)
        if self.detailed is not None and weights.eyes_mouth > 0:
            terms["eyes_mouth"] = self._where_detailed(head, targets, rendering)
        loss = _weighted(weights, terms)
        if discriminator is not None and weights.adversarial > 0:
            opinions = adversarial_terms(discriminator, rendering.shown, rendering.wanted)
            loss = loss + weights.adversarial * opinions["adversarial"] + opinions["discriminator"]
            terms |= opinions
        if weights.latent > 0 and prediction.latent_maps is not prediction.maps:
            coarse = bind(prediction.latent_maps, self.anchors)
            latent = image_terms(compare(coarse, targets[:_LATENT_VIEWS]))
            loss = loss + weights.latent * _weighted(weights, latent)
            terms |= {f"latent_{name}": term for name, term in latent.items()}
        return loss, {name: float(term.detach()) for name, term in terms.items()}

    def _of_drafts(
        self, drafts: tuple[GaussianMaps, ...], weights: LossWeights, compare: Callable[[Gaussians], Rendering]
    ) -> Tensor:
        """Image and map terms of what each round of feedback started from, the later the more they count."""
        losses = []
        for age, maps in enumerate(reversed(drafts), 1):
            terms = image_terms(compare(bind(maps, self.anchors))) | map_terms(maps, self.anchors)
            losses.append(_DRAFT_DECAY**age * _weighted(weights, terms))
        return torch.stack(losses).sum()

    @torch.no_grad()
    def _region_map(self, head: Gaussians, targets: Views) -> Float[Tensor, "v h w 1"]:
        """Where eyes and mouth are seen: their texels rendered white, all others black."""
        if self.detailed is None:
            raise ValueError("no stage gives eyes and mouth a weight")
        seen = render(head, targets.cameras, colors=self.detailed.expand(-1, 3)).rgb[..., :1]
        return (seen > 0.5).float()  # not what shimmers through from the other side

    def _where_detailed(self, head: Gaussians, targets: Views, rendering: Rendering) -> Tensor:
        weight = self._region_map(head, targets)
        apart = (rendering.shown - rendering.wanted).abs().mean(-1, keepdim=True)
        return (weight * apart).sum() / weight.sum().clamp_min(1)


def _weighted(weights: LossWeights, terms: dict[str, Tensor]) -> Tensor:
    return torch.stack([getattr(weights, name) * term for name, term in terms.items()]).sum()


def _region_weights(template: Template, resolution: int, anchors: TexelAnchors) -> Float[Tensor, "n 1"]:
    nowhere = np.zeros(len(template.vertices), np.float32)
    by_vertex = np.stack([template.regions.get(name, nowhere) for name in _DETAILED_REGIONS]).sum(0)[:, None]
    texels = sample_texels(template, resolution)
    return anchors.gather(torch.from_numpy(texel_positions(texels, by_vertex)).to(anchors.positions))
