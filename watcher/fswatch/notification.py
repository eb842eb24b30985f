"""What a source reports: where to scan."""

from __future__ import annotations

from dataclasses import dataclass, replace

MANY = 512
"""Paths that a hint counts at most: beyond that it only matters that there are many."""


@dataclass(frozen=True, slots=True)
class Hint:
    """Something can have changed in the directories `touched` (None: anywhere).

    `reason` is event | start | subscribed | unsettled | timer | poll | overflow | root | mount | resume |
    build.    Times are seconds of the source's clock. Only hints with events have the rest: `first_seen` and
    `last_seen` are of the first and last event, `paths` are what the events named (at most `MANY`),
    `writing` are files that a process has written to and not closed yet, `removal` tells that the last event
    took something away.
    """

    touched: frozenset[str] | None
    reason: str
    first_seen: float
    last_seen: float
    paths: frozenset[str] = frozenset()
    writing: frozenset[str] = frozenset()
    removal: bool = False

    @property
    def by_events(self) -> bool:
        """Whether the file system said so; otherwise a timer or the program itself did."""
        return bool(self.paths)

    def then(self, later: Hint) -> Hint:
        """This hint and a later one as one. The wider scan gives the reason."""
        wider = self if self.touched is None or later.touched is not None else later
        touched = None if wider.touched is None else wider.touched | (later.touched or frozenset())
        reason = wider.reason if touched is None or self.by_events or not later.by_events else later.reason
        if not later.by_events:
            return replace(self, touched=touched, reason=reason)
        return Hint(
            touched=touched,
            reason=reason,
            first_seen=self.first_seen if self.by_events else later.first_seen,
            last_seen=later.last_seen,
            paths=self.paths if len(self.paths) >= MANY else self.paths | later.paths,
            writing=later.writing,
            removal=later.removal,
        )
