import json

import numpy as np
import pytest

from headsup_cli.capture.lens import Lens
from headsup_cli.capture.rig_dump import RigCamera
from headsup_cli.capture.rigs import native
from headsup_cli.gaussians.head import read_head


def test_a_capture_gives_the_same_head_as_the_dump_it_was_made_from(program, pytestconfig, tmp_path):
    sample = pytestconfig.rootpath / "sample_data" / "anna"
    code, out, err = program("preprocess", sample, "-o", tmp_path / "captures", "--frame", "00_neutral", "--quiet")
    assert code == 0, err
    assert out.strip() == str(tmp_path / "captures" / "anna")
    capture = json.loads((tmp_path / "captures" / "anna" / "capture.json").read_text())
    assert list(capture["frames"]) == ["00_neutral"]
    for source, target in ((tmp_path / "captures" / "anna", "a"), (sample, "b")):
        code, _, err = program("reconstruct", source, "-o", tmp_path / target, "--views", "4", "--quiet")
        assert code == 0, err
    a, b = (read_head(tmp_path / name / "anna") for name in "ab")
    np.testing.assert_allclose(a.rig_from_head, b.rig_from_head, atol=1e-9)
    difference = (a.maps.offset - b.maps.offset).abs().mean()
    assert difference < 1e-5


def test_a_folder_that_is_no_dump_is_refused(program, tmp_path):
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "beach.jpg").write_bytes(b"no picture")
    code, _, err = program("preprocess", tmp_path / "holiday", "-o", tmp_path / "out")
    assert code == 2
    assert "holiday" in err
    assert "expected" in err
    assert not (tmp_path / "out").exists()


def test_a_landmarker_that_is_not_there_is_refused_before_any_work(program, pytestconfig, tmp_path):
    sample = pytestconfig.rootpath / "sample_data" / "anna"
    code, _, err = program("preprocess", sample, "-o", tmp_path / "out", "--landmarks", tmp_path / "face.task")
    assert code == 2, err
    assert f"{tmp_path / 'face.task'}" in err
    assert "a MediaPipe .task file" in err
    assert not (tmp_path / "out" / "anna").exists()


@pytest.fixture
def rigs(tmp_path):
    """Two dumps of one small picture, and one whose picture is broken."""
    K, pose = np.array([[90.0, 0, 20], [0, 90, 30], [0, 0, 1]]), np.diag([1.0, -1, -1, 1])
    pose[2, 3] = 1
    for name in ("anna", "bert", "carl"):
        folder = tmp_path / "rigs" / name
        native.write_rig_frame(folder, {"c": np.full((60, 40, 3), 90, np.uint8)})
        native.write_calibration(folder / "calibration.json", {"c": RigCamera("c", K, Lens(), pose, 40, 60)})
    (tmp_path / "rigs" / "bert" / "images" / "c.png").write_bytes(b"\x89PNG")
    return tmp_path / "rigs"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_failing_subject_is_named_and_done_ones_are_skipped(program, rigs, tmp_path, workers):
    arguments = ("preprocess", rigs, "-o", tmp_path / "out", "--masks", "none", "--workers", workers)
    code, out, err = program(*arguments)
    assert code == 1
    assert out.split() == [str(tmp_path / "out" / name) for name in ("anna", "carl")]
    assert "bert" in err
    program(*arguments)
    lines = [json.loads(line) for line in (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()]
    statuses = [sorted(line["status"] for line in part) for part in (lines[:3], lines[3:])]
    assert statuses == [["done", "done", "failed"], ["failed", "skipped", "skipped"]]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"anna", "carl", "manifest.jsonl"}


def test_formats_are_listed(program):
    code, out, _ = program("preprocess", "--list-formats")
    assert code == 0
    assert "native" in out
