"""How the CPU kernels are compiled: once per machine and version, into the user's cache folder, and never in silence."""

import hashlib
import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core import event

from headsup_cli.runtime.cache_directory import cache_directory

_EXPECTED_SECONDS = 15
_OPTIONS = {"error_model": "numpy", "nogil": True, "no_cfunc_wrapper": True}


def inline(function: Callable) -> Any:
    """Compile `function` into the kernels that call it."""
    return numba.njit(forceinline=True, no_cpython_wrapper=True, **_OPTIONS)(inspect.unwrap(function))


def _kernel_cache() -> Path | None:
    """A folder named for the kernels' sources, as numba would miss a change in a module they import; None: not writable."""
    here = Path(__file__).parent
    sources = [Path(__file__), here / "layout.py", here / "simd.py", *sorted(here.glob("*_kernels.py"))]
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]
    folder = cache_directory() / "kernels" / f"{digest}-numba{numba.__version__}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


def kernel(function: Callable) -> Any:
    """Compile `function` on first use and keep the machine code, where there is a folder to keep it in."""
    dispatcher = numba.njit(**_OPTIONS)(inspect.unwrap(function))  # unwrapped of the tests' type checks
    if _KERNEL_CACHE is not None:
        before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, str(_KERNEL_CACHE)
        dispatcher.enable_caching()
        numba.config.CACHE_DIR = before
    return dispatcher


class _Announcement(event.Listener):
    """Says once, on stderr, that a kernel is being compiled."""

    def on_start(self, event: event.Event) -> None:
        if event.data["dispatcher"].py_func.__module__.startswith("headsup_cli.rendering") and not self.made:
            self.made = True
            print(f"Compiling the CPU rasteriser, once, about {_EXPECTED_SECONDS} s.", file=sys.stderr, flush=True)

    def on_end(self, event: event.Event) -> None:
        pass

    made = False


_KERNEL_CACHE = _kernel_cache()
event.register("numba:compile", _Announcement())
