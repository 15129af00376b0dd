import csv
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from headsup_cli.errors import InputError
from headsup_cli.inference.sampling import SampleOptions, sample
from headsup_cli.model.checkpoint import latent_fingerprint
from headsup_cli.model.latent_set import LatentSet
from headsup_cli.model.prior import load_prior
from headsup_cli.training.prior_stage import PriorPreset, train_prior

PRESET = PriorPreset.model_validate(
    {
        "prior": {
            "components": 10, "within": 1, "token_size": 5, "width": 48, "blocks": 2, "heads": 2,
            "text": {"width": 32, "blocks": 1, "heads": 2},
        },
        "training": {
            "steps": 200, "batch_size": 64, "learning_rate": 5e-3, "warmup_steps": 10, "ema_decay": 0.97,
            "checkpoint_every": 1000,
        },
    }
)  # fmt: skip


@pytest.fixture(scope="module")
def encoded(crowd, tmp_path_factory):
    """The crowd, as if a file of weights had encoded it."""
    weights = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_file({"decoder.out.bias": torch.ones(2)}, weights)
    return weights, replace(crowd, model_hash=latent_fingerprint(weights))


def train(encoded, folder, **changes) -> None:
    training = PRESET.training.model_copy(update=changes)
    preset = PRESET.model_copy(update={"training": training})
    train_prior(encoded[1], preset, encoded[0], folder, device="cpu")


@pytest.fixture(scope="module")
def trained(encoded, tmp_path_factory):
    folder = tmp_path_factory.mktemp("prior")
    train(encoded, folder)
    return folder


def losses(folder, column="loss") -> list[float]:
    with (folder / "metrics.csv").open() as file:
        return [float(row[column]) for row in csv.DictReader(file) if row[column]]


def femininity(latents: torch.Tensor, crowd: LatentSet) -> torch.Tensor:
    """-1 at the mean man, 1 at the mean woman."""
    woman = torch.tensor([words["sex"] == "female" for words in crowd.attributes])
    flat = crowd.latents.flatten(1)
    axis = flat[woman].mean(0) - flat[~woman].mean(0)
    return 2 * (latents.flatten(1) - flat.mean(0)) @ axis / axis.square().sum()


@pytest.mark.slow
def test_it_learns_more_than_a_gaussian(trained):
    values = losses(trained)
    assert sum(values[-20:]) < 0.95 * sum(values[:20])
    assert losses(trained, "held_out")[-1] < 0.98 * losses(trained, "held_out")[0]


@pytest.mark.slow
def test_words_are_obeyed_and_their_contrary_avoided(trained, encoded, crowd):
    prior = load_prior(trained / "model.safetensors", model_sha256=encoded[1].model_hash).prior
    women = sample(prior, 16, SampleOptions(prompt="a lady", guidance=3.0, steps=12)).latents
    men = sample(prior, 16, SampleOptions(prompt="the face of a man", guidance=3.0, steps=12)).latents
    not_women = sample(prior, 16, SampleOptions(prompt="a person", negative="woman", guidance=3.0, steps=12)).latents
    assert (femininity(women, crowd) > 0).float().mean() > 0.9
    assert (femininity(men, crowd) < 0).float().mean() > 0.9
    assert (femininity(not_women, crowd) < 0).float().mean() > 0.9


def test_the_same_seed_gives_the_same_prior(encoded, tmp_path):
    train(encoded, tmp_path / "a", steps=3)
    train(encoded, tmp_path / "b", steps=3)
    train(encoded, tmp_path / "c", steps=3, seed=1)
    assert losses(tmp_path / "a") == losses(tmp_path / "b") != losses(tmp_path / "c")
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == (tmp_path / "b" / "model.safetensors").read_bytes()


def test_a_prior_of_few_people_or_of_captures_without_attributes_can_be_trained(encoded, tmp_path):
    weights, people = encoded
    few = people[people.person < 4]
    for name, latents in (("few", few), ("unknown", replace(people, attributes=({},) * len(people)))):
        train((weights, latents), tmp_path / name, steps=3)
        prior = load_prior(tmp_path / name / "model.safetensors", model_sha256=people.model_hash).prior
        sample(prior, 1, SampleOptions(prompt="a smiling woman", negative="a beard", steps=2))


def test_looks_that_are_seen_often_enough_can_be_led_to(encoded, tmp_path):
    train(encoded, tmp_path, steps=3)
    looks = load_prior(tmp_path / "model.safetensors", model_sha256=encoded[1].model_hash).prior.looks
    assert (looks.names["sex"], looks.names["hair"]) == (("male", "female"), ("short",))
    assert looks.names["eyes"], "is read, so that brown eyes are no brown skin"
    sex = looks.seen(torch.randn(50, 2, 5))[list(looks.names).index("sex")]
    assert sex.std() > 0.1


def test_the_shipped_preset_is_valid(repository):
    from headsup_cli.config_files.yaml_config import load_yaml_config

    preset = load_yaml_config(repository / "headsup_cli" / "configs" / "prior.yaml", PriorPreset)
    assert preset.prior.components % preset.prior.token_size == 0


def test_latents_of_other_weights_or_of_too_few_people_are_refused(encoded, crowd, tmp_path):
    with pytest.raises(InputError, match="encode the captures again"):
        train_prior(crowd, PRESET, encoded[0], tmp_path, device="cpu")
    few = encoded[1][torch.tensor([0, 1])]
    with pytest.raises(InputError, match="several hundred people"):
        train_prior(few, PRESET, encoded[0], tmp_path, device="cpu")
