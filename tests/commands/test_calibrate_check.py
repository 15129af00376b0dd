import json
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "calibration"))

from simple_rigs import changed, named, photograph, ring, turned

from headsup_cli.app import run
from headsup_cli.capture.rigs.native import read_calibration, write_calibration, write_rig_frame


@pytest.fixture(scope="module")
def dump(tmp_path_factory):
    """Five pictures of a speckled ball, with a right calibration and one in which a camera is turned."""
    folder = tmp_path_factory.mktemp("rig") / "ball"
    cameras = ring(5, 300, 400, focal_px=1300.0, spread_deg=80.0)
    write_rig_frame(folder, {camera.id: photograph(camera) for camera in cameras})
    write_calibration(folder / "calibration.json", named(cameras))
    write_calibration(folder.parent / "bad.json", named(changed(cameras, 2, turned(cameras[2], 1.0, (1, 1, 0)))))
    return folder


@pytest.mark.slow
def test_passes_a_right_calibration(dump, capsys):
    assert run(["calibrate-check", str(dump), "--json", "--quiet"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["passed"]
    assert told["reading"] == "as given"
    assert {camera["status"] for camera in told["cameras"]} == {"ok"}


def test_names_the_wrong_camera_refines_and_reports(dump, tmp_path, capsys):
    better, page = tmp_path / "better.json", tmp_path / "check.html"
    arguments = ["--calibration", str(dump.parent / "bad.json"), "--refine", str(better), "--report", str(page)]
    assert run(["calibrate-check", str(dump), *arguments]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[1].split()[:2] == ["c02", "failed"]
    assert "refined: median error" in out
    assert "camera c02 is wrong" in err
    assert list(read_calibration(better)) == [f"c{k:02d}" for k in range(5)]
    html = page.read_text()
    assert "1 of 5 cameras wrong" in html
    assert html.count("data:image/jpeg;base64,") >= 5
    assert "http" not in html.replace("http://www.w3.org", "")


def test_goes_on_without_a_picture_that_cannot_be_read(dump, tmp_path, capsys):
    folder, page = tmp_path / "ball", tmp_path / "check.html"
    shutil.copytree(dump, folder)
    broken = next((folder / "images").glob("c04.*"))
    broken.write_bytes(broken.read_bytes()[:200])
    assert run(["calibrate-check", str(folder), "--report", str(page), "--json"]) == 0
    out, err = capsys.readouterr()
    told = {camera["camera"]: camera for camera in json.loads(out)["cameras"]}
    assert [told[name]["status"] for name in sorted(told)] == ["ok"] * 4 + ["unchecked"]
    assert "truncated" in told["c04"]["findings"][0]
    assert "camera c04 is left out" in err
    assert "<figcaption><b>c04</b>" not in page.read_text()
    for picture in (folder / "images").iterdir():
        if not picture.name.startswith("c00"):
            picture.write_bytes(b"")
    assert run(["calibrate-check", str(folder)]) == 2


def test_refuses_what_it_cannot_use(dump, tmp_path, capsys):
    assert run(["calibrate-check", str(tmp_path)]) == 2
    assert run(["calibrate-check", str(dump), "--frame", "nowhere"]) == 2
    assert "nowhere" in capsys.readouterr().err
    write_calibration(tmp_path / "few.json", named(ring(3, 300, 400)))
    assert run(["calibrate-check", str(dump), "--calibration", str(tmp_path / "few.json")]) == 2
    assert "c03" in capsys.readouterr().err
