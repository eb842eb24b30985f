"""Decide whether to believe events: a pure decision from probes and scans.

A probe shows that events get from the kernel to this program. It cannot show that the kernel knows of every
change: on NFS, 9p or VirtioFS another machine writes, and no local event reports it. For that there is only
evidence. A full scan that finds a change without an event proves that events are missing; changes with an
event before the scan are evidence for the events again. A mount of a remote kind starts without trust.
"""

from __future__ import annotations

from collections.abc import Collection

GRACE = 2.0
"""Seconds by which an event can be later than the scan that found the change."""

_FIRST_PROOF = 3  # announced changes that take a doubt away; twice as many after each relapse
_MOST_PROOF = 64
_REMEMBER = 900.0  # seconds; longer than between two scans of everything


class Trust:
    """Collects evidence. Times are seconds of one monotonic clock."""

    def __init__(self, foreign: str) -> None:
        """`foreign` is the type of a file system that another machine can write to, or empty."""
        self._doubt = (
            f"files on {foreign} may be changed by another machine, and no event reports that"
            if foreign
            else ""
        )
        self._needed = _FIRST_PROOF
        self._seen = 0
        self._reported: dict[str, float] = {}
        self._unannounced: dict[str, tuple[str, float]] = {}

    @property
    def doubt(self) -> str:
        """Why events are not believed; empty if they are."""
        return self._doubt

    def record_events(self, directories: Collection[str], now: float) -> None:
        """Record that events reported these directories."""
        for directory in directories:
            self._reported[directory] = now
            if self._unannounced.pop(directory, None):
                self.record_confirmed()

    def record_found(self, changed: Collection[str], *, since: float, now: float) -> None:
        """Record that a full scan, due by the clock, found these paths changed.

        `since` is when the scan before started: an event after that announced the change.
        """
        for path in changed:
            above = path.rstrip("/")
            announced = False
            while above and not announced:
                above = above.rpartition("/")[0]
                announced = self._reported.get(above, since) > since
            if announced:
                self.record_confirmed()
            else:
                self._unannounced.setdefault(path.rpartition("/")[0], (path, now + GRACE))

    def record_confirmed(self) -> None:
        """Record that a scan found a change in a directory that events had reported."""
        if self._doubt:
            self._seen += 1
            if self._seen >= self._needed:
                self._doubt = ""
                self._seen = 0

    def settle_doubts(self, now: float) -> bool:
        """Decide on changes that are old enough; return whether one had no event."""
        late = [(path, at) for path, at in self._unannounced.values() if at <= now]
        if late:
            self._doubt = f"{late[0][0]} changed and no event reported it"
            self._needed = min(_MOST_PROOF, self._needed * 2)
            self._seen = 0
            self._unannounced = {k: v for k, v in self._unannounced.items() if v[1] > now}
        self._reported = {directory: at for directory, at in self._reported.items() if at > now - _REMEMBER}
        return bool(late)
