"""Large arrays used again: fresh memory costs a page fault every 4 KB, which is half the time of a small render."""

import math
import threading
import weakref
from collections import defaultdict
from typing import Any

import numpy as np

_KEPT_BYTES = 1 << 30  # idle memory kept, at most
_SMALL_BYTES = 1 << 16
_LINE = 64


class _Lease:
    """Memory on loan: whatever numpy array or tensor is made from it keeps it alive.

    Not an array itself, as numpy lets a view of a view refer to the first owner and would bypass it.
    """

    def __init__(self, address: int, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.__array_interface__ = {"data": (address, False), "shape": shape, "typestr": dtype.str, "version": 3}


class BufferPool:
    """Hands out uninitialised arrays, and takes their memory back when the last array or tensor on it is gone."""

    def __init__(self) -> None:
        self._idle: dict[int, list[tuple[np.ndarray, int]]] = defaultdict(list)  # memory and its first aligned address
        self._idle_bytes = 0
        self._returns: set[weakref.ref] = set()
        self._lock = threading.RLock()  # garbage collection, and so a return, may strike inside any of this

    def take(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """An array of unspecified contents; a large one begins on a cache line."""
        dtype = np.dtype(dtype)
        wanted = math.prod(shape) * dtype.itemsize
        if wanted < _SMALL_BYTES:  # the allocator keeps these anyway
            return np.empty(shape, dtype)
        size = _size_class(wanted)
        with self._lock:
            if self._idle[size]:
                memory, address = self._idle[size].pop()
                self._idle_bytes -= size
            else:
                memory = np.empty(size + _LINE, np.uint8)
                address = -(-memory.ctypes.data // _LINE) * _LINE
            lease = _Lease(address, shape, dtype)
            self._returns.add(weakref.ref(lease, lambda reference: self._take_back(reference, memory, address, size)))
        return np.asarray(lease)

    def _take_back(self, reference: weakref.ref, memory: np.ndarray, address: int, size: int) -> None:
        with self._lock:
            self._returns.discard(reference)
            if self._idle_bytes + size <= _KEPT_BYTES:
                self._idle[size].append((memory, address))
                self._idle_bytes += size


def _size_class(size: int) -> int:
    """The next of eight steps per power of two, so that like sizes share memory."""
    step = 1 << size.bit_length() - 4
    return -(-size // step) * step
