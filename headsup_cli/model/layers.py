"""Building blocks that several parts of the model share."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it


class ImageNorm(nn.Module):
    """Normalisation of a channels-first image by the mean and spread of all its values."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, channels)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Normalise each image."""
        return self.norm(x)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions before which the input is normalised (He et al., "Identity Mappings", 2016)."""

    def __init__(self, channels: int, *, groups: int = 8) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        silence(self.conv2)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Add what the convolutions make of the input."""
        hidden = self.conv1(F.silu(self.norm1(x)))
        return x + self.conv2(F.silu(self.norm2(hidden)))


class UvMixer(nn.Module):
    """Exchange between neighbouring UV tokens (depthwise 7x7, then a pointwise MLP; Liu et al., ConvNeXt, 2022)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.GroupNorm(1, channels)
        self.mlp = nn.Sequential(nn.Conv2d(channels, 2 * channels, 1), nn.GELU(), nn.Conv2d(2 * channels, channels, 1))

    def forward(self, x: Float[Tensor, "1 c r r"]) -> Float[Tensor, "1 c r r"]:
        """Mix along UV, then along channels."""
        return x + self.mlp(self.norm(self.depthwise(x)))


class SelfAttention(nn.Module):
    """Every UV token looks at every other: what the seams cut apart meets again here."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, tokens: Float[Tensor, "t c"]) -> Float[Tensor, "t c"]:
        """Add what the other tokens say."""
        q, k, v = (
            self.qkv(self.norm(tokens)).unflatten(-1, (3, self.heads, -1)).permute(1, 2, 0, 3)
        )  # 3 x [heads, t, d]
        mixed = F.scaled_dot_product_attention(q[None], k[None], v[None])[0]
        return tokens + self.out(mixed.transpose(0, 1).flatten(1))


def silence(layer: nn.Conv2d | nn.Linear, *, std: float = 0.0) -> None:
    """Start a layer's output at (nearly) zero."""
    nn.init.normal_(layer.weight, std=std)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def to_grid(tokens: Float[Tensor, "t c"], resolution: int) -> Float[Tensor, "1 c r r"]:
    """Row-major tokens as an image."""
    return tokens.T.unflatten(1, (resolution, resolution))[None]


def to_tokens(grid: Float[Tensor, "1 c r r"]) -> Float[Tensor, "t c"]:
    """An image as row-major tokens."""
    return grid[0].flatten(1).T


def upsample(grid: Float[Tensor, "b c h w"], size: tuple[int, int]) -> Float[Tensor, "b c h2 w2"]:
    """Bilinear enlargement about texel centres."""
    return F.interpolate(grid, size, mode="bilinear", align_corners=False)


def fourier_features(points: Float[Tensor, "*batch 3"], bands: int) -> Float[Tensor, "*batch f"]:
    """Points and their sines and cosines at octaves of frequency (Mildenhall et al., NeRF, 2020). f = 3 + 6 bands."""
    scaled = points[..., None] * 2.0 ** torch.arange(bands, device=points.device) * torch.pi  # [..., 3, bands]
    return torch.cat([points, scaled.sin().flatten(-2), scaled.cos().flatten(-2)], -1)
