import errno
import os
import signal
import subprocess
import sys

import pytest

from headsup_cli.errors import HeadsupError
from headsup_cli.runtime import atomic
from headsup_cli.runtime.atomic import atomic_directory, atomic_path, atomic_write_text


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_file_appears_only_when_complete(tmp_path):
    final = tmp_path / "new" / "a.png"
    with atomic_path(final) as temporary:
        temporary.write_bytes(b"half")
        assert temporary.suffix == ".png"
        assert temporary.parent == final.parent
        assert not final.exists()
    assert final.read_bytes() == b"half"
    assert names(final.parent) == ["a.png"]


def test_failure_keeps_the_old_file_and_leaves_nothing_else(tmp_path):
    final = tmp_path / "a.txt"
    atomic_write_text(final, "old")
    with pytest.raises(ZeroDivisionError), atomic_path(final) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise ZeroDivisionError
    assert final.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_written_files_get_the_usual_permissions(tmp_path):
    (tmp_path / "plain").write_text("")
    atomic_write_text(tmp_path / "atomic", "")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("one_step", [True, False])
def test_directory_is_replaced_as_a_whole(tmp_path, monkeypatch, one_step):
    if not one_step:
        monkeypatch.setattr(atomic, "_exchange", lambda *_: False)
    final = tmp_path / "head"
    for name in ("old", "new"):
        with atomic_directory(final) as temporary:
            (temporary / "sub").mkdir()
            (temporary / "sub" / name).write_text(name)
    assert names(final / "sub") == ["new"]
    assert names(tmp_path) == ["head"]


def test_failed_directory_keeps_the_old_one(tmp_path):
    final = tmp_path / "head"
    final.mkdir()
    (final / "old").touch()
    with pytest.raises(ZeroDivisionError), atomic_directory(final) as temporary:  # noqa: PT012
        (temporary / "new").touch()
        raise ZeroDivisionError
    assert names(final) == ["old"]
    assert names(tmp_path) == ["head"]


@pytest.mark.skipif(sys.platform != "linux", reason="renameat2")
def test_linux_swaps_in_one_step(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"in_{name}").touch()
    assert atomic._exchange(tmp_path / "a", tmp_path / "b")
    assert names(tmp_path / "a") == ["in_b"]


@pytest.mark.parametrize("writer", [atomic_path, atomic_directory])
def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path, writer):
    (tmp_path / "file").touch()
    with pytest.raises(HeadsupError, match="file/a: cannot be written"), writer(tmp_path / "file" / "a"):
        pass


def test_a_full_disk_is_one_sentence_and_other_errors_pass(tmp_path):
    with pytest.raises(HeadsupError, match="No space left"), atomic_path(tmp_path / "a"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "a"):
        (tmp_path / "absent").read_text()


def test_a_killed_writer_leaves_the_old_file(tmp_path):
    final = tmp_path / "a.txt"
    final.write_text("old")
    writer = f"""
import os, pathlib, signal
from headsup_cli.runtime.atomic import atomic_path
with atomic_path(pathlib.Path({str(final)!r})) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", writer], check=False).returncode == -signal.SIGKILL
    assert final.read_text() == "old"
    assert all(name == "a.txt" or name.startswith(".") for name in names(tmp_path))


@pytest.mark.skipif(sys.platform == "win32", reason="folders have no locks")
def test_what_a_killed_process_left_is_removed_and_what_a_living_one_makes_is_not(tmp_path):
    final, other = tmp_path / "an[n]a.x", tmp_path / "berta.x"
    writer = f"""
import pathlib, sys
from headsup_cli.runtime.atomic import atomic_directory
with atomic_directory(pathlib.Path({str(final)!r})) as a, atomic_directory(pathlib.Path({str(other)!r})):
    (a / "half").touch()
    print(flush=True)
    sys.stdin.read()
"""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", writer], **pipes) as process:
        assert process.stdout.readline() == b"\n"
        theirs = names(tmp_path)
        assert len(theirs) == 2
        with atomic_directory(final):
            assert len(names(tmp_path)) == 3
        assert names(tmp_path) == sorted([*theirs, final.name])
        process.kill()
    with atomic_directory(final) as temporary:
        assert names(tmp_path) == sorted([name for name in theirs if "berta" in name] + [final.name, temporary.name])
    assert names(final) == []


def test_a_folder_taken_for_abandoned_before_it_was_locked_is_made_again(tmp_path, monkeypatch):
    lock, taken = atomic._lock, []

    def late(folder, *, wait):
        if not taken:
            taken.append(folder)
            folder.rmdir()
        return lock(folder, wait=wait)

    monkeypatch.setattr(atomic, "_lock", late)
    with atomic_directory(tmp_path / "head") as temporary:
        (temporary / "a").touch()
    assert taken[0] != temporary
    assert names(tmp_path / "head") == ["a"]


def test_file_systems_without_locks_keep_what_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, "_lock", lambda folder, *, wait: None)
    left = atomic._sibling(tmp_path / "head")
    left.mkdir()
    with atomic_directory(tmp_path / "head") as temporary:
        (temporary / "a").touch()
    assert names(tmp_path) == [left.name, "head"]
    assert names(tmp_path / "head") == ["a"]
