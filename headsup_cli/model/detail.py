"""The detail map: what the pictures show beyond what the latent can hold, as a residual on the UV maps."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from headsup_cli.model.anchors import UvAnchors
from headsup_cli.model.attention import UNSEEN_LOGIT
from headsup_cli.model.attributes import RAW_CHANNELS, RAW_SPLIT, raw_from_colour, raw_from_offset
from headsup_cli.model.config import DetailConfig
from headsup_cli.model.layers import ResidualBlock, silence, to_grid, to_tokens, upsample
from headsup_cli.model.lookup import GEOMETRY_CHANNELS, sample_views, view_geometry
from headsup_cli.model.views import Views
from headsup_cli.template.template import Template

_PIXEL_CHANNELS = 4  # RGB and mask


class DetailMap(nn.Module):
    """Carries the views' own pixels to the texels whose refined anchors they show.

    Position and colour start from what the views say (the fused anchor, an attention-weighted mean of pixels) and the
    rest from the decoder; a small ResNet adds a learned correction to all of them.
    """

    def __init__(
        self, config: DetailConfig, *, resolution: int, decoder: int, tokens: int, pyramid: int, template: Template
    ) -> None:
        super().__init__()
        width = config.query_channels
        self.anchors = UvAnchors(template, resolution)
        self.tokens = nn.Conv2d(tokens, config.channels, 1)
        self.decoded = nn.Conv2d(decoder, config.channels, 1)
        self.query = nn.Conv2d(config.channels, width, 1)
        self.feature = nn.Conv2d(pyramid, width, 1)
        self.view = nn.Linear(_PIXEL_CHANNELS + GEOMETRY_CHANNELS, width)
        self.score = nn.Sequential(nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))
        self.pooled = nn.Conv2d(width + 2 * _PIXEL_CHANNELS, config.channels, 1)
        self.blocks = nn.Sequential(ResidualBlock(config.channels), ResidualBlock(config.channels))
        self.out = nn.Conv2d(config.channels, RAW_CHANNELS, 3, padding=1)
        silence(self.out, std=1e-3)

    def forward(
        self,
        raw: Float[Tensor, "1 22 r r"],
        decoded: Float[Tensor, "1 d r r"],
        tokens: Float[Tensor, "1 c q q"],
        offset: Float[Tensor, "1 3 q q"],
        pyramid: list[Float[Tensor, "v f _ _"]],
        views: Views,
    ) -> Float[Tensor, "1 22 r r"]:
        """Raw attributes with detail.

        Args:
            raw: What the latent alone gives.
            decoded: The decoder's features at the same resolution.
            tokens: The fused tokens.
            offset: Where the fusion moved the anchors, metres in the tangent frame.
            pyramid: The encoder's features.
            views: The pictures themselves.
        """
        size = (self.anchors.resolution, self.anchors.resolution)
        fine_offset = upsample(offset, size)
        context = self.decoded(decoded) + upsample(self.tokens(tokens), size)  # [1, c, r, r]
        points = self.anchors.displaced(to_tokens(fine_offset))  # [t, 3]

        pixels = sample_views(torch.cat([views.rgb, views.mask], -1).permute(0, 3, 1, 2), views.cameras, points)
        geometry = view_geometry(views.cameras, points.detach(), self.anchors.frames, self.anchors.sizes)
        features = sample_views(self.feature(pyramid[0]), views.cameras, points)  # [v, t, w]
        features = features + self.view(torch.cat([pixels, geometry], -1)) + to_tokens(self.query(context))
        logits = self.score(features) + UNSEEN_LOGIT * (1 - geometry[..., 3:4])  # [v, t, 1]
        weights = logits.softmax(0)
        mean = (weights * pixels).sum(0)  # [t, 4]
        spread = (weights * (pixels - mean).square()).sum(0)
        pooled = torch.cat([(weights * features).sum(0), mean, spread], -1)
        x = self.blocks(context + self.pooled(to_grid(pooled, size[0])))

        _, log_scale, rotation, opacity, _, directional = raw.split(RAW_SPLIT, 1)
        seen_colour = to_grid(mean[:, :3] / mean[:, 3:].clamp_min(0.2), size[0])  # unmixed from the black background
        start = [raw_from_offset(fine_offset), log_scale, rotation, opacity, raw_from_colour(seen_colour), directional]
        return torch.cat(start, 1) + self.out(F.silu(x))
