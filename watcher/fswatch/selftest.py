"""Tries out, apart from any daemon, whether events would arrive."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from watcher.fswatch.backend import EventsUnavailable
from watcher.fswatch.inbox import Inbox
from watcher.fswatch.mounts import elsewhere
from watcher.fswatch.source import native_backend

_LIMIT = Path("/proc/sys/fs/inotify/max_user_watches")


@dataclass(frozen=True, slots=True)
class SelfTest:
    """`seconds` that an event caused on purpose took, None when it did not arrive; `trouble` says why.

    `foreign` is the type of a file system that another machine can write to, empty for others; `limit` is
    how many directories this user can watch, None where there is no such limit.
    """

    seconds: float | None
    trouble: str
    foreign: str
    limit: int | None


def self_test(root: Path, directories: Collection[str], timeout: float) -> SelfTest:
    """Watch all `directories` (relative to `root`) and cause an event; blocks up to `timeout` seconds."""
    seconds, trouble = None, ""
    backend = native_backend(str(root), Inbox(lambda: None))
    try:
        backend.start()
        backend.watch(directories)
        begun = time.monotonic()
        if backend.probe(timeout):
            seconds = time.monotonic() - begun
    except EventsUnavailable as error:
        trouble = str(error)
    finally:
        backend.stop()
    try:
        limit = int(_LIMIT.read_text())
    except (OSError, ValueError):
        limit = None
    return SelfTest(seconds, trouble, elsewhere(root), limit)
