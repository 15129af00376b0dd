import json
import shutil

import numpy as np
import pytest
import torch

from headsup_cli.gaussians.head import Head, write_head
from headsup_cli.media.video import read_video
from headsup_cli.model.checkpoint import load_checkpoint
from headsup_cli.template.default import load_template

SHORT = ("--clip", "blink", "--fps", 4, "--size", "48x32", "--quiet")


def test_one_head_is_filmed_once(program, heads, tmp_path):
    call, film = ("animate", heads / "anna", "-o", tmp_path, *SHORT), tmp_path / "blink.mp4"
    assert program(*call)[:2] == (0, f"{film}\n")
    assert {frame.shape for frame in read_video(film)} == {(32, 48, 3)}
    made = film.stat().st_mtime_ns
    assert program(*call)[:2] == (0, f"{film}\n")
    assert film.stat().st_mtime_ns == made, "what is there is left alone"
    assert program(*call, "--gain", "eyeBlinkLeft=0.5")[0] == 0
    assert film.stat().st_mtime_ns != made, "unless it would be another"


@pytest.fixture(scope="module")
def predicted(tmp_path_factory):
    """A head of the weights that ship, as a forward pass leaves it, made up in latent space."""
    folder, template = tmp_path_factory.mktemp("predicted") / "cleo", load_template()
    checkpoint, latent = load_checkpoint(None, template), torch.randn(32, 32, 32)
    with torch.no_grad():
        maps = checkpoint.model.decode(latent)
    made_by = {"checkpoint": dict(checkpoint.provenance)}
    folder.mkdir()
    write_head(Head("cleo", maps, template.name, template.sha256, np.eye(4), latent, made_by), folder, template)
    return folder


@pytest.mark.parametrize("rig", ["latent", "blend"])
def test_the_latent_rigs_need_no_weights_of_ones_own(rig, program, predicted, tmp_path):
    code, out, err = program("animate", predicted, "-o", tmp_path, "--rig", rig, *SHORT)
    assert code == 0, err
    assert out == f"{tmp_path / 'blink.mp4'}\n"


def test_heads_of_other_weights_are_refused_by_the_latent_rigs(program, predicted, heads, tmp_path):
    foreign = shutil.copytree(predicted, tmp_path / "foreign")
    described = json.loads((foreign / "head.json").read_text())
    described["provenance"]["checkpoint"]["seed"] = "another"
    (foreign / "head.json").write_text(json.dumps(described))
    for head, found in ((foreign, "of other weights"), (heads / "anna", "missing")):
        code, out, err = program("animate", head, "-o", tmp_path / "out", "--rig", "latent", *SHORT)
        assert (code, out) == (2, "")
        assert f"latent is {found}" in err
        assert "--rig geometric" in err


def test_many_heads_have_folders_and_the_broken_one_stops_no_other(program, heads, tmp_path):
    mixed = shutil.copytree(heads, tmp_path / "heads")
    (mixed / "art").mkdir()
    (mixed / "art" / "head.json").write_text("{}")
    code, out, err = program("animate", mixed, "-o", tmp_path, "--to", "zip", *SHORT)
    assert code == 1
    assert "1 of 3 subjects failed (art)" in err
    assert out.splitlines() == [str(tmp_path / name / "blink.zip") for name in ("anna", "bert")]
    assert all((tmp_path / name / "blink.zip").is_file() for name in ("anna", "bert"))
    statuses = [json.loads(line)["status"] for line in (tmp_path / "manifest.jsonl").read_text().splitlines()]
    assert statuses == ["done", "failed", "done"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [(("--clip", "wink"), "'wink'"), (("--gain", "jawOpen"), "jawOpen"), (("--driver", "none.csv"), "none.csv")],
)
def test_bad_options_are_named_before_any_work(arguments, named, program, heads, tmp_path):
    code, out, err = program("animate", heads, "-o", tmp_path, *arguments)
    assert (code, out) == (2, "")
    assert named in err
    assert not list(tmp_path.iterdir())
