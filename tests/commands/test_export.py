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


def test_heads_become_files_for_viewers(program, tmp_path):
    template = load_template()
    head = Head("anna", template_maps(32), template.name, template.sha256, np.eye(4))
    (tmp_path / "heads" / "anna").mkdir(parents=True)
    write_head(head, tmp_path / "heads" / "anna", template)
    for to, name in (("glb", "anna.glb"), ("compressed-ply", "anna.compressed.ply")):
        code, printed, err = program("export", tmp_path / "heads", "--to", to, "-o", tmp_path / "out", "--quiet")
        assert code == 0, err
        assert printed.startswith(f"{tmp_path / 'out' / name}: ")
        assert (tmp_path / "out" / name).is_file()


def test_a_capture_is_no_head(program, captures, tmp_path):
    code, _, err = program("export", captures / "anna", "--to", "spz", "-o", tmp_path / "out")
    assert code == 2
    assert "expected a head" in err
