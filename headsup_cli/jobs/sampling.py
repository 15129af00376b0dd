"""Making samples, from the command's options to heads on disk."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from headsup_cli.errors import InputError
from headsup_cli.inference.sampled_heads import Sampler, head_latent
from headsup_cli.inference.sampling import SampleOptions, Samples, between, sample, tell_unread_words, vary
from headsup_cli.model.checkpoint import latent_fingerprint, load_checkpoint
from headsup_cli.model.config import DEFAULT_CHECKPOINT
from headsup_cli.model.prior import PRIOR_FILE, load_prior
from headsup_cli.runtime.device import resolve_device
from headsup_cli.runtime.progress import StageTimes
from headsup_cli.template.default import load_template

_STRENGTH = 0.4  # that a variant may go from its head

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SampleJob:
    """How many samples of what: from noise, like a head, or between two."""

    count: int
    options: SampleOptions
    like: Path | None = None
    strength: float | None = None  # of `like`; 0.4 where it is not said
    between: tuple[Path, Path] | None = None

    def run(
        self, output: Path, *, checkpoint: Path | None, prior: Path | None, device: str, template_folder: Path | None
    ) -> dict[str, Any]:
        """Write heads, contact sheet and report into `output`, and return the report.

        Raises:
            InputError: The options contradict each other, or weights, prior or heads cannot be used.
        """
        self._check()
        times = StageTimes()
        with times.stage("load weights"):
            sampler = _sampler(checkpoint, prior, device, template_folder)
        asked = self._asked() | {"unknown_words": self._unknown_words(sampler), "looks": self._looks(sampler)}
        with times.stage("sample latents"):
            samples = self._samples(sampler)
        with times.stage("decode and draw"):
            report = sampler.write(samples, output, asked)
        if near := report["memorisation"]["too_near"]:
            logger.warning("%s lie nearer to a training person than 99 %% of held-out people do", ", ".join(near))
        return report

    def _check(self) -> None:
        if self.between is not None and (self.like is not None or self.options.prompt or self.options.negative):
            raise _contradiction("--between", "beside --like, --prompt or --negative", "alone", "leave one of them out")
        if self.between is not None and self.count < 2:
            raise _contradiction("--between", "for one head", "two heads or more, both ends included", "raise -n")
        if self.strength is not None and self.like is None:
            raise _contradiction("--strength", "without --like", "a head to vary", "name one with --like")
        if self.options.negative and self.options.guidance <= 1:
            raise _contradiction("--negative", "without guidance", "--guidance above 1, which leads away", "raise it")

    @property
    def _strength(self) -> float:
        return _STRENGTH if self.strength is None else self.strength

    def _asked(self) -> dict[str, Any]:
        asked: dict[str, Any] = asdict(self.options)
        if self.like is not None:
            asked |= {"like": str(self.like), "strength": self._strength}
        if self.between is not None:
            asked |= {"between": [str(head) for head in self.between]}
        return asked

    def _unknown_words(self, sampler: Sampler) -> list[str]:
        prompts = filter(None, (self.options.prompt, self.options.negative))
        return [word for prompt in prompts for word in tell_unread_words(sampler.prior.prior, prompt)]

    def _looks(self, sampler: Sampler) -> dict[str, list[str]]:
        """What the prompt was understood to ask for."""
        read = sampler.prior.prior.looks.reader(self.options.prompt or "")
        return {topic: sorted(values) for topic, values in read.items()}

    def _samples(self, sampler: Sampler) -> Samples:
        prior = sampler.prior.prior
        if self.between is not None:
            first, second = (head_latent(h, sampler.prior, sampler.checkpoint).to(sampler.device) for h in self.between)
            return between(prior, first, second, self.count, self.options.steps)
        if self.like is not None:
            given = head_latent(self.like, sampler.prior, sampler.checkpoint).to(sampler.device)
            return vary(prior, given, self.count, self._strength, self.options)
        return sample(prior, self.count, self.options)


def _sampler(checkpoint: Path | None, prior: Path | None, device: str, template_folder: Path | None) -> Sampler:
    place, surface = resolve_device(device), load_template(template_folder)
    weights = checkpoint or DEFAULT_CHECKPOINT
    model = load_checkpoint(checkpoint, surface, place)
    loaded = load_prior(prior or weights.with_name(PRIOR_FILE), model_sha256=latent_fingerprint(weights), device=place)
    return Sampler(model, loaded, surface, place)


def _contradiction(option: str, found: str, expected: str, remedy: str) -> InputError:
    return InputError(option, found=found, expected=expected, remedy=remedy)
