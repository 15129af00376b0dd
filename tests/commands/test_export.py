import json

import numpy as np
import pytest

from headsup_cli.capture.capture import (
    Capture,
    CaptureCamera,
    CaptureFrame,
    CaptureView,
    OriginalCamera,
    write_capture,
)
from headsup_cli.capture.lens import Lens
from headsup_cli.capture.rig_dump import RigCamera
from headsup_cli.capture.rigs.native import write_calibration
from headsup_cli.capture.schemas import HeadFrameEntry, ProvenanceEntry
from headsup_cli.gaussians.head import Head, write_head
from headsup_cli.gaussians.uv_maps import template_maps
from headsup_cli.template.default import load_template


@pytest.fixture
def captures(tmp_path):
    """A folder with one capture, `anna`, of one camera and two moments."""
    K, pose = np.array([[90.0, 0, 16], [0, 90.0, 24], [0, 0, 1]]), np.diag([1.0, -1.0, -1.0, 1.0])
    pose[2, 3] = 1.0
    camera = CaptureCamera(K, pose, 32, 48, OriginalCamera(K, Lens(), 32, 48))
    view = CaptureView(np.full((48, 32, 3), 90, np.uint8), np.full((48, 32), 255, np.uint8))
    head_frame = HeadFrameEntry(method="cameras", template_scale=[1.0, 1.0, 1.0], residual_mm=None)
    made = ProvenanceEntry(program="x", source="anna", importer="native", inputs_sha256={}, options={}, left_out={})
    frames = {name: CaptureFrame({"c": view}) for name in ("neutral", "smile")}
    write_capture(Capture("anna", {"c": camera}, frames, np.eye(4), head_frame, made), tmp_path / "captures" / "anna")
    return tmp_path / "captures"


def test_captures_become_data_sets(program, captures, tmp_path):
    for to, file in (("nerfstudio", "transforms.json"), ("colmap", "sparse/0/points3D.txt")):
        code, printed, err = program("export", captures, "--to", to, "-o", tmp_path / to, "--quiet")
        assert code == 0, err
        assert printed.strip() == str(tmp_path / to / "anna")
        assert (tmp_path / to / "anna" / file).is_file()
    content = json.loads((tmp_path / "nerfstudio" / "anna" / "transforms.json").read_text())
    assert [(tmp_path / "nerfstudio" / "anna" / frame["file_path"]).is_file() for frame in content["frames"]] == [True]


def test_what_cannot_be_exported_is_told(program, captures, tmp_path):
    code, _, err = program("export", captures, "--to", "colmap", "-o", tmp_path / "out", "--frame", "cry")
    assert code == 2
    assert "expected one of neutral, smile" in err
    assert not (tmp_path / "out" / "anna").exists()
    code, _, err = program(
        "export", tmp_path / "captures" / "anna" / "images", "--to", "colmap", "-o", tmp_path / "out"
    )
    assert code == 2
    assert "expected a capture" in err


@pytest.fixture
def heads(tmp_path):
    """A folder with one head, `anna`."""
    template, folder = load_template(), tmp_path / "heads" / "anna"
    folder.mkdir(parents=True)
    write_head(Head("anna", template_maps(32), template.name, template.sha256, np.eye(4)), folder, template)
    return tmp_path / "heads"


def test_heads_become_files_for_viewers(program, heads, tmp_path):
    for to, name in (("glb", "anna.glb"), ("compressed-ply", "anna.compressed.ply")):
        code, printed, err = program("export", heads, "--to", to, "-o", tmp_path / "out", "--quiet")
        assert code == 0, err
        assert printed.startswith(f"{tmp_path / 'out' / name}: ")
        assert (tmp_path / "out" / name).is_file()


def test_a_file_is_written_once_and_again_for_other_options(program, heads, tmp_path):
    call, file = ("export", heads / "anna", "--to", "ply", "-o", tmp_path, "--quiet"), tmp_path / "anna.ply"
    assert program(*call)[0] == 0
    made = file.stat().st_mtime_ns
    assert program(*call)[:2] == (0, "")
    assert file.stat().st_mtime_ns == made
    assert program(*call, "--up", "+y", "--scale", 100)[0] == 0
    assert b"comment up +y\n" in file.read_bytes()[:300]
    receipt = json.loads((tmp_path / "anna.ply.json").read_text())
    assert receipt["details"]["placement"] == {"up": "+y", "scale": 100.0}
    (tmp_path / "anna.ply").unlink()
    assert program(*call, "--up", "+y", "--scale", 100)[0] == 0
    assert file.is_file(), "a receipt alone is no file"


def test_pruning_drops_what_the_cameras_cannot_see(program, heads, tmp_path):
    K, pose = np.array([[90.0, 0, 48], [0, 90.0, 48], [0, 0, 1]]), np.diag([1.0, -1.0, -1.0, 1.0])
    pose[2, 3] = 0.9
    write_calibration(tmp_path / "front.json", {"front": RigCamera("front", K, Lens(), pose, 96, 96)})
    dropped = {}
    for place in ("around", tmp_path / "front.json"):
        call = ("export", heads, "--to", "splat", "-o", tmp_path / "out", "--prune", place, "--quiet")
        code, printed, err = program(*call)
        assert code == 0, err
        dropped[place], whole = int(printed.split()[-5]), int(printed.split()[-3])
        assert (tmp_path / "out" / "anna.splat").stat().st_size == 32 * (whole - dropped[place])
    assert dropped["around"] < dropped[tmp_path / "front.json"] < whole


def test_any_3dgs_ply_is_converted(program, heads, tmp_path):
    code, _, err = program("export", heads / "anna" / "gaussians.ply", "--to", "glb", "-o", tmp_path, "--quiet")
    assert code == 0, err
    assert (tmp_path / "gaussians.glb").is_file()


def test_a_capture_is_no_head(program, captures, tmp_path):
    code, _, err = program("export", captures / "anna", "--to", "spz", "-o", tmp_path / "out")
    assert code == 2
    assert "expected a head" in err
