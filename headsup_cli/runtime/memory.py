"""How this process holds on to memory."""

import ctypes
import sys
from contextlib import suppress

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_LARGEST = 2**31 - 1


def keep_freed_memory() -> None:
    """Let glibc keep large freed blocks for the next allocation instead of returning them to the system.

    A training step on a CPU frees and takes the same hundreds of megabytes again and again; getting fresh pages each
    time cost a third of it (measured on two cores). Does nothing where the C library is another.
    """
    if sys.platform != "linux":
        return
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _LARGEST)
        mallopt(_M_TRIM_THRESHOLD, _LARGEST)
