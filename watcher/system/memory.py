"""What the C library keeps of memory that was given back to it."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of glibc's malloc.h
# Bytes. Above the pieces that are used again and again (file sync reads and sends 256 KiB): those would be
# mapped and unmapped at each use: with the 128 KiB that glibc begins with, a first sync took a third longer.
_KEPT = 512 * 1024


def give_back_early() -> bool:
    """Have this process return freed memory to the system; whether its C library can be told so.

    glibc raises both thresholds to what a program once freed in one piece, and from then on keeps as much at
    the top of its heap, and large pieces among the small ones, where they hold whole pages. A daemon that
    loads its libraries, builds once and then waits has nothing of that. Told a value, glibc keeps to it.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl and macOS have no such call
        return False
    return all(mallopt(which, _KEPT) for which in (_MMAP_THRESHOLD, _TRIM_THRESHOLD))
