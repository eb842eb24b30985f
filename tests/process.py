"""What the process that runs the tests has open."""

import contextlib
import os


def open_files() -> set[tuple[str, str]]:
    """The descriptors of this process and what each is, without the one that the listing itself needs.

    One of an earlier test may be closed only later: what a test must show is that none came to them.
    """
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.add((number, os.readlink(f"/proc/self/fd/{number}")))
    return found
