"""Cross-attention from UV tokens to the views: two kinds behind one interface.

Shapes: v views, t UV tokens, k depth hypotheses, c channels.
"""

from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from headsup_cli.cameras.camera import Cameras
from headsup_cli.model.anchors import UvAnchors
from headsup_cli.model.config import AttentionKind, FusionStageConfig
from headsup_cli.model.lookup import GEOMETRY_CHANNELS, sample_views, view_geometry

KEY_CHANNELS = 8  # of queries and keys, per head
UNSEEN_LOGIT = -8.0  # added where a point projects outside the picture; finite, so that "nowhere seen" stays defined


class CrossAttention(Protocol):
    """What a fusion block asks of either kind."""

    def __call__(
        self,
        tokens: Float[Tensor, "t c"],
        pyramid: list[Float[Tensor, "v f _ _"]],
        cameras: Cameras,
        anchors: UvAnchors,
        offset: Float[Tensor, "t 3"],
    ) -> Float[Tensor, "t c"]:
        """What the views say to each token, to be added to it."""
        ...


class ProjectedAttention(nn.Module):
    """Every token looks only where its own anchor, moved by `offset`, projects into each view.

    For a few depths along the anchor's normal the views' features are pooled by attention (visibility is learned from
    how a view sees the point) and their spread over the views is kept, which tells the right depth from the wrong ones
    as the cost volume of multi-view stereo does. Cost is linear in tokens x views.
    """

    depths_m: Tensor

    def __init__(self, config: FusionStageConfig, pyramid_channels: int) -> None:
        super().__init__()
        width = pyramid_channels
        self.heads, self.level = config.heads, config.level
        self.register_buffer("depths_m", torch.tensor(config.depths_mm) / 1000, persistent=False)
        self.geometry = nn.Linear(GEOMETRY_CHANNELS, width)
        self.query = nn.Linear(config.channels, config.heads * KEY_CHANNELS)
        self.key_value = nn.Linear(width, config.heads * KEY_CHANNELS + width)
        self.out = nn.Sequential(
            nn.Linear(2 * width * len(config.depths_mm) + 1, 2 * config.channels),
            nn.GELU(),
            nn.Linear(2 * config.channels, config.channels),
        )

    def forward(
        self,
        tokens: Float[Tensor, "t c"],
        pyramid: list[Float[Tensor, "v f _ _"]],
        cameras: Cameras,
        anchors: UvAnchors,
        offset: Float[Tensor, "t 3"],
    ) -> Float[Tensor, "t c"]:
        """See `CrossAttention`."""
        t, k = tokens.shape[0], self.depths_m.shape[0]
        points = (
            anchors.displaced(offset)[:, None] + anchors.frames[:, None, :, 2] * self.depths_m[:, None]
        )  # [t, k, 3]
        seen = view_geometry(cameras, points[:, k // 2].detach(), anchors.frames, anchors.sizes)  # [v, t, 6]
        looked_up = sample_views(pyramid[self.level], cameras, points.flatten(0, 1))  # [v, t k, f]
        features = F.relu(looked_up.unflatten(1, (t, k)) + self.geometry(seen)[:, :, None])  # [v, t, k, f]

        query = self.query(tokens).unflatten(-1, (self.heads, KEY_CHANNELS))  # [t, heads, d]
        key_value = self.key_value(features)  # [v, t, k, heads (d + e)]
        key, value = key_value.split([self.heads * KEY_CHANNELS, key_value.shape[-1] - self.heads * KEY_CHANNELS], -1)
        key, value = (part.unflatten(-1, (self.heads, -1)) for part in (key, value))  # [v, t, k, heads, d or e]
        logits = torch.einsum("thd,vtkhd->vtkh", query, key) * KEY_CHANNELS**-0.5
        weights = (logits + UNSEEN_LOGIT * (1 - seen[..., None, 3:4])).softmax(0)[..., None]  # [v, t, k, heads, 1]
        mean = (weights * value).sum(0)  # [t, k, heads, e]
        variance = (weights * (value - mean).square()).sum(0)
        any_view = seen[..., 3].amax(0)[:, None]  # [t, 1]
        return self.out(torch.cat([mean.flatten(1), variance.flatten(1), any_view], -1))


class GlobalAttention(nn.Module):
    """Every token attends to every image token of the coarsest level (the paper's)."""

    def __init__(self, config: FusionStageConfig, pyramid_channels: int) -> None:
        super().__init__()
        self.heads = config.heads
        self.query = nn.Linear(config.channels, config.channels)
        self.key_value = nn.Linear(pyramid_channels, 2 * config.channels)
        self.out = nn.Linear(config.channels, config.channels)

    def forward(
        self,
        tokens: Float[Tensor, "t c"],
        pyramid: list[Float[Tensor, "v f _ _"]],
        cameras: Cameras,
        anchors: UvAnchors,
        offset: Float[Tensor, "t 3"],
    ) -> Float[Tensor, "t c"]:
        """See `CrossAttention`."""
        image_tokens = pyramid[-1].permute(0, 2, 3, 1).flatten(0, 2)  # [v h w, f]
        query = self.query(tokens).unflatten(-1, (self.heads, -1)).transpose(0, 1)  # [heads, t, d]
        key, value = self.key_value(image_tokens).unflatten(-1, (2, self.heads, -1)).permute(1, 2, 0, 3)
        attended = F.scaled_dot_product_attention(query[None], key[None], value[None])[0]
        return self.out(attended.transpose(0, 1).flatten(1))


def cross_attention(kind: AttentionKind, config: FusionStageConfig, pyramid_channels: int) -> nn.Module:
    """The cross-attention of the given kind (a `CrossAttention`)."""
    kinds = {"projected": ProjectedAttention, "global": GlobalAttention}
    return kinds[kind](config, pyramid_channels)
