"""Many subjects in one run: broken ones, finished ones, and a run that was killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from headsup_cli.app import run
from headsup_cli.gaussians.head import read_head

KEPT_CAMERAS = 5


def _small_subject(sample: Path, folder: Path, *frames: str) -> Path:
    """A few frames of the sample subject as five cameras took them; without names, the neutral one alone."""
    calibration = json.loads((sample / "calibration.json").read_text())
    cameras = dict(sorted(calibration["cameras"].items())[:KEPT_CAMERAS])
    for kind in ("images", "masks"):
        for frame in frames or ("00_neutral",):
            place = folder / kind / (frame if frames else "")
            place.mkdir(parents=True)
            for name in cameras:
                picture = next((sample / kind / frame).glob(f"{name}.*"))
                shutil.copy(picture, place / picture.name)
    (folder / "calibration.json").write_text(json.dumps(calibration | {"cameras": cameras}))
    return folder


def _break_calibration(folder: Path) -> None:
    path = folder / "calibration.json"
    calibration = json.loads(path.read_text())
    first = sorted(calibration["cameras"])[0]
    calibration["cameras"][first]["R"][0][0] += 0.5
    path.write_text(json.dumps(calibration))


def _truncate_pictures(folder: Path) -> None:
    for path in (folder / "images").rglob("*.*"):
        path.write_bytes(path.read_bytes()[:100])


def _state_another_size(folder: Path) -> None:
    path = folder / "calibration.json"
    calibration = json.loads(path.read_text())
    for camera in calibration["cameras"].values():
        camera["width"] += 7
    path.write_text(json.dumps(calibration))


def _statuses(output: Path) -> dict[str, str]:
    """The last outcome of every subject."""
    lines = map(json.loads, (output / "manifest.jsonl").read_text().splitlines())
    return {Path(line["subject"]).name: line["status"] for line in lines}


def _content(output: Path) -> dict[str, bytes]:
    """Every file of every head, but not the litter of a killed run; of reports, all but the times."""
    found = {}
    for path in output.glob("[!.]*/*"):
        content = path.read_bytes()
        if path.name == "report.json":
            report = json.loads(content)
            del report["seconds"]
            content = json.dumps(report).encode()
        found[path.relative_to(output).as_posix()] = content
    return found


def _killed_after_first_head(arguments: list[str], output: Path) -> int:
    """Start a run in a process group of its own, kill it once a head is there, and count the heads."""
    process = subprocess.Popen([sys.executable, "-m", "headsup_cli", *arguments], start_new_session=True)
    try:
        while not list(output.glob("*/head.json")):
            assert process.poll() is None, "it ended before it was killed"
            time.sleep(0.05)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return len(list(output.glob("*/head.json")))


@pytest.fixture(scope="module")
def subjects(pytestconfig, tmp_path_factory):
    """Two good subjects, and a broken one between them."""
    folder = tmp_path_factory.mktemp("subjects")
    first = _small_subject(pytestconfig.rootpath / "sample_data" / "anna", folder / "anna")
    for name in ("berta", "carla"):
        shutil.copytree(first, folder / name)
    _break_calibration(folder / "berta")
    return folder


@pytest.fixture(scope="module")
def heads(subjects, tmp_path_factory):
    output = tmp_path_factory.mktemp("heads")
    assert run(["reconstruct", str(subjects), "-o", str(output), "--quiet"]) == 1
    return output


def test_a_second_run_makes_nothing_anew_and_names_the_broken_one_again(subjects, heads, program):
    assert _statuses(heads) == {"anna": "done", "berta": "failed", "carla": "done"}
    before = {path: path.stat().st_mtime_ns for path in heads.glob("*/*")}
    assert len(before) == 8, "of the broken one there is nothing"
    code, out, err = program("reconstruct", subjects, "-o", heads, "--quiet")
    assert code == 1
    assert "1 of 3 subjects failed (berta)" in err
    assert _statuses(heads) == {"anna": "skipped", "berta": "failed", "carla": "skipped"}
    assert {path: path.stat().st_mtime_ns for path in heads.glob("*/*")} == before
    rows = {line.split()[0]: line for line in out.splitlines()}
    assert list(rows) == ["subject", "anna", "berta", "carla"]
    assert str(heads / "anna") in rows["anna"]
    assert "expected" in rows["berta"]


def test_a_finished_head_is_left_alone_until_something_changes(subjects, heads, program, tmp_path):
    shutil.copytree(heads, tmp_path / "heads")
    made = []
    for changes in ([], ["--seed", "1"]):
        code, out, err = program("reconstruct", subjects / "anna", "-o", tmp_path / "heads", "--quiet", *changes)
        assert code == 0, err
        assert out.strip() == str(tmp_path / "heads" / "anna")
        made.append(_statuses(tmp_path / "heads")["anna"])
    assert made == ["skipped", "done"]
    seeds = [
        json.loads((place / "anna" / "head.json").read_text())["provenance"]["seed"]
        for place in (heads, tmp_path / "heads")
    ]
    assert seeds == [0, 1]


def test_views_that_cannot_be_used_are_left_out_with_a_warning(subjects, program, tmp_path):
    folder = shutil.copytree(subjects / "anna", tmp_path / "anna")
    pictures = sorted((folder / "images").iterdir())
    pictures[0].unlink()
    pictures[1].write_bytes(pictures[1].read_bytes()[:2000])
    code, _, err = program("reconstruct", folder, "-o", tmp_path / "out")
    assert code == 0, err
    warnings = [line for line in err.splitlines() if line.startswith("headsup: warning:")]
    assert any(pictures[0].stem in line for line in warnings)
    assert any(pictures[1].stem in line for line in warnings)
    assert json.loads((tmp_path / "out" / "anna" / "report.json").read_text())["views"] == KEPT_CAMERAS - 2


@pytest.mark.slow
def test_a_killed_run_is_finished_by_the_next_with_the_same_bytes(subjects, heads, program, tmp_path):
    assert _killed_after_first_head(["reconstruct", str(subjects), "-o", str(tmp_path), "--quiet"], tmp_path) < 2
    assert program("reconstruct", subjects, "-o", tmp_path, "--quiet")[0] == 1
    assert _content(tmp_path) == _content(heads)
    assert {path.name for path in tmp_path.iterdir()} == {"anna", "carla", "manifest.jsonl"}, "the litter is gone"


def test_every_frame_becomes_a_head_and_what_is_missing_is_made(repository, program, tmp_path):
    frames = ("00_neutral", "01_smile")
    subject = _small_subject(repository / "sample_data" / "anna", tmp_path / "anna", *frames)
    output = tmp_path / "heads"
    arguments = ("reconstruct", subject, "-o", output, "--frame", "all", "--uv", "256", "--quiet")
    assert program(*arguments)[0] == 0
    neutral, smile = (output / "anna" / frame for frame in frames)
    heads = [read_head(folder) for folder in (neutral, smile)]
    assert [head.provenance["frame"] for head in heads] == list(frames)
    assert [head.maps.resolution for head in heads] == [256, 256]
    assert (heads[0].rig_from_head == heads[1].rig_from_head).all()

    made = (neutral / "head.json").stat().st_mtime_ns
    shutil.rmtree(smile)
    assert program(*arguments)[0] == 0
    assert (smile / "head.json").is_file()
    assert (neutral / "head.json").stat().st_mtime_ns == made
    assert program(*arguments)[0] == 0
    assert _statuses(output) == {"anna": "skipped"}

    code, _, err = program("reconstruct", subject, "-o", output, "--quiet")
    assert code == 2
    assert "expected room for one head" in err
    assert (smile / "head.json").is_file()


@pytest.mark.slow
def test_twenty_subjects_three_of_them_broken(program, tmp_path):
    people, output = tmp_path / "people", tmp_path / "heads"
    few = ("--size", "96x128", "--cameras", "front8", "--truth", "light")
    assert program("simulate", "-n", "20", "-o", people, *few, "--quiet")[0] == 0
    damage = dict(zip((3, 8, 15), (_break_calibration, _truncate_pictures, _state_another_size), strict=True))
    for number, spoil in damage.items():
        spoil(people / f"person_{number:06d}")
    code, out, err = program("reconstruct", people, "-o", output, "--quiet")
    assert code == 1
    assert f"3 of 20 subjects failed ({', '.join(f'person_{number:06d}' for number in damage)})" in err
    assert len(list(output.glob("*/head.json"))) == 17
    assert len(out.splitlines()) == 21

    start = time.monotonic()
    assert program("reconstruct", people, "-o", output, "--quiet")[0] == 1
    print(f"\na second run: {time.monotonic() - start:.1f} s")
    assert list(_statuses(output).values()).count("skipped") == 17

    again = tmp_path / "again"
    assert _killed_after_first_head(["reconstruct", str(people), "-o", str(again), "--quiet"], again) < 17
    assert program("reconstruct", people, "-o", again, "--quiet")[0] == 1
    assert _content(again) == _content(output)
