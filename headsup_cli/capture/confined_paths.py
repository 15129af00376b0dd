"""Paths named by data may not lead out of the folder that the data came in."""

from contextlib import suppress
from pathlib import Path

from headsup_cli.errors import InputError


def confined(path: Path, folder: Path) -> Path:
    """Return `path` if it lies in `folder` once links are followed.

    Raises:
        InputError: It leads outside, by `..`, an absolute path or a symbolic link.
    """
    with suppress(OSError, ValueError, RuntimeError):  # names that cannot be, links in circles
        if path.resolve().is_relative_to(folder.resolve()):
            return path
    raise InputError(
        path, found="a way out of its folder", expected=f"a file inside {folder}", remedy="copy the file there"
    )
