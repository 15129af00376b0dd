"""Expressions in latent space: from a neutral head's latent to the one of an expression, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from headsup_cli.config_files.json_config import load_json_config
from headsup_cli.config_files.schema import StrictModel
from headsup_cli.config_files.weights_file import read_weights, restore_weights, write_weights
from headsup_cli.model.config import LatentConfig
from headsup_cli.model.layers import silence

SHAPES = 52  # ARKit's coefficients, in the order of template.arkit.ARKIT_NAMES
_REMEDY = "copy them again, or train them with 'headsup train --stage animation'"
Direction = Literal["to expression", "to neutral"]
_DIRECTIONS: tuple[Direction, ...] = ("to expression", "to neutral")


class ExpressionConfig(StrictModel):
    """Shape of the transformer."""

    patch: PositiveInt = 4  # cells of the latent along one side of a token
    channels: PositiveInt = 192
    blocks: PositiveInt = 2
    heads: PositiveInt = 6


class ExpressionTransformer(nn.Module):
    """Zb ≈ F(Zn, b) and, with another direction token, Zn ≈ F(Zb, b) (Ntavelis et al., HeadsUp, 2026, section 3.4).

    What it adds to a latent is what a coefficient does to people on average, and what it does to this one: features
    read from the latent, each multiplied by a linear function of the coefficients. So no expression changes nothing,
    exactly, and a faint one little.
    """

    typical: Float[Tensor, "52 z q q"]  # change of the latent at weight 1, the average over people

    def __init__(self, config: ExpressionConfig, latent: LatentConfig) -> None:
        super().__init__()
        self.config, self.latent = config, latent
        width, cells = config.channels, latent.channels * config.patch**2
        side = latent.resolution // config.patch
        self.inward = nn.Linear(cells, width)
        self.position = nn.Parameter(0.5 * torch.randn(side**2, width))
        self.direction = nn.Parameter(0.5 * torch.randn(len(_DIRECTIONS), 1, width))
        self.expression = nn.Sequential(nn.Linear(SHAPES, width), nn.GELU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(_block(width, config.heads) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(width)
        self.gates = nn.ModuleList(nn.Linear(SHAPES, width, bias=False) for _ in _DIRECTIONS)
        self.outward = nn.Linear(width, cells, bias=False)
        silence(self.outward, std=1e-3)
        size = latent.resolution
        self.register_buffer("typical", torch.zeros(SHAPES, latent.channels, size, size))

    def forward(
        self,
        latent: Float[Tensor, "n z q q"],
        coefficients: Float[Tensor, "n 52"],
        direction: Direction = "to expression",
    ) -> Float[Tensor, "n z q q"]:
        """The latents in their expressions, or made neutral.

        Args:
            latent: Neutral ones, or ones of the expressions.
            coefficients: ARKit's, in the order of ARKIT_NAMES.
            direction: From neutral to the expression, or back.
        """
        which, patch = _DIRECTIONS.index(direction), self.config.patch
        typical = torch.einsum("nk,kzij->nzij", coefficients, self.typical) * (1 - 2 * which)
        cells = F.pixel_unshuffle(latent, patch)  # [n, z p p, s, s]
        x = self.inward(cells.flatten(2).mT) + self.position  # [n, s s, c]
        context = self.direction[which] + self.expression(coefficients)[:, None]  # [n, 1, c]
        x = torch.cat([context, x], 1)
        for block in self.blocks:
            x = block(x)
        change = self.outward(self.norm(x[:, 1:]) * self.gates[which](coefficients)[:, None])  # [n, s s, z p p]
        return latent + typical + F.pixel_shuffle(change.mT.reshape(cells.shape), patch)


def _block(channels: int, heads: int) -> nn.Module:
    """Attention among the tokens, then an MLP on each (Vaswani et al., 2017; normalised first)."""
    return nn.TransformerEncoderLayer(
        channels, heads, 4 * channels, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )


@dataclass(frozen=True)
class Expression:
    """A transformer with which latents it was made for and where it came from."""

    network: ExpressionTransformer
    model_hash: str  # `checkpoint.latent_fingerprint` of the weights whose latents it was trained on
    provenance: Mapping[str, Any] = field(default_factory=dict)


class _ExpressionFile(StrictModel, populate_by_name=True):
    """The JSON beside the weights."""

    schema_: Literal["headsup-expression/1"] = Field(alias="schema")
    expression: ExpressionConfig
    latent: LatentConfig
    model_hash: str
    provenance: dict[str, Any]


def save_expression(path: Path, expression: Expression) -> None:
    """Write `path` (safetensors, half precision) and the JSON of the same name, each atomically, the JSON first."""
    network = expression.network
    file = _ExpressionFile(
        schema_="headsup-expression/1",
        expression=network.config,
        latent=network.latent,
        model_hash=expression.model_hash,
        provenance=dict(expression.provenance),
    )
    write_weights(path, network, file, torch.float16)


def load_expression(path: Path) -> Expression:
    """Read a transformer; no code in the file is ever run.

    Args:
        path: The `.safetensors` file.

    Raises:
        InputError: A file is missing or damaged.
    """
    file = load_json_config(path.with_suffix(".json"), _ExpressionFile)
    network = ExpressionTransformer(file.expression, file.latent)
    restore_weights(network, path, read_weights(path, remedy=_REMEDY), remedy=_REMEDY)
    return Expression(network.eval(), file.model_hash, file.provenance)
