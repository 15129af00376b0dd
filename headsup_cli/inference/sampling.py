"""Latents of people who do not exist: from noise, from somebody's latent, or from between two."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from headsup_cli.model.prior import Prior
from headsup_cli.model.text_encoder import MAX_WORDS, words_of
from headsup_cli.runtime.progress import progress

ANYBODY = "a person"  # the prompt of those who give none: whoever it is, the face is neutral
_BATCH = 16
_EXAGGERATION, _LOOKS = 0.75, 12.0  # of guidance above 1: what the network's difference and the looks get of it
_FOLLOWED = 2.0  # weight of looks for each step: in few steps more of it would overshoot
_SHOWN_CHARACTERS = 60
_DRAWS = 8  # at most, until a sample is not a copy of somebody

logger = logging.getLogger(__name__)

Tokens = Float[Tensor, "b n d"]
_Field = Callable[[Tensor, float], Tensor]  # velocity of tokens at a time


@dataclass(frozen=True)
class SampleOptions:
    """What is asked for, and how carefully the flow is followed."""

    prompt: str | None = None
    negative: str = ""  # what guidance leads away from; nothing in particular by default
    guidance: float = 3.0  # 1 takes the prompt as it is, more exaggerates it
    steps: int = 32
    seed: int = 0


@dataclass(frozen=True)
class Samples:
    """Latents with how near each is to the people whom the prior was trained on."""

    latents: Float[Tensor, "n z q q"]
    nearest: Float[Tensor, " n"]  # distance to the nearest of them, in the latents' own unit
    draws: Int[Tensor, " n"]  # how many it took not to be a copy


def sample(prior: Prior, count: int, options: SampleOptions) -> Samples:
    """Latents from noise; sample i depends on seed, prompt and i alone, not on how many there are.

    One that lies nearer to a training person than any held-out person does is drawn again, up to eight times.

    Args:
        prior: In evaluation mode.
        count: How many.
        options: Prompt, guidance, steps, seed.
    """
    draws = torch.ones(count, dtype=torch.long)
    latents = _from_noise(prior, _noise(prior, options.seed, range(count), 0), options)
    copies = _copies(prior, latents)
    for attempt in range(1, _DRAWS):
        if not len(copies):
            break
        noise = _noise(prior, options.seed, copies.tolist(), attempt)
        latents[copies] = _from_noise(prior, noise, options)
        draws[copies] += 1
        copies = copies[_copies(prior, latents[copies])]
    return Samples(latents, _nearest(prior, latents), draws)


def vary(prior: Prior, given: Float[Tensor, "z q q"], count: int, strength: float, options: SampleOptions) -> Samples:
    """People like a given one: its latent is carried towards noise as far as `strength` says, and back.

    As image models do it (Meng et al., SDEdit, ICLR 2022). What of the latent the prior cannot express fades with
    `strength`.

    Args:
        prior: In evaluation mode.
        given: Whom to vary.
        count: How many variants.
        strength: In [0, 1]; 0 gives the latent back, 1 forgets it.
        options: As for `sample`; without a prompt there is no guidance.
    """
    clean = prior.space.tokens(given[None])
    rest = given - prior.space.latents(clean)[0]
    noise = _noise(prior, options.seed, range(count), 0)
    start = (1 - strength) * clean + strength * noise
    latents = _from_noise(prior, start, options, start=strength) + (1 - strength) * rest
    return Samples(latents, _nearest(prior, latents), torch.ones(count, dtype=torch.long))


def between(
    prior: Prior, first: Float[Tensor, "z q q"], second: Float[Tensor, "z q q"], count: int, steps: int
) -> Samples:
    """A path of people from one to another, both included.

    Both latents are carried to noise along the flow; between their noises runs the great circle, and its points are
    carried back. So every point is as likely a person as the two, which a straight line's middle is not.

    Args:
        prior: In evaluation mode.
        first: Where the path begins.
        second: Where it ends.
        count: Points on it, at least 2.
        steps: Of the flow, each way.
    """
    ends = torch.stack([first, second])
    clean = prior.space.tokens(ends)
    rest = ends - prior.space.latents(clean)
    flow = _guided(prior, SampleOptions())
    noise = _follow(flow, clean, 0.0, 1.0, steps)
    share = torch.linspace(0, 1, count, device=noise.device)
    tokens = torch.cat(
        [_follow(flow, part, 1.0, 0.0, steps) for part in great_circle(noise[0], noise[1], share).split(_BATCH)]
    )
    weight = share[:, None, None, None]
    latents = prior.space.latents(tokens) + (1 - weight) * rest[0] + weight * rest[1]
    return Samples(latents, _nearest(prior, latents), torch.ones(count, dtype=torch.long))


def great_circle(
    first: Float[Tensor, "n d"], second: Float[Tensor, "n d"], share: Float[Tensor, " c"]
) -> Float[Tensor, "c n d"]:
    """Points from one noise to the other whose norm changes evenly (Shoemake's slerp, 1985)."""
    a, b = first.norm(), second.norm()
    cosine = ((first * second).sum() / (a * b)).clamp(-1, 1)
    angle, t = cosine.acos().clamp_min(1e-4), share[:, None, None]
    direction = (((1 - t) * angle).sin() * (first / a) + (t * angle).sin() * (second / b)) / angle.sin()
    return ((1 - t) * a + t * b) * direction


def tell_unread_words(prior: Prior, prompt: str) -> list[str]:
    """Warn of words that the prior does not know and of those beyond the longest prompt; returns the unknown."""
    words, unknown = words_of(prompt), prior.text.unknown_words(prompt)
    short = prompt if len(prompt) <= _SHOWN_CHARACTERS else prompt[:_SHOWN_CHARACTERS] + "…"
    if unknown:
        rest = "it is read without them" if set(words) - set(unknown) else "so it may be anybody"
        logger.warning(
            "the prompt '%s' has words that the prior does not know: %s; %s", short, ", ".join(unknown), rest
        )
    if len(words) - len(unknown) > MAX_WORDS:
        logger.warning("prompt '%s' is too long; beyond its first %d words only looks count", short, MAX_WORDS)
    return list(unknown)


def _from_noise(prior: Prior, tokens: Tokens, options: SampleOptions, start: float = 1.0) -> Float[Tensor, "b z q q"]:
    flow, parts = _guided(prior, options), tokens.split(_BATCH)
    found = [
        prior.space.latents(_follow(flow, part, start, 0.0, options.steps)) for part in progress(parts, "sampling")
    ]
    return torch.cat(found)


def _meaningful(prior: Prior, prompt: str | None) -> str:
    """The prompt, or `ANYBODY` where none of its words is known."""
    words = set(words_of(prompt or ""))
    return prompt if prompt and words - set(prior.text.unknown_words(prompt)) else ANYBODY


@torch.no_grad()
def _guided(prior: Prior, options: SampleOptions) -> _Field:
    """The velocity under a prompt, exaggerated against the negative one (Ho and Salimans, 2022) and led by looks.

    To lead by looks is classifier guidance (Dhariwal and Nichol, 2021): the slope of how likely the clean tokens that
    the velocity points to show what is asked for (Chung et al., ICLR 2023), times their variance given the noisy ones.
    Unlike exaggeration it ends once the looks are there, and it knows which of the prompt's words are about which.
    """
    prompt = _meaningful(prior, options.prompt)
    wanted, other = prior.text([prompt]), prior.text([options.negative])  # [1, w]
    if options.guidance == 1 or (prompt == ANYBODY and not options.negative):
        return lambda x, time: prior.velocity(x, x.new_full((len(x),), time), wanted.expand(len(x), -1))
    both = torch.cat([wanted, other])
    welcome, unwelcome = prior.looks.asked(prompt, expression="neutral"), prior.looks.asked(options.negative)
    exaggeration = _EXAGGERATION * (options.guidance - 1)
    looks = min(_LOOKS * max(0.0, options.guidance - 1), _FOLLOWED * options.steps)

    def velocity(x: Tensor, time: float) -> Tensor:
        meaning = both.repeat_interleave(len(x), 0)
        towards, away = prior.velocity(x.repeat(2, 1, 1), x.new_full((2 * len(x),), time), meaning).chunk(2)
        led = towards + exaggeration * (towards - away)
        clean = x - time * led
        slope = prior.looks.towards(clean, welcome)
        if options.negative:
            slope = slope + prior.looks.towards(clean, unwelcome, away=True)
        return led - looks * time / ((1 - time) ** 2 + time**2) * slope

    return velocity


@torch.no_grad()
def _follow(flow: _Field, x: Tokens, start: float, end: float, steps: int) -> Tokens:
    """Heun's method in even steps from one time to another."""
    times = torch.linspace(start, end, steps + 1).tolist()
    for now, then in pairwise(times):
        slope = flow(x, now)
        ahead = x + (then - now) * slope
        x = x + (then - now) / 2 * (slope + flow(ahead, then))
    return x


def _noise(prior: Prior, seed: int, numbers: Sequence[int], attempt: int) -> Tokens:
    shape, device = (prior.space.count, prior.space.token_size), prior.space.spread.device

    def draw(number: int) -> Tensor:
        rng = np.random.default_rng([seed, number, attempt])  # torch's generators take 32 bits of a seed
        return torch.from_numpy(rng.standard_normal(shape, np.float32))

    return torch.stack([draw(number) for number in numbers]).to(device)


def _nearest(prior: Prior, latents: Float[Tensor, "b z q q"]) -> Float[Tensor, " b"]:
    if not len(prior.likeness.known):
        return torch.full((len(latents),), torch.inf)
    return prior.likeness.to_known(latents).cpu()


def _copies(prior: Prior, latents: Float[Tensor, "b z q q"]) -> Int[Tensor, " m"]:
    """Numbers of those that lie nearer to a training person than anybody else does."""
    return (_nearest(prior, latents) < float(prior.likeness.nearest_stranger[0])).nonzero()[:, 0]
