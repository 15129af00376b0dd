"""Pictures worked on several at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(function: Callable[[Item], Result], items: Iterable[Item], threads: int) -> list[Result]:
    """Results of `function` for all items, in order; the first exception is raised."""
    with ThreadPoolExecutor(max(1, threads)) as pool:
        return list(pool.map(function, items))
