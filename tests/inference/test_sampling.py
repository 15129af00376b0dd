import logging

import pytest
import torch

from headsup_cli.inference.sampling import SampleOptions, between, great_circle, sample, tell_unread_words, vary
from headsup_cli.model.config import LatentConfig
from headsup_cli.model.prior import Prior, PriorConfig
from headsup_cli.model.text_encoder import MAX_WORDS, TextConfig

CONFIG = PriorConfig(
    components=10, within=1, token_size=5, width=16, blocks=1, heads=2, text=TextConfig(width=8, blocks=1, heads=2)
)


@pytest.fixture(scope="module")
def gaussian(crowd):
    """An untrained prior: the Gaussian with the crowd's mean and covariance."""
    torch.manual_seed(0)
    prior = Prior(CONFIG, LatentConfig(channels=4, resolution=8), ("a", "person", "woman"))
    prior.space.fit(crowd, CONFIG.within)
    return prior.eval()


@pytest.fixture(scope="module")
def stirred(gaussian):
    """A prior with some will of its own."""
    import copy

    prior = copy.deepcopy(gaussian)
    torch.manual_seed(1)
    for parameter in (*prior.network.parameters(), *prior.mean.parameters()):
        torch.nn.init.normal_(parameter, std=0.1)
    return prior


def test_an_untrained_prior_samples_the_crowds_gaussian(gaussian, crowd):
    made = sample(gaussian, 400, SampleOptions(steps=6)).latents
    tokens = gaussian.space.tokens(made).flatten(1)
    assert float(tokens.mean(0).abs().max()) < 0.2
    torch.testing.assert_close(tokens.T @ tokens / len(tokens), torch.eye(10), atol=0.25, rtol=0)
    torch.testing.assert_close(made.mean(0), crowd.latents.mean(0), atol=0.3, rtol=0)


def test_a_sample_depends_on_its_seed_and_number_alone(stirred):
    options = SampleOptions(prompt="a woman", steps=4, seed=5)
    many, few = sample(stirred, 18, options).latents, sample(stirred, 3, options).latents
    torch.testing.assert_close(many[:3], few, atol=1e-4, rtol=1e-4)
    assert torch.equal(few, sample(stirred, 3, options).latents)
    other = sample(stirred, 3, SampleOptions(prompt="a woman", steps=4, seed=6)).latents
    assert (other - few).flatten(1).norm(dim=1).min() > 0.5


def test_prompt_guidance_and_negative_all_tell(stirred):
    def made(**changes) -> torch.Tensor:
        return sample(stirred, 2, SampleOptions(**{"prompt": "a woman", "steps": 4} | changes)).latents

    plain, strict = made(guidance=1.0), made(guidance=3.0)
    for one, other in ((plain, strict), (plain, made(prompt="a person")), (strict, made(negative="person"))):
        assert (one - other).abs().max() > 1e-3
    torch.testing.assert_close(made(guidance=1.0, negative="person"), plain)  # nothing is led away from


def test_looks_lead_to_what_is_asked_for_and_away_from_what_is_not(crowd):
    """A prior whose network knows nothing yet."""
    phrases = {"sex": {"male": ["man"], "female": ["woman"]}}
    prior = Prior(CONFIG, LatentConfig(channels=4, resolution=8), ("a", "person", "woman", "man"), phrases)
    prior.space.fit(crowd, CONFIG.within)
    women = torch.tensor([words["sex"] == "female" for words in crowd.attributes])
    prior.looks.fit(prior.space.tokens(crowd.latents), women[:, None].long())

    def share_of_women(**changes) -> float:
        made = sample(prior.eval(), 24, SampleOptions(**{"prompt": "a person", "steps": 8} | changes)).latents
        return float(prior.looks.seen(prior.space.tokens(made))[0][:, 1].round().mean())

    assert 0.2 < share_of_women() < 0.8
    assert 0.2 < share_of_women(prompt="a woman", guidance=1.0) < 0.8
    assert share_of_women(prompt="a woman") > 0.9
    assert share_of_women(prompt="a man") < 0.1
    assert share_of_women(negative="a woman") < 0.1


def test_without_a_word_that_is_known_anybody_is_sampled(stirred):
    def made(prompt: str | None) -> torch.Tensor:
        return sample(stirred, 1, SampleOptions(prompt=prompt, steps=4)).latents

    for prompt in ("", "  ", "ein Mann", "a person"):
        torch.testing.assert_close(made(prompt), made(None))
    assert (made("a woman") - made(None)).abs().max() > 1e-3


