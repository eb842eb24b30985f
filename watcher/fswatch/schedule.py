"""When to scan without an event: pure, on one monotonic clock."""

from __future__ import annotations

import functools
import math

from watcher.fswatch.notification import Notification

_POLL_SHARE = 20.0  # polling can take one twentieth of the time
_SCAN_SHARE = 500.0  # the scan by the clock, while events are believed, one five-hundredth
_POLL_LEAST, _POLL_MOST = 0.5, 10.0
_FOREIGN_SCAN = 5.0  # seconds between scans where another machine can write, even while events are believed


def scan_interval(*, polling: bool, seconds: float, full_scan: float, foreign: bool) -> float | None:
    """Return the seconds between scans of everything, when one takes `seconds`; None for never.

    `full_scan` is the setting for while events are believed; 0 there means never.
    """
    if polling:
        return min(_POLL_MOST, max(_POLL_LEAST, seconds * _POLL_SHARE))
    if foreign:
        return max(_FOREIGN_SCAN, seconds * _POLL_SHARE)
    return max(full_scan, seconds * _SCAN_SHARE) if full_scan else None


class ScanSchedule:
    """Holds the notifications that are due later, and knows when the next scan of everything is due."""

    def __init__(self, now: float, *, full_scan: float, foreign: bool) -> None:
        self._full_scan, self._foreign = full_scan, foreign
        self._pending: list[tuple[float, Notification]] = []  # due at
        self._scan_seconds = 0.0
        self._interval_from = now
        self.last_scan = now  # when the last scan of everything started

    def push(self, touched: frozenset[str] | None, reason: str, due: float) -> None:
        """Notify of these directories (None: of everything) at `due`."""
        self.push_events(Notification(touched, reason, first_seen=due, last_seen=due), due)

    def push_events(self, notification: Notification, due: float) -> None:
        """Pass `notification` on at `due`."""
        self._pending.append((due, notification))

    def pop_due(self, now: float) -> Notification | None:
        """Return all notifications that are due as one."""
        due = [notification for at, notification in self._pending if at <= now]
        self._pending = [(at, notification) for at, notification in self._pending if at > now]
        return functools.reduce(Notification.then, due) if due else None

    def record_full_scan(self, now: float, seconds: float) -> None:
        """Count the interval from a scan of everything that has just ended."""
        self._scan_seconds = seconds
        self.last_scan = now - seconds
        self._interval_from = now

    def push_full_scan(self, now: float, *, polling: bool) -> None:
        """Push a scan of everything if one is due by the clock."""
        if now >= self._full_scan_due(polling=polling):
            self._interval_from = now
            self.push(None, "poll" if polling else "timer", now)

    def next_due(self, *, polling: bool, root_is_gone: bool) -> float:
        """Return when the next notification is due; a root that is gone is not scanned by the clock."""
        times = [at for at, _ in self._pending]
        if not root_is_gone:
            times.append(self._full_scan_due(polling=polling))
        return min(times, default=math.inf)

    def _full_scan_due(self, *, polling: bool) -> float:
        interval = scan_interval(
            polling=polling, seconds=self._scan_seconds, full_scan=self._full_scan, foreign=self._foreign
        )
        return math.inf if interval is None else self._interval_from + interval
