"""An event loop whose clock jumps: a wait of 30 seconds is over at once, and in the right order.

For tests whose world is in memory. A loop that would wait for ever fails the test instead.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import Any


class _Jumping(selectors.SelectSelector):
    """Looks at its files without waiting, and adds the time that it would have waited."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout:
            self.now += timeout
        if not ready and timeout is None:
            raise AssertionError("everybody waits, and nothing will ever happen")
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """See the module."""

    def __init__(self, _selector: Any = None) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now
