"""Threads for compiled kernels that release the GIL, and the settings that keep other pools out of their way.

Numba's own parallel layers bring traps: OpenMP's workers spin on cores that others need, its first use resets torch's
thread count, it does not survive a fork, and the work queue aborts when two threads call at once. So kernels here are
single-threaded functions that share work through a ticket counter, run on as many plain threads as torch uses.
"""

from __future__ import annotations

import _thread
import os
import platform
import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue

_TORCH_HAS_MKL = ("x86_64", "AMD64")


def configure_threads(threads: int | None = None) -> None:
    """Make torch's idle workers sleep instead of spinning, and choose the number of threads for torch and the kernels.

    NumPy's OpenBLAS goes without workers, which spin however small the matrices are; but not where torch has no other.

    To be called before torch and NumPy are imported: both read what is set here once. What the user has set is left
    alone.

    Args:
        threads: Threads for torch's operators and for our kernels; None leaves torch's choice (the machine's cores).
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if platform.machine() in _TORCH_HAS_MKL:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if threads is None:
        return
    os.environ["OMP_NUM_THREADS"] = str(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_shared(work: Callable[[], None], threads: int) -> None:
    """Call `work` on `threads` threads at once, this one included, and return when every call has.

    `work` must share its load itself, so that any number of calls, even one, completes it. Safe to call from several
    threads and in forked processes; a call inside `work` is not.
    """
    errands = [_Errand(work) for _ in range(threads - 1)]
    queue = _helpers.hire(threads - 1)
    for errand in errands:
        queue.put(errand)
    try:
        work()
    finally:
        for errand in errands:
            errand.finished.acquire()
    for errand in errands:
        if errand.error is not None:
            raise errand.error


class _Errand:
    """One call of a function on a helper."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.work, self.finished = work, _thread.allocate_lock()
        self.error: BaseException | None = None
        self.finished.acquire()

    def run(self) -> None:
        try:
            self.work()
        except BaseException as error:  # handed to the caller
            self.error = error
        finally:
            self.finished.release()


class _Helpers:
    """Daemon threads that wait for errands, as many as have been asked for at once so far."""

    def __init__(self) -> None:
        self.queue: SimpleQueue[_Errand] = SimpleQueue()
        self.count = 0
        self.lock = threading.Lock()

    def hire(self, count: int) -> SimpleQueue[_Errand]:
        if self.count < count:
            with self.lock:
                for _ in range(count - self.count):
                    threading.Thread(target=_serve, args=(self.queue,), daemon=True, name="headsup kernel").start()
                self.count = max(self.count, count)
        return self.queue


def _serve(queue: SimpleQueue[_Errand]) -> None:
    while True:
        queue.get().run()


def _forget_helpers() -> None:
    global _helpers
    _helpers = _Helpers()  # threads do not survive a fork


_helpers = _Helpers()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_helpers)
