import hashlib
import json
import signal
import subprocess
import sys

import numpy as np
import pytest

from headsup_cli.capture.lens import Lens
from headsup_cli.capture.rig_dump import RigCamera
from headsup_cli.capture.rigs.native import write_calibration
from headsup_cli.simulation.rig.faults import OF_DRAWN_RIGS

SMALL = ("--cameras", "2", "--size", "45x60", "--preset", "studio", "--quiet")


def digests(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.jsonl")
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


# Dies when everything of the second person but the folder's name is there.
KILLED = """
import os, signal, sys
from headsup_cli import app
from headsup_cli.simulation import subject
write = subject.write_subject
def write_and_die(made, folder):
    write(made, folder)
    if "person_000009" in folder.name:
        os.kill(os.getpid(), signal.SIGKILL)
subject.write_subject = write_and_die
app.run(sys.argv[1:])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_killed_run_resumes_to_the_same_bytes_on_any_number_of_workers(program, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    code, out, err = program("simulate", "-n", 3, "--seed", 8, "-o", whole, *SMALL)
    assert code == 0, err
    assert out.split() == [str(whole / f"person_{seed:06d}") for seed in (8, 9, 10)]
    command = [sys.executable, "-c", KILLED, "simulate", "-n", "3", "--seed", "8", "-o", str(killed), *SMALL]
    assert subprocess.run(command, check=False, capture_output=True).returncode == -signal.SIGKILL
    assert sorted(path.name for path in killed.glob("person_*")) == ["person_000008"]
    assert len(list(killed.glob(".person_000009.*"))) == 1
    code, out, err = program("simulate", "-n", 3, "--seed", 8, "-o", killed, *SMALL, "--workers", 2)
    assert code == 0, err
    assert out.split() == [str(killed / f"person_{seed:06d}") for seed in (9, 10)]
    assert digests(killed) == digests(whole)
    assert sorted(path.name for path in killed.iterdir()) == sorted(path.name for path in whole.iterdir())


def test_a_changed_option_makes_people_anew(program, tmp_path):
    code, _, err = program("simulate", "-o", tmp_path, *SMALL)
    assert code == 0, err
    before = digests(tmp_path)
    code, out, _ = program("simulate", "-o", tmp_path, *SMALL, "--fault", "noise=0", "--truth", "light")
    assert code == 0
    assert out
    after = digests(tmp_path)
    assert {name for name in before if "/truth/depth/" in name}
    assert not {name for name in after if "/truth/depth/" in name}
    assert before["person_000000/images/cam00.jpg"] != after["person_000000/images/cam00.jpg"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--cameras", "0"), "--cameras"),
        (("--cameras", "dome0"), "--cameras"),
        (("--cameras", "513"), "--cameras"),
        (("--cameras", "spiral16"), "--cameras"),
        (("--cameras", "absent.json"), "absent.json"),
        (("--preset", "ugly"), "--preset"),
        (("--fault", "rain=1"), "rain=1"),
        (("--fault", "noise"), "noise"),
        (("--fault", "noise=much"), "noise=much"),
        (("--fault", "noise=nan"), "noise"),
        (("--fault", "jpeg=101"), "jpeg"),
        (("--fault", "focal=0.6"), "focal length"),
        (("--fault", "principal=-0.1"), "principal"),
        (("--fault", "irregularity=4"), "irregularity"),
        (("--size", "0x60"), "0x60"),
        (("--size", "-5x10"), "-5x10"),
        (("--size", "9000x60"), "9000x60"),
        (("--style", "punk"), "--style"),
        (("--seed", "-1"), "--seed"),
        (("--expressions", "0"), "--expressions"),
        (("--workers", "0"), "--workers"),
        (("-n", "0"), "-n"),
        (("--truth", "half"), "--truth"),
    ],
)
def test_bad_options_are_told_in_one_sentence(program, tmp_path, arguments, named):
    code, _, err = program("simulate", "-o", tmp_path / "people", *arguments)
    assert code == 2
    assert named in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "people").exists()


def test_a_calibration_without_cameras_is_refused(program, tmp_path):
    path = tmp_path / "calibration.json"
    path.write_text('{"schema": "headsup-rig/1", "units": "m", "pixel_origin": "corner", "cameras": {}}')
    code, _, err = program("simulate", "-o", tmp_path / "people", "--cameras", path)
    assert code == 2
    assert "cameras" in err
    assert "calibration.json" in err


def test_an_output_that_cannot_be_written_is_told(program, tmp_path):
    (tmp_path / "file").touch()
    code, _, err = program("simulate", "-o", tmp_path / "file" / "people", *SMALL)
    assert code == 2
    assert "cannot be written" in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize("fault", OF_DRAWN_RIGS)
def test_a_given_calibration_has_no_faults_of_a_drawn_rig(program, tmp_path, fault):
    path = tmp_path / "calibration.json"
    sides = {"a": np.eye(3), "b": np.array([[0.0, 0, -1], [0, 1, 0], [1, 0, 0]])}
    write_calibration(
        path,
        {
            name: RigCamera(
                name, np.diag([500.0, 500, 1]), Lens(), np.c_[np.r_[turn, np.zeros((1, 3))], [0, 0, 0.9, 1]], 100, 100
            )
            for name, turn in sides.items()
        },
    )
    code, _, err = program("simulate", "-o", tmp_path / "people", "--cameras", path, "--fault", f"{fault}=0.1")
    assert code == 2
    assert f"{fault}=0.1" in err
    assert len(err.strip().splitlines()) == 1


def test_a_calibration_in_the_wrong_unit_is_refused(program, tmp_path):
    camera = {
        "K": [[500, 0, 50], [0, 500, 50], [0, 0, 1]], "dist": [0, 0, 0, 0, 0], "width": 100, "height": 100,
        "R": [[1, 0, 0], [0, 1, 0], [0, 0, 1]], "t": [0, 0, 900],
    }  # fmt: skip
    other = camera | {"R": [[0, 0, -1], [0, 1, 0], [1, 0, 0]]}
    rig = {"schema": "headsup-rig/1", "units": "m", "pixel_origin": "corner", "cameras": {"a": camera, "b": other}}
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(rig))
    code, _, err = program("simulate", "-o", tmp_path / "people", "--cameras", path)
    assert code == 2
    assert "899 m" in err
