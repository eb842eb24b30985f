"""Events of the file system as hints for an event loop, and polling where they do not arrive."""

from watcher.fswatch.backend import EventsUnavailable, WatchBackend
from watcher.fswatch.notification import Hint
from watcher.fswatch.selftest import SelfTest, self_test
from watcher.fswatch.source import Looked, Source, look_interval

__all__ = [
    "EventsUnavailable",
    "Hint",
    "Looked",
    "SelfTest",
    "Source",
    "WatchBackend",
    "look_interval",
    "self_test",
]
