import json
import pickle
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from headsup_cli.cameras.trajectories import look_at
from headsup_cli.capture.capture import Encoding, read_capture, validate_capture
from headsup_cli.capture.lens import Lens
from headsup_cli.capture.rig_dump import RigCamera
from headsup_cli.capture.rigs import native
from headsup_cli.preprocessing import capture_folder
from headsup_cli.preprocessing.capture_folder import PreprocessJob
from headsup_cli.preprocessing.options import PreprocessOptions
from headsup_cli.runtime.hashing import sha256_of

WIDTH, HEIGHT = 60, 80
PNG = Encoding()


def _write_dump(folder: Path, frames=("a", "b", "c")) -> Path:
    eyes = torch.tensor([[-0.5, 0.1, 0.9], [0.0, -0.1, 1.0], [0.6, 0.0, 0.8]], dtype=torch.float64)
    poses = look_at(eyes, torch.zeros(3).double(), torch.tensor([0.0, 1.0, 0.0]).double()).numpy()
    K = np.array([[180.0, 0, 30.2], [0, 181, 39.7], [0, 0, 1]])
    lens = Lens("opencv", (-0.15, 0.1, 0.001, 0.0, 0.0))
    cameras = {f"c{i}": RigCamera(f"c{i}", K, lens, pose, WIDTH, HEIGHT) for i, pose in enumerate(poses)}
    mask = cv2.ellipse(np.zeros((HEIGHT, WIDTH), np.uint8), (30, 40), (16, 23), 0, 0, 360, 255, -1)
    rng = np.random.default_rng(0)
    for frame in frames:
        image = np.where(mask[..., None] > 0, 180, rng.integers(0, 99, (HEIGHT, WIDTH, 3))).astype(np.uint8)
        native.write_rig_frame(folder, dict.fromkeys(cameras, image), dict.fromkeys(cameras, mask), frame=frame)
    native.write_calibration(folder / "calibration.json", cameras)
    return folder


@pytest.fixture
def make_job(toy_template):
    def make(output, encoding=PNG, **options):
        return PreprocessJob(output, PreprocessOptions(**options), encoding, None, _template=toy_template)

    return make


@pytest.fixture
def job(make_job, tmp_path):
    return make_job(tmp_path / "out")


@pytest.fixture
def rig(tmp_path):
    return _write_dump(tmp_path / "rigs" / "anna")


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_capture_is_written_with_its_page_and_the_dump_is_left_alone(job, rig):
    before = sha256_of(rig)
    job(rig)
    folder = job.folder(rig)
    assert sha256_of(rig) == before
    capture = validate_capture(folder)
    assert list(capture.frames) == ["a", "b", "c"]
    pictures = {f"{kind}/{frame}/c{i}.png" for kind in ("images", "masks") for frame in "abc" for i in range(3)}
    assert _files(folder) == pictures | {"capture.json", "qa.html"}
    assert [path.name for path in job.output.iterdir()] == ["anna"]
    page = (folder / "qa.html").read_text()
    assert page.count("data:image/jpeg") == 3 * 3 + 2
    assert page.count("<div class=row>") == 3  # each camera's three pictures stay side by side in a narrow window
    assert "http" not in page


