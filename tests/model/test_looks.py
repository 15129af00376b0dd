import pytest
import torch

from headsup_cli.model.looks import Looks

PHRASES = {
    "sex": {"male": ["man"], "female": ["woman"]},
    "glasses": {"none": ["no glasses"], "round": ["round glasses", "glasses"], "square": ["glasses"]},
    "eyes": {"blue": ["blue eyes"]},
    "expression": {"neutral": ["a blank face"], "smiling": ["smiling"]},
}


@pytest.fixture
def people():
    """Tokens [300, 2, 4], white but for the first three, which tell sex and glasses; and the values behind them."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(300, 2, 4, generator=generator)
    woman, glasses = torch.arange(300) % 2, torch.arange(300) % 3
    tokens[:, 0, 0] += 3 * woman
    tokens[:, 0, 1] += 3 * (glasses == 1)
    tokens[:, 0, 2] += 3 * (glasses == 2)
    unknown = torch.full((300,), -1)
    return tokens, torch.stack([woman, torch.where(glasses == 0, 0, glasses), unknown, unknown], 1)


@pytest.fixture
def looks(people):
    looks = Looks(PHRASES, 8)
    looks.fit(*people)
    return looks


def test_people_are_told_apart(looks, people):
    tokens, values = people
    sex, glasses, *unfitted = looks.seen(tokens)
    assert (sex.argmax(1) == values[:, 0]).float().mean() > 0.9
    assert (glasses.argmax(1) == values[:, 1]).float().mean() > 0.85
    for chances in unfitted:
        torch.testing.assert_close(chances, torch.full_like(chances, 1 / chances.shape[1]))


def test_a_prompt_asks_for_values_and_else_for_what_goes_unsaid(looks):
    sex, glasses, eyes, expression = looks.asked("a woman wearing glasses", expression="neutral")
    assert (sex.tolist(), glasses.tolist(), eyes, expression.tolist()) == ([0, 1], [0, 1, 1], None, [1, 0])
    assert looks.asked("a smiling man", expression="neutral")[3].tolist() == [0, 1]
    assert looks.asked("") == [None] * 4


def test_its_slope_is_that_of_the_chance_of_what_is_asked_for(looks, people):
    asked = looks.asked("a woman wearing glasses")
    for away in (False, True):
        tokens = people[0][:5].clone().requires_grad_()
        found = zip(looks.seen(tokens), asked, strict=True)
        chances = [(chance * welcome).sum(1) for chance, welcome in found if welcome is not None]
        likely = torch.stack([(1 - chance if away else chance).log() for chance in chances])
        (slope,) = torch.autograd.grad(likely.sum(), tokens)
        torch.testing.assert_close(looks.towards(tokens.detach(), asked, away=away), slope, atol=1e-4, rtol=1e-3)


def test_topics_that_nobody_shows_lead_nowhere(people):
    tokens, values = people
    looks = Looks(PHRASES | {"beard": {}}, 8)
    looks.fit(tokens, torch.cat([values, torch.full((300, 1), -1)], 1))
    assert looks.towards(tokens, looks.asked("a woman with blue eyes")).any()
    assert not looks.towards(tokens, looks.asked("blue eyes, smiling")).any()


def test_without_looks_nothing_leads_anywhere():
    looks = Looks({}, 8)
    looks.fit(torch.randn(3, 2, 4), torch.zeros(3, 0, dtype=torch.long))
    assert not looks.towards(torch.randn(3, 2, 4), looks.asked("a man")).any()
