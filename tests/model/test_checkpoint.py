import json
from dataclasses import replace

import pytest
import torch

from headsup_cli.errors import InputError
from headsup_cli.model.checkpoint import latent_fingerprint, load_checkpoint, save_checkpoint
from headsup_cli.model.config import DetailConfig, EncoderConfig, FusionStageConfig, ModelConfig
from headsup_cli.model.head_model import HeadModel

CONFIG = ModelConfig(
    encoder=EncoderConfig(channels=(8, 8), blocks=(1, 1), pyramid_channels=8),
    fusion=(FusionStageConfig(resolution=8, channels=8, blocks=1, heads=2),),
    latent={"resolution": 8, "channels": 4},
    decoder={"channels": (8,), "blocks": 1},
    detail=DetailConfig(channels=8, query_channels=4),
)


@pytest.fixture
def saved(tmp_path, toy_template):
    torch.manual_seed(0)
    model = HeadModel(CONFIG, toy_template)
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, model, toy_template, provenance={"steps": 3})
    return path, model


def test_weights_config_and_provenance_come_back(saved, toy_template):
    path, model = saved
    checkpoint = load_checkpoint(path, toy_template)
    assert checkpoint.model.config == CONFIG
    assert checkpoint.provenance == {"steps": 3}
    for name, tensor in model.state_dict().items():
        assert torch.equal(checkpoint.model.state_dict()[name], tensor), name


def test_bfloat16_halves_the_file_and_keeps_the_values_close(saved, tmp_path, toy_template):
    path, model = saved
    small = tmp_path / "b.safetensors"
    save_checkpoint(small, model, toy_template, provenance={}, dtype=torch.bfloat16)
    assert small.stat().st_size < 0.7 * path.stat().st_size
    loaded = load_checkpoint(small, toy_template).model.state_dict()
    for name, tensor in model.state_dict().items():
        assert loaded[name].dtype == torch.float32
        torch.testing.assert_close(loaded[name], tensor, atol=1e-6, rtol=1e-2)


def test_the_fingerprint_is_of_what_latents_depend_on(saved, tmp_path, toy_template):
    path, model = saved
    print_of = latent_fingerprint(path)

    def changed(name, *, dtype=torch.float32) -> str:
        with torch.no_grad():
            model.state_dict()[name].add_(0.5)
        save_checkpoint(tmp_path / "other.safetensors", model, toy_template, provenance={}, dtype=dtype)
        return latent_fingerprint(tmp_path / "other.safetensors")

    assert changed("detail.out.bias") == print_of
    assert changed("background.latent.bias") == print_of
    assert changed("detail.out.bias", dtype=torch.bfloat16) == print_of
    assert len({print_of, *(changed(f"{part}.bias") for part in ("encoder.stem", "decoder.out"))}) == 3


def test_template_geometry_is_not_stored(saved):
    from safetensors import safe_open

    with safe_open(saved[0], "pt") as file:
        assert not [name for name in file.keys() if "anchors" in name]  # noqa: SIM118 - no mapping


def test_what_does_not_fit_is_refused(saved, tmp_path, toy_template):
    path, _ = saved
    with pytest.raises(InputError, match="template"):
        load_checkpoint(path, replace(toy_template, sha256="0" * 64))
    config = json.loads(path.with_suffix(".json").read_text())
    config["model"]["latent"]["channels"] = 5
    path.with_suffix(".json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="unusable"):
        load_checkpoint(path, toy_template)
    path.with_suffix(".json").write_text("{")
    with pytest.raises(InputError, match="no JSON"):
        load_checkpoint(path, toy_template)
    with pytest.raises(InputError, match="not readable"):
        load_checkpoint(tmp_path / "absent.safetensors", toy_template)


def test_damaged_or_poisoned_weights_are_refused(saved, toy_template):
    path, model = saved
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="unusable"):
        load_checkpoint(path, toy_template)
    with torch.no_grad():
        model.decoder.out.bias[0] = float("nan")
    save_checkpoint(path, model, toy_template, provenance={})
    with pytest.raises(InputError, match=r"decoder\.out\.bias is not finite"):
        load_checkpoint(path, toy_template)
