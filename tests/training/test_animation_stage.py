import pytest
import torch

from headsup_cli.config_files.yaml_config import load_yaml_config
from headsup_cli.errors import InputError
from headsup_cli.model.checkpoint import latent_fingerprint, save_checkpoint
from headsup_cli.model.config import ModelConfig
from headsup_cli.model.expression import load_expression
from headsup_cli.model.head_model import HeadModel
from headsup_cli.model.latent_set import LatentSet
from headsup_cli.template.arkit import ARKIT_NAMES
from headsup_cli.template.default import load_template
from headsup_cli.training.animation_stage import (
    AnimationPreset,
    ExpressionPairs,
    explained_share,
    train_animation,
    typical_changes,
)


def people(count, hash_, resolution=16, channels=8, noise=0.02):
    """Neutral and moving latents whose changes are linear in the coefficients, with outliers."""
    generator = torch.Generator().manual_seed(0)
    changes = torch.randn(52, channels, resolution, resolution, generator=generator)
    neutral = torch.randn(count, channels, resolution, resolution, generator=generator)
    b = torch.rand(count, 52, generator=generator) * (torch.rand(count, 52, generator=generator) < 0.1)
    b[:, 0] += 0.1  # everybody moves
    posed = neutral + torch.einsum("nk,kzij->nzij", b, changes)
    posed += noise * torch.randn(posed.shape, generator=generator)
    posed[::20] += torch.randn(posed[::20].shape, generator=generator)
    subject = torch.arange(count)
    latents = LatentSet(
        torch.cat([neutral, posed]), torch.cat([subject, subject]), torch.cat([torch.zeros_like(b), b]),
        ({},) * (2 * count), hash_,
    )  # fmt: skip
    return latents, changes


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, repository_tiny):
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_checkpoint(path, HeadModel(repository_tiny, load_template()), load_template(), provenance={})
    return path


@pytest.fixture(scope="module")
def repository_tiny():
    torch.manual_seed(0)
    return ModelConfig.model_validate(
        {
            "encoder": {"channels": [8, 16], "blocks": [1, 1], "pyramid_channels": 8, "image_size_px": 32},
            "fusion": [{"resolution": 16, "channels": 16, "blocks": 1, "level": 0, "depths_mm": [0.0]}],
            "latent": {"resolution": 16, "channels": 8},
            "decoder": {"channels": [16, 8], "blocks": 1},
            "detail": None,
        }
    )


def test_pairs_are_of_one_person():
    latents, _ = people(5, "x")
    order = torch.randperm(10, generator=torch.Generator().manual_seed(1))
    pairs = ExpressionPairs.of(latents[order])
    assert len(pairs) == 5
    for neutral, b in zip(pairs.neutral, pairs.coefficients, strict=True):
        owner = next(i for i in range(5) if torch.equal(latents.latents[i], neutral))
        torch.testing.assert_close(latents.coefficients[5 + owner], b)


def test_pairs_are_told_apart_by_where_most_of_the_expression_is():
    b = torch.zeros(4, 52)
    for row, shapes in enumerate(({"jawOpen": 0.9, "browInnerUp": 0.5}, {"browInnerUp": 0.5}, {"noseSneerLeft": 1.0})):
        for name, weight in shapes.items():
            b[row, ARKIT_NAMES.index(name)] = weight
    b[3, [ARKIT_NAMES.index(name) for name in ("eyeBlinkLeft", "jawOpen")]] = 0.5  # neither is most of it
    latents = torch.arange(4.0)[:, None, None, None].expand(-1, 1, 2, 2)
    places = ExpressionPairs(latents, latents, b).by_place()
    assert {place: pairs.neutral[:, 0, 0, 0].tolist() for place, pairs in places.items()} == {
        "eyes": [], "brows": [1.0], "mouth": [0.0], "cheeks": [2.0],
    }  # fmt: skip


def test_average_changes_are_found_in_spite_of_outliers():
    latents, changes = people(200, "x")
    found = typical_changes(ExpressionPairs.of(latents))
    error = (found - changes).square().mean() / changes.square().mean()
    assert error < 0.15
    assert typical_changes(ExpressionPairs.of(people(6, "x")[0])).isfinite().all()  # fewer people than coefficients


def test_training_explains_people_it_has_not_seen_and_resumes(checkpoint, tmp_path, repository):
    latents, _ = people(120, latent_fingerprint(checkpoint))
    preset = load_yaml_config(
        repository / "headsup_cli/configs/animation.yaml",
        AnimationPreset,
        ["network.channels=24", "network.blocks=1", "network.heads=2", "training.steps=12", "training.warmup_steps=2"],
    )
    device = torch.device("cpu")
    train_animation(latents, preset, checkpoint, tmp_path / "run", device=device)
    learned = load_expression(tmp_path / "run" / "model.safetensors")
    assert learned.model_hash == latent_fingerprint(checkpoint)
    assert learned.provenance["steps"] == 12
    told = learned.provenance["held_out_explained"]
    assert told.keys() == learned.provenance["held_out_pairs"].keys() >= {"all", "mouth"}
    _, held_out = latents.divided(preset.training.held_out_share)
    there, back = explained_share(learned.network, ExpressionPairs.of(held_out))
    assert min(there, back) > 0.5

    train_animation(latents, preset, checkpoint, tmp_path / "parts", device=device, seconds=0.0)
    train_animation(latents, preset, checkpoint, tmp_path / "parts", device=device)
    again = load_expression(tmp_path / "parts" / "model.safetensors").network.state_dict()
    for name, tensor in learned.network.state_dict().items():
        assert torch.equal(again[name], tensor), name


def test_other_weights_and_people_without_expression_are_refused(checkpoint, tmp_path):
    latents, _ = people(4, "0" * 64)
    device = torch.device("cpu")
    with pytest.raises(InputError, match="other weights"):
        train_animation(latents, AnimationPreset(), checkpoint, tmp_path, device=device)
    with pytest.raises(InputError, match="nobody"):
        train_animation(latents[latents.neutral], AnimationPreset(), checkpoint, tmp_path, device=device)
