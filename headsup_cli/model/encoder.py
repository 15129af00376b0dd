"""From views to feature pyramids."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from headsup_cli.model.config import EncoderConfig
from headsup_cli.model.layers import ResidualBlock, upsample
from headsup_cli.model.views import Views

INPUT_CHANNELS = 3 + 1 + 6  # RGB, mask, Plücker ray


class ImageEncoder(nn.Module):
    """A ResNet per view and a top-down pyramid over its stages (Lin et al., "Feature Pyramid Networks", 2017)."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.stem = nn.Conv2d(INPUT_CHANNELS, config.channels[0], 7, stride=4, padding=3)
        before = (config.channels[0], *config.channels[:-1])
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Identity() if i == 0 else nn.Conv2d(before[i], channels, 3, stride=2, padding=1),
                *(ResidualBlock(channels) for _ in range(blocks)),
            )
            for i, (channels, blocks) in enumerate(zip(config.channels, config.blocks, strict=True))
        )
        self.lateral = nn.ModuleList(nn.Conv2d(channels, config.pyramid_channels, 1) for channels in config.channels)

    def forward(self, views: Views) -> list[Float[Tensor, "v f _ _"]]:
        """Pyramid levels, finest (stride 4) first, all with the same number of channels."""
        rays = views.cameras.plucker_rays()  # [v, h, w, 6]
        x = torch.cat([views.rgb * 2 - 1, views.mask, rays], -1).permute(0, 3, 1, 2)
        x = self.stem(x)
        stages = [x := stage(x) for stage in self.stages]
        levels = [self.lateral[-1](stages[-1])]
        for stage, lateral in zip(stages[-2::-1], list(self.lateral)[-2::-1], strict=True):
            levels.insert(0, lateral(stage) + upsample(levels[0], stage.shape[-2:]))
        return levels
