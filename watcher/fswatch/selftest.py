"""Test, without a daemon, whether events arrive."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from watcher.fswatch.backend import EventsUnavailable
from watcher.fswatch.inbox import Inbox
from watcher.fswatch.mounts import remote_type
from watcher.fswatch.source import NativeBackends

_LIMIT = Path("/proc/sys/fs/inotify/max_user_watches")


@dataclass(frozen=True, slots=True)
class SelfTest:
    """The `seconds` that an event caused on purpose took; None if it did not arrive, with the `trouble`.

    `foreign` is the type of a file system that another machine can write to, empty for others; `limit` is
    the number of directories that this user can watch, None if it is not limited.
    """

    seconds: float | None
    trouble: str
    foreign: str
    limit: int | None


def self_test(root: Path, directories: Collection[str], timeout: float) -> SelfTest:
    """Watch all `directories` (relative to `root`) and cause an event; blocks up to `timeout` seconds."""
    seconds, trouble = None, ""
    backend = NativeBackends()(str(root), Inbox(lambda: None))
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
    return SelfTest(seconds, trouble, remote_type(root), limit)
