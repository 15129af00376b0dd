"""Training the prior: flow matching on latents, with captions written anew at every step."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from headsup_cli.config_files.schema import StrictModel
from headsup_cli.errors import InputError
from headsup_cli.model.checkpoint import latent_fingerprint
from headsup_cli.model.config import DEFAULT_CHECKPOINT, LatentConfig
from headsup_cli.model.latent_set import LatentSet
from headsup_cli.model.prior import Prior, PriorConfig, save_prior
from headsup_cli.runtime.provenance import record_provenance
from headsup_cli.training.captions import TOPICS, Facts, caption, facts_of, phrases_of_looks, vocabulary
from headsup_cli.training.config import Schedule
from headsup_cli.training.loop import TrainingReport, optimise

# What words can lead samples to, beside what the network learns of them: what a bust shows, see `Looks`.
_LOOKS = {"sex", "grown", "age", "build", "skin", "hair", "hair colour", "beard", "glasses", "headwear", "clothes",
          "expression"}  # fmt: skip
_LEAST_SEEN = 5  # portraits of a look that is to be led to
_WATCH_EVERY = 20  # steps
_WATCHED = 64  # latents of people whom the prior is not trained on


class PriorTraining(Schedule):
    """Schedule and batches."""

    batch_size: PositiveInt = 64
    forget_prompt: float = Field(0.1, ge=0, lt=1)  # how often a sample is trained without its caption, for guidance
    balanced: float = Field(0.5, ge=0, le=1)  # of captioned samples: drawn by a look, rare ones as often as common ones


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
        looks = _looks(_facts(people)) if config.prior.tokens == "components" else {}  # of patches there are too many
        network = Prior(config.prior, LatentConfig(resolution=resolution, channels=channels), vocabulary(), looks)
        network.space.fit(people, config.prior.within)
        network.likeness.fit(people.latents, strangers[strangers.neutral].latents)
        self.network: nn.Module = network.to(device)
        self.people = _Crowd(people, network)
        self.strangers = _Crowd(strangers, network)
        network.looks.fit(self.people.tokens, self.people.looks)

    def loss(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """Of a batch drawn by seed and step."""
        config = self.config
        loss = self._error(self.people, step, config.batch_size, config.forget_prompt, config.balanced)
        if step % _WATCH_EVERY:
            return loss, {}
        with torch.no_grad():
            held_out = self._error(self.strangers, 0, _WATCHED, 0.0, 0.0)  # the same ones every time
        return loss, {"held_out": float(held_out)}

    def save(self, path: Path, averaged: nn.Module, step: int) -> None:
        """The prior for users."""
        assert isinstance(averaged, Prior)
        made = {"program": record_provenance().program, "seed": self.config.seed, "steps": step, "data": self.content}
        save_prior(path, averaged, model_sha256=self.model_sha256, provenance=made)

    def _error(self, crowd: _Crowd, step: int, count: int, forget: float, balanced: float) -> Tensor:
        """Mean over latents drawn by seed and step, each with a caption, a time and noise of its own."""
        prior = self.network
        assert isinstance(prior, Prior)
        rng = np.random.default_rng([self.config.seed, step])
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + step)
        drawn = [crowd.draw(rng, forget, balanced) for _ in range(count)]
        index = torch.tensor([number for number, _ in drawn])
        time = torch.randn(count, generator=generator).sigmoid().to(self.device)  # Esser et al., ICML 2024
        clean = crowd.tokens[index].to(self.device)  # [b, n, d]
        noise = torch.randn(clean.shape, generator=generator).to(self.device)
        t = time[:, None, None]
        velocity = prior.velocity((1 - t) * clean + t * noise, time, prior.text([said for _, said in drawn]))
        unit = ((1 - t).square() + t.square()) * prior.space.weights  # see Prior.velocity
        return ((velocity - (noise - clean)).square() * unit).mean()


class _Crowd:
    """Tokens, facts and looks of latents."""

    def __init__(self, latents: LatentSet, prior: Prior) -> None:
        device = prior.space.spread.device
        parts = [prior.space.tokens(part.to(device)).cpu() for part in latents.latents.split(256)]
        self.tokens: Float[Tensor, "m n d"] = torch.cat(parts)
        self.facts = _facts(latents)
        names = prior.looks.names
        values = [[_number(names[topic], topic, facts) for topic in names] for facts in self.facts]
        self.looks: Int[Tensor, "m topics"] = torch.tensor(values, dtype=torch.long)  # -1 where it is not known
        columns = {topic: self.looks[:, t] for t, topic in enumerate(names) if topic in _LOOKS}
        self._showing = {
            topic: [(column == value).nonzero()[:, 0] for value in column.unique() if value >= 0]
            for topic, column in columns.items()
            if (column >= 0).any()
        }  # numbers of those who show a value

    def draw(self, rng: np.random.Generator, forget: float, balanced: float) -> tuple[int, str]:
        """Number of a portrait, and a caption.

        Without a caption portraits come as they are. With one, a share of them is drawn by topic and value, and the
        caption speaks of that topic: so rare words are learned, and common ones mean no more than they say.
        """
        number = int(rng.integers(len(self.facts)))
        if rng.random() < forget:
            return number, ""
        about = None
        if self._showing and rng.random() < balanced:
            about = list(self._showing)[rng.integers(len(self._showing))]
            value = self._showing[about][rng.integers(len(self._showing[about]))]
            number = int(value[rng.integers(len(value))])
        return number, caption(self.facts[number], rng, about="age" if about == "grown" else about)


def _facts(latents: LatentSet) -> list[dict[str, str]]:
    coefficients = latents.coefficients.numpy()
    return [facts_of(words, c) for words, c in zip(latents.attributes, coefficients, strict=True)]


def _looks(facts: Sequence[Facts]) -> dict[str, dict[str, tuple[str, ...]]]:
    """Topics and how their values are said; of those that can be led to, the values that are seen often enough."""
    phrases = phrases_of_looks(topic for topic in ("sex", "grown", *TOPICS) if any(topic in entry for entry in facts))
    for topic in _LOOKS & phrases.keys():
        often = Counter(entry[topic] for entry in facts if topic in entry)
        phrases[topic] = {value: texts for value, texts in phrases[topic].items() if often[value] >= _LEAST_SEEN}
    return phrases


def _number(names: Sequence[str], topic: str, facts: Facts) -> int:
    """Of the value that somebody shows; -1 where that cannot be led to."""
    return names.index(facts[topic]) if topic in _LOOKS and facts.get(topic) in names else -1


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
