"""Reading prompts by the book: which looks their phrases ask for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from headsup_cli.model.text_encoder import words_of

# Topic -> value -> how it is said. In a text <c> stands for the colour of hair, <h> and <k> for those of other things,
# or for nothing.
Phrases = Mapping[str, Mapping[str, Sequence[str]]]

_ARTICLES = {"a", "an", "the"}
# Within no phrase, unless it has the word itself.
_BREAKS = {",", "and", "with", "wearing", "has", "who", "is", "in", "without", "no", "skinned", "haired", "eyed"}
_FARTHEST = 3  # from one word of a phrase to the next: "dark brown" may stand between
_COLOURS = {"red", "orange", "yellow", "green", "teal", "blue", "purple", "pink", "brown", "black", "grey", "gray",
            "white", "blond", "dark", "light"}  # fmt: skip


@dataclass(frozen=True)
class _Phrase:
    """A way to say something."""

    topic: str
    value: str
    words: tuple[str, ...]
    coloured: bool  # may have a colour among its words or before them
    hair: bool  # which is that of hair


@dataclass(frozen=True)
class _Match:
    """A phrase found in a prompt."""

    phrase: _Phrase
    places: frozenset[int]  # of its own words
    colour: tuple[int, ...]  # of those that say its colour

    def covers(self, other: _Match) -> bool:
        """Whether the other one is no phrase at all: the "black" of "black hair" says nothing about skin."""
        return other.places < self.places or other.places <= set(self.colour)


class PromptReader:
    """Finds phrases in prompts, the longest at each place."""

    def __init__(self, phrases: Phrases) -> None:
        self._phrases = [
            _Phrase(topic, value, tuple(_heard(re.sub("<.>", " ", text))), "<" in text, "<c>" in text)
            for topic, values in phrases.items()
            for value, texts in values.items()
            for text in texts
        ]
        self._hair_colours = set(phrases.get("hair colour", ()))

    def __call__(self, prompt: str) -> dict[str, set[str]]:
        """Topics that a prompt speaks of, with the values that its words may mean."""
        words = _heard(prompt)
        found = [match for phrase in self._phrases for match in _found(phrase, words)]
        asked: dict[str, set[str]] = {}
        for match in found:
            if any(other.covers(match) for other in found):
                continue
            asked.setdefault(match.phrase.topic, set()).add(match.phrase.value)
            colour = " ".join(words[place] for place in match.colour).replace("gray", "grey")
            if match.phrase.hair and colour in self._hair_colours:
                asked.setdefault("hair colour", set()).add(colour)
        return asked


def _found(phrase: _Phrase, words: Sequence[str]) -> Iterator[_Match]:
    for places in _occurrences(phrase.words, words):
        yield _Match(phrase, frozenset(places), _colour_beside(places, words) if phrase.coloured else ())


def _heard(text: str) -> list[str]:
    """Words without articles; a comma for each sign between them."""
    parts = [[word for word in words_of(part) if word not in _ARTICLES] for part in re.split("[,;.:!?()]", text)]
    return [word.replace("blonde", "blond") for part in parts for word in [*part, ","]][:-1]


def _occurrences(phrase: Sequence[str], words: Sequence[str]) -> Iterator[list[int]]:
    """Places of a phrase's words, in their order and near each other."""
    for first in range(len(words)):
        places = [first]
        for wanted in phrase[1:]:
            nearby = range(places[-1] + 1, min(places[-1] + 1 + _FARTHEST, len(words)))
            place = next((n for n in nearby if _same(words[n], wanted) or words[n] in _BREAKS), None)
            if place is None or not _same(words[place], wanted):
                break
            places.append(place)
        if _same(words[first], phrase[0]) and len(places) == len(phrase):
            yield places


def _colour_beside(places: Sequence[int], words: Sequence[str]) -> tuple[int, ...]:
    """Places of the words for a colour among a phrase's words or right before them."""
    inside = [place for place in range(places[0], places[-1]) if words[place] in _COLOURS and place not in places]
    first = places[0]
    while not inside and first > 0 and words[first - 1] in _COLOURS:
        first -= 1
    return tuple(inside or range(first, places[0]))


def _same(word: str, wanted: str) -> bool:
    return word in (wanted, wanted + "s")
