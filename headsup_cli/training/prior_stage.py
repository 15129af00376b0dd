"""Training the prior: flow matching on latents, with captions written anew at every step."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from headsup_cli.config_files.schema import StrictModel
from headsup_cli.errors import InputError
from headsup_cli.model.checkpoint import DEFAULT_CHECKPOINT, latent_fingerprint
from headsup_cli.model.config import LatentConfig
from headsup_cli.model.latent_set import LatentSet
from headsup_cli.model.prior import Prior, PriorConfig, save_prior
from headsup_cli.runtime.provenance import record_provenance
from headsup_cli.training.captions import caption, facts_of, vocabulary
from headsup_cli.training.config import Schedule
from headsup_cli.training.loop import TrainingReport, optimise

_WATCH_EVERY = 20  # steps
_WATCHED = 64  # latents of people whom the prior is not trained on


class PriorTraining(Schedule):
    """Schedule and batches."""

    batch_size: PositiveInt = 64
    forget_prompt: float = Field(0.1, ge=0, lt=1)  # how often a sample is trained without its caption, for guidance


class PriorPreset(StrictModel):
    """`headsup_cli/configs/prior.yaml`: a prior and how it is trained."""

    prior: PriorConfig = PriorConfig()
    training: PriorTraining = PriorTraining()


def train_prior(
    latents: LatentSet,
    config: PriorPreset,
    checkpoint: Path | None,
    output: Path,
    *,
    device: torch.device | str,
    seconds: float = math.inf,
) -> TrainingReport:
    """Train a prior, or go on with the run that `output` holds.

    A fifth of the people is not trained on; evaluation compares with them (`LatentSet.divided`).

    Args:
        latents: Of at least a few hundred people.
        config: Shape and schedule.
        checkpoint: The weights that encoded the latents; those that ship with headsup by default.
        output: Of the run; the prior is its `model.safetensors`.
        device: Where to train.
        seconds: Stop after this time, finished or not.

    Raises:
        InputError: The latents come from other weights, or are of too few people.
    """
    weights = checkpoint or DEFAULT_CHECKPOINT
    if latents.model_hash != latent_fingerprint(weights):
        raise InputError(
            weights,
            found="not what encoded these latents",
            expected=f"weights with the fingerprint {latents.model_hash[:12]}",
            remedy="encode the captures again with these weights",
        )
    device = torch.device(device)
    torch.manual_seed(config.training.seed)
    objective = PriorObjective(latents, config, device)
    return optimise(objective, config.training, output, device=device, seconds=seconds)


class PriorObjective:
    """Mean squared error of the velocity, in units of what a Gaussian prior would leave of it."""

    columns = ("held_out",)  # the same for people whom the prior never sees, every 20 steps

    def __init__(self, latents: LatentSet, config: PriorPreset, device: torch.device) -> None:
        people, strangers = latents.divided()
        _check_enough(people, strangers)
        self.config, self.device = config.training, device
        self.model_sha256, self.content = latents.model_hash, _content(people, strangers)
        channels, resolution = latents.latents.shape[1:3]
        network = Prior(config.prior, LatentConfig(resolution=resolution, channels=channels), vocabulary())
        network.space.fit(people, config.prior.within)
        network.likeness.fit(people.latents, strangers[strangers.neutral].latents)
        self.network: nn.Module = network.to(device)
        self.people = _Crowd(people, network)
        self.strangers = _Crowd(strangers, network)

    def loss(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """Of a batch drawn by seed and step."""
        loss = self._error(self.people, step, self.config.batch_size, self.config.forget_prompt)
        if step % _WATCH_EVERY:
            return loss, {}
        with torch.no_grad():
            held_out = self._error(self.strangers, 0, _WATCHED, 0.0)  # the same ones every time
        return loss, {"held_out": float(held_out)}

    def save(self, path: Path, averaged: nn.Module, step: int) -> None:
        """The prior for users."""
        assert isinstance(averaged, Prior)
        made = {"program": record_provenance().program, "seed": self.config.seed, "steps": step, "data": self.content}
        save_prior(path, averaged, model_sha256=self.model_sha256, provenance=made)

    def _error(self, crowd: _Crowd, step: int, count: int, forget: float) -> Tensor:
        """Mean over latents drawn by seed and step, each with a caption, a time and noise of its own."""
        prior = self.network
        assert isinstance(prior, Prior)
        rng = np.random.default_rng([self.config.seed, step])
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + step)
        index = torch.randint(len(crowd.tokens), (count,), generator=generator)
        time = torch.randn(count, generator=generator).sigmoid().to(self.device)  # Esser et al., ICML 2024
        clean = crowd.tokens[index].to(self.device)  # [b, n, d]
        noise = torch.randn(clean.shape, generator=generator).to(self.device)
        prompts = [caption(crowd.facts[i], rng) if rng.random() >= forget else "" for i in index.tolist()]
        t = time[:, None, None]
        velocity = prior.velocity((1 - t) * clean + t * noise, time, prior.text(prompts))
        unit = ((1 - t).square() + t.square()) * prior.space.weights  # see Prior.velocity
        return ((velocity - (noise - clean)).square() * unit).mean()


class _Crowd:
    """Tokens and facts of latents."""

    def __init__(self, latents: LatentSet, prior: Prior) -> None:
        device = prior.space.spread.device
        parts = [prior.space.tokens(part.to(device)).cpu() for part in latents.latents.split(256)]
        self.tokens: Float[Tensor, "m n d"] = torch.cat(parts)
        coefficients = latents.coefficients.numpy()
        self.facts = [facts_of(words, c) for words, c in zip(latents.attributes, coefficients, strict=True)]


def _check_enough(people: LatentSet, strangers: LatentSet) -> None:
    if len(people) < 2 or not strangers.neutral.any():
        raise InputError(
            "latents",
            found=f"of {len(people.person.unique()) + len(strangers.person.unique())} people",
            expected="several hundred people, with a neutral face each",
            remedy="encode more captures",
        )


def _content(people: LatentSet, strangers: LatentSet) -> dict[str, int]:
    return {
        "latents": len(people),
        "people": len(people.person.unique()),
        "held_out_people": len(strangers.person.unique()),
    }