def test_done_and_unchanged_is_known_and_whatever_changes_is_not(job, rig, make_job):
    assert not job.is_done(rig)
    job(rig)

    def again(**changes):
        return make_job(job.output, **changes).is_done(rig)

    assert again()
    assert not again(colour="none")
    assert not again(encoding=Encoding(".jpg"))
    path = rig / "images" / "b" / "c1.png"
    cv2.imwrite(str(path), cv2.imread(str(path)) // 2)
    assert not again()


def test_frames_that_were_finished_are_not_made_again(job, rig, monkeypatch, tmp_path):
    job(rig)
    straight_through = sha256_of(job.folder(rig))
    shutil.rmtree(job.folder(rig))
    written = []
    write_view = capture_folder.write_view

    def failing_at_the_fifth(view, folder, frame, camera, encoding):
        written.append(frame)
        if len(written) == 5:
            raise KeyboardInterrupt
        return write_view(view, folder, frame, camera, encoding)

    monkeypatch.setattr(capture_folder, "write_view", failing_at_the_fifth)
    with pytest.raises(KeyboardInterrupt):
        job(rig)
    assert not job.folder(rig).exists()
    (job.output / ".anna.unfinished" / "capture" / ".capture.0123.tmp.json").write_text("{")
    del written[:]
    monkeypatch.setattr(capture_folder, "write_view", lambda *given: written.append(given[2]) or write_view(*given))
    job(rig)
    assert set(written) == {"b", "c"}
    assert not list(job.folder(rig).glob(".*"))
    assert sha256_of(job.folder(rig)) == straight_through
    assert [path.name for path in job.output.iterdir()] == ["anna"]


def test_unfinished_work_with_other_options_is_thrown_away(job, rig):
    stale = job.output / ".anna.unfinished"
    (stale / "capture" / "images" / "zzz").mkdir(parents=True)
    (stale / "key").write_text("another")
    job(rig)
    assert "zzz" not in str(sorted(job.output.rglob("*")))


@pytest.mark.parametrize(("suffix", "magic"), [(".jpg", b"\xff\xd8"), (".webp", b"RIFF")])
def test_codec_and_quality(rig, tmp_path, make_job, suffix, magic):
    sizes = []
    for quality in (30, 95):
        job = make_job(tmp_path / str(quality), Encoding(suffix, quality))
        job(rig)
        stored = (job.folder(rig) / "images" / "a" / f"c0{suffix}").read_bytes()
        assert stored.startswith(magic)
        sizes.append(len(stored))
        assert read_capture(job.folder(rig)).provenance.options["quality"] == quality
    assert sizes[0] < sizes[1]


def test_a_frame_whose_views_are_all_broken_stops_the_subject_in_one_sentence(job, rig):
    for path in (rig / "images" / "b").iterdir():
        path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(Exception, match="frame b") as failure:
        job(rig)
    assert "\n" not in str(failure.value)
    assert not job.folder(rig).exists()


_PROGRAM = """
import pickle, sys
from pathlib import Path
from headsup_cli.batch.subjects import run_subjects
job, rig = pickle.loads(Path(sys.argv[1]).read_bytes())
run_subjects([rig], job, manifest=job.output / "manifest.jsonl", is_done=job.is_done)
"""


def _command(job, rig, tmp_path):
    path = tmp_path / f"{job.output.name}.pickle"
    path.write_bytes(pickle.dumps((job, rig)))
    return [sys.executable, "-c", _PROGRAM, str(path)]


def _kill_at_random_moments(command, job, rig, kills: int) -> None:
    """Run the program and kill it, the later the oftener it was killed before it had anything on disk."""
    moments, latest_s = random.Random(kills), 10.0
    for _ in range(kills):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(moments.uniform(0.0, latest_s))
            latest_s = max(2.0, 0.8 * latest_s)
            shutil.rmtree(job.folder(rig))  # it was done before: start anew
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            latest_s *= 1.1


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
@pytest.mark.parametrize("kills", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_random_moments_it_ends_in_the_same_bytes(rig, tmp_path, make_job, kills):
    before = sha256_of(rig)
    straight, job = make_job(tmp_path / "straight"), make_job(tmp_path / "out")
    straight(rig)
    command = _command(job, rig, tmp_path)
    _kill_at_random_moments(command, job, rig, kills)
    subprocess.run(command, check=True, capture_output=True)
    assert sha256_of(job.folder(rig)) == sha256_of(straight.folder(rig))
    assert sha256_of(rig) == before
    assert not (job.output / ".anna.unfinished").exists()
    outcomes = [json.loads(line)["status"] for line in (job.output / "manifest.jsonl").read_text().splitlines()]
    assert outcomes[-1] in ("done", "skipped")
