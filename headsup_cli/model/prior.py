"""A prior over latents: people who do not exist, by flow matching, on demand with the looks that words ask for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from headsup_cli.config_files.json_config import load_json_config
from headsup_cli.config_files.schema import StrictModel
from headsup_cli.config_files.weights_file import read_weights, restore_weights, write_weights
from headsup_cli.errors import InputError
from headsup_cli.model.config import LatentConfig
from headsup_cli.model.latent_space import ComponentSpace, Likeness, PatchSpace, TokenKind
from headsup_cli.model.layers import silence
from headsup_cli.model.looks import Looks
from headsup_cli.model.prompt_reading import Phrases
from headsup_cli.model.text_encoder import TextConfig, text_encoder

PRIOR_FILE = "prior.safetensors"
_REMEDY = "copy the prior again, or train one with 'headsup train --stage prior'"
_TIME_FREQUENCIES = 64


class PriorConfig(StrictModel):
    """Shape of the prior."""

    tokens: TokenKind = "components"
    components: PositiveInt = 224  # principal components, for tokens of that kind
    within: NonNegativeInt = 40  # of which so many are of expressions
    token_size: PositiveInt = 28  # components in a token, or the latent's cells along the side of a patch
    width: PositiveInt = 128
    blocks: PositiveInt = 4
    heads: PositiveInt = 4
    dropout: float = Field(0.0, ge=0, lt=1)  # in the MLPs, while training
    text: TextConfig = TextConfig()


class Prior(nn.Module):
    """A diffusion transformer (Peebles and Xie, ICCV 2023) that gives the velocity of a rectified flow.

    Time runs from 0, latents, to 1, noise: x_t = (1 - t) x_0 + t e, velocity e - x_0 (Liu et al., ICLR 2023).
    """

    def __init__(
        self,
        config: PriorConfig,
        latent: LatentConfig,
        vocabulary: Sequence[str],
        looks: Phrases | None = None,
        known: int = 0,
    ) -> None:
        """Untrained.

        Args:
            config: Shape.
            latent: Shape of the latents.
            vocabulary: Words that prompts may have.
            looks: What sampling can be led to, and how it is said, see `Looks`; nothing by default.
            known: How many people `likeness` holds.
        """
        super().__init__()
        self.config, self.latent, self.vocabulary = config, latent, tuple(vocabulary)
        self.space = (
            ComponentSpace(latent, config.components, config.token_size)
            if config.tokens == "components"
            else PatchSpace(latent, config.token_size)
        )
        self.likeness = Likeness(latent, known)
        self.text = text_encoder(config.text, vocabulary)
        size = self.space.count * self.space.token_size
        self.looks = Looks(looks or {}, size)
        self.mean = nn.Linear(config.text.width, size, bias=False)
        silence(self.mean)
        self.network = DiffusionTransformer(config, self.space.count, self.space.token_size)

    def velocity(
        self, x: Float[Tensor, "b n d"], time: Float[Tensor, " b"], meaning: Float[Tensor, "b w"]
    ) -> Float[Tensor, "b n d"]:
        """Where noisy tokens move.

        Tokens have zero mean and unit variance. Of a Gaussian of that kind, whose mean m depends on the words, the
        velocity is known: with s^2 = (1 - t)^2 + t^2 it is ((2 t - 1) x - t m) / s^2, and what remains has the spread
        1 / s. The network gives that remainder alone. Both it and m start at zero: an untrained prior samples the
        Gaussian with the latents' mean and covariance, and training adds the rest.

        Args:
            x: Tokens at `time`.
            time: In [0, 1], per sample.
            meaning: Of the prompts, from `text`.
        """
        t = time[:, None, None]
        s = ((1 - t).square() + t.square()).sqrt()
        mean = self.mean(meaning).unflatten(1, x.shape[1:])
        return ((2 * t - 1) * x - t * mean) / s.square() + self.network(x / s, time, meaning) / s


class DiffusionTransformer(nn.Module):
    """Transformer over tokens; time and text reach it as scales and shifts (adaLN-zero)."""

    def __init__(self, config: PriorConfig, tokens: int, token_size: int) -> None:
        super().__init__()
        width = config.width
        self.inward = nn.Linear(token_size, width)
        self.position = nn.Parameter(0.02 * torch.randn(tokens, width))
        self.time = nn.Sequential(nn.Linear(2 * _TIME_FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))
        self.meaning = nn.Linear(config.text.width, width)
        self.blocks = nn.ModuleList(_Block(width, config.heads, config.dropout) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = nn.Linear(width, 2 * width)
        self.outward = nn.Linear(width, token_size)
        silence(self.modulation)
        silence(self.outward)

    def forward(
        self, x: Float[Tensor, "b n d"], time: Float[Tensor, " b"], meaning: Float[Tensor, "b w"]
    ) -> Float[Tensor, "b n d"]:
        """The remainder that `Prior.velocity` adds, in units of its own spread."""
        condition = F.silu(self.time(_waves(time)) + self.meaning(meaning))  # [b, c]
        x = self.inward(x) + self.position
        for block in self.blocks:
            x = block(x, condition)
        shift, scale = self.modulation(condition)[:, None].chunk(2, -1)
        out: Tensor = self.outward(self.norm(x) * (1 + scale) + shift)
        return out


class _Block(nn.Module):
    """Attention and MLP whose scales, shifts and gates the condition sets; the gates start closed."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(4 * width, width)
        )
        self.modulation = nn.Linear(width, 6 * width)
        silence(self.modulation)

    def forward(self, x: Float[Tensor, "b n c"], condition: Float[Tensor, "b c"]) -> Float[Tensor, "b n c"]:
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(condition)[:, None].chunk(6, -1)
        q, k, v = (
            self.qkv(self.norm(x) * (1 + scale1) + shift1).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        )
        x = x + gate1 * self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + gate2 * self.mlp(self.norm(x) * (1 + scale2) + shift2)


