import importlib
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from headsup_cli.batch.subjects import run_subjects
from headsup_cli.batch.workers import WorkerDied, map_in_processes

JOBS = """
import logging, os, signal, time
from headsup_cli.errors import HeadsupError
from headsup_cli.runtime.atomic import atomic_directory


def work(folder, subject):
    if subject.name == "bad":
        raise HeadsupError("bad: no camera.")
    if subject.name == "bug":
        raise ZeroDivisionError
    if subject.name == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    (folder / subject.name).write_text(str(os.getpid()))
    logging.getLogger("headsup_cli.test").warning("warned by %s", subject)


def is_old(subject):
    return subject.name == "old"


def linger(folder):
    with atomic_directory(folder) as unfinished:
        (unfinished / "half").touch()
        (folder.parent / f"{folder.name} is at it").touch()
        time.sleep(60)
"""


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    """A module that other processes can import."""
    (tmp_path / "jobs.py").write_text(JOBS)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("jobs")
    del sys.modules["jobs"]


def test_processes_share_subjects_and_one_failure_stops_no_other(tmp_path, jobs, caplog):
    manifest = tmp_path / "manifest.jsonl"
    subjects = [Path(name) for name in ("bad", "one", "crash", "bug", "two", "old")]
    outcomes = run_subjects(subjects, partial(jobs.work, tmp_path), manifest=manifest, is_done=jobs.is_old, workers=2)
    assert [outcome.subject for outcome in outcomes] == [subject.name for subject in subjects]
    assert [outcome.status for outcome in outcomes] == ["failed", "done", "failed", "failed", "done", "skipped"]
    assert outcomes[2].message == "crash: its process ended with code -9; was there enough memory?"
    assert {line["subject"] for line in map(json.loads, manifest.read_text().splitlines())} == set(map(str, subjects))
    assert "warned by one" in caplog.text
    assert "ZeroDivisionError" in caplog.text
    assert str(os.getpid()) not in [(tmp_path / name).read_text() for name in ("one", "two")]


def test_results_come_with_the_index_of_their_item():
    with closing(map_in_processes(abs, [-3, 4, -5], workers=2)) as results:
        assert sorted(results) == [(0, 3), (1, 4), (2, 5)]


def test_a_dead_process_is_told_from_a_result():
    assert list(map_in_processes(os._exit, [7], workers=1)) == [(0, WorkerDied(7))]


def test_ctrl_c_cleans_up_in_every_process(tmp_path, jobs):
    program = (
        "import signal\n"
        "from pathlib import Path\n"
        "from jobs import linger\n"
        "from headsup_cli.batch.subjects import run_subjects\n"
        "if __name__ == '__main__':\n"
        "    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would ignore it\n"
        f"    folder = Path({str(tmp_path)!r})\n"
        "    run_subjects([folder / 'a', folder / 'b'], linger, manifest=folder / 'manifest', workers=2)\n"
    )
    script = tmp_path / "script.py"
    script.write_text(program)
    process = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 50
    while len(list(tmp_path.glob("* is at it"))) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) != 0
    assert not [path for path in tmp_path.iterdir() if path.name in "ab" or path.name.startswith(".")]