def test_without_strength_a_head_stays_what_it_is_and_with_all_of_it_is_forgotten(stirred, crowd):
    given = crowd.latents[4] + 0.05  # something that the components cannot express
    same = vary(stirred, given, 2, 0.0, SampleOptions()).latents
    torch.testing.assert_close(same, given.expand(2, -1, -1, -1), atol=1e-3, rtol=0)
    options = SampleOptions(prompt="a woman", steps=4)
    forgotten = vary(stirred, given, 2, 1.0, options).latents
    torch.testing.assert_close(forgotten, vary(stirred, crowd.latents[9], 2, 1.0, options).latents, atol=1e-3, rtol=0)
    apart = [float((vary(stirred, given, 1, s, options).latents[0] - given).norm()) for s in (0.1, 0.4, 0.8)]
    assert apart == sorted(apart)


def test_a_path_begins_and_ends_at_its_heads(stirred, crowd):
    first, second = crowd.latents[4] + 0.05, crowd.latents[11] - 0.03
    path = between(stirred, first, second, 5, 64).latents
    span = float((second - first).norm())
    assert float((path[0] - first).norm()) < 0.02 * span
    assert float((path[-1] - second).norm()) < 0.02 * span
    steps = (path[1:] - path[:-1]).flatten(1).norm(dim=1)
    assert steps.max() < 3 * steps.min()


def test_halfway_a_path_is_a_person_and_not_an_average(gaussian, crowd):
    """The mean of two independent people is nearer to the crowd's mean than a person is; the path's middle is not."""
    middles, means = [], []
    for a, b in ((0, 3), (5, 20), (8, 31), (12, 45), (17, 52)):
        first, second = crowd.latents[2 * a], crowd.latents[2 * b]
        tokens = gaussian.space.tokens(
            torch.stack([between(gaussian, first, second, 3, 16).latents[1], (first + second) / 2])
        )
        middle, mean = tokens.flatten(1).norm(dim=1).tolist()
        middles.append(middle)
        means.append(mean)
    assert sum(middles) > 1.2 * sum(means)


def test_on_a_great_circle_the_norm_changes_evenly():
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(3, 4, generator=generator), 2 * torch.randn(3, 4, generator=generator)
    points = great_circle(a, b, torch.linspace(0, 1, 5))
    torch.testing.assert_close(points[0], a)
    torch.testing.assert_close(points[-1], b)
    norms = points.flatten(1).norm(dim=1)
    torch.testing.assert_close(norms.diff(), ((b.norm() - a.norm()) / 4).expand(4), atol=1e-4, rtol=1e-4)
    same = great_circle(a, a, torch.tensor([0.5]))
    torch.testing.assert_close(same[0], a, atol=1e-3, rtol=1e-3)


def test_copies_of_training_people_are_drawn_again(gaussian):
    options = SampleOptions(steps=4, seed=2)
    prior = Prior(CONFIG, LatentConfig(channels=4, resolution=8), gaussian.vocabulary, known=2).eval()
    prior.load_state_dict(gaussian.state_dict() | {"likeness.known": torch.zeros(2, 32)})
    prior.likeness.basis.copy_(torch.eye(256)[:32])
    first = sample(prior, 4, options).latents
    prior.likeness.known.copy_(prior.likeness.features(first[1:3]))  # two samples happen to be training people
    prior.likeness.nearest_stranger.copy_(torch.tensor([0.1, 0.2]))
    again = sample(prior, 4, options)
    assert again.draws.tolist() == [1, 2, 2, 1]
    assert again.nearest.min() > 0.1
    torch.testing.assert_close(again.latents[[0, 3]], first[[0, 3]])


def test_unknown_words_and_overlong_prompts_are_named(gaussian, caplog):
    with caplog.at_level(logging.WARNING, "headsup_cli"):
        assert tell_unread_words(gaussian, "a woman") == []
        assert tell_unread_words(gaussian, "") == []
        assert not caplog.messages
        assert tell_unread_words(gaussian, "eine alte woman") == ["eine", "alte"]
        assert tell_unread_words(gaussian, "ein Mann") == ["ein", "mann"]
        assert tell_unread_words(gaussian, "a woman " * MAX_WORDS) == []
    named, nothing, long = caplog.messages
    assert "eine, alte; it is read without them" in named
    assert "ein, mann; so it may be anybody" in nothing
    assert f"its first {MAX_WORDS} words only looks count" in long
