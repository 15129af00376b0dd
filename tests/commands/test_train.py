import json

import pytest

from headsup_cli.model.checkpoint import load_checkpoint
from headsup_cli.template.default import load_template


def test_two_steps_on_simulated_people_and_nothing_left_to_do_after(program, tmp_path):
    command = (
        "train",
        "-c",
        "tiny",
        "--set",
        "training.steps=2",
        "--set",
        "training.validation.every=0",
        "--workers",
        "0",
        "-o",
        tmp_path,
        "--quiet",
    )
    code, out, err = program(*command)
    assert code == 0, err
    assert "step 2" in out
    checkpoint = load_checkpoint(tmp_path / "model.safetensors", load_template())
    assert checkpoint.provenance["steps"] == 2
    assert checkpoint.provenance["data"] == "simulated"
    assert json.loads((tmp_path / "config.json").read_text())["training"]["steps"] == 2
    before = (tmp_path / "metrics.csv").read_text()
    code, out, err = program(*command)
    assert code == 0, err
    assert (tmp_path / "metrics.csv").read_text() == before


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("-c", "enormous"), "enormous"),
        (("-c", "tiny", "--set", "training.stepz=3"), "stepz"),
        (("-c", "tiny", "--set", "training.steps=-3"), "training.steps"),
        (("-c", "tiny", "--init", "nowhere.safetensors"), "nowhere"),
        (("captures", "--simulate", "-c", "tiny"), "--simulate"),
        (("nowhere", "-c", "tiny"), "nowhere"),
        (("--stage", "animation"), "--latents"),
        (("--stage", "prior", "--latents", "nowhere.safetensors"), "nowhere"),
    ],
)
def test_bad_configurations_are_named(program, tmp_path, arguments, named):
    code, _, err = program("train", *arguments, "-o", tmp_path)
    assert code == 2
    assert named in err
    assert "Traceback" not in err


def test_a_dry_run_says_what_it_would_take_and_leaves_nothing(program, tmp_path):
    code, out, err = program("train", "-c", "small", "-o", tmp_path / "run", "--dry-run", "--quiet")
    assert code == 0, err
    assert "4,000 simulated people" in out
    assert "2.90 M parameters" in out
    assert "GFLOP a step" in out
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["tiny", "small", "base"])
def test_the_presets_are_valid(name):
    from headsup_cli.commands.train import PRESETS
    from headsup_cli.config_files.yaml_config import load_yaml_config
    from headsup_cli.training.config import Preset

    preset = load_yaml_config(PRESETS / f"{name}.yaml", Preset)
    assert preset.model.resolution in (32, 128, 256)
