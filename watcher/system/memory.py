"""Return freed memory to the system."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of glibc's malloc.h
# Bytes. Above the pieces that are used again and again (file sync reads and sends 256 KiB): those would be
# mapped and unmapped at each use: with glibc's initial 128 KiB, a first sync took a third longer.
_KEPT = 512 * 1024


def return_memory_early() -> bool:
    """Have the C library return freed memory to the system; return whether it can.

    glibc raises both thresholds to the largest piece that a program once freed. From then on it
    retains that much at the top of its heap, and large pieces between small ones, where they hold whole
    pages. A daemon that loads its libraries, builds once and then waits gains nothing from it. With explicit
    values glibc does not adapt.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl and macOS lack this call
        return False
    return all(mallopt(which, _KEPT) for which in (_MMAP_THRESHOLD, _TRIM_THRESHOLD))
