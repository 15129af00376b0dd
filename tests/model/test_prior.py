import json

import pytest
import torch

from headsup_cli.errors import InputError
from headsup_cli.model.config import LatentConfig
from headsup_cli.model.prior import Prior, PriorConfig, load_prior, save_prior
from headsup_cli.model.text_encoder import TextConfig

CONFIG = PriorConfig(
    components=10, within=1, token_size=5, width=16, blocks=1, heads=2, text=TextConfig(width=8, blocks=1, heads=2)
)
GRID = LatentConfig(channels=4, resolution=8)
HASH = "c" * 64


@pytest.fixture
def prior(crowd):
    torch.manual_seed(0)
    prior = Prior(CONFIG, GRID, ("a", "woman", "man"))
    people, strangers = crowd.divided()
    prior.space.fit(people, CONFIG.within)
    prior.likeness.fit(people.latents, strangers.latents)
    return prior.eval()


@pytest.fixture
def saved(prior, tmp_path):
    path = tmp_path / "prior.safetensors"
    save_prior(path, prior, model_sha256=HASH, provenance={"steps": 3})
    return path


@torch.no_grad()
def test_an_untrained_prior_gives_the_velocity_of_a_white_gaussian(prior):
    """E[e - x_0 | x_t] for independent unit normal x_0 and e, by regression on many of them."""
    generator = torch.Generator().manual_seed(1)
    for t in (0.1, 0.5, 0.8):
        clean, noise = torch.randn(2, 40_000, generator=generator)
        x = (1 - t) * clean + t * noise
        slope = float((x * (noise - clean)).mean() / x.square().mean())
        tokens = torch.randn(3, 2, 5, generator=generator)
        velocity = prior.velocity(tokens, torch.full((3,), t), prior.text(["a woman", "", "a man"]))
        torch.testing.assert_close(velocity, slope * tokens, atol=0.03, rtol=0.03)


def test_both_kinds_of_tokens_differentiate_down_to_the_words(crowd):
    for config in (CONFIG, CONFIG.model_copy(update={"tokens": "patches", "token_size": 4})):
        torch.manual_seed(0)
        prior = Prior(config, GRID, ("a", "woman", "man"))
        for parameter in prior.parameters():  # off the zeros it starts from
            torch.nn.init.normal_(parameter, std=0.1)
        prior.space.fit(crowd, config.within)
        tokens = prior.space.tokens(crowd.latents[:2])
        prior.velocity(tokens, torch.tensor([0.2, 0.7]), prior.text(["a woman", "a man"])).square().mean().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in prior.parameters())


def test_a_prior_comes_back_from_its_file(prior, saved):
    loaded = load_prior(saved, model_sha256=HASH)
    assert loaded.provenance == {"steps": 3}
    assert loaded.prior.config == CONFIG
    assert loaded.prior.vocabulary == prior.vocabulary
    for name, tensor in prior.state_dict().items():
        torch.testing.assert_close(loaded.prior.state_dict()[name], tensor, atol=1e-2, rtol=1e-3, msg=name)


def test_what_does_not_fit_is_refused(saved):
    with pytest.raises(InputError, match="train a prior for these"):
        load_prior(saved, model_sha256="d" * 64)
    with pytest.raises(InputError, match="--stage prior"):
        load_prior(saved.with_name("absent.safetensors"), model_sha256=HASH)
    whole = saved.read_bytes()
    saved.write_bytes(whole[:500])
    with pytest.raises(InputError, match="unusable"):
        load_prior(saved, model_sha256=HASH)
    saved.write_bytes(whole)
    file = json.loads(saved.with_suffix(".json").read_text())
    file["prior"]["width"] = 32
    saved.with_suffix(".json").write_text(json.dumps(file))
    with pytest.raises(InputError, match="unusable"):
        load_prior(saved, model_sha256=HASH)


def test_a_poisoned_prior_is_refused(prior, tmp_path):
    with torch.no_grad():
        prior.network.outward.bias[0] = float("inf")
    save_prior(tmp_path / "p.safetensors", prior, model_sha256=HASH, provenance={})
    with pytest.raises(InputError, match=r"network\.outward\.bias is not finite"):
        load_prior(tmp_path / "p.safetensors", model_sha256=HASH)
