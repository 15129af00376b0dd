"""What a person who waits is told, on stderr: stages with their times, and how far a long loop has come.

Everything here and every `logging.getLogger(__name__)` of this package goes through the logger `headsup_cli`, so its
level is the one switch: INFO shows stages and progress, WARNING (`--quiet`) only what went wrong.
"""

import logging
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from tqdm import tqdm

_logger = logging.getLogger(__name__)
_FIRST_SIGN_S = 1.0  # a loop that ends sooner says nothing
_LOG_INTERVAL_S = 30.0  # between lines where stderr is no terminal

Item = TypeVar("Item")


def progress(items: Iterable[Item], description: str, total: int | None = None) -> Iterator[Item]:
    """Pass `items` on, showing how many went by and when the last one will.

    In a terminal a bar that vanishes at the end; elsewhere a line every half minute.

    Args:
        items: What the loop is over.
        description: What it does, such as "rendering".
        total: Number of items, where `len(items)` does not tell.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    if not _logger.isEnabledFor(logging.INFO):
        yield from items
    elif sys.stderr.isatty():
        yield from tqdm(items, desc=description, total=total, delay=_FIRST_SIGN_S, leave=False, dynamic_ncols=True)
    else:
        yield from _progress_lines(items, description, total)


def _progress_lines(items: Iterable[Item], description: str, total: int | None) -> Iterator[Item]:
    start = last_line = time.monotonic()
    for done, item in enumerate(items):
        now = time.monotonic()
        if done and now - last_line >= _LOG_INTERVAL_S:
            last_line = now
            rest = (
                f"of {total}, {tqdm.format_interval((now - start) / done * (total - done))} left" if total else "done"
            )
            _logger.info("%s: %d %s", description, done, rest)
        yield item


@dataclass(frozen=True)
class StageTimes:
    """Wall-clock seconds per stage of a job, in the order in which the stages ended."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the body under `name`, and say so once it has succeeded; a repeated name adds up."""
        start = time.perf_counter()
        yield
        elapsed = time.perf_counter() - start
        self.seconds[name] = self.seconds.get(name, 0.0) + elapsed
        _logger.info("%s: %.1f s", name, elapsed)
