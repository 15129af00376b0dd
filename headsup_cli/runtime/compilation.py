"""Compiling numba kernels: once per machine and version, into the user's cache folder, and never in silence."""

from __future__ import annotations

import hashlib
import inspect
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numba
from numba.core import event

from headsup_cli.runtime.cache_directory import cache_directory

logger = logging.getLogger(__name__)


class KernelCompiler:
    """Decorators for the kernels of one package.

    The machine code is kept in a folder named for the package's sources, because numba itself notices changes only in
    the file that a function is in and not in what it imports.

    Args:
        label: What is compiled, for the line that says so on first use.
        seconds: About how long that takes.
        sources: Files whose change makes the kept code stale.
        options: Of `numba.njit`.
    """

    def __init__(self, label: str, *, seconds: int, sources: Sequence[Path], **options: Any) -> None:
        self.options = {"nogil": True, "error_model": "numpy", **options}
        self.folder = _writable_folder(sources)
        event.register("numba:compile", _Announcement(label, seconds, {str(source) for source in sources}))

    def inline(self, function: Callable) -> Any:
        """Compile `function` into the kernels that call it."""
        options: Any = self.options | {"forceinline": True, "no_cpython_wrapper": True}
        return numba.njit(**options)(inspect.unwrap(function))

    def kernel(self, function: Callable) -> Any:
        """Compile `function` on first use and keep the machine code, where there is a folder to keep it in."""
        dispatcher = numba.njit(**self.options)(inspect.unwrap(function))  # from under test-time type checks
        if self.folder is not None:
            config: Any = numba.config
            before, config.CACHE_DIR = config.CACHE_DIR, str(self.folder)
            dispatcher.enable_caching()
            config.CACHE_DIR = before
        return dispatcher


class _Announcement(event.Listener):
    """Says once that kernels are being compiled."""

    def __init__(self, label: str, seconds: int, files: set[str]) -> None:
        self.label, self.seconds, self.files, self.made = label, seconds, files, False

    def on_start(self, event: event.Event) -> None:
        if not self.made and event.data["dispatcher"].py_func.__code__.co_filename in self.files:
            self.made = True
            logger.info("compiling %s, once, about %d s", self.label, self.seconds)

    def on_end(self, event: event.Event) -> None:
        pass


def _writable_folder(sources: Sequence[Path]) -> Path | None:
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]
    folder = cache_directory() / "kernels" / f"{digest}-numba{numba.__version__}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None
