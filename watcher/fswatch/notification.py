"""What a source returns: where to scan."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

MANY = 512
"""Paths that a notification names at most: beyond that it only matters that there are many."""


@dataclass(frozen=True, slots=True)
class Notification:
    """Something can have changed in the directories `touched` (None: anywhere).

    `reason` is event | start | subscribed | unsettled | timer | poll | overflow | root | mount | resume |
    build | request. Times are seconds of the source's clock. The other fields are of events: `first_seen` and
    `last_seen` are the times of the first and the last, `paths` what they named (at most `MANY`), `writing`
    the files that a process has written to and not closed yet, `removal` whether the last removed something.
    `merged_seen` is the latest time of all notifications in this one.
    """

    touched: frozenset[str] | None
    reason: str
    first_seen: float
    last_seen: float
    paths: frozenset[str] = frozenset()
    writing: frozenset[str] = frozenset()
    removal: bool = False
    merged_seen: float = -math.inf

    @property
    def latest(self) -> float:
        """Return when the last part of this was noticed: a scan that began later answers it."""
        return max(self.last_seen, self.merged_seen)

    @property
    def by_events(self) -> bool:
        """Return whether the file system caused it, not a timer or the program itself."""
        return bool(self.paths)

    def then(self, later: Notification) -> Notification:
        """Return this notification and a later one as one, with the reason of the wider scan."""
        wider = self if self.touched is None or later.touched is not None else later
        touched = None if wider.touched is None else wider.touched | (later.touched or frozenset())
        reason = wider.reason if touched is None or self.by_events or not later.by_events else later.reason
        latest = max(self.latest, later.latest)
        if not later.by_events:
            return replace(self, touched=touched, reason=reason, merged_seen=latest)
        return Notification(
            touched=touched,
            reason=reason,
            first_seen=self.first_seen if self.by_events else later.first_seen,
            last_seen=later.last_seen,
            paths=self.paths if len(self.paths) >= MANY else self.paths | later.paths,
            writing=later.writing,
            removal=later.removal,
            merged_seen=latest,
        )
