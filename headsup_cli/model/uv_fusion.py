"""From feature pyramids of any number of views to tokens on the template's UV grid."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from headsup_cli.cameras.camera import Cameras
from headsup_cli.model.anchors import UvAnchors
from headsup_cli.model.attention import cross_attention
from headsup_cli.model.config import AttentionKind, FusionStageConfig
from headsup_cli.model.layers import SelfAttention, UvMixer, fourier_features, silence, to_grid, to_tokens, upsample
from headsup_cli.template.template import Template

POSITION_BANDS = 5
POSITION_SCALE = 2.5  # 1 / m: the template spans about +-1 then


class FusionBlock(nn.Module):
    """Look into the views, talk to the other tokens, move the anchor."""

    def __init__(self, kind: AttentionKind, config: FusionStageConfig, pyramid_channels: int) -> None:
        super().__init__()
        self.max_step_m = config.max_step_mm / 1000
        self.norm = nn.LayerNorm(config.channels)
        self.cross = cross_attention(kind, config, pyramid_channels)
        self.self_attention = SelfAttention(config.channels, config.heads) if config.self_attention else nn.Identity()
        self.mixer = UvMixer(config.channels)
        self.step = nn.Linear(config.channels, 3)
        silence(self.step)

    def forward(
        self,
        tokens: Float[Tensor, "t c"],
        pyramid: list[Float[Tensor, "v f _ _"]],
        cameras: Cameras,
        anchors: UvAnchors,
        offset: Float[Tensor, "t 3"],
    ) -> tuple[Float[Tensor, "t c"], Float[Tensor, "t 3"]]:
        """Updated tokens and updated offsets (metres, tangent frame) of their anchors."""
        tokens = tokens + self.cross(self.norm(tokens), pyramid, cameras, anchors, offset)
        tokens = self.self_attention(tokens)
        tokens = to_tokens(self.mixer(to_grid(tokens, anchors.resolution)))
        return tokens, offset + self.max_step_m * torch.tanh(self.step(tokens))


class FusionStage(nn.Module):
    """Several blocks at one UV resolution, starting from learnable tokens or from a coarser stage."""

    recompute = False  # blocks in the backward pass, instead of keeping what they computed (gradient checkpointing)

    def __init__(
        self, kind: AttentionKind, config: FusionStageConfig, pyramid_channels: int, coarser: int, template: Template
    ) -> None:
        super().__init__()
        self.anchors = UvAnchors(template, config.resolution)
        self.tokens = nn.Parameter(0.02 * torch.randn(config.resolution**2, config.channels))
        self.position = nn.Linear(3 + 6 * POSITION_BANDS, config.channels)
        self.from_coarser = nn.Conv2d(coarser, config.channels, 1) if coarser else None
        self.blocks = nn.ModuleList(FusionBlock(kind, config, pyramid_channels) for _ in range(config.blocks))

    def forward(
        self,
        pyramid: list[Float[Tensor, "v f _ _"]],
        cameras: Cameras,
        coarse_tokens: Float[Tensor, "1 c0 q q"] | None,
        coarse_offset: Float[Tensor, "1 3 q q"] | None,
    ) -> tuple[Float[Tensor, "1 c r r"], Float[Tensor, "1 3 r r"]]:
        """Tokens and anchor offsets as grids at this stage's resolution."""
        size = (self.anchors.resolution, self.anchors.resolution)
        prior = fourier_features(self.anchors.positions * POSITION_SCALE, POSITION_BANDS)
        tokens = self.tokens + self.position(prior)
        offset = torch.zeros_like(self.anchors.positions)
        if self.from_coarser is not None and coarse_tokens is not None and coarse_offset is not None:
            tokens = tokens + to_tokens(upsample(self.from_coarser(coarse_tokens), size))
            offset = to_tokens(upsample(coarse_offset, size))
        for block in self.blocks:
            given = (tokens, pyramid, cameras, self.anchors, offset)
            tokens, offset = checkpoint(block, *given, use_reentrant=False) if self.recompute else block(*given)
        return to_grid(tokens, size[0]), to_grid(offset, size[0])


class UvFusion(nn.Module):
    """The stages from coarse to fine."""

    def __init__(
        self, kind: AttentionKind, stages: tuple[FusionStageConfig, ...], pyramid_channels: int, template: Template
    ) -> None:
        super().__init__()
        coarser = (0, *(stage.channels for stage in stages[:-1]))
        self.stages = nn.ModuleList(
            FusionStage(kind, stage, pyramid_channels, before, template)
            for stage, before in zip(stages, coarser, strict=True)
        )

    def forward(
        self, pyramid: list[Float[Tensor, "v f _ _"]], cameras: Cameras
    ) -> tuple[Float[Tensor, "1 c r r"], Float[Tensor, "1 3 r r"]]:
        """Tokens of the finest stage, and the offsets (metres, tangent frame) of their anchors."""
        tokens: Tensor | None = None
        offset: Tensor | None = None
        for stage in self.stages:
            tokens, offset = stage(pyramid, cameras, tokens, offset)
        if tokens is None or offset is None:
            raise ValueError("a model needs at least one fusion stage")
        return tokens, offset
