"""Let the exchanges with one backend finish, and end those that do not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from contextlib import suppress

from watcher.front.model import Backend, DrainReport, FrontTimes
from watcher.front.upstream import BackendConnections, Upstream, UpstreamPool


async def drain(
    pool: UpstreamPool, backend: Backend, timeout: float, moving: float, times: FrontTimes
) -> DrainReport:
    """Wait at most `timeout` seconds for what runs on `backend`, then end what is still open.

    Each user is then asked to leave and has `times.last_word` seconds for it. A body of known length, for
    example an upload, continues for another `moving` seconds while bytes move. What only the app can end
    well stays open: `cut` ends it after the app was asked to stop.
    """
    began = time.monotonic()
    group = pool.group_of(backend)
    at_start = group.active
    pool.close_idle(backend)
    await _wait_within(timeout, pool, group)
    still_open = {upstream: _Progress(upstream) for upstream in group.upstreams if upstream.busy}
    for upstream in still_open:
        upstream.user.leave()
    left: set[Upstream] = set()
    while group.active > len(left):
        await _wait_within(times.last_word, pool, group, left)
        goes_on = not pool.hurried and time.monotonic() - began < timeout + moving
        left = {upstream for upstream in group.upstreams if upstream.busy and upstream.user.opaque}
        for upstream, progress in still_open.items():
            if not upstream.busy or upstream in left:
                continue
            if not (upstream.user.has_end and goes_on and progress.has_moved(times.stalled)):
                upstream.cut()
        for upstream in [
            upstream for upstream in group.upstreams if upstream.busy and upstream not in still_open
        ]:
            upstream.cut()  # it was connected to before the switch, and taken into use after it
        left &= group.upstreams
    cut = sum(upstream.was_cut for upstream in still_open)
    for upstream in group.upstreams - left:
        upstream.abort()
    await pool.wait_until(lambda: not group.upstreams - left)
    left &= group.upstreams
    if not left:
        pool.forget_group(backend, group)
    finished = max(at_start - cut - len(left), 0)
    return DrainReport(time.monotonic() - began, finished, cut, len(left))


async def cut(pool: UpstreamPool, backend: Backend) -> int:
    """End whatever is still open at a backend that has stopped; how many it had not ended itself."""
    group = pool.group_of(backend)
    busy = [upstream for upstream in group.upstreams if upstream.busy and not upstream.ended]
    for upstream in list(group.upstreams):
        upstream.cut()
    await pool.wait_until(lambda: not group.upstreams)
    pool.forget_group(backend, group)
    return len(busy)


async def _wait_within(
    seconds: float, pool: UpstreamPool, group: BackendConnections, left: Collection[Upstream] = ()
) -> None:
    """Wait at most so long for what runs in `group` to end, but for those in `left`."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await pool.wait_until(
                lambda: not any(upstream.busy and upstream not in left for upstream in group.upstreams)
            )


class _Progress:
    """When an upstream connection was last seen to have moved."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream, self._moved, self._at = upstream, upstream.moved, time.monotonic()

    def has_moved(self, seconds: float) -> bool:
        """Return whether bytes have passed within the last `seconds`."""
        if self._upstream.moved > self._moved:
            self._moved, self._at = self._upstream.moved, time.monotonic()
        return time.monotonic() - self._at < seconds
