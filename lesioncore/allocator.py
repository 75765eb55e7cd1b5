"""Keep freed memory in the process: on CPUs training spends much of its time getting it back.

PyTorch frees and takes the same large blocks at every step. The C library of Linux returns each to
the system and is given it again page by page, cleared. Told to keep what it has, steps of small
networks are a tenth to a fifth quicker, for a tenth more memory (`benchmarks/allocator.py`).
"""

from __future__ import annotations

import ctypes
import sys

# Names of glibc's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4


def keep_memory() -> bool:
    """Tell the C library to keep freed memory; return whether it understood.

    Does nothing where the C library is another than glibc, or another allocator is in place of it.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 64 * 2**20))
    return all(mallopt(name, value) == 1 for name, value in settings)
