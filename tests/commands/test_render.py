import json

import numpy as np
import pytest

from headsup_cli.capture.lens import Lens
from headsup_cli.capture.rig_dump import RigCamera
from headsup_cli.capture.rigs.native import write_calibration
from headsup_cli.media.images import decode_file, read_image
from headsup_cli.media.video import read_video


def test_one_head_is_filmed_once(program, heads, tmp_path):
    call = (
        "render",
        heads / "anna",
        "-o",
        tmp_path,
        "--frames",
        3,
        "--size",
        "48x40",
        "--as",
        "gif",
        "--fps",
        10,
        "-q",
    )
    code, out, err = program(*call)
    assert code == 0, err
    assert out.strip() == str(tmp_path / "orbit.gif")
    assert [frame.shape for frame in read_video(tmp_path / "orbit.gif")] == [(40, 48, 3)] * 3
    made = (tmp_path / "orbit.gif").stat().st_mtime_ns
    assert program(*call)[:2] == (0, out)
    assert (tmp_path / "orbit.gif").stat().st_mtime_ns == made, "what is there is left alone"
    assert program(*call, "--background", "white")[0] == 0
    assert (tmp_path / "orbit.gif").stat().st_mtime_ns != made, "unless it would be another"
    statuses = [json.loads(line)["status"] for line in (tmp_path / "manifest.jsonl").read_text().splitlines()]
    assert statuses == ["done", "skipped", "done"]


def test_many_heads_have_folders_and_the_broken_one_stops_no_other(program, heads, tmp_path):
    (tmp_path / "heads").mkdir()
    for name in ("anna", "bert"):
        (tmp_path / "heads" / name).symlink_to(heads / name)
    (tmp_path / "heads" / "broken").mkdir()
    (tmp_path / "heads" / "broken" / "head.json").write_text("{}")
    code, out, err = program(
        "render", tmp_path / "heads", "-o", tmp_path / "out", "--as", "sheet", "--frames", 4, "--size", "32x32",
        "--path", "figure-eight", "--show", "normals", "--quiet",
    )  # fmt: skip
    assert code == 1
    assert "broken" in err
    assert len(out.splitlines()) == 2
    for name in ("anna", "bert"):
        assert read_image(tmp_path / "out" / name / "figure-eight_normals_sheet.png").shape == (64, 64, 3)


def test_key_frames_set_the_length_and_transparent_pngs_the_background(program, heads, tmp_path):
    keys = [{"time_s": 0, "position": [0, 0, 1]}, {"time_s": 0.2, "position": [0.3, 0.1, 0.9]}]
    (tmp_path / "flight.json").write_text(json.dumps({"schema": "headsup-path/1", "keyframes": keys}))
    code, out, err = program(
        "render", heads / "anna", "-o", tmp_path, "--path", tmp_path / "flight.json", "--as", "png", "--fps", 10,
        "--size", "32x32", "--background", "transparent", "--supersampling", 2, "--quiet",
    )  # fmt: skip
    assert code == 0, err
    pictures = sorted((tmp_path / "flight").iterdir())
    assert out.strip() == str(tmp_path / "flight")
    assert [picture.name for picture in pictures] == ["00000.png", "00001.png", "00002.png"]
    assert decode_file(pictures[0]).shape == (32, 32, 4)


def test_stills_have_the_cameras_names_and_sizes(program, heads, tmp_path):
    K, pose = np.array([[60.0, 0, 16], [0, 60.0, 24], [0, 0, 1]]), np.diag([1.0, -1.0, -1.0, 1.0])
    pose[2, 3] = 0.9
    cameras = {name: RigCamera(name, K, Lens("opencv", (-0.3,)), pose, 32, 48) for name in ("left", "right")}
    write_calibration(tmp_path / "calibration.json", cameras)
    code, out, err = program(
        "render", heads / "anna", "-o", tmp_path / "out", "--cameras", tmp_path / "calibration.json", "--show", "depth",
        "--quiet",
    )  # fmt: skip
    assert code == 0, err
    assert out.strip() == f"{tmp_path / 'out' / 'depth'}: 2 stills"
    depth = decode_file(tmp_path / "out" / "depth" / "left.png")
    assert depth.shape == (48, 32)
    assert 7000 < depth[24, 16] < 9000, "tenths of a millimetre"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--path", "spiral"), "expected orbit, figure-eight, dolly or a file"),
        (("--background", "transparent"), "transparent .mp4"),
        (("--background", "mauve"), "no colour"),
    ],
)
def test_what_cannot_be_rendered_is_told(program, heads, tmp_path, options, told):
    code, _, err = program("render", heads / "anna", "-o", tmp_path / "out", "--frames", 2, *options)
    assert code == 2
    assert told in err
    assert not list((tmp_path / "out").glob("orbit*"))
