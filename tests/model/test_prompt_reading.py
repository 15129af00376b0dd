import pytest

from headsup_cli.model.prompt_reading import PromptReader

PHRASES = {
    "sex": {"male": ["man", "boy"], "female": ["woman", "girl"]},
    "age": {"child": ["young"], "young": ["young", "25 years old"], "old": ["old", "75 years old"]},
    "hair": {"short": ["short <c> hair", "short-haired"], "spiky": ["short <c> hair", "short spiky <c> hair"]},
    "hair colour": {"white": ["white hair"], "black": ["black hair"], "blond": ["blond hair", "blond"]},
    "beard": {"beard": ["a <c> beard"], "none": ["no beard", "without a beard"]},
    "skin": {"dark": ["black", "dark skin"]},
    "headwear": {"cap": ["a <h> hat"], "none": ["no hat"]},
}


@pytest.mark.parametrize(
    ("prompt", "asked"),
    [
        ("", {}),
        ("un vieil homme", {}),
        ("an OLD man", {"age": {"old"}, "sex": {"male"}}),
        ("a young woman", {"age": {"child", "young"}, "sex": {"female"}}),
        ("a 23 years old man", {"age": {"young"}, "sex": {"male"}}),
        ("short black hair", {"hair": {"short", "spiky"}, "hair colour": {"black"}}),
        ("short spiky hair", {"hair": {"spiky"}}),
        ("man, black, white beard", {"sex": {"male"}, "skin": {"dark"}, "hair colour": {"white"}, "beard": {"beard"}}),
        ("a black hat and blonde hair", {"headwear": {"cap"}, "hair colour": {"blond"}}),
        ("no beard, no hat", {"beard": {"none"}, "headwear": {"none"}}),
        ("a man without a beard with dark skin", {"sex": {"male"}, "beard": {"none"}, "skin": {"dark"}}),
        ("a black man with short hair", {"sex": {"male"}, "skin": {"dark"}, "hair": {"short", "spiky"}}),
        ("a short man, black hair", {"sex": {"male"}, "hair colour": {"black"}}),
    ],
)
def test_phrases_are_found_and_no_words_of_longer_ones(prompt, asked):
    assert PromptReader(PHRASES)(prompt) == asked
