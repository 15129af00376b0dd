import sys
import types

import pytest
import torch

from headsup_cli.errors import HeadsupError, MissingDependencyError
from headsup_cli.model.text_encoder import MAX_WORDS, TextConfig, WordEncoder, text_encoder, words_of

VOCABULARY = ("a", "man", "with", "no", "beard", "glasses", "70s")


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return WordEncoder(TextConfig(width=16, heads=2), VOCABULARY).eval()


def test_words_are_plain():
    assert words_of("A 72-year-old MAN's Café, naïve!") == ["a", "70s", "year", "old", "man", "cafe", "naive"]
    assert words_of(" …?! ") == []


def test_unknown_words_are_named_once_and_plurals_are_known(encoder):
    assert encoder.unknown_words("Ein Mann mit Brille, ein man with beards") == ("ein", "mann", "mit", "brille")
    assert torch.equal(encoder(["man with beards"]), encoder(["man with beard"]))


def test_unknown_words_change_nothing(encoder):
    torch.testing.assert_close(encoder(["a zyx man"]), encoder(["a man"]))
    torch.testing.assert_close(encoder(["xyzzy"]), encoder([""]))


def test_company_in_a_batch_changes_nothing(encoder):
    together = encoder(["a man", "a man with no beard, no glasses", ""])
    for prompt, vector in zip(["a man", "a man with no beard, no glasses", ""], together, strict=True):
        torch.testing.assert_close(encoder([prompt])[0], vector, atol=1e-5, rtol=1e-4)


def test_order_matters(encoder):
    assert not torch.allclose(encoder(["no beard with glasses"]), encoder(["beard with no glasses"]), atol=1e-3)


def test_what_is_too_long_is_not_read(encoder):
    prompt = "man " * MAX_WORDS
    assert torch.equal(encoder([prompt]), encoder([prompt + "with no beard " * 1000]))


class _Tower(torch.nn.Module):
    def encode_text(self, tokens):
        return tokens.float() @ torch.ones(2, 12)


def _open_clip(**changes):
    module = types.ModuleType("open_clip")
    module.create_model = lambda name, pretrained: _Tower()
    module.get_tokenizer = lambda name: lambda prompts: torch.tensor([[len(p), 1] for p in prompts])
    for name, value in changes.items():
        setattr(module, name, value)
    return module


def test_open_clip_can_take_the_place_of_the_words(monkeypatch):
    monkeypatch.setitem(sys.modules, "open_clip", _open_clip())
    encoder = text_encoder(TextConfig(kind="open_clip", width=12), ())
    vectors = encoder(["ein Mann", "a"])
    assert vectors.shape == (2, 12)
    torch.testing.assert_close(vectors.norm(dim=1), torch.full((2,), 12**0.5))
    assert encoder.unknown_words("ein Mann") == ()
    assert not encoder.state_dict(), "its weights are not the prior's"


def test_open_clip_without_package_or_weights_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(MissingDependencyError, match="pip install"):
        text_encoder(TextConfig(kind="open_clip"), ())

    def absent(name, pretrained):
        raise RuntimeError("no such weights")

    monkeypatch.setitem(sys.modules, "open_clip", _open_clip(create_model=absent))
    with pytest.raises(HeadsupError, match="fetch its weights"):
        text_encoder(TextConfig(kind="open_clip"), ())
