"""Render feedback: the head is drawn into the views that it was made from, and what differs corrects it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from headsup_cli.cameras.camera import Cameras
from headsup_cli.gaussians.gaussians import Gaussians, concatenate
from headsup_cli.gaussians.uv_maps import TexelAnchors, bind
from headsup_cli.model.anchors import UvAnchors
from headsup_cli.model.attention import UNSEEN_LOGIT
from headsup_cli.model.attributes import RAW_CHANNELS, maps_from_raw
from headsup_cli.model.config import FeedbackConfig
from headsup_cli.model.layers import ResidualBlock, silence, to_grid
from headsup_cli.model.lookup import GEOMETRY_CHANNELS, sample_views, view_geometry
from headsup_cli.model.views import Views
from headsup_cli.rendering.render import RenderOutput, render

_ERROR_CHANNELS = 5  # RGB and mask less what was drawn, and the mask
_HIDDEN_M = 0.01  # a texel this far behind the drawn surface is surely hidden
_SLOPE_PIXELS = 192 * 256  # errors count as if the pictures had so many pixels, whatever their size
_SLOPE_KNEE = 0.2  # compressed slopes well above this all lead to the same step
_MOST_GATE = 4.0  # logarithm of the most that a step is lengthened or shortened
_FIRST_STEPS = (0.06,) * 9 + (0.1,) + (0.03,) * 12  # down the slope, raw attributes, before anything is learned
_STEP_DECAY = 0.55  # from one round to the next, so that untrained rounds do not overshoot to and fro
_HEADS = 4  # of the attention over views


@dataclass(frozen=True)
class _Comparison:
    """Drawings against pictures, seen from the texels."""

    errors: Float[Tensor, "v t e"]  # at k depths of every texel
    geometry: Float[Tensor, "v t g"]  # how each view sees the texel, and how far it lies behind what is drawn
    slope: Float[Tensor, "1 22 r r"]  # of the summed squared error by every raw attribute, compressed


class RenderFeedback(nn.Module):
    """A few rounds of drawing, comparing and correcting, with the same weights in each but for the length of steps.

    Each round takes two things from the views. The slope of the squared error by every raw attribute says which way to
    go: the step along it has a learned length, which a gate varies from texel to texel. And every texel looks up what
    is missing or too much where its Gaussian projects, and at a few depths along its normal: a picture that shows skin
    outside a drawn outline says "farther out" to the texels at that outline. The drawn depth tells which views see a
    texel at all. A small ResNet over UV, which remembers earlier rounds, makes of both the gates and an addition.

    Untrained, the rounds are plain steps down the slope. No gradient flows through the drawings that are looked at. See
    G3R (Chen et al., ECCV 2024) for slopes as input, ReSplat (Xu et al., 2025) for errors.
    """

    depths_m: Tensor

    def __init__(self, config: FeedbackConfig, anchors: UvAnchors, bound: TexelAnchors, *, max_offset_m: float) -> None:
        """Correct maps of the resolution of `anchors`.

        Args:
            config: Size and number of rounds.
            anchors: The texels.
            bound: The same texels inside the islands, to bind Gaussians to.
            max_offset_m: See `maps_from_raw`.
        """
        super().__init__()
        self.config, self.anchors, self.max_offset_m = config, anchors, max_offset_m
        self.bound = bound
        self.draw: Callable[[Gaussians, Cameras], RenderOutput] = render
        width = config.view_channels
        self.register_buffer("depths_m", torch.tensor(config.depths_mm) / 1000, persistent=False)
        self.error = nn.Linear(_ERROR_CHANNELS * len(config.depths_mm), width)
        self.geometry = nn.Linear(GEOMETRY_CHANNELS + 1, width)
        self.hidden = nn.Linear(width, width)
        self.score = nn.Linear(width, _HEADS)
        self.inward = nn.Conv2d(2 * RAW_CHANNELS + _HEADS * width, config.channels, 1)
        self.blocks = nn.Sequential(*(ResidualBlock(config.channels) for _ in range(config.blocks)))
        self.out = nn.Conv2d(config.channels, 2 * RAW_CHANNELS, 3, padding=1)
        shrinking = _STEP_DECAY ** torch.arange(config.rounds)[:, None]
        self.log_steps = nn.Parameter((shrinking * torch.tensor(_FIRST_STEPS)).log()[..., None, None])  # [n, 22, 1, 1]
        silence(self.out, std=1e-3)

    def forward(
        self, raw: Float[Tensor, "1 22 r r"], views: Views, room: Gaussians | None
    ) -> list[Float[Tensor, "1 22 r r"]]:
        """Raw attributes after each round; none where they are not finite and cannot be drawn.

        Args:
            raw: Before the first.
            views: The pictures.
            room: What stands behind, for views without masks.
        """
        views = views.at_most(self.config.image_size_px)
        memory = raw.new_zeros(1, self.config.channels, *raw.shape[-2:])
        rounds: list[Tensor] = []
        if not raw.is_meta and not torch.isfinite(raw).all():  # in training, which leaves such a step out
            return rounds
        for log_step in self.log_steps:
            found = self._compared(raw, views, room)
            memory = self.blocks(memory + self.inward(torch.cat([raw, found.slope, self._pooled(found)], 1)))
            added, gate = self.out(F.silu(memory)).chunk(2, 1)
            step = (log_step + gate.clamp(-_MOST_GATE, _MOST_GATE)).exp()
            raw = raw + added - step * found.slope / (found.slope.abs() + _SLOPE_KNEE)
            rounds.append(raw)
        return rounds

    def _pooled(self, found: _Comparison) -> Float[Tensor, "1 f r r"]:
        """What the views say to each texel, weighted by attention."""
        features = F.silu(self.error(found.errors) + self.geometry(found.geometry))
        features = F.silu(self.hidden(features))  # [v, t, w]
        weights = (self.score(features) + UNSEEN_LOGIT * (1 - found.geometry[..., 3:4])).softmax(0)  # [v, t, heads]
        pooled = torch.cat([(head * features).sum(0) for head in weights.split(1, -1)], -1)  # [t, heads w]
        return to_grid(pooled, self.anchors.resolution)

    def _compared(self, raw: Float[Tensor, "1 22 r r"], views: Views, room: Gaussians | None) -> _Comparison:
        """Draw the head as it is and compare it with the pictures; nothing of it carries a gradient."""
        with torch.enable_grad():
            attributes = raw.detach().clone().requires_grad_()
            maps = maps_from_raw(attributes, max_offset_m=self.max_offset_m)
            head = bind(maps, self.bound.to(raw.device))
            scene = head if room is None else concatenate([head, room.map(Tensor.detach)])
            drawn = self.draw(scene, views.cameras)
            difference = torch.cat([views.rgb - drawn.rgb, views.mask - drawn.alpha], -1)  # [v, h, w, 4]
            error = difference.square().sum(-1).mean() * _SLOPE_PIXELS
            (slope,) = torch.autograd.grad(error, attributes)
        with torch.no_grad():
            offset = maps.offset.flatten(0, 1)  # [t, 3]
            errors = self._looked_up(torch.cat([difference, views.mask], -1), offset, views)
            here = self.anchors.displaced(offset)
            geometry = view_geometry(views.cameras, here, self.anchors.frames, self.anchors.sizes)
            surface = sample_views(drawn.depth.permute(0, 3, 1, 2), views.cameras, here)  # [v, t, 1]
            behind = (views.cameras.project(here)[1][..., None] - surface) / _HIDDEN_M
            geometry = torch.cat([geometry, behind.clamp(-3, 3)], -1)
        return _Comparison(errors, geometry, torch.asinh(slope))

    def _looked_up(
        self, errors: Float[Tensor, "v h w e"], offset: Float[Tensor, "t 3"], views: Views
    ) -> Float[Tensor, "v t f"]:
        """Values at every texel moved by k depths along its normal."""
        steps = torch.zeros(len(self.depths_m), 3).to(offset)
        steps[:, 2] = self.depths_m
        points = torch.cat([self.anchors.displaced(offset + step) for step in steps])  # [k t, 3]
        found = sample_views(errors.permute(0, 3, 1, 2).contiguous(), views.cameras, points)  # [v, k t, e]
        return found.unflatten(1, (len(steps), -1)).transpose(1, 2).flatten(2)
