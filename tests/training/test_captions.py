import numpy as np
import pytest

from headsup_cli.model.prompt_reading import PromptReader
from headsup_cli.model.text_encoder import words_of
from headsup_cli.template.arkit import ARKIT_NAMES
from headsup_cli.training.captions import TOPICS, caption, expression_of, facts_of, phrases_of_looks, vocabulary

OLD_MAN = {
    "sex": "male", "grown": "yes", "years": "72", "age": "old", "build": "slim", "skin": "fair", "hair": "short",
    "hair colour": "white", "beard": "beard", "glasses": "round", "headwear": "none", "headwear colour": "grey",
    "eyes": "blue", "earrings": "none", "clothes": "shirt", "clothes colour": "dark red", "expression": "neutral",
}  # fmt: skip


def face(**coefficients: float) -> np.ndarray:
    return np.array([coefficients.get(name, 0.0) for name in ARKIT_NAMES], np.float32)


def test_plain_speech_says_what_is_asked_for_in_order():
    topics = ("sex", "age", "beard", "glasses", "hair", "hair colour")
    said = caption(OLD_MAN, np.random.default_rng(0), mention=topics, wording="plain")
    assert said == "an old man with a white beard and short white hair wearing round glasses"
    assert caption(OLD_MAN, np.random.default_rng(9), mention=topics, wording="plain") == said


def test_varied_speech_says_the_same_in_many_ways():
    rng = np.random.default_rng(0)
    said = {caption(OLD_MAN, rng, mention=("sex", "age", "glasses")) for _ in range(200)}
    assert len(said) > 100
    assert not any(word in words_of(text) for text in said for word in ("woman", "young", "beard", "square"))


def test_glasses_and_hair_go_by_broader_names_too():
    rng = np.random.default_rng(0)
    worn = [caption(OLD_MAN | {"hair": "wavy"}, rng, mention=("glasses", "hair")) for _ in range(200)]
    assert 0.2 < np.mean(["round" not in words_of(text) for text in worn]) < 0.5
    assert 0.2 < np.mean(["long" in words_of(text) for text in worn]) < 0.8
    assert all({"glasses", "spectacles", "eyeglasses", "specs", "bespectacled"} & set(words_of(text)) for text in worn)
    plain = caption(OLD_MAN, rng, mention=("glasses",), wording="plain")
    assert plain == "a person wearing round glasses"


def test_what_is_not_mentioned_is_not_said():
    assert caption(OLD_MAN, np.random.default_rng(0), mention=(), wording="plain") == "a person"
    child = OLD_MAN | {"grown": "no", "age": "child", "sex": "female"}
    assert caption(child, np.random.default_rng(0), mention=("age",), wording="plain") == "a little child"
    assert caption(child, np.random.default_rng(0), mention=("sex",), wording="plain") == "a girl"


def test_an_expression_is_always_said():
    rng = np.random.default_rng(0)
    synonyms = {word for phrase in TOPICS["expression"]["smiling"] for word in words_of(phrase.text)} - {"a", "who"}
    for _ in range(100):
        assert synonyms & set(words_of(caption(OLD_MAN | {"expression": "smiling"}, rng)))


def test_what_is_said_in_any_wording_is_read_again():
    topics = ("sex", "age", "build", "skin", "hair", "beard", "glasses", "headwear", "expression")
    read, rng = PromptReader(phrases_of_looks(("sex", "grown", *TOPICS))), np.random.default_rng(0)
    others = {topic: list(TOPICS[topic]) for topic in topics if topic != "sex"} | {"hair colour": ["blond", "white"]}
    for _ in range(120):
        facts = OLD_MAN | {topic: str(rng.choice(values)) for topic, values in others.items()} | {"years": ""}
        facts["years"] = {"child": "8", "teenage": "15", "young": "30", "middle-aged": "45"}.get(facts["age"], "72")
        mention = rng.choice(topics, 4, replace=False)
        said = caption(facts, rng, mention=mention)
        asked = read(said)
        for topic in {*mention} | ({"expression"} if facts["expression"] != "neutral" else set()):
            if (topic, facts[topic]) != ("glasses", "any"):  # a word for several, worn by nobody
                assert facts[topic] in asked[topic], (said, asked)
        assert asked.keys() <= {*mention, "grown", "expression", "hair colour"}, (said, asked)


def test_a_colour_is_said_whatever_the_words_for_the_hair():
    rng = np.random.default_rng(0)
    said = [caption(OLD_MAN, rng, mention=("hair", "hair colour")) for _ in range(100)]
    assert all("white" in words_of(text) for text in said)


def test_the_vocabulary_holds_every_word_that_can_be_said():
    known, rng = set(vocabulary()), np.random.default_rng(0)
    for topic, values in TOPICS.items():
        for value in values:
            for _ in range(4):
                said = caption(OLD_MAN | {topic: value}, rng)
                assert set(words_of(said)) <= known, said
    assert {"an", "old", "man", "with", "white", "beard", "and", "round", "glasses"} <= known


@pytest.mark.parametrize(
    ("coefficients", "word"),
    [
        ({}, "neutral"),
        ({"eyeLookUpLeft": 0.9, "eyeLookUpRight": 0.9}, "neutral"),
        ({"mouthSmileLeft": 0.5, "mouthSmileRight": 0.6, "jawOpen": 0.3}, "smiling"),
        ({"jawOpen": 0.7}, "open mouth"),
        ({"eyeBlinkLeft": 0.9, "eyeBlinkRight": 0.9}, "closed eyes"),
        ({"eyeBlinkLeft": 0.9}, "winking"),
        ({"tongueOut": 0.9, "jawOpen": 0.5}, "tongue"),
        ({"mouthRollLower": 0.6}, "grimace"),
    ],
)
def test_faces_have_names(coefficients, word):
    assert expression_of(face(**coefficients)) == word


def test_a_simulated_person_is_described_by_topics_that_can_be_said():
    from headsup_cli.simulation.attributes import attributes
    from headsup_cli.simulation.person import sample_person

    silent = {"none", "no"}
    for seed in range(2):
        facts = facts_of(attributes(sample_person(np.random.default_rng(seed))), face())
        assert {"sex", "age", "hair" if facts["headwear"] != "headscarf" else "skin"} <= set(facts)
        for topic in TOPICS.keys() & facts.keys():
            assert facts[topic] in TOPICS[topic] or facts[topic] in silent, (topic, facts[topic])


def test_of_a_capture_only_the_expression_is_known():
    assert facts_of({}, face(jawOpen=0.8)) == {"expression": "open mouth"}
    assert caption({"expression": "neutral"}, np.random.default_rng(0), wording="plain") in (
        "a person", "a person with a neutral expression",
    )  # fmt: skip
