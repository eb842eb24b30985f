"""The entries of the journal of builds, one for each build, as lines of JSON.

A running build is written step by step (`build`, `step` for each step, `end`); `to_line` writes all of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class StepRun:
    """A step that ran (that was not cached): BuildKit's name of it, and Unix seconds by the engine's clock.

    `shown` is its name in the user's Dockerfile, empty if it is the same.
    """

    name: str
    started: float
    finished: float
    shown: str = ""


@dataclass(slots=True)
class BuildEntry:
    """One build. `started` and `finished` span all its steps, cached ones too; 0 if there was none.

    `finished` includes the time until BuildKit answered: it releases the records that a build used by then.

    `final`: the build was for a final image. `ended` is `ok`, `failed`, or empty while it runs or if the
    daemon was killed. `records` are the ids of the cache records that are proven to be its own; None before
    the proof. Those in `unfinished` were still open then: BuildKit gives a record another id when it is first
    read (moby/buildkit, cache/refs.go, `mutableRef.commit`).
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


def to_line(entry: BuildEntry) -> str:
    """Return the whole entry as one line."""
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
    return json.dumps(line)


def parse_lines(lines: Iterable[str]) -> list[BuildEntry]:
    """Return the entries that the lines describe, oldest first. Damaged lines are skipped."""
    found: dict[str, BuildEntry] = {}
    for text in lines:
        try:
            _fold(found, json.loads(text))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
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
        if found[name].finished:
            found[name].finished += max(0.0, float(line.get("after", 0.0)))
