"""Looks that have names: which of them a prompt asks for, and which of them a latent shows."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from headsup_cli.model.prompt_reading import Phrases, PromptReader

_SHRINKAGE = 0.5  # of the covariance within classes towards the identity, which is the tokens' own

Welcome = list[Float[Tensor, " _"] | None]  # for each topic 1 at the values that will do; nothing where any will


class Looks(nn.Module):
    """A reader of prompts and a classifier of latents for the same topics, which together can lead sampling.

    The classifier is Fisher's linear discriminant of clean tokens with a shrunk covariance, every value as likely as
    the others. Topics that it was not fitted to are read and lead nowhere.
    """

    def __init__(self, phrases: Phrases, token_size: int) -> None:
        """Unfitted.

        Args:
            phrases: Topics, their values, and how these are said; none where nothing is known about the people.
            token_size: Of all of a latent's tokens together.
        """
        super().__init__()
        self.phrases = {topic: {v: tuple(texts) for v, texts in values.items()} for topic, values in phrases.items()}
        self.names = {topic: tuple(values) for topic, values in phrases.items()}
        self.reader = PromptReader(phrases)
        self._sizes = [len(values) for values in self.names.values()]
        self.slopes: Tensor
        self.offsets: Tensor
        self.register_buffer("slopes", torch.zeros(token_size, sum(self._sizes)))
        self.register_buffer("offsets", torch.zeros(sum(self._sizes)))

    def fit(self, tokens: Float[Tensor, "m n d"], values: Int[Tensor, "m topics"]) -> None:
        """Learn what the values look like.

        Args:
            tokens: Of people.
            values: Number of each one's value, -1 where it is not known. A topic is left out where not all of its
                values are seen.
        """
        flat = tokens.flatten(1)
        parts = zip(self.slopes.split(self._sizes, 1), self.offsets.split(self._sizes), values.T, strict=True)
        for slopes, offsets, labels in parts if self._sizes else ():
            if len(labels[labels >= 0].unique()) < max(1, len(offsets)):
                continue
            known, kinds = flat[labels >= 0], F.one_hot(labels[labels >= 0], len(offsets)).to(flat)  # [k, n d], [k, v]
            means = kinds.T @ known / kinds.sum(0)[:, None]
            apart = known - kinds @ means
            spread = (1 - _SHRINKAGE) * apart.T @ apart / len(apart) + _SHRINKAGE * torch.eye(flat.shape[1])
            slopes.copy_(torch.linalg.solve(spread, means.T))
            offsets.copy_(-(means.T * slopes).sum(0) / 2)

    def asked(self, prompt: str, **unsaid: str) -> Welcome:
        """What a prompt asks for; `unsaid` gives values of topics that it does not speak of."""
        said = {topic: {value} for topic, value in unsaid.items()} | self.reader(prompt)
        device = self.slopes.device
        return [
            torch.tensor([float(name in said[topic]) for name in names], device=device) if topic in said else None
            for topic, names in self.names.items()
        ]

    def seen(self, tokens: Float[Tensor, "b n d"]) -> list[Float[Tensor, "b _"]]:
        """For every topic how likely a latent shows each value."""
        logits = tokens.flatten(1) @ self.slopes + self.offsets
        return [part.softmax(1) for part in logits.split(self._sizes, 1)] if self._sizes else []

    def towards(
        self, tokens: Float[Tensor, "b n d"], welcome: Welcome, *, away: bool = False
    ) -> Float[Tensor, "b n d"]:
        """The slope by the tokens of the logarithm of how likely they show what is asked for.

        Args:
            tokens: Clean ones.
            welcome: From `asked`.
            away: Of how likely they show none of it.
        """
        change = torch.zeros_like(tokens.flatten(1))
        slopes = self.slopes.split(self._sizes, 1) if self._sizes else ()
        for wanted, seen, slope in zip(welcome, self.seen(tokens), slopes, strict=True):
            if wanted is None:
                continue
            wanted = 1 - wanted if away else wanted
            share = (wanted * seen).sum(1, keepdim=True).clamp_min(1e-6)  # [b, 1]
            change += (wanted * seen / share - seen) @ slope.T
        return change.view_as(tokens)
