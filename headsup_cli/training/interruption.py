"""Ctrl-C that waits for the end of a step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)  # the second is what schedulers of clusters send first


@contextmanager
def defer_interrupts() -> Iterator[Callable[[], bool]]:
    """Let the first Ctrl-C or SIGTERM in the body only be remembered; the second acts as usual.

    Half a step must not be saved: weights that are partly updated do not go on as if nothing had happened.

    Yields:
        A function that says whether there was one.
    """
    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield lambda: False
        return
    seen = threading.Event()
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def remember(_number: int, _frame: FrameType | None) -> None:
        seen.set()
        restore()

    for number in _SIGNALS:
        signal.signal(number, remember)
    try:
        yield seen.is_set
    finally:
        restore()


def ignore_interrupts(_worker: int = 0) -> None:
    """Leave Ctrl-C to the parent: a terminal sends it to every process, and workers still have steps to serve."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
