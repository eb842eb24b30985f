"""Events of the file system as hints for an event loop, and polling where they do not arrive."""

from watcher.events.backend import Backend, EventsUnavailable
from watcher.events.hint import Hint
from watcher.events.selftest import SelfTest, self_test
from watcher.events.source import Looked, Source, look_interval

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
