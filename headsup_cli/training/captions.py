"""Captions from attributes: what is known about a person, said the way people say it, differently every time."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float
from pydantic import RootModel

from headsup_cli.config_files.yaml_config import load_yaml_config
from headsup_cli.model.latent_set import Attributes
from headsup_cli.model.text_encoder import words_of
from headsup_cli.template.arkit import ARKIT_NAMES

Facts = Mapping[str, str]  # topic -> value, as in TOPICS
Wording = Literal["plain", "varied"]
_Place = Literal["before", "with", "wearing", "doing"]  # where a phrase stands beside the noun


class _Phrase(NamedTuple):
    place: _Place
    text: str


class _PhraseBook(RootModel[dict[str, dict[str, dict[_Place, tuple[str, ...]]]]]):
    """`captions.yaml`: topic -> value -> place -> texts."""


def _phrase_book() -> dict[str, dict[str, tuple[_Phrase, ...]]]:
    book = load_yaml_config(Path(__file__).with_suffix(".yaml"), _PhraseBook).root
    return {
        topic: {
            value: tuple(_Phrase(place, text) for place, texts in places.items() for text in texts)
            for value, places in values.items()
        }
        for topic, values in book.items()
    }


TOPICS = _phrase_book()  # topic -> value -> ways to say it, the plain one first
# Nouns by sex and by whether the person is grown; "" where the sex is not said.
_NOUNS: dict[tuple[str, bool], tuple[str, ...]] = {
    ("male", True): ("man", "guy", "gentleman", "male", "fellow", "male person"),
    ("female", True): ("woman", "lady", "female", "female person"),
    ("male", False): ("boy", "lad", "male child"),
    ("female", False): ("girl", "lass", "female child"),
    ("", True): ("person", "adult", "human", "individual", "head", "face"),
    ("", False): ("child", "kid", "young person"),
}
_OPENINGS = ("", "", "", "a photo of ", "a portrait of ", "the head of ", "a picture of ", "the face of ")
# What else a value may be called: words of another value of the topic, which take in more than they say of their own.
_BROADER = {
    "glasses": dict.fromkeys(("round", "square", "aviator", "cat-eye", "sun"), "any"),
    "hair": {"spiky": "short", "swept": "short", "parted": "short", "wavy": "long", "locs": "long"},
}
_AGES = ((13.0, "child"), (20.0, "teenage"), (36.0, "young"), (58.0, "middle-aged"))  # below so many years; else old
_BROADLY = 0.35  # how often they are
_RARE = {("beard", "beard"), ("beard", "stubble"), ("headwear", "cap"), ("headwear", "beanie"), ("hair", "bald"),
         ("headwear", "headscarf"), ("freckles", "yes"), ("hair colour", "dyed")}  # fmt: skip
_COLOUR_WORDS = "red orange yellow green teal blue purple pink brown black grey white"


def facts_of(attributes: Attributes, coefficients: Float[np.ndarray, "52"]) -> dict[str, str]:
    """What can be said of a portrait, by topic; of a capture without attributes only the expression.

    Topics are those of `TOPICS`, and "sex", "grown", "years", "headwear colour", "clothes colour".
    """
    facts = {"expression": expression_of(coefficients)}
    if not attributes:
        return facts
    years, weight = float(attributes["age_years"]), str(attributes["build"])
    glasses = str(attributes["glasses"])
    facts |= {
        "sex": str(attributes["sex"]),
        "grown": "yes" if years >= 18 else "no",
        "years": str(int(years)),
        "age": _below(years, _AGES, "old"),
        "build": "heavy" if "heavy" in weight else weight,
        "skin": _below(float(attributes["melanin"]), ((0.5, "fair"), (0.8, "tanned"), (1.3, "brown")), "dark"),
        "hair": str(attributes["hair"]),
        "hair colour": "dyed" if "dyed" in str(attributes["hair_colour"]) else str(attributes["hair_colour"]),
        "beard": str(attributes["beard"]),
        "glasses": "sun" if "sunglasses" in glasses else glasses.partition(" ")[0],
        "headwear": str(attributes["headwear"]),
        "headwear colour": str(attributes["headwear_colour"]),
        "eyes": str(attributes["eyes"]),
        "earrings": str(attributes["earrings"]),
        "clothes": str(attributes["clothes"]),
        "clothes colour": str(attributes["clothes_colour"]),
    }
    if facts["beard"] == "none" and (facts["sex"], facts["grown"]) != ("male", "yes"):
        facts.pop("beard")  # goes without saying
    facts |= {topic: "yes" for topic in ("freckles", "lipstick") if attributes[topic]}
    if facts["headwear"] in ("beanie", "headscarf") or facts["hair"] == "bald":
        facts.pop("hair colour")  # is not seen
    if facts["headwear"] == "headscarf":
        facts.pop("hair")
    return facts


def expression_of(coefficients: Float[np.ndarray, "52"]) -> str:
    """The word for a face, by its most telling coefficients; a value of TOPICS["expression"]."""
    weight = dict(zip(ARKIT_NAMES, coefficients.tolist(), strict=True))

    def both(name: str) -> float:
        return (weight[name + "Left"] + weight[name + "Right"]) / 2

    blinks = sorted((weight["eyeBlinkLeft"], weight["eyeBlinkRight"]))
    signs = {
        "tongue": weight["tongueOut"] / 0.4,
        "smiling": both("mouthSmile") / 0.25,
        "winking": (blinks[1] - blinks[0]) / 0.4,
        "puffed cheeks": weight["cheekPuff"] / 0.35,
        "pouting": max(weight["mouthPucker"], weight["mouthFunnel"]) / 0.4,
        "surprised": min(weight["browInnerUp"], both("eyeWide")) / 0.35,
        "sneering": both("noseSneer") / 0.4,
        "angry": both("browDown") / 0.35,
        "frowning": both("mouthFrown") / 0.3,
        "closed eyes": blinks[0] / 0.45,
        "open mouth": weight["jawOpen"] / 0.3,
    }
    strongest = max(signs, key=lambda name: signs[name])
    if signs[strongest] >= 1:
        return strongest
    mimic = sum(value for name, value in weight.items() if not name.startswith("eyeLook"))
    return "grimace" if mimic > 0.5 else "neutral"


def caption(
    facts: Facts,
    rng: np.random.Generator,
    *,
    mention: Collection[str] | None = None,
    about: str | None = None,
    wording: Wording = "varied",
) -> str:
    """Say something about a person.

    A face that makes an expression is always said to make it, so a prompt without one means a neutral face.

    Args:
        facts: From `facts_of`.
        rng: Chooses what is said and how.
        mention: Topics to speak of, "sex" among them; a random few by default.
        about: A topic to speak of in any case.
        wording: Plain is always the same words for the same facts; varied draws among synonyms and sentence forms.
    """
    spoken = _random_topics(facts, rng) if mention is None else mention
    topics = {*spoken, *([] if about is None else [about])} & set(facts)
    if facts["expression"] != "neutral":
        topics.add("expression")
    plain = wording == "plain"
    phrases = _phrases(topics, facts, plain, rng)
    sex = facts.get("sex", "") if "sex" in topics else ""
    telling = facts.get("grown", "yes") == "no" and bool(topics & {"age", "sex"})
    nouns = _NOUNS[sex, not telling]
    noun = nouns[0 if plain else int(rng.choice(len(nouns), p=_falling(len(nouns))))]
    order = list(range(len(phrases))) if plain else rng.permutation(len(phrases)).tolist()
    phrases = [phrases[i] for i in order]
    if not plain and rng.random() < 0.25:
        return _listed(noun, phrases)
    return ("" if plain else str(rng.choice(_OPENINGS))) + _sentence(noun, phrases)


def _phrases(topics: Collection[str], facts: Facts, plain: bool, rng: np.random.Generator) -> list[_Phrase]:
    """A phrase for each topic; the colour of hair has none of its own where another phrase tells it."""
    phrases: dict[str, _Phrase] = {}
    for topic in sorted(topics & TOPICS.keys()):
        options = TOPICS[topic].get(facts[topic] if plain else _called(topic, facts[topic], rng), ())
        if options:
            phrases[topic] = options[0 if plain else rng.integers(len(options))]
    colour_too = (
        {"hair colour", "hair"} <= phrases.keys() and facts["hair colour"] != "dyed" and facts["hair"] != "bald"
    )
    if colour_too and any("<c>" in phrase.text for phrase in phrases.values()):
        del phrases["hair colour"]
    return [phrase._replace(text=_coloured(phrase.text, facts, colour_too, plain, rng)) for phrase in phrases.values()]


def vocabulary() -> tuple[str, ...]:
    """Every word that a caption can hold, and plain words that bind them."""
    texts = [phrase.text for values in TOPICS.values() for phrases in values.values() for phrase in phrases]
    texts += [*itertools.chain(*_NOUNS.values()), *_OPENINGS, _COLOUR_WORDS, *TOPICS["hair colour"]]
    texts += ["a an and with wearing has who is the dark light of in his her their someone anybody"]
    texts += [f"{decade}s" for decade in range(0, 110, 10)]
    bare = [re.sub(r"<\w>", " ", text) for text in texts]
    return tuple(sorted({word for text in bare for word in words_of(text)}))


def phrases_of_looks(topics: Iterable[str]) -> dict[str, dict[str, tuple[str, ...]]]:
    """How captions say the values of topics, nouns and broader names included, for `PromptReader`."""
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for topic in topics:
        if topic in ("sex", "grown"):
            found[topic] = _noun_phrases(topic)
            continue
        said = {value: [phrase.text for phrase in phrases] for value, phrases in TOPICS[topic].items()}
        for value, broader in _BROADER.get(topic, {}).items():
            said[value] += said[broader]
        found[topic] = {value: tuple(texts) for value, texts in said.items()}
    for age, texts in found.get("age", {}).items():
        years = [year for year in range(0, 110, 5) if _below(float(year), _AGES, "old") == age]
        filled = [text.replace("<y>", str(year)) for text in texts for year in years if "<y>" in text]
        found["age"][age] = (*(text for text in texts if "<y>" not in text), *filled)
    return found


def _noun_phrases(topic: str) -> dict[str, tuple[str, ...]]:
    """Nouns that tell the sex, or whether somebody is grown."""
    names: dict[str, list[str]] = {}
    for (sex, grown), nouns in _NOUNS.items():
        value = sex if topic == "sex" else "yes" if grown else "no"
        if topic == "grown" and grown and not sex:
            nouns = ("adult",)  # the others are said of anybody
        if value:  # "young" tells the age itself
            names.setdefault(value, []).extend(noun for noun in nouns if noun != "young person")
    return {value: tuple(nouns) for value, nouns in names.items()}


def _random_topics(facts: Facts, rng: np.random.Generator) -> Iterable[str]:
    """A few topics, more often those that set a person apart; none at all now and then."""
    if rng.random() < 0.1:
        return ()
    names = sorted(topic for topic in facts if topic in TOPICS or topic == "sex")
    weights = np.array([_interest(name, facts[name]) for name in names])
    count = min(int(rng.integers(1, 7)), len(names))
    return [names[i] for i in rng.choice(len(names), count, replace=False, p=weights / weights.sum())]


def _interest(topic: str, value: str) -> float:
    if topic in ("sex", "age", "hair"):
        return 3.0
    if (topic, value) in _RARE or (topic == "glasses" and value != "none"):
        return 4.0
    return 1.0


def _called(topic: str, value: str, rng: np.random.Generator) -> str:
    """The value, or now and then a broader one that takes it in."""
    broader = _BROADER.get(topic, {}).get(value)
    return value if broader is None or rng.random() >= _BROADLY else broader


def _coloured(text: str, facts: Facts, colour_too: bool, plain: bool, rng: np.random.Generator) -> str:
    """Fill in the years <y>, and the colours of hair <c>, headwear <h> and clothes <k> or nothing."""
    said = {
        "<c>": facts.get("hair colour", "") if colour_too else "",
        "<h>": "" if plain or rng.random() < 0.5 else facts.get("headwear colour", ""),
        "<y>": facts.get("years", ""),
        "<k>": "" if not plain and rng.random() < 0.3 else facts.get("clothes colour", ""),
    }
    for mark, colour in said.items():
        text = text.replace(mark, colour)
    return " ".join(text.split())


def _sentence(noun: str, phrases: list[_Phrase]) -> str:
    """Such as "an old bearded man with white hair, wearing round glasses"."""
    before = [phrase.text for phrase in phrases if phrase.place == "before"]
    groups = {place: [p.text for p in phrases if p.place == place] for place in ("with", "wearing", "doing")}
    said = " ".join([*before, noun])
    said = ("an " if said[0] in "aeiou" else "a ") + said
    for place, texts in groups.items():
        if texts:
            joined = " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)
            said += f", {joined}" if place == "doing" else f" {place} {joined}"
    return said


def _listed(noun: str, phrases: list[_Phrase]) -> str:
    """Such as "man, old, white hair, round glasses"."""
    return ", ".join([noun, *(phrase.text.removeprefix("a ").removeprefix("an ") for phrase in phrases)])


def _falling(count: int) -> Float[np.ndarray, " n"]:
    """Chances of synonyms, the plain one first and half of all."""
    weights = np.array([count - 1.0 or 1.0, *np.ones(count - 1)])
    return weights / weights.sum()


def _below(value: float, limits: tuple[tuple[float, str], ...], beyond: str) -> str:
    return next((word for limit, word in limits if value < limit), beyond)
