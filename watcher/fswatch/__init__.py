"""Notify an event loop of file system events, and poll where they do not arrive."""

from watcher.fswatch.backend import EventsUnavailable, WatchBackend
from watcher.fswatch.notification import Notification
from watcher.fswatch.schedule import scan_interval
from watcher.fswatch.selftest import SelfTest, self_test
from watcher.fswatch.source import NativeBackends, NotificationSource, ScanReport

__all__ = [
    "EventsUnavailable",
    "NativeBackends",
    "Notification",
    "NotificationSource",
    "ScanReport",
    "SelfTest",
    "WatchBackend",
    "scan_interval",
    "self_test",
]
