"""From the latent to UV maps of Gaussians."""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from headsup_cli.model.anchors import UvAnchors
from headsup_cli.model.attributes import RAW_CHANNELS
from headsup_cli.model.config import DecoderConfig, LatentConfig
from headsup_cli.model.layers import ResidualBlock, fourier_features, silence, to_grid, upsample
from headsup_cli.model.uv_fusion import POSITION_BANDS, POSITION_SCALE
from headsup_cli.template.template import Template


class LatentDecoder(nn.Module):
    """A ResNet that doubles the resolution from the latent's to the maps'; all that `sample` and `animate` need."""

    def __init__(self, latent: LatentConfig, config: DecoderConfig, template: Template) -> None:
        super().__init__()
        channels = config.channels
        self.anchors = UvAnchors(template, latent.resolution)
        self.inward = nn.Conv2d(latent.channels, channels[0], 3, padding=1)
        self.position = nn.Linear(3 + 6 * POSITION_BANDS, channels[0])
        self.levels = nn.ModuleList(
            nn.Sequential(*(ResidualBlock(width) for _ in range(config.blocks))) for width in channels
        )
        self.narrow = nn.ModuleList(nn.Conv2d(wide, narrow, 1) for wide, narrow in pairwise(channels))
        self.out = nn.Conv2d(channels[-1], RAW_CHANNELS, 3, padding=1)
        silence(self.out, std=1e-3)

    def forward(self, latent: Float[Tensor, "1 z q q"]) -> tuple[Float[Tensor, "1 22 r r"], Float[Tensor, "1 c r r"]]:
        """Raw attributes (see `attributes.py`) and the features they were read from."""
        prior = fourier_features(self.anchors.positions * POSITION_SCALE, POSITION_BANDS)
        x = self.inward(latent) + to_grid(self.position(prior), self.anchors.resolution)
        x = self.levels[0](x)
        for narrow, level in zip(self.narrow, list(self.levels)[1:], strict=True):
            x = level(upsample(narrow(x), (2 * x.shape[-2], 2 * x.shape[-1])))
        return self.out(torch.nn.functional.silu(x)), x
