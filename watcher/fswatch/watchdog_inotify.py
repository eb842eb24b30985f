"""The private part of watchdog, in one place: its inotify descriptor, below the observers of its public API.

pyproject.toml bounds watchdog from above for its sake; `tests/unit/engine/test_private_api.py` checks that.
"""

from watchdog.observers.inotify_c import (
    CallbackId,
    InotifyConstants,
    InotifyEvent,
    InotifyFD,
    Mask,
    WatchDescriptor,
)

__all__ = ["CallbackId", "InotifyConstants", "InotifyEvent", "InotifyFD", "Mask", "WatchDescriptor"]
