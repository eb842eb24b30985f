"""Format projects with a deleted folder, and what they left, for people and programs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from watcher.observers import humanize
from watcher.observers.events import short
from watcher.prune.left_project import Choice, EngineLeftovers, LeftProject, Removed
from watcher.prune.model import ObjectKind, Verdict

_KINDS = {
    ObjectKind.CONTAINER: "container",
    ObjectKind.NETWORK: "network",
    ObjectKind.FINAL: "image",
    ObjectKind.BUILDER: "image",
    ObjectKind.TAG: "image tag",
    ObjectKind.STEP: "cache record",
    ObjectKind.GO_CACHE: "Go cache",
}
_WIDEST = 80  # maximum characters of the name of a build step
_STATES = {Choice.OFFERED: "gone", Choice.BY_NAME: "only by name", Choice.REFUSED: "kept"}


class ProjectRow(NamedTuple):
    """One row of the table of projects."""

    project: str
    state: str  # gone | only by name | kept
    path: str
    last_seen: str
    left: str
    size: str
    why: str


class GoneRow(NamedTuple):
    """One row of the table of objects."""

    project: str
    verdict: str  # keep | removed | would remove
    kind: str
    name: str
    id: str
    size: str
    reason: str


def _count_kinds(verdicts: Iterable[Verdict]) -> str:
    """`2 containers, 1 image`."""
    counts = Counter(_KINDS.get(verdict.kind, verdict.kind.value) for verdict in verdicts)
    return ", ".join(humanize.count(number, name) for name, number in counts.items())


def _format_time(at: float) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(at)) if at else "not known"
    except (OverflowError, ValueError, OSError):
        return "not known"


def project_rows(projects: Iterable[LeftProject]) -> tuple[ProjectRow, ...]:
    """Return the table of projects: those that are gone first, then by size."""
    order = list(Choice)
    ordered = sorted(projects, key=lambda left: (order.index(left.choice), -left.size, left.id))
    return tuple(
        ProjectRow(
            left.id,
            _STATES[left.choice],
            left.path or "not known",
            _format_time(left.last_seen),
            _count_kinds(left.to_remove) or "nothing",
            _describe_size(left.to_remove)
            if left.is_certain or left.size or not left.to_remove
            else "not known",
            left.why,
        )
        for left in ordered
    )


def _describe_size(leaving: Sequence[Verdict]) -> str:
    """Return the sum of the sizes, and that Go caches are missing in it where BuildKit did not report any."""
    size = humanize.size(sum(verdict.size for verdict in leaving))
    caches = [verdict for verdict in leaving if verdict.kind is ObjectKind.GO_CACHE]
    return f"{size} without Go caches" if caches and not any(each.size for each in caches) else size


def gone_rows(projects: Iterable[LeftProject], *, done: bool) -> tuple[GoneRow, ...]:
    """Return the table of objects; `done`: the removals are done."""
    gone = "removed" if done else "would remove"
    return tuple(
        GoneRow(
            left.id,
            gone if verdict.remove else "keep",
            _KINDS.get(verdict.kind, verdict.kind.value),
            verdict.name if len(verdict.name) <= _WIDEST else f"{verdict.name[:_WIDEST]}…",
            "" if verdict.kind is ObjectKind.GO_CACHE else short(verdict.id),
            humanize.size(verdict.size) if verdict.size else "",
            verdict.reason,
        )
        for left in projects
        if left.choice is not Choice.REFUSED
        for each in left.engines
        for verdict in each.verdicts
    )


def gone_summary(projects: Sequence[LeftProject], chosen: Sequence[LeftProject]) -> tuple[str, ...]:
    """Describe what would be removed, which projects must be named, and what could not be read."""
    lines = [*_list_problems(projects)]
    if not projects:
        return ("none of your projects is gone",)
    by_name = [left for left in projects if left.choice is Choice.BY_NAME and left not in chosen]
    if by_name:
        ids = by_name[0].id if len(by_name) == 1 else "ID…"
        text = f"{humanize.count(len(by_name), 'project')} must be named: `watcher prune --gone {ids}`"
        folder = "folder" if len(by_name) == 1 else "folders"
        lines.append(f"{text}, if you are sure that the {folder} will not come back")
        if sum(left.record is not None for left in by_name) > 1:
            lines.append(
                "an ID can be a pattern in quotes, such as 'shop-*'; it selects only your own projects"
            )
    leaving = [verdict for left in chosen for verdict in left.to_remove]
    if leaving:
        size = _describe_size(leaving)
        what = f"{_count_kinds(leaving)} of {humanize.count(len(chosen), 'project')}"
        lines.append(f"would be removed: {what}, about {size}; volumes stay")
    elif any(each.problem for left in chosen for each in left.engines):
        lines.append("nothing would be removed: what these projects left could not be checked everywhere")
    elif chosen:
        lines.append(f"{humanize.count(len(chosen), 'project')} left nothing; the record would be removed")
    else:
        lines.append("nothing would be removed")
    return tuple(lines)


def _list_problems(projects: Iterable[LeftProject]) -> Iterable[str]:
    """Yield each distinct problem of an engine."""
    found: dict[str, list[str]] = {}
    for left in projects:
        for each in left.engines:
            if each.problem:
                found.setdefault(f"not checked: {each.endpoint}: {each.problem}", []).append(left.id)
    for text, ids in found.items():
        more = f" and {len(ids) - 1} more" if len(ids) > 1 else ""
        yield f"{text} ({ids[0]}{more})"


def removal_summary(done: Removed) -> tuple[str, ...]:
    """Describe what was removed."""
    lines = [*_list_problems(done.projects), *done.problems]
    lines += [f"{left.id} is kept: {left.why}" for left in done.projects if left.choice is Choice.REFUSED]
    known = [each for each in done.verdicts if each.kind is not ObjectKind.GO_CACHE]
    if any(each.size for each in done.verdicts if each.kind is ObjectKind.GO_CACHE):
        known = list(done.verdicts)  # BuildKit does not say whether a cache exists: without bytes none did
    if not known:
        lines.append("nothing was removed" if not done.verdicts else "nothing was left to remove")
    else:
        freed = "" if done.freed is None else f", {humanize.size(done.freed)} freed"
        lines.append(f"{_count_kinds(known)} removed{freed}; volumes stay")
    if done.forgotten:
        lines.append(
            f"{humanize.count(len(done.forgotten), 'project')} had nothing left; the record is removed"
        )
    return tuple(lines)


def doctor_text(projects: Sequence[LeftProject]) -> str:
    """Describe projects with a deleted folder for `watcher doctor`."""
    leaving = [verdict for left in projects for verdict in left.to_remove]
    left = _count_kinds(leaving) or "nothing that can be removed"
    size = _describe_size(leaving)
    verb = "is" if len(projects) == 1 else "are"
    return f"{humanize.count(len(projects), 'project')} of yours {verb} gone and left {left}, about {size}"


def gone_as_json(projects: Iterable[LeftProject], done: Removed | None) -> dict[str, Any]:
    """Return plain values; sizes in bytes, times in Unix seconds. `done` is None for a dry run."""
    shown = projects if done is None else done.projects
    document: dict[str, Any] = {
        "dry_run": done is None,
        "projects": [
            {
                "id": left.id,
                "path": left.path or None,
                "choice": left.choice.value,
                "reason": left.why,
                "last_seen": left.last_seen or None,
                "size": left.size,
                "engines": [_engine_as_json(each) for each in left.engines],
            }
            for left in shown
        ],
    }
    if done is not None:
        document |= {"freed": done.freed, "forgotten": done.forgotten, "problems": done.problems}
    return document


def _engine_as_json(on: EngineLeftovers) -> dict[str, Any]:
    return {
        "endpoint": on.endpoint,
        "problem": on.problem or None,
        "objects": [
            {
                "verdict": "remove" if verdict.remove else "keep",
                "kind": verdict.kind.value,
                "id": verdict.id,
                "name": verdict.name,
                "size": verdict.size,
                "cause": verdict.why.cause.value,
                "reason": verdict.reason,
            }
            for verdict in on.verdicts
        ],
    }
