"""What a prompt means, as one vector."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any, Literal, Protocol

import torch
from jaxtyping import Float, Int
from pydantic import PositiveInt
from torch import Tensor, nn

from headsup_cli.config_files.schema import StrictModel
from headsup_cli.errors import HeadsupError, MissingDependencyError

MAX_WORDS = 32  # that a prompt may have; the rest is not read
_PADDING, _START = 0, 1  # tokens before the vocabulary's


class TextConfig(StrictModel):
    """Which encoder, and its size."""

    kind: Literal["words", "open_clip"] = "words"
    width: PositiveInt = 128  # of the result; open_clip's is that of its model
    blocks: PositiveInt = 2
    heads: PositiveInt = 4
    clip_model: str = "ViT-B-32"
    clip_weights: str = "laion2b_s34b_b79k"  # a name that open_clip knows, or a file


class TextEncoder(Protocol):
    """Turns prompts into vectors; a module, so that what it has to learn is learned with the prior."""

    def __call__(self, prompts: Sequence[str]) -> Float[Tensor, "b d"]:
        """One vector a prompt; the empty prompt stands for anybody."""
        ...

    def unknown_words(self, prompt: str) -> tuple[str, ...]:
        """Words of the prompt that mean nothing to the encoder."""
        ...


def words_of(prompt: str) -> list[str]:
    """Lower-case words without accents and punctuation; a number becomes its decade (`72` -> `70s`)."""
    plain = unicodedata.normalize("NFKD", prompt.casefold())
    if not plain.isascii():
        plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    plain = plain.replace("'s", "")
    return [
        f"{int(word) // 10 * 10}s" if word.isdecimal() else word for word in re.findall(r"\d{1,3}|[^\W\d_]+", plain)
    ]


class WordEncoder(nn.Module):
    """A small transformer over the words of the captions it was trained on (training/captions.py)."""

    def __init__(self, config: TextConfig, vocabulary: Sequence[str]) -> None:
        super().__init__()
        self.vocabulary = tuple(vocabulary)
        self._number = {word: i + 2 for i, word in enumerate(self.vocabulary)}
        self.words = nn.Embedding(len(self.vocabulary) + 2, config.width, padding_idx=_PADDING)
        self.position = nn.Parameter(0.02 * torch.randn(MAX_WORDS + 1, config.width))
        layer = nn.TransformerEncoderLayer(
            config.width, config.heads, 2 * config.width, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, config.blocks, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(config.width)

    def forward(self, prompts: Sequence[str]) -> Float[Tensor, "b d"]:
        """The mean over a prompt's words, each of which has seen the others."""
        tokens = self._tokens(prompts).to(self.position.device)
        absent = tokens == _PADDING  # [b, l]
        x = self.words(tokens) + self.position[: tokens.shape[1]]
        x = self.blocks(x, src_key_padding_mask=absent)
        present = (~absent)[..., None].to(x)
        mean: Tensor = (self.norm(x) * present).sum(1) / present.sum(1)
        return mean

    def unknown_words(self, prompt: str) -> tuple[str, ...]:
        """Words that are not in the vocabulary, once each."""
        return tuple(dict.fromkeys(word for word in words_of(prompt) if self._known(word) is None))

    def _known(self, word: str) -> int | None:
        """The number of a word, in the singular if need be."""
        return self._number.get(word) or self._number.get(word.removesuffix("s"))

    def _tokens(self, prompts: Sequence[str]) -> Int[Tensor, "b l"]:
        known = [[_START, *filter(None, map(self._known, words_of(prompt)))][: MAX_WORDS + 1] for prompt in prompts]
        longest = max(map(len, known))
        return torch.tensor([numbers + [_PADDING] * (longest - len(numbers)) for numbers in known])


class ClipEncoder(nn.Module):
    """The text tower of an open_clip model, frozen; its weights are not part of the prior's."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        try:
            import open_clip
        except ImportError as error:
            raise MissingDependencyError(
                "open_clip, which reads this prior's prompts, is not installed; pip install 'headsup-cli[clip]'."
            ) from error
        try:
            model = open_clip.create_model(config.clip_model, pretrained=config.clip_weights)
        except (RuntimeError, OSError, ValueError) as error:
            raise HeadsupError(
                f"open_clip's {config.clip_model} ({config.clip_weights}) cannot be loaded: {error}; fetch its weights."
            ) from error
        self._frozen: tuple[Any, Any] = (model.eval(), open_clip.get_tokenizer(config.clip_model))  # not a submodule
        self._mark: Tensor
        self.register_buffer("_mark", torch.zeros(()), persistent=False)  # tells the device

    @torch.no_grad()
    def forward(self, prompts: Sequence[str]) -> Float[Tensor, "b d"]:
        """Unit vectors times the square root of their length, so that entries are about 1."""
        model, tokenizer = self._frozen
        device = self._mark.device
        vectors: Tensor = model.to(device).encode_text(tokenizer(list(prompts)).to(device)).float()
        return nn.functional.normalize(vectors, dim=-1) * vectors.shape[-1] ** 0.5

    def unknown_words(self, prompt: str) -> tuple[str, ...]:
        """None: it takes any text."""
        return ()


def text_encoder(config: TextConfig, vocabulary: Sequence[str]) -> WordEncoder | ClipEncoder:
    """The encoder that a configuration asks for.

    Raises:
        MissingDependencyError: It is open_clip, which is not installed.
        HeadsupError: Its weights are not there.
    """
    return ClipEncoder(config) if config.kind == "open_clip" else WordEncoder(config, vocabulary)
