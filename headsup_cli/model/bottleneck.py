"""From fused tokens and sightings to the compact latent."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from headsup_cli.model.attention import UNSEEN_LOGIT
from headsup_cli.model.attributes import raw_from_offset
from headsup_cli.model.layers import ImageNorm, ResidualBlock, to_grid
from headsup_cli.model.lookup import GEOMETRY_CHANNELS
from headsup_cli.model.sightings import PIXEL_CHANNELS, Sightings

_SURFACE_CHANNELS = 3 + PIXEL_CHANNELS  # offset and mean pixels


class Bottleneck(nn.Module):
    """Squeezes what the fusion knows, the surface it found and the colours seen there into the latent."""

    def __init__(self, tokens: int, channels: int, *, latent_resolution: int, resolution: int) -> None:
        super().__init__()
        width, step = 2 * channels, resolution // latent_resolution
        self.resolution = resolution
        self.trust = nn.Linear(PIXEL_CHANNELS + GEOMETRY_CHANNELS, 1)
        self.tokens = nn.Sequential(nn.Conv2d(tokens, width, 3, padding=1), nn.AdaptiveAvgPool2d(latent_resolution))
        self.surface = nn.Conv2d(_SURFACE_CHANNELS, width, step, stride=step)
        self.block = ResidualBlock(width, groups=math.gcd(width, 8))
        self.out = nn.Sequential(nn.Conv2d(width, channels, 1), ImageNorm(channels))

    def forward(self, tokens: Float[Tensor, "1 c r r"], seen: Sightings) -> Float[Tensor, "1 z q q"]:
        """The latent, of mean 0 and spread 1 over all its values."""
        evidence = torch.cat([seen.pixels, seen.geometry], -1)
        weights = (self.trust(evidence) + UNSEEN_LOGIT * (1 - seen.geometry[..., 3:4])).softmax(0)  # [v, t, 1]
        mean = (weights * seen.pixels).sum(0)  # [t, p]
        colour = 2 * mean - 1
        surface = to_grid(torch.cat([raw_from_offset(seen.offset), colour], -1), self.resolution)
        return self.out(self.block(self.tokens(tokens) + self.surface(surface)))
