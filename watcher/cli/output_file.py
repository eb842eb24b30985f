"""Find the file that standard output goes to: one in the project changes the tree with each line."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path


def find_output_in(root: Path, descriptor: int) -> Path | None:
    """Return the regular file below `root` that is open as `descriptor`, relative to `root`, or None.

    The name is known only where the kernel shows it in /proc.
    """
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        return Path(f"/proc/self/fd/{descriptor}").readlink().relative_to(root.resolve())
    except (OSError, ValueError):
        return None


def warn_of_output_in(root: Path) -> None:
    """Warn on standard error if standard output goes to a file of the project."""
    try:
        found = find_output_in(root, sys.stdout.fileno())
    except (OSError, ValueError, AttributeError):  # it is closed, or no file
        return
    if found is not None:
        text = (
            f"watcher: standard output goes to {found} in the project: each line changes the tree, and a"
            " build never ends, unless .dockerignore or watch.ignore leaves that file out; write it"
            " elsewhere"
        )
        print(text, file=sys.stderr, flush=True)
