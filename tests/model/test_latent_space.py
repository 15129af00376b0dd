import pytest
import torch

from headsup_cli.model.config import LatentConfig
from headsup_cli.model.latent_space import ComponentSpace, Likeness, PatchSpace, principal_directions

GRID = LatentConfig(channels=4, resolution=8)


@pytest.fixture
def components(crowd):
    space = ComponentSpace(GRID, components=10, token_size=5)
    space.fit(crowd, within=1)
    return space


def test_components_hold_all_that_the_crowd_is(components, crowd):
    tokens = components.tokens(crowd.latents)
    assert tokens.shape == (120, 2, 5)
    torch.testing.assert_close(components.latents(tokens), crowd.latents, atol=1e-3, rtol=1e-3)


def test_components_are_white(components, crowd):
    flat = components.tokens(crowd.latents).flatten(1)
    torch.testing.assert_close(flat.T @ flat / len(flat), torch.eye(10), atol=1e-3, rtol=0)
    assert torch.equal(components.spread, components.spread.sort(descending=True).values)


def test_expressions_have_components_of_their_own(crowd):
    """With two components for people and one for expressions the faint smile survives, people's fine traits do not."""
    space = ComponentSpace(GRID, components=3, token_size=1)
    space.fit(crowd, within=1)
    kept = space.latents(space.tokens(crowd.latents))
    smile = crowd.latents[1::2] - crowd.latents[0::2]
    torch.testing.assert_close(kept[1::2] - kept[0::2], smile, atol=0.05, rtol=0)
    assert (kept - crowd.latents).norm() > 3 * smile[0].norm()
    without = ComponentSpace(GRID, components=3, token_size=1)
    without.fit(crowd, within=0)
    flat = without.latents(without.tokens(crowd.latents))
    assert (flat[1::2] - flat[0::2]).flatten(1).norm(dim=1).max() < 0.5 * smile[0].norm()


def test_patches_hold_everything_and_have_unit_spread(crowd):
    space = PatchSpace(GRID, 2)
    space.fit(crowd, within=0)
    tokens = space.tokens(crowd.latents)
    assert tokens.shape == (120, 16, 16)
    assert float(tokens.square().mean()) == pytest.approx(1, abs=0.02)
    torch.testing.assert_close(space.latents(tokens), crowd.latents)


def test_likeness_knows_its_crowd(crowd):
    people, strangers = crowd.divided()
    likeness = Likeness(GRID)
    likeness.fit(people.latents, strangers.latents)
    assert float(likeness.to_known(people.latents).max()) < 0.02
    apart = likeness.to_known(strangers.latents)
    assert float(likeness.nearest_stranger[0]) == pytest.approx(float(apart.min()))
    assert likeness.nearest_stranger[0] <= likeness.nearest_stranger[1] <= apart.median()


def test_directions_are_orthonormal_even_where_there_are_too_few_samples():
    directions = principal_directions(torch.randn(3, 20, generator=torch.Generator().manual_seed(0)), 5)
    torch.testing.assert_close(directions @ directions.T, torch.eye(5), atol=1e-5, rtol=0)


def test_directions_leave_the_callers_random_numbers_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    principal_directions(torch.ones(4, 6), 2)
    assert torch.equal(torch.rand(1), expected)
