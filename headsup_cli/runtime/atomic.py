"""Writes that are either complete under their final name or not there at all."""

import ctypes
import errno
import glob
import os
import platform
import secrets
import shutil
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from headsup_cli.errors import HeadsupError

_THIS_MACHINE = f"{zlib.crc32(platform.node().encode()):08x}"  # file systems may keep locks from other machines
_DISK_FAILURES = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG}


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; what the body writes there takes the name `path` on success.

    Args:
        path: Final path of the file. Missing parent folders are made; an existing file is replaced.

    Yields:
        A path in the same folder with the same suffix, not existing yet. It is removed if the body raises.

    Raises:
        HeadsupError: The file cannot be written (permissions, full disk, a folder in its place).
    """
    with write_failures_told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _sibling(path)
    try:
        with write_failures_told(path, only=_DISK_FAILURES):
            yield temporary
        with write_failures_told(path):
            _fsync(temporary)
            temporary.replace(path)
            _fsync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside `path`; it takes the name `path` on success.

    A folder that already has the name is replaced as a whole, and only on success, so callers give names that are
    theirs alone. On Linux the swap is one system call; elsewhere two renames. What a killed process left behind while
    it wrote `path` is removed first: the temporary folder of a process is locked as long as that lives.

    Args:
        path: Final path of the folder. Missing parent folders are made.

    Yields:
        The temporary folder. It is removed with all its content if the body raises.

    Raises:
        HeadsupError: The folder cannot be written (permissions, full disk, a file in its place).
    """
    with write_failures_told(path):
        if path.exists() and not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path)
        temporary, lock = _locked_folder(path)
    try:
        with write_failures_told(path, only=_DISK_FAILURES):
            yield temporary
        with write_failures_told(path):
            _fsync_tree(temporary)
            _put_in_place(temporary, path)
            _fsync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # the unfinished folder, or after an exchange the replaced one
        if lock is not None:
            os.close(lock)


def atomic_write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def atomic_write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically, as UTF-8 with newlines as they are."""
    atomic_write_bytes(path, text.encode())


@contextmanager
def write_failures_told(path: Path, only: set[int] | None = None) -> Iterator[None]:
    """Turn the operating system's refusals to write `path` into one sentence for the user.

    Args:
        path: What the body writes.
        only: The error numbers that can come from writing alone, where the body does other things as well.

    Raises:
        HeadsupError: The body raised such an OSError.
    """
    try:
        yield
    except OSError as error:
        if only is not None and error.errno not in only:
            raise
        message = f"{path}: cannot be written ({error.strerror}); make room or choose another place."
        raise HeadsupError(message) from error


def _sibling(path: Path) -> Path:
    # Hidden, so that listings of subjects and images skip it; the suffix stays, because encoders choose by it.
    return path.with_name(f".{path.stem}.{_THIS_MACHINE}-{secrets.token_hex(4)}.tmp{path.suffix}")


def _locked_folder(path: Path) -> tuple[Path, int | None]:
    """Make a temporary folder and lock it; no lock where folders have none (Windows, some network file systems)."""
    while True:
        folder = _sibling(path)
        folder.mkdir()
        lock = _lock(folder, wait=True)
        if folder.is_dir():  # else another process took it for abandoned before it was locked
            return folder, lock
        if lock is not None:
            os.close(lock)


def _lock(folder: Path, *, wait: bool) -> int | None:
    """Lock a folder until the returned descriptor is closed or the process ends; None if that is not to be had."""
    try:
        import fcntl

        descriptor = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _remove_abandoned(path: Path) -> None:
    """Remove temporary folders for `path` whose process, on this machine, has ended: no other can be locked here."""
    pattern = f".{glob.escape(path.stem)}.{_THIS_MACHINE}-????????.tmp{glob.escape(path.suffix)}"
    for folder in path.parent.glob(pattern):
        lock = _lock(folder, wait=False) if folder.is_dir() else None
        if lock is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def _fsync(path: Path) -> None:
    if path.is_dir() and sys.platform == "win32":  # folders cannot be opened there
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _fsync_tree(folder: Path) -> None:
    for entry in folder.rglob("*"):
        if not entry.is_symlink():
            _fsync(entry)
    _fsync(folder)


def _put_in_place(folder: Path, path: Path) -> None:
    if not path.exists():
        folder.rename(path)
        return
    if _exchange(folder, path):
        return
    replaced = _sibling(path)
    path.rename(replaced)
    try:
        folder.rename(path)
    except OSError:
        replaced.rename(path)
        raise
    shutil.rmtree(replaced, ignore_errors=True)


def _exchange(first: Path, second: Path) -> bool:
    """Swap two names in one step; False where the system or the file system cannot."""
    with suppress(AttributeError, OSError, TypeError):
        at_working_directory, exchange_names = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux's renameat2(2)
        renameat2 = ctypes.CDLL(None).renameat2
        return renameat2(at_working_directory, bytes(first), at_working_directory, bytes(second), exchange_names) == 0
    return False
