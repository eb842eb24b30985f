"""Exponential back-off: how long to wait before the next try."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses in seconds that double from `first` up to `most`."""

    first: float
    most: float

    def pause(self, failures: int) -> float:
        """Return the pause before the next try, after `failures` failed tries since the first one."""
        return min(self.most, self.first * 2.0 ** min(failures, 32))
