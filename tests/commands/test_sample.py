"""Heads from a prior of the shipped weights that was fitted to a few made-up latents."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save

from headsup_cli.gaussians.head import read_head
from headsup_cli.media.images import read_image
from headsup_cli.model.checkpoint import latent_fingerprint, load_checkpoint
from headsup_cli.model.config import DEFAULT_CHECKPOINT
from headsup_cli.model.latent_set import LatentSet
from headsup_cli.model.prior import Prior, PriorConfig, save_prior
from headsup_cli.template.default import load_template

CONFIG = PriorConfig(components=4, within=0, token_size=2, width=16, blocks=1, heads=2)


@pytest.fixture(scope="module")
def prior_file(tmp_path_factory):
    """An untrained prior, which samples a Gaussian about latents near zero."""
    torch.manual_seed(0)
    config = load_checkpoint(None, load_template()).model.config.latent
    size = (config.channels, config.resolution, config.resolution)
    latents = 0.3 * torch.randn(12, *size)
    people = LatentSet(latents, torch.arange(12), torch.zeros(12, 52), ({},) * 12, "")
    prior = Prior(CONFIG, config, ("a", "person", "man", "old"), {"age": {"young": ["young"], "old": ["old"]}})
    prior.space.fit(people, CONFIG.within)
    prior.likeness.fit(latents, 0.3 * torch.randn(5, *size))
    path = tmp_path_factory.mktemp("prior") / "prior.safetensors"
    save_prior(path, prior, model_sha256=latent_fingerprint(DEFAULT_CHECKPOINT), provenance={"steps": 0})
    return path


@pytest.fixture
def sampled(program, prior_file, tmp_path):
    """`sampled("-n", 2)` -> exit code, stdout, stderr, folder."""

    def call(*arguments, output="out"):
        folder = tmp_path / output
        return *program("sample", "--prior", prior_file, "-o", folder, "--steps", 2, *arguments), folder

    return call


def test_samples_are_heads_like_any_other_with_a_sheet_and_a_report(sampled, program, tmp_path):
    code, out, err, folder = sampled("-n", 2, "--prompt", "an old xyzzy man", "--seed", 3)
    assert code == 0, err
    assert out.strip() == str(folder)
    assert "xyzzy" in err
    assert {path.name for path in folder.iterdir()} == {
        "sample_0000", "sample_0001", "contact_sheet.png", "report.json",
    }  # fmt: skip
    report = json.loads((folder / "report.json").read_text())
    assert (report["prompt"], report["seed"], report["steps"]) == ("an old xyzzy man", 3, 2)
    assert report["unknown_words"] == ["an", "xyzzy"]
    assert report["looks"] == {"age": ["old"]}
    assert len(report["samples"]) == 2
    head = read_head(folder / "sample_0001")
    assert head.latent is not None
    assert head.provenance["sampled"]["prompt"] == "an old xyzzy man"
    sheet = read_image(folder / "contact_sheet.png")
    assert sheet.shape == (2 * 176, 3 * 176, 3)
    assert (sheet.max(-1) > 20).mean() > 0.02, "something is to be seen"
    code, _, err = program("export", folder / "sample_0000", "--to", "ply", "-o", tmp_path / "exported")
    assert code == 0, err


def test_the_same_seed_gives_the_same_heads(sampled):
    *_, one = sampled("-n", 1, "--seed", 4, output="one")
    *_, again = sampled("-n", 1, "--seed", 4, output="again")
    *_, other = sampled("-n", 1, "--seed", 5, output="other")
    first = (one / "sample_0000" / "gaussians.ply").read_bytes()
    assert first == (again / "sample_0000" / "gaussians.ply").read_bytes()
    assert first != (other / "sample_0000" / "gaussians.ply").read_bytes()


def test_heads_can_be_varied_and_joined_by_a_path(sampled, tmp_path):
    *_, ends = sampled("-n", 2, "--seed", 6, output="ends")
    first, second = (read_head(ends / f"sample_000{i}").latent for i in range(2))
    code, _, err, alike = sampled("-n", 1, "--like", ends / "sample_0000", "--strength", 0.1, output="alike")
    assert code == 0, err
    varied = read_head(alike / "sample_0000").latent
    assert 0 < (varied - first).norm() < 0.5 * (second - first).norm()
    code, _, err, path = sampled(
        "-n", 3, "--between", ends / "sample_0000", ends / "sample_0001", "--steps", 16, output="path"
    )
    assert code == 0, err
    for name, end in (("sample_0000", first), ("sample_0002", second)):
        assert (read_head(path / name).latent - end).norm() < 0.05 * (second - first).norm()
    assert json.loads((path / "report.json").read_text())["between"] == [str(ends / f"sample_000{i}") for i in range(2)]


def test_a_head_without_a_latent_cannot_be_varied(sampled, tmp_path):
    *_, folder = sampled("-n", 1, output="bare")
    path = folder / "sample_0000" / "head.safetensors"
    path.write_bytes(save({name: tensor for name, tensor in load_file(path).items() if name != "latent"}))
    code, _, err, _ = sampled("--like", folder / "sample_0000")
    assert code == 2
    assert "without a latent" in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("-n", "-1"), "--number"),
        (("-n", "many"), "--number"),
        (("--steps", "0"), "--steps"),
        (("--guidance", "-2"), "--guidance"),
        (("--strength", "2", "--like", "x"), "--strength"),
        (("--strength", "0.3"), "without --like"),
        (("--strength", "0.3", "--between", "a", "b"), "without --like"),
        (("--wibble",), "--wibble"),
        (("--between", "a", "b", "--prompt", "a man"), "--between"),
        (("--between", "a", "b", "--negative", "a man"), "--between"),
        (("--between", "a", "b", "-n", "1"), "two heads or more"),
        (("--negative", "a man", "--guidance", "1"), "--guidance above 1"),
        (("--like", "nowhere"), "nowhere"),
        (("--prior", "nowhere.safetensors"), "--stage prior"),
    ],
)
def test_what_makes_no_sense_is_refused(sampled, arguments, says):
    code, _, err, folder = sampled(*arguments)
    assert code == 2
    assert says in err
    assert not folder.exists()


def test_a_checkpoint_without_a_prior_says_how_to_get_one(program, tmp_path):
    for path in (DEFAULT_CHECKPOINT, DEFAULT_CHECKPOINT.with_suffix(".json")):
        shutil.copy(path, tmp_path)
    code, _, err = program("sample", "--checkpoint", tmp_path / DEFAULT_CHECKPOINT.name, "-o", tmp_path / "out")
    assert code == 2
    assert "headsup train --stage prior" in err


def test_a_prior_of_other_weights_is_refused(sampled, tmp_path):
    weights = tmp_path / "other.safetensors"
    tensors = load_file(DEFAULT_CHECKPOINT)
    tensors["decoder.out.bias"] += 1
    weights.write_bytes(save(tensors))
    shutil.copy(DEFAULT_CHECKPOINT.with_suffix(".json"), tmp_path / "other.json")
    code, _, err, _ = sampled("--checkpoint", weights)
    assert code == 2
    assert "train a prior for these" in err
