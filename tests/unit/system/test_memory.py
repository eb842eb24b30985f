"""What the C library is told about freed memory, asked of the C library itself in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

PIECES = """
import ctypes, sys
from watcher.system.memory import return_memory_early

class Info(ctypes.Structure):  # struct mallinfo of glibc's malloc.h
    _fields_ = [(name, ctypes.c_int) for name in "arena ordblks smblks hblks hblkhd a b c d e".split()]

library = ctypes.CDLL(None)
if not hasattr(library, "mallinfo"):
    print("no glibc")
    sys.exit()
library.mallinfo.restype = Info
if sys.argv[1] == "told":
    assert return_memory_early()
large = bytearray(20_000_000)
del large  # glibc would now keep pieces of up to that size among the small ones
before = library.mallinfo().hblks
piece = bytearray(1_000_000)
print(library.mallinfo().hblks - before)
"""


@pytest.mark.parametrize(("told", "own"), [("told", "1"), ("not", "0")])
def test_a_large_piece_stays_the_systems_own_to_take_back(told: str, own: str) -> None:
    found = subprocess.run(
        [sys.executable, "-c", PIECES, told], capture_output=True, text=True, check=True, timeout=30
    )
    if "no glibc" in found.stdout:
        pytest.skip("this C library has no thresholds")
    assert found.stdout.strip() == own
