"""Preparing ahead, with stand-ins for everything that takes time."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from headsup_cli.capture.capture import read_capture
from headsup_cli.capture.rig_dump import RigDump
from headsup_cli.errors import InputError
from headsup_cli.gaussians.head_folder import HEAD_FILE
from headsup_cli.inference.options import ReconstructOptions
from headsup_cli.jobs import reconstruction
from headsup_cli.jobs.reconstruction import ReconstructJob

NAMES = ("a", "b", "c")
BROKEN = InputError("b", found="broken", expected="whole", remedy="mend it")


@pytest.fixture
def prepared():
    """An event for each subject, set once its preparation has begun."""
    return {name: threading.Event() for name in NAMES}


def dump_of(path):
    return RigDump(path, "native", 1.0, {}, {})


@pytest.fixture
def job(monkeypatch, repository, tmp_path, prepared):
    """A job whose subjects are names; it works on one only when the next one's preparation has begun."""
    capture = read_capture(repository / "sample_data" / "anna_capture")

    def prepare(dump, *_, **__):
        name = dump.path.name
        prepared[name].set()
        if name == "b":
            raise BROKEN
        return replace(capture, subject=name)

    def make(some, *_, **__):
        if some.subject == "a":
            assert prepared["b"].wait(60), "b is prepared while a is worked on"

    monkeypatch.setattr("headsup_cli.preprocessing.preprocess.preprocess_rig", prepare)
    monkeypatch.setattr("headsup_cli.inference.reconstruct.reconstruct", make)
    monkeypatch.setattr(
        "headsup_cli.inference.reconstruct.write_reconstruction", lambda _, folder, __: (folder / HEAD_FILE).touch()
    )
    for name in ("_surface", "_weights"):
        monkeypatch.setattr(ReconstructJob, name, lambda self: None)
    monkeypatch.setattr(ReconstructJob, "_key", lambda self, subject, frame: str(subject))
    monkeypatch.setattr(reconstruction, "read_provenance", lambda folder: {"made_from": folder.name})

    def named(**changes):
        queue = tuple(Path(name) for name in NAMES)
        options = ReconstructOptions()
        return ReconstructJob(tmp_path, options, 1000, False, None, "cpu", None, dump_of, queue=queue, **changes)

    return named


def test_the_next_subject_is_prepared_while_one_is_worked_on(job, prepared, tmp_path):
    work = job()
    work(Path("a"))
    assert (tmp_path / "a" / HEAD_FILE).is_file()
    assert not prepared["c"].is_set(), "one ahead, no more"


def test_what_fails_ahead_fails_when_its_turn_comes_and_stops_no_other(job, tmp_path):
    work = job()
    work(Path("a"))
    with pytest.raises(InputError) as error:
        work(Path("b"))
    assert error.value is BROKEN
    work(Path("c"))
    assert {path.name for path in tmp_path.iterdir()} == {"a", "c"}


def test_finished_subjects_are_passed_over(job, prepared, tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / HEAD_FILE).touch()
    work = job()
    assert work.is_done(Path("b"))
    prepared["b"].set()  # which a would wait for
    work(Path("a"))
    assert prepared["c"].wait(60), "c is the next that needs work"
    work(Path("c"))
    assert (tmp_path / "c" / HEAD_FILE).is_file()


def test_heads_of_every_frame_take_no_heads_place_nor_the_other_way_round(job, tmp_path):
    job()(Path("a"))
    with pytest.raises(InputError, match="every frame"):
        job(frames="every")(Path("a"))
    job(frames="every")(Path("c"))
    frames = {path.name for path in (tmp_path / "c").iterdir()}
    assert frames
    with pytest.raises(InputError, match="one head"):
        job()(Path("c"))
    assert {path.name for path in (tmp_path / "c").iterdir()} == frames


def test_a_rig_dump_is_read_once_for_hashing_and_preparing_it(job, monkeypatch):
    def key(self, subject, frame):
        return str(self._dump(subject).path)

    monkeypatch.setattr(ReconstructJob, "_key", key)
    work, read = job(), []
    work.read = lambda path: read.append(path.name) or dump_of(path)
    work.queue = (Path("c"),)
    assert not work.is_done(Path("c"))
    work(Path("c"))
    assert read == ["c"]
