"""Sharpening a head on its own pictures, in UV space."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from headsup_cli.gaussians.gaussians import Gaussians, concatenate
from headsup_cli.gaussians.uv_maps import GaussianMaps, TexelAnchors, bind, texel_anchors
from headsup_cli.model.views import Views
from headsup_cli.rendering.render import render
from headsup_cli.runtime.progress import progress
from headsup_cli.template.template import Template

LEARNING_RATES = {"offset": 3e-4, "log_scale": 1e-2, "rotation": 1e-2, "opacity_logit": 2e-2, "sh": 2e-2}
FINAL_RATE = 0.05  # of the first one, reached exponentially
REFERENCE_TEXELS = 256  # the resolution that the smoothness weights are stated for


@dataclass(frozen=True)
class RefineOptions:
    """How long, how fine and how stiff."""

    seconds: float | None = None  # stop after this time ...
    steps: int | None = None  # ... or after so many steps; one of the two is given
    resolution: int = 256  # UV texels along one side
    image_size_px: int = 500  # longer side of the pictures compared
    views_per_step: int = 2
    laplacian: float = 200.0  # on offsets: squared metres between a texel and the mean of its neighbours
    colour_tv: float = 2e-3  # on differences of colour between neighbours
    scale: float = 1e-3  # squared log scale
    directional: float = 1e-3  # squared directional colour
    seed: int = 0


@dataclass(frozen=True)
class RefineResult:
    """The refined maps and how they came about."""

    maps: GaussianMaps
    steps: int
    seconds: float
    final_loss: float


def refine(
    maps: GaussianMaps,
    views: Views,
    template: Template,
    options: RefineOptions,
    *,
    background: Gaussians | None = None,
    device: torch.device | str = "cpu",
) -> RefineResult:
    """Optimise UV maps on the pictures they were predicted from.

    The maps keep their UV structure: offsets are held together by a Laplacian, colours and scales by mild priors, so
    that texels which no view sees stay near the prediction and nothing floats off.

    Args:
        maps: Where to start, at any resolution.
        views: The pictures, head frame.
        template: The surface that the maps lie on.
        options: Time or steps, resolution, weights.
        background: Gaussians of the room, for views without masks; kept as they are.
        device: Where to work.
    """
    start = maps.resampled(texel_anchors(template, maps.resolution).to(maps.offset.device), options.resolution)
    anchors = texel_anchors(template, options.resolution).to(device)
    parameters = start.map(lambda tensor: tensor.detach().to(device).contiguous().requires_grad_())
    optimizer = torch.optim.Adam(
        [
            {"params": [tensor], "lr": LEARNING_RATES[name], "name": name}
            for name, tensor in parameters.tensors().items()
        ],
        eps=1e-12,
        fused=True,
    )
    targets = views.resized(options.image_size_px).to(device)
    room = None if background is None else background.detach().to(device)
    generator = torch.Generator().manual_seed(options.seed)
    schedule = _Schedule(options, {group["name"]: group["lr"] for group in optimizer.param_groups})
    loss = torch.zeros(())
    for percent in progress(range(100), "refining"):
        while (fraction := schedule.fraction()) < (percent + 1) / 100:
            for group in optimizer.param_groups:
                group["lr"] = schedule.rate(group["name"], fraction)
            chosen = torch.randperm(len(targets), generator=generator)[: options.views_per_step]
            behind = torch.rand(3, generator=generator).to(device)
            loss = _image_loss(bind(parameters, anchors), targets[chosen], behind, room)
            loss = loss + _regularisation(parameters, anchors, options)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.steps_done += 1
    final = parameters.map(lambda tensor: tensor.detach().cpu())
    return RefineResult(final, schedule.steps_done, schedule.elapsed(), float(loss.detach()))


class _Schedule:
    """Progress from 0 to 1 by the clock or by steps, and learning rates that follow it."""

    def __init__(self, options: RefineOptions, rates: dict[str, float]) -> None:
        if (options.seconds is None) == (options.steps is None):
            raise ValueError("give either seconds or steps")
        self.options, self.rates = options, rates
        self.started, self.steps_done = time.monotonic(), 0

    def elapsed(self) -> float:
        return time.monotonic() - self.started

    def fraction(self) -> float:
        if self.options.steps is not None:
            return self.steps_done / max(1, self.options.steps)
        return self.elapsed() / max(1e-9, self.options.seconds or 0)

    def rate(self, name: str, fraction: float) -> float:
        return self.rates[name] * math.exp(math.log(FINAL_RATE) * fraction)


def _image_loss(
    gaussians: Gaussians, targets: Views, behind: Float[Tensor, "3"], background: Gaussians | None
) -> Float[Tensor, ""]:
    if background is not None:
        output = render(concatenate([gaussians, background]), targets.cameras)
        return (output.rgb - targets.rgb).abs().mean()
    output = render(gaussians, targets.cameras, background=behind)
    wanted = targets.rgb + (1 - targets.mask) * behind
    return (output.rgb - wanted).abs().mean() + 0.5 * (output.alpha - targets.mask).abs().mean()


def _regularisation(maps: GaussianMaps, anchors: TexelAnchors, options: RefineOptions) -> Float[Tensor, ""]:
    """Priors inside the islands; differences are weighed so that they mean the same at every resolution."""
    inside = anchors.mask.to(maps.offset)[..., None]  # [r, r, 1]
    stiffness = (options.resolution / REFERENCE_TEXELS) ** 2
    laplacian = _laplacian(maps.offset, inside).square().sum(-1).mean() * stiffness
    colour = maps.sh[..., 0, :]
    tv = (colour.diff(dim=0) * inside[1:] * inside[:-1]).abs().mean()
    tv = tv + (colour.diff(dim=1) * inside[:, 1:] * inside[:, :-1]).abs().mean()
    scale = (maps.log_scale.square() * inside).mean()
    directional = maps.sh[..., 1:, :].square().mean() if maps.sh.shape[2] > 1 else maps.sh.new_zeros(())
    return (
        options.laplacian * laplacian
        + options.colour_tv * tv
        + options.scale * scale
        + options.directional * directional
    )


def _laplacian(image: Float[Tensor, "r r c"], inside: Float[Tensor, "r r 1"]) -> Float[Tensor, "r r c"]:
    """Difference of every texel to the mean of its neighbours inside the islands."""
    pad = torch.nn.functional.pad
    weighted = pad(torch.cat([image * inside, inside], -1), (0, 0, 1, 1, 1, 1))  # [r + 2, r + 2, c + 1]
    total = weighted[2:, 1:-1] + weighted[:-2, 1:-1] + weighted[1:-1, 2:] + weighted[1:-1, :-2]
    return (image - total[..., :-1] / total[..., -1:].clamp_min(1)) * inside
