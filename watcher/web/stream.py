"""The event stream, and waiting until services settle."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Literal

from fastapi.sse import ServerSentEvent

from watcher.errors import WatcherError
from watcher.observers.api_schema import LogList, Settled
from watcher.observers.outcomes import WORST_FIRST
from watcher.observers.status_board import StatusBoard
from watcher.observers.status_schema import (
    BuildInfo,
    FailureInfo,
)

CALM = 0.1  # seconds between two messages: a burst of events becomes one
RETRY = 1000  # milliseconds before a browser connects again
POLL = 0.25  # seconds between checks of the others, once a service has failed
IDLE = 1.0  # seconds without work after which such a service is not waited for
SCAN_SECONDS = 5.0  # a scan can take this long even with no time to wait: is the tree live now?
MOST_LINES = 500  # in one message


def resume_position(board: StatusBoard, last_event_id: str) -> int:
    """Return the number of the last line that a client has seen; the newest line for a new client."""
    boot, _, seq = last_event_id.partition(".")
    if boot == board.status.daemon.boot and seq.isascii() and seq.isdigit():
        return min(int(seq), board.lines.last)
    return board.lines.last


async def stream_messages(
    board: StatusBoard,
    last_event_id: str,
    only: Literal["status", "lines"] | None = None,
    whole: str | None = None,
) -> AsyncIterator[ServerSentEvent]:
    """Yield the messages for one client until the board closes.

    A slow client gets fewer and later ones; nothing is queued for it. `whole` names the only service with
    all details; None is all of them.
    """
    seen, version = resume_position(board, last_event_id), -1
    while not board.closed:
        if version != board.version:
            version = board.version
            if only != "lines":
                data = board.json() if whole is None else board.brief_json(whole)
                yield ServerSentEvent(event="status", raw_data=data, id=_event_id(board, seen), retry=RETRY)
        lines = board.lines.after(seen)[:MOST_LINES]
        if lines and only == "status":
            seen = lines[-1].seq
        elif lines:
            dropped = lines[0].seq > seen + 1
            seen = lines[-1].seq
            body = LogList(lines=lines, dropped=dropped).model_dump_json()
            yield ServerSentEvent(event="lines", raw_data=body, id=_event_id(board, seen))
        await board.changed(version, seen)
        await asyncio.sleep(CALM)


def _event_id(board: StatusBoard, seen: int) -> str:
    return f"{board.status.daemon.boot}.{seen}"


class DaemonStopped(WatcherError):
    """The daemon is stopping, so no service will settle."""


async def unless_stopping(board: StatusBoard, look: Awaitable[str]) -> str:
    """Return what `look` returns; raise DaemonStopped if the daemon stops first.

    A daemon that cannot start, because a port is taken, never scans: its clients would wait for their answer.
    """
    looking = asyncio.ensure_future(look)
    stopping = asyncio.ensure_future(_stopped(board))
    try:
        await asyncio.wait({looking, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if looking.done():
            return looking.result()
        raise DaemonStopped("the watcher is being stopped")
    finally:
        looking.cancel()
        stopping.cancel()


async def _stopped(board: StatusBoard) -> None:
    while not board.closed and not board.status.daemon.stopping:
        await board.changed(board.version, board.lines.last)


async def settle(
    board: StatusBoard,
    name: str,
    look: Callable[[], Awaitable[str]],
    timeout: float,
    after_build: int | None = None,
    *,
    scan_seconds: float = SCAN_SECONDS,
) -> Settled:
    """Wait until the tree of service `name` is live, failed, paused or unreadable, at most `timeout` seconds.

    `look` gives the revision of the tree as it is now; if it changes during the wait, the newer one counts.
    With `after_build`, a build with a higher number must have ended too, and its deploy. `look` has at least
    `scan_seconds`. Raises DaemonStopped.
    """
    revision, end = "", asyncio.get_running_loop().time() + timeout
    try:
        async with asyncio.timeout(max(timeout, scan_seconds)):
            revision = await unless_stopping(board, look())
        async with asyncio.timeout_at(end):
            while not board.closed and not board.status.daemon.stopping:
                version = board.version
                if board.service(name) is None:
                    raise WatcherError(f"{name} is no longer managed")
                settled = _settled(board, name, revision, after_build)
                if settled:
                    service = board.service(name)
                    urls = service.urls if service else []
                    return settled.model_copy(update={"urls": urls})
                await board.changed(version, board.lines.last)
            raise DaemonStopped("the watcher is being stopped")
    except TimeoutError:
        return _describe_timeout(board, name, revision)
    except DaemonStopped:
        raise
    except WatcherError as error:
        failure = FailureInfo(kind="tree", summary=str(error))
        return Settled(service=name, outcome="unknown", revision="", failure=failure)


async def settle_all(
    board: StatusBoard,
    names: Sequence[str],
    look: Callable[[str], Awaitable[str]],
    timeout: float,
    after_build: int | None = None,
    *,
    idle_seconds: float = IDLE,
    poll: float = POLL,
) -> Settled:
    """Wait for all services as `settle` does for one; the outcome is that of the worst.

    Once one cannot become live, wait for the others only while they are at work, and `idle_seconds` longer:
    a service whose deploy waits for the failed one can wait for ever.
    """
    tasks = {
        name: asyncio.create_task(settle(board, name, partial(look, name), timeout, after_build))
        for name in names
    }
    try:
        waiting, failed, at_work = set(tasks.values()), False, dict.fromkeys(tasks, 0.0)
        while waiting:
            pause = poll if failed else None
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED, timeout=pause)
            ended = {name for name, task in tasks.items() if task in done and board.service(name)}
            failed = failed or any(tasks[name].result().outcome != "live" for name in ended)
            if failed:
                now = asyncio.get_running_loop().time()
                at_work = {name: now if _is_at_work(board, name) else at_work[name] or now for name in tasks}
                idle = {tasks[name] for name, last in at_work.items() if now - last >= idle_seconds}
                waiting -= idle
    finally:
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
    each = [
        task.result() if not task.cancelled() else _describe_timeout(board, name)
        for name, task in tasks.items()
        if board.service(name) or len(tasks) == 1
    ]
    if not each:
        return _describe_refusal("", "", "no service is managed any more")
    worst = min(each, key=lambda found: WORST_FIRST.index(found.outcome))
    if refused := board.status.daemon.refused:  # perhaps of a service that is not managed yet
        worst = worst if worst.outcome == "failed" else _describe_refusal("", "", refused)
    return worst.model_copy(update={"services": each})


async def settle_everything(
    board: StatusBoard,
    names: Sequence[str],
    look: Callable[[str], Awaitable[str]],
    timeout: float,
    after_build: int | None = None,
) -> Settled:
    """Wait for all services: those of `names`, and those that the compose file got meanwhile."""
    end = asyncio.get_running_loop().time() + timeout
    if len(names) == 1:
        settled = await settle(board, names[0], partial(look, names[0]), timeout, after_build)
    else:
        settled = await settle_all(board, names, look, timeout, after_build)
    new = [service.name for service in board.status.services if service.name not in names]
    if not new:
        return settled
    left = max(0.0, end - asyncio.get_running_loop().time())
    more = await settle_all(board, new, look, left)
    each = [one for one in settled.services or [settled] if board.service(one.service)]
    worst = min((*each, *more.services), key=lambda found: WORST_FIRST.index(found.outcome))
    return worst.model_copy(update={"services": [*each, *more.services]})


def _is_at_work(board: StatusBoard, name: str) -> bool:
    """Return whether something of the service will end by itself: not a deploy that waits for its turn."""
    service = board.service(name)
    if service is None:
        return False
    return service.building is not None or bool(service.deploying) != bool(service.held)


def _desired_revision(board: StatusBoard, name: str) -> str:
    service = board.service(name)
    return service.desired.revision if service and service.desired else ""


def _describe_timeout(board: StatusBoard, name: str, asked: str = "") -> Settled:
    service = board.service(name)
    revision = _desired_revision(board, name) or asked
    waiting = service.held if service else ""
    return Settled(service=name, outcome="timeout", revision=revision, waiting=waiting)


def _settled(board: StatusBoard, name: str, asked: str, after_build: int | None) -> Settled | None:
    service, desired = board.service(name), _desired_revision(board, name)
    if service is None or not desired:
        return None
    only = len(board.status.services) == 1
    if refused := service.refused or (board.status.daemon.refused if only else ""):
        return _describe_refusal(name, desired, refused)
    answered = after_build is None or _answered(service.last_build, after_build)
    if service.container_paused:  # nothing answers until it is unpaused, or another one is live
        return None
    if answered and service.live and service.live.revision in (asked, desired):
        old = service.front.old_connections
        return Settled(service=name, outcome="live", revision=service.live.revision, old_connections=old)
    if service.building or service.deploying:
        return None
    if answered and service.failed == desired:
        failure = service.last_error.failure if service.last_error else None
        return Settled(service=name, outcome="failed", revision=desired, failure=failure)
    if service.paused:
        return Settled(service=name, outcome="paused", revision=desired)
    return None


def _describe_refusal(name: str, revision: str, reason: str) -> Settled:
    summary = f"the configuration is refused: {reason}"
    refusal = FailureInfo(kind="config", summary=summary, hint="what that concerns stays as it was")
    return Settled(service=name, outcome="failed", revision=revision, failure=refusal)


def _answered(build: BuildInfo | None, after: int) -> bool:
    """Whether a build after number `after` has ended, and what follows a good one too."""
    return build is not None and build.id > after and (build.deploy is not None or build.failure is not None)
