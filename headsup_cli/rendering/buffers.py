"""Large arrays used again: fresh memory costs a page fault every 4 KB, which is half the time of a small render."""

import math
import threading
import weakref
from collections import defaultdict
from typing import Any

import numpy as np

_KEPT_BYTES = 1 << 30  # idle memory kept, at most
_LINE = 64


class _Lease:
    """Memory on loan: whatever numpy array or tensor is made from it keeps it alive.

    Not an array itself, as numpy lets a view of a view refer to the first owner and would bypass it.
    """

    def __init__(self, memory: np.ndarray) -> None:
        self.__array_interface__ = memory.__array_interface__


class BufferPool:
    """Hands out uninitialised arrays, and takes their memory back when the last array or tensor on it is gone."""

    def __init__(self) -> None:
        self._idle: dict[int, list[np.ndarray]] = defaultdict(list)
        self._idle_bytes = 0
        self._returns: set[weakref.ref] = set()
        self._lock = threading.RLock()  # garbage collection, and so a return, may strike inside any of this

    def take(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """An array of unspecified contents that begins on a cache line."""
        wanted = math.prod(shape) * np.dtype(dtype).itemsize
        size = _size_class(wanted)
        with self._lock:
            if self._idle[size]:
                memory = self._idle[size].pop()
                self._idle_bytes -= size
            else:
                memory = np.empty(size + _LINE, np.uint8)
            lease = _Lease(memory)
            self._returns.add(weakref.ref(lease, lambda reference: self._take_back(reference, memory, size)))
        start = -memory.ctypes.data % _LINE
        return np.asarray(lease)[start : start + wanted].view(dtype).reshape(shape)

    def _take_back(self, reference: weakref.ref, memory: np.ndarray, size: int) -> None:
        with self._lock:
            self._returns.discard(reference)
            if self._idle_bytes + size <= _KEPT_BYTES:
                self._idle[size].append(memory)
                self._idle_bytes += size


def _size_class(size: int) -> int:
    """The next of eight steps per power of two, so that like sizes share memory."""
    step = max(1 << max(size.bit_length() - 4, 0), 4096)
    return -(-size // step) * step
