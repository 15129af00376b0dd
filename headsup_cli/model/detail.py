"""The detail map: what the pictures show beyond what the latent can hold, as a residual on the UV maps."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from headsup_cli.model.anchors import UvAnchors
from headsup_cli.model.attention import UNSEEN_LOGIT
from headsup_cli.model.attributes import RAW_CHANNELS, RAW_SPLIT, offset_from_raw, raw_from_colour, raw_from_offset
from headsup_cli.model.config import DetailConfig
from headsup_cli.model.layers import ResidualBlock, silence, to_grid, to_tokens, upsample
from headsup_cli.model.lookup import GEOMETRY_CHANNELS, sample_views
from headsup_cli.model.sightings import PIXEL_CHANNELS, Sightings
from headsup_cli.model.views import Views

_HEADS = 2  # of the attention over views: one for the colour, one for the shape, which outlines tell best


class DetailMap(nn.Module):
    """Carries the views' own pixels to the texels whose refined anchors they show.

    Position and colour start from what the views say (the fused anchor, an attention-weighted mean of pixels) and the
    rest from the decoder; a small ResNet adds a learned correction to all of them.
    """

    def __init__(self, config: DetailConfig, *, decoder: int, tokens: int, pyramid: int, anchors: UvAnchors) -> None:
        super().__init__()
        width = config.query_channels
        self.anchors = anchors
        self.tokens = nn.Conv2d(tokens, config.channels, 1)
        self.decoded = nn.Conv2d(decoder, config.channels, 1)
        self.query = nn.Conv2d(config.channels, width, 1)
        self.feature = nn.Conv2d(pyramid, width, 1)
        self.view = nn.Linear(PIXEL_CHANNELS + GEOMETRY_CHANNELS, width)
        self.score = nn.Sequential(nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, _HEADS))
        self.pooled = nn.Conv2d(_HEADS * (width + 2 * PIXEL_CHANNELS), config.channels, 1)
        self.blocks = nn.Sequential(ResidualBlock(config.channels), ResidualBlock(config.channels))
        self.out = nn.Conv2d(config.channels, RAW_CHANNELS, 3, padding=1)
        silence(self.out, std=1e-3)

    def forward(
        self,
        raw: Float[Tensor, "1 22 r r"],
        decoded: Float[Tensor, "1 d r r"],
        tokens: Float[Tensor, "1 c q q"],
        seen: Sightings,
        pyramid: list[Float[Tensor, "v f _ _"]],
        views: Views,
    ) -> Float[Tensor, "1 22 r r"]:
        """Raw attributes with detail.

        Args:
            raw: What the latent alone gives.
            decoded: The decoder's features at the same resolution.
            tokens: The fused tokens.
            seen: The texels' pixels where the fusion moved them.
            pyramid: The encoder's features.
            views: The pictures themselves.
        """
        side = self.anchors.resolution
        context = self.decoded(decoded) + upsample(self.tokens(tokens), (side, side))  # [1, c, r, r]
        points = self.anchors.displaced(seen.offset)  # [t, 3]
        features = sample_views(self.feature(pyramid[0]), views.cameras, points)  # [v, t, w]
        features = features + self.view(torch.cat([seen.pixels, seen.geometry], -1)) + to_tokens(self.query(context))
        logits = self.score(features) + UNSEEN_LOGIT * (1 - seen.geometry[..., 3:4])  # [v, t, 2]
        of_colour, of_shape = logits.softmax(0).split(1, -1)  # [v, t, 1]
        pooled = torch.cat([_pooled(weights, features, seen.pixels) for weights in (of_colour, of_shape)], -1)
        correction = self.out(F.silu(self.blocks(context + self.pooled(to_grid(pooled, side)))))

        offset = to_grid(raw_from_offset(seen.offset), side) + correction[:, :3]
        points = self.anchors.displaced(offset_from_raw(to_tokens(offset)))
        pixels = sample_views(torch.cat([views.rgb, views.mask], -1).permute(0, 3, 1, 2), views.cameras, points)
        mean = (of_colour * pixels).sum(0)  # [t, 4], where the Gaussians end up
        colour = to_grid(mean[:, :3] / mean[:, 3:].clamp_min(0.2), side)  # unmixed from the black background
        _, log_scale, rotation, opacity, _, directional = raw.split(RAW_SPLIT, 1)
        start = [torch.zeros_like(offset), log_scale, rotation, opacity, raw_from_colour(colour), directional]
        return torch.cat(start, 1) + torch.cat([offset, correction[:, 3:]], 1)


def _pooled(
    weights: Float[Tensor, "v t 1"], features: Float[Tensor, "v t w"], pixels: Float[Tensor, "v t p"]
) -> Float[Tensor, "t f"]:
    """Weighted mean of features and pixels over the views, and the pixels' variance."""
    mean = (weights * pixels).sum(0)
    spread = (weights * (pixels - mean).square()).sum(0)
    return torch.cat([(weights * features).sum(0), mean, spread], -1)
