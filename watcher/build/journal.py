"""The journal of a project's builds: which steps ran when, by the engine's clock.

BuildKit's cache records carry no owner (moby/buildkit, api/services/control/control.proto, `UsageRecord`).
What a build made can still be proven afterwards, from when its steps ran: `watcher.prune` does that, and
needs nothing but this journal. Each step is written as soon as it ended, so that a daemon that was killed
loses at most the step that was cancelled with it.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from watcher.buildkit import Progress, Step, StepFinished

_LARGEST = 16 * 1024**2  # bytes of a journal that are read: a year of builds is smaller
_LONGEST_NAME = 4096  # characters of a step's name that are kept


@dataclass(frozen=True, slots=True)
class StepRun:
    """A step that ran, not cached: BuildKit's name of it; Unix seconds by the engine's clock.

    `shown` is the name in the words of the user's Dockerfile, empty where it is the same.
    """

    name: str
    started: float
    finished: float
    shown: str = ""


@dataclass(slots=True)
class BuildEntry:
    """One build. `started` and `finished` span all its steps, cached ones too; 0 when none began.

    `final`: it was to make a final image. `ended` is how it went: `ok`, `failed`, or empty while it runs or
    when the daemon was killed. `records` are the ids of the cache records that were proven to be its own;
    None as long as that was not looked at. Those of `unfinished` were still open then: BuildKit gives a
    record another id when it is first read (moby/buildkit, cache/refs.go, `mutableRef.commit`).
    """

    id: str
    service: str = ""
    revision: str = ""
    final: bool = False
    started: float = 0.0
    finished: float = 0.0
    ended: str = ""
    steps: list[StepRun] = field(default_factory=list)
    records: frozenset[str] | None = None
    unfinished: frozenset[str] = frozenset()


class BuildJournal:
    """The journal in a file that every process of this user may read and write; one per project.

    `folder` holds what is remembered of the project. Without one (`None`), or where it cannot be written,
    nothing is remembered and `problem` says why.
    """

    def __init__(self, folder: Path | None, problem: str = "") -> None:
        self.folder = folder
        self._path = folder / "builds.jsonl" if folder else None
        self.problem = problem
        self._running: set[str] = set()

    @property
    def running(self) -> frozenset[str]:
        """The builds of this process that have not ended."""
        return frozenset(self._running)

    @contextmanager
    def build(
        self,
        service: str,
        revision: str,
        *,
        final: bool,
        show: Callable[[Step], str] = lambda step: step.name,
    ) -> Iterator[Callable[[Progress], None]]:
        """Write down one build: call what this gives with every event. `show` names steps for people."""
        entry = secrets.token_hex(8)
        self._running.add(entry)
        self._append({"build": entry, "service": service, "revision": revision, "final": final})
        ended = "failed"
        try:
            yield lambda event: self._hear(entry, event, show)
            ended = "ok"
        finally:
            self._running.discard(entry)
            self._append({"end": entry, "ended": ended})

    def _hear(self, entry: str, event: Progress, show: Callable[[Step], str]) -> None:
        if not isinstance(event, StepFinished):
            return
        line: dict[str, Any] = {"step": entry, "from": event.at - event.seconds, "to": event.at}
        if not event.cached and not event.error and event.step.total:
            line["name"] = event.step.name[:_LONGEST_NAME]
            line["shown"] = show(event.step)[:_LONGEST_NAME]
        self._append(line)

    def _append(self, line: Mapping[str, Any]) -> None:
        if self._path is None or self.problem:
            return
        try:
            with (
                _locked(self._path),
                self._path.open("a", encoding="utf-8", errors="surrogateescape") as file,
            ):
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            self.problem = f"{self._path}: {error.strerror or error}"

    def entries(self) -> list[BuildEntry]:
        """All builds that are remembered, oldest first. A damaged line is left out."""
        if self._path is None:
            return []
        try:
            with _locked(self._path):
                return _parse(_read_lines(self._path))
        except FileNotFoundError:
            return []
        except OSError as error:
            self.problem = f"{self._path}: {error.strerror or error}"
            return []

    def update(self, change: Callable[[list[BuildEntry]], Iterable[BuildEntry]]) -> None:
        """Replace the journal by what `change` makes of it; steps that are written meanwhile wait."""
        if self._path is None or self.problem:
            return
        try:
            with _locked(self._path):
                kept = change(_parse(_read_lines(self._path)))
                new = self._path.with_suffix(".new")
                new.write_text("".join(_lines(kept)), encoding="utf-8")
                new.replace(self._path)
        except FileNotFoundError:
            return
        except OSError as error:
            self.problem = f"{self._path}: {error.strerror or error}"


def state_folder() -> Path:
    """The folder with what is remembered of each project. Raises OSError or RuntimeError without a home."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "watcher"


def open_journal(project: str) -> BuildJournal:
    """The journal of the project with this id, in the user's state folder (XDG_STATE_HOME)."""
    try:
        folder = state_folder() / project
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            return BuildJournal(None, f"{folder} is not writable")
    except (OSError, RuntimeError) as error:
        return BuildJournal(None, str(error))
    return BuildJournal(folder)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _read_lines(path: Path) -> list[str]:
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(max(0, size - _LARGEST))
        return file.read(_LARGEST).decode("utf-8", "replace").splitlines()


def _lines(entries: Iterable[BuildEntry]) -> Iterator[str]:
    for entry in entries:
        line: dict[str, Any] = {
            "build": entry.id,
            "service": entry.service,
            "revision": entry.revision,
            "final": entry.final,
            "span": [entry.started, entry.finished],
            "ended": entry.ended,
            "steps": [[step.name, step.started, step.finished, step.shown] for step in entry.steps],
        }
        if entry.records is not None:
            line["records"] = sorted(entry.records)
            line["unfinished"] = sorted(entry.unfinished)
        yield json.dumps(line) + "\n"


def _parse(lines: Iterable[str]) -> list[BuildEntry]:
    found: dict[str, BuildEntry] = {}
    for text in lines:
        try:
            _fold(found, json.loads(text))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return list(found.values())


def _fold(found: dict[str, BuildEntry], line: dict[str, Any]) -> None:
    if name := line.get("build"):
        started, finished = line.get("span", (0.0, 0.0))
        records = line.get("records")
        found[name] = BuildEntry(
            name,
            str(line["service"]),
            str(line["revision"]),
            bool(line["final"]),
            float(started),
            float(finished),
            str(line.get("ended", "")),
            [
                StepRun(str(name), float(a), float(b), str(shown))
                for name, a, b, shown in line.get("steps", ())
            ],
            None if records is None else frozenset(map(str, records)),
            frozenset(map(str, line.get("unfinished", ()))),
        )
    elif name := line.get("step"):
        entry, started, finished = found[name], float(line["from"]), float(line["to"])
        entry.started = min(entry.started or started, started)
        entry.finished = max(entry.finished, finished)
        if "name" in line:
            entry.steps.append(StepRun(str(line["name"]), started, finished, str(line.get("shown", ""))))
    elif name := line.get("end"):
        found[name].ended = str(line["ended"])
