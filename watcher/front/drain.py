"""Letting the exchanges with one backend come to their end, and ending what does not."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from watcher.front.links import Link, Links
from watcher.front.model import Backend, DrainReport

LAST_WORD = 1.0  # seconds after a drain's time is up in which an answer that is due may still come
STALLED = 5.0  # seconds without a byte after which a transfer is not taken to be moving any more


async def drain(links: Links, backend: Backend, timeout: float, moving: float) -> DrainReport:
    """Wait at most `timeout` seconds for what runs on `backend`, then end what is still open.

    Each user is then told to take its leave, and gets `LAST_WORD` for that. A body on its way whose end is
    known, an upload say, may go on for another `moving` seconds as long as it moves.
    """
    began = time.monotonic()
    group = links.group(backend)
    at_start = group.active
    links.close_idle(backend)
    await _within(timeout, links, backend)
    still_open = {link: _Progress(link) for link in group.links if link.busy}
    for link in still_open:
        link.user.leave()
    while group.active:
        await _within(LAST_WORD, links, backend)
        goes_on = not links.hurried and time.monotonic() - began < timeout + moving
        for link, progress in still_open.items():
            if link.busy and not (goes_on and link.user.has_end and progress.moves()):
                link.cut()
        for link in [link for link in group.links if link.busy and link not in still_open]:
            link.cut()  # it was connected to before the switch, and taken into use after it
    cut = sum(link.was_cut for link in still_open)
    for link in list(group.links):
        link.abort()
    await links.until(lambda: not group.links)
    links.forget(backend, group)
    return DrainReport(time.monotonic() - began, max(at_start - cut, 0), cut)


async def _within(seconds: float, links: Links, backend: Backend) -> None:
    group = links.group(backend)
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await links.until(lambda: not group.active)


class _Progress:
    """When a link was last seen to have moved."""

    def __init__(self, link: Link) -> None:
        self._link, self._moved, self._at = link, link.moved, time.monotonic()

    def moves(self) -> bool:
        """Whether bytes have passed lately."""
        if self._link.moved > self._moved:
            self._moved, self._at = self._link.moved, time.monotonic()
        return time.monotonic() - self._at < STALLED
