"""Events of the file system as hints for an event loop, and polling where they do not arrive."""

from watcher.fswatch.backend import Backend, EventsUnavailable
from watcher.fswatch.notification import Hint
from watcher.fswatch.selftest import SelfTest, self_test
from watcher.fswatch.source import Looked, Source, look_interval

__all__ = [
    "Backend",
    "EventsUnavailable",
    "Hint",
    "Looked",
    "SelfTest",
    "Source",
    "look_interval",
    "self_test",
]
