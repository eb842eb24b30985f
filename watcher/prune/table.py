"""A prune as people and programs read it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from watcher import words
from watcher.observe import short
from watcher.prune.model import Disk, Kind, Unseen, Verdict
from watcher.prune.pruner import Report


class Row(NamedTuple):
    """One line of the table."""

    verdict: str  # keep | removed | would remove
    kind: str
    name: str
    id: str
    size: str
    reason: str


def rows(report: Report) -> tuple[Row, ...]:
    """The table: what goes first, then what stays, larger objects first."""
    gone = "would remove" if report.dry_run else "removed"
    ordered = sorted(report.verdicts, key=lambda verdict: (not verdict.remove, -verdict.size))
    return tuple(
        Row(
            gone if verdict.remove else "keep",
            verdict.kind.value,
            verdict.name,
            short(verdict.id),
            words.size(verdict.size) if verdict.kind in (Kind.FINAL, Kind.BUILDER) else "",
            verdict.reason,
        )
        for verdict in ordered
    )


def summary(report: Report) -> tuple[str, ...]:
    """What fills the disk and what was given back, in sentences."""
    lines = []
    removed = [verdict for verdict in report.verdicts if verdict.remove]
    if report.freed is not None:
        text = f"{words.count(len(removed), 'object')} removed, {words.size(report.freed)} given back"
        if report.cached:
            text += f"; {words.size(report.cached)} more are held by the build cache alone now"
        lines.append(text)
    elif report.dry_run and removed:
        most = words.size(_total(removed))
        lines.append(
            f"{words.count(len(removed), 'object')} would be removed, {most} at most: images share layers"
        )
    else:
        lines.append("nothing is stale")
    if report.others:
        lines.append(
            f"{words.count(report.others, 'image')} of others, {words.size(report.others_size)} "
            "with what they share, never touched"
        )
    if cache := report.cache:
        lines.append(
            f"the build cache of all projects holds {words.size(cache.size)}, of which cache mounts "
            f"{words.size(cache.mounts)}; {words.size(cache.reclaimable)} could be given back "
            "(`docker builder prune`), never done here: no record says whose it is"
        )
    if isinstance(report.disk, Disk):
        room = f"{words.size(report.disk.free)} of {words.size(report.disk.total)} free"
        eager = ", which is little: only one final image is kept" if report.low else ""
        lines.append(f"the engine's disk has {room}{eager}")
    elif report.disk:
        lines.append(f"how full the engine's disk is cannot be measured from here: {report.disk.why}")
    return tuple(lines)


def as_json(report: Report) -> dict[str, Any]:
    """The whole report in plain values; sizes are bytes."""
    cache = report.cache
    return {
        "dry_run": report.dry_run,
        "freed": report.freed,
        "cached": report.cached,
        "seconds": report.seconds,
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
            for verdict in report.verdicts
        ],
        "others": {"images": report.others, "size": report.others_size},
        "build_cache": cache
        and {"size": cache.size, "reclaimable": cache.reclaimable, "mounts": cache.mounts},
        "disk": _disk(report),
    }


def _disk(report: Report) -> dict[str, Any] | None:
    match report.disk:
        case Disk(free=free, total=total):
            return {"free": free, "total": total, "low": report.low}
        case Unseen(why=why):
            return {"unseen": why}
    return None


def _total(verdicts: Iterable[Verdict]) -> int:
    return sum(verdict.size for verdict in verdicts)
