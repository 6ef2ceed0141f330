"""Keep the memory that every update gives back and asks for again."""

from __future__ import annotations

import contextlib
import ctypes
import sys

# Options of mallopt(3) in glibc, and what they are set to.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_LARGEST = (1 << 31) - 1
_PAD = 64 << 20


def keep_freed_memory() -> None:
    """Tell glibc to keep what is freed, where the C library is glibc.

    An update frees and takes half a megabyte again and again; by default each time goes to the kernel, for
    hundreds of page faults an update.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, 1 << 30)
        library.mallopt(_TRIM_THRESHOLD, _LARGEST)
        library.mallopt(_TOP_PAD, _PAD)
