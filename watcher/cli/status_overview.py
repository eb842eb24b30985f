"""Several services, one line each: what `watcher status` prints for a project with more than one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from watcher.observers import humanize
from watcher.observers.humanize import short

if TYPE_CHECKING:  # a client reads JSON: importing the models takes longer than the answer
    from watcher.observers.dependency_schema import DependencyInfo
    from watcher.observers.status_schema import FailureInfo, ServiceStatus

_WIDEST_NOTE = 100
_BROKEN = frozenset({"failed", "broken", "unhealthy", "stopped"})  # states of a dependency


def list_overview(
    services: Sequence[ServiceStatus], now: float, dependencies: Sequence[DependencyInfo] = ()
) -> Iterator[str]:
    """Yield a summary, one line for each service, and how to see one in full.

    The summary names `dependencies` that do not run as they should.
    """
    counts = Counter(found.phase for found in services)
    summary = ", ".join(f"{number} {phase}" for phase, number in counts.most_common())
    broken = "".join(f"; {each.name} {each.state}" for each in dependencies if each.state in _BROKEN)
    yield f"{humanize.count(len(services), 'service')}: {summary}{broken}"
    rows = [_make_row(found, now) for found in services]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    for *cells, last in rows:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        yield f"  {'  '.join((*padded, last))}".rstrip()
    yield "`watcher status --service NAME` shows one of them in full"


def _make_row(found: ServiceStatus, now: float) -> tuple[str, ...]:
    live = found.live
    age = f"for {humanize.seconds(max(0.0, now - live.since))}" if live else ""
    build = found.last_build
    built = f"build {humanize.seconds(build.seconds)}" if build and build.seconds is not None else ""
    return (
        found.name,
        found.phase,
        short(live.revision) if live else "-",
        age,
        built,
        _describe_note(found, now),
    )


def find_failure(found: ServiceStatus) -> FailureInfo | None:
    """Return why the desired revision is not live: it failed, or its build or deploy is tried again.

    Not the engine's silence, which the first lines name.
    """
    error = found.last_error
    if error is None or found.failed:
        return error.failure if error else None
    open_ = error.resolved_at is None and found.stale is not False and found.phase != "down"
    same = found.desired is not None and found.desired.revision == error.revision
    return error.failure if open_ and same else None


def _describe_note(found: ServiceStatus, now: float) -> str:
    """Return the most important fact about a service: a failure, what it waits for, else its addresses."""
    stale = ""
    if found.stale and found.live and found.stale_since is not None:
        stale = f"stale for {humanize.seconds(max(0.0, now - found.stale_since))}: "
    if found.refused:
        return _cut(f"the configuration is refused: {found.refused}")
    if failure := find_failure(found):
        return _cut(f"{stale}{failure.summary}")
    if found.container_paused:
        return f"requests wait until `docker unpause {found.container}`"
    if found.source.gone:
        return _cut(found.source.gone)
    if found.held and not found.paused:
        return _cut(humanize.hold(found.held))
    return " ".join(found.urls)


def _cut(text: str) -> str:
    return text if len(text) <= _WIDEST_NOTE else f"{text[: _WIDEST_NOTE - 1]}…"
