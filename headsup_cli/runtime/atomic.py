"""Writes that are either complete under their final name or not there at all."""

import ctypes
import errno
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from headsup_cli.errors import HeadsupError

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
    theirs alone. On Linux the swap is one system call; elsewhere two renames.

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
        temporary = _sibling(path)
        temporary.mkdir(parents=True)
    try:
        with write_failures_told(path, only=_DISK_FAILURES):
            yield temporary
        with write_failures_told(path):
            _fsync_tree(temporary)
            _put_in_place(temporary, path)
            _fsync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # the unfinished folder, or after an exchange the replaced one


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
    return path.with_name(f".{path.stem}.{secrets.token_hex(4)}.tmp{path.suffix}")


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
