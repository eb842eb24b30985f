"""`watcher list`: every running watcher of this user, with what it says of itself."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from watcher.cli.git_branch import read_branch
from watcher.cli.remote import Api, JsonObject, parse_document
from watcher.errors import WatcherError
from watcher.observers import humanize
from watcher.system import lock

_SECONDS = 3.0  # until an answer is late
_ASKED_AT_ONCE = 16
_MOST_NAMES = 3  # services named in one line
_HEADS = ("PROJECT", "BRANCH", "SERVICES", "STATE", "PAGE", "RUNNING FOR")


@dataclass(frozen=True, slots=True)
class ListedService:
    """One service of a listed daemon."""

    name: str
    phase: str
    revision: str | None
    urls: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ListedDaemon:
    """One running daemon. `state` is in words; `project` is empty if an older version does not answer."""

    project: str
    branch: str
    services: tuple[ListedService, ...]
    state: str
    page: str
    since: float | None
    pid: int
    version: str

    def as_row(self, now: float) -> tuple[str, ...]:
        """Return the cells of its line."""
        names = [service.name for service in self.services]
        shown = ", ".join(names) if len(names) <= _MOST_NAMES else humanize.count(len(names), "service")
        age = humanize.seconds(max(0.0, now - self.since)) if self.since else ""
        return (humanize.short_path(self.project), self.branch, shown, self.state, self.page, age)


def list_daemons(*, as_json: bool) -> int:
    """Print all running daemons of this user; return the exit status."""
    found = find_daemons()
    if as_json:
        document = {"schema_version": 1, "daemons": [asdict(each) for each in found]}
        print(json.dumps(document, indent=2, ensure_ascii=False))
    elif found:
        print("\n".join(render_table([_HEADS, *(each.as_row(time.time()) for each in found)])))
    else:
        print("no watcher is running: start one with `watcher run` or `watcher up`")
    return 0


def find_daemons() -> list[ListedDaemon]:
    """Return all running daemons of this user, by project."""
    running = lock.list_running()
    if not running:
        return []
    with ThreadPoolExecutor(min(_ASKED_AT_ONCE, len(running))) as pool:
        found = pool.map(describe_daemon, running.values())
    return sorted(found, key=lambda each: (each.project, each.pid))


def describe_daemon(running: lock.Running) -> ListedDaemon:
    """Ask one daemon for its status."""
    status, state = None, "starting"
    if running.url:
        try:
            status = parse_document(Api(running.url, running.token, _SECONDS).get("/api/status"))
            state = _describe_state(status)
        except (WatcherError, ValueError) as error:
            state = "upgrading" if running.upgrading else f"unknown: {error}"
    project = running.project or (str(status["daemon"]["project"]) if status else "")
    services = _list_services(status) if status else ()
    since = running.since or (status["daemon"].get("started_at") if status else None)
    version = str(status["daemon"].get("version", "")) if status else ""
    branch = read_branch(Path(project)) if project else ""
    return ListedDaemon(project, branch, services, state, running.url, since, running.pid, version)


def _list_services(status: JsonObject) -> tuple[ListedService, ...]:
    return tuple(
        ListedService(
            each["name"], each["phase"], (each["live"] or {}).get("revision"), tuple(each.get("urls", ()))
        )
        for each in status["services"]
    )


def _describe_state(status: JsonObject) -> str:
    """Return the phases of the services in words."""
    if status["daemon"].get("stopping"):
        return "stopping"
    phases = Counter(each["phase"] for each in status["services"])
    if len(phases) <= 1:
        return next(iter(phases), "starting")
    return ", ".join(f"{number} {phase}" for phase, number in phases.most_common())


def render_table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the rows with aligned columns; a column without a value is left out."""
    used = [column for column in range(len(rows[0])) if any(row[column] for row in rows[1:])]
    widths = {column: max(len(row[column]) for row in rows) for column in used}
    for row in rows:
        yield "  ".join(row[column].ljust(widths[column]) for column in used).rstrip()