def _waves(time: Float[Tensor, " b"]) -> Float[Tensor, "b f"]:
    """Sines and cosines of the time at frequencies from 1 to 1000 radians."""
    frequencies = torch.exp(torch.linspace(0, math.log(1000), _TIME_FREQUENCIES, device=time.device))
    phases = time[:, None] * frequencies
    return torch.cat([phases.sin(), phases.cos()], -1)


@dataclass(frozen=True)
class LoadedPrior:
    """A prior with where it came from."""

    prior: Prior
    provenance: Mapping[str, Any] = field(default_factory=dict)


class _PriorFile(StrictModel, populate_by_name=True):
    """The JSON beside the weights."""

    schema_: Literal["headsup-prior/1"] = Field(alias="schema")
    prior: PriorConfig
    latent: LatentConfig
    vocabulary: tuple[str, ...]
    looks: dict[str, dict[str, tuple[str, ...]]]  # topic -> value -> how it is said, see `Looks`
    model_sha256: str  # `checkpoint.latent_fingerprint` of the weights whose latents these are
    provenance: dict[str, Any]


def save_prior(path: Path, prior: Prior, *, model_sha256: str, provenance: Mapping[str, Any]) -> None:
    """Write `path` (safetensors, half precision) and the JSON of the same name, each atomically, the JSON first."""
    file = _PriorFile(
        schema_="headsup-prior/1",
        prior=prior.config,
        latent=prior.latent,
        vocabulary=prior.vocabulary,
        looks=prior.looks.phrases,
        model_sha256=model_sha256,
        provenance=dict(provenance),
    )
    write_weights(path, prior, file, torch.float16)


def load_prior(path: Path, *, model_sha256: str, device: torch.device | str = "cpu") -> LoadedPrior:
    """Read a prior; no code in the file is ever run.

    Args:
        path: The `.safetensors` file.
        model_sha256: `latent_fingerprint` of the weights that are to decode its samples.
        device: Where to put it.

    Raises:
        InputError: A file is missing or damaged, or the prior belongs to other weights.
        MissingDependencyError: Its prompts are read by open_clip, which is not installed.
    """
    if not path.is_file():
        raise InputError(
            path,
            found="not there",
            expected="a prior for these weights",
            remedy="train one with 'headsup train --stage prior', or name one with --prior",
        )
    file = load_json_config(path.with_suffix(".json"), _PriorFile)
    if file.model_sha256 != model_sha256:
        raise InputError(
            path,
            field="model_sha256",
            found=file.model_sha256[:12],
            expected=f"{model_sha256[:12]}, the weights that decode its samples",
            remedy="name the weights it was trained for with --checkpoint, or train a prior for these",
        )
    weights = read_weights(path, remedy=_REMEDY)
    known = len(weights["likeness.known"]) if "likeness.known" in weights else 0
    prior = Prior(file.prior, file.latent, file.vocabulary, file.looks, known=known)
    restore_weights(prior, path, weights, remedy=_REMEDY)
    return LoadedPrior(prior.to(device).eval(), file.provenance)
