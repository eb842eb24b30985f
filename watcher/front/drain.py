"""Letting the exchanges with one backend come to their end, and ending what does not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from contextlib import suppress

from watcher.front.model import Backend, DrainReport
from watcher.front.upstream import Group, Link, Links

LAST_WORD = 1.0  # seconds after a drain's time is up in which an answer that is due may still come
STALLED = 5.0  # seconds without a byte after which a transfer is not taken to be moving any more


async def drain(links: Links, backend: Backend, timeout: float, moving: float) -> DrainReport:
    """Wait at most `timeout` seconds for what runs on `backend`, then end what is still open.

    Each user is then told to take its leave, and gets `LAST_WORD` for that. A body on its way whose end is
    known, an upload say, may go on for another `moving` seconds as long as it moves. What only the app can
    end well is left open: `cut` ends it once the app has been told to stop.
    """
    began = time.monotonic()
    group = links.group(backend)
    at_start = group.active
    links.close_idle(backend)
    await _within(timeout, links, group)
    still_open = {link: _Progress(link) for link in group.links if link.busy}
    for link in still_open:
        link.user.leave()
    left: set[Link] = set()
    while group.active > len(left):
        await _within(LAST_WORD, links, group, left)
        goes_on = not links.hurried and time.monotonic() - began < timeout + moving
        left = {link for link in group.links if link.busy and link.user.opaque}
        for link, progress in still_open.items():
            ends = link.user.has_end and goes_on and progress.moves() if link.busy else True
            if not ends and link not in left:
                link.cut()
        for link in [link for link in group.links if link.busy and link not in still_open]:
            link.cut()  # it was connected to before the switch, and taken into use after it
        left &= group.links
    cut = sum(link.was_cut for link in still_open)
    for link in group.links - left:
        link.abort()
    await links.until(lambda: not group.links - left)
    left &= group.links
    if not left:
        links.forget(backend, group)
    finished = max(at_start - cut - len(left), 0)
    return DrainReport(time.monotonic() - began, finished, cut, len(left))


async def cut(links: Links, backend: Backend) -> int:
    """End whatever is still open at a backend that has stopped; how many it had not ended itself."""
    group = links.group(backend)
    busy = [link for link in group.links if link.busy and not link.ended]
    for link in list(group.links):
        link.cut()
    await links.until(lambda: not group.links)
    links.forget(backend, group)
    return len(busy)


async def _within(seconds: float, links: Links, group: Group, left: Collection[Link] = ()) -> None:
    """Wait at most so long for what runs in `group` to end, but for those in `left`."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await links.until(lambda: not any(link.busy and link not in left for link in group.links))


class _Progress:
    """When a link was last seen to have moved."""

    def __init__(self, link: Link) -> None:
        self._link, self._moved, self._at = link, link.moved, time.monotonic()

    def moves(self) -> bool:
        """Whether bytes have passed lately."""
        if self._link.moved > self._moved:
            self._moved, self._at = self._link.moved, time.monotonic()
        return time.monotonic() - self._at < STALLED
