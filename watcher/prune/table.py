"""Format the result of a prune for people and programs."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from watcher.observers import humanize
from watcher.observers.events import short
from watcher.prune.disk_usage import UsageRow
from watcher.prune.go_cache_select import CacheMount, plan_trim, shorten_names
from watcher.prune.model import Cause, Disk, NotMeasured, ObjectKind
from watcher.prune.pruner import PruneReport

_SIZED = (ObjectKind.FINAL, ObjectKind.BUILDER, ObjectKind.STEP)


class Row(NamedTuple):
    """One row of the table of objects."""

    verdict: str  # keep | removed | would remove
    kind: str
    name: str
    id: str
    age: str
    size: str
    reason: str


def report_rows(report: PruneReport) -> tuple[Row, ...]:
    """Return the table: removed objects first, then kept ones, larger ones first."""
    gone = "would remove" if report.dry_run else "removed"
    ordered = sorted(report.verdicts, key=lambda verdict: (not verdict.remove, -verdict.size))
    return tuple(
        Row(
            gone if verdict.remove else "keep",
            verdict.kind.value,
            verdict.name,
            short(verdict.id),
            humanize.seconds(max(0.0, report.at - verdict.created)) if verdict.created else "",
            humanize.size(verdict.size) if verdict.kind in _SIZED else "",
            verdict.reason,
        )
        for verdict in ordered
    )


class UsageText(NamedTuple):
    """One row of the table of disk usage."""

    on_the_engine: str
    size: str
    this_project: str
    note: str


def format_usage(shares: Iterable[UsageRow]) -> tuple[UsageText, ...]:
    """Return the table of disk usage."""
    return tuple(
        UsageText(
            share.what,
            humanize.size(share.size),
            "unknown" if share.ours is None else humanize.size(share.ours),
            share.note,
        )
        for share in shares
    )


def summarize_report(report: PruneReport) -> tuple[str, ...]:
    """Describe what was freed, or would be."""
    removed = [verdict for verdict in report.verdicts if verdict.remove]
    lines = ["the disk is nearly full: only one final image is kept"] if report.low else []
    if not removed:
        return (*lines, "nothing is stale")
    objects = humanize.count(len(removed), "object")
    if report.dry_run:
        most = humanize.size(sum(verdict.size for verdict in removed))
        lines.append(f"{objects} would be removed, {most} at most: images share layers")
        if any(verdict.kind is not ObjectKind.STEP and verdict.size for verdict in removed) and any(
            verdict.kind is ObjectKind.STEP and verdict.why.cause is Cause.IN_USE
            for verdict in report.verdicts
        ):
            lines.append("build steps of these images would be removed after them")
    elif report.freed is None:
        lines.append(f"{objects} removed; the freed bytes could not be measured")
    else:
        text = f"{objects} removed, {humanize.size(report.freed)} freed"
        if report.cached:
            text += f"; {humanize.size(report.cached)} more are now held only by the build cache"
        lines.append(text)
    return tuple(lines)


def summarize_trim(records: int, freed: int) -> str:
    """Describe what was removed of the build cache."""
    if not records:
        return "the build cache is within its limit"
    return f"{humanize.count(records, 'record')} of the build cache removed, {humanize.size(freed)} freed"


def summarize_estimate(holds: int, keep: int, over: int) -> str:
    """Describe what would be removed of the build cache; sizes in bytes."""
    sizes = f"it holds {humanize.size(holds)}, and prune.cache_keep_storage is {humanize.size(keep)}"
    if over:
        return f"about {humanize.size(over)} of the build cache would be removed: {sizes}"
    if holds <= keep:
        return f"nothing of the build cache would be removed: {sizes}"
    return (
        f"nothing of the build cache would be removed: {sizes}, but everything is in use or was used recently"
    )


def summarize_emptied(mount: CacheMount) -> str:
    """Describe what `watcher prune --cache` did with a cache mount."""
    size = humanize.size(mount.size)
    if not mount.users:
        return f"{mount.target} emptied: it held {size}"
    return f"{mount.target} stays, with {size}: shared, and lately used by {shorten_names(mount.users)}"


def summarize_go_cache(mounts: Sequence[CacheMount], most: int, freed: int, *, dry_run: bool) -> str:
    """Describe what was or would be removed of Go's build cache."""
    holds = humanize.size(sum(mount.size for mount in mounts if not mount.modules))
    bound = f"prune.go_cache_max is {humanize.size(most)}" if most else "prune.go_cache_max sets no limit"
    sizes = f"it holds {holds}, and {bound}"
    if not dry_run:
        gone = f"{humanize.size(freed)} of Go's build cache" if freed else "nothing of Go's build cache"
        return f"{gone} removed: {sizes}"
    plan = plan_trim(mounts, most, time.time())
    gain = sum(mount.size for mount in mounts if mount.id in plan.empty) + plan.excess
    if not gain:
        return f"nothing of Go's build cache would be removed: {sizes}"
    most_text = f"up to {humanize.size(gain)} of Go's build cache would be removed"
    return f"{most_text}, least recently used first: {sizes}"


def free_space_text(disk: Disk | NotMeasured) -> str:
    """Describe the free space of the engine's disk."""
    if isinstance(disk, Disk):
        return f"the engine's disk has {humanize.size(disk.free)} of {humanize.size(disk.total)} free"
    return f"the free space of the engine's disk cannot be measured: {disk.why}"


def report_as_json(report: PruneReport) -> dict[str, Any]:
    """Return the report as plain values; sizes in bytes."""
    return {
        "dry_run": report.dry_run,
        "freed": report.freed,
        "cached": report.cached,
        "low": report.low,
        "seconds": report.seconds,
        "objects": [
            {
                "verdict": "remove" if verdict.remove else "keep",
                "kind": verdict.kind.value,
                "id": verdict.id,
                "name": verdict.name,
                "size": verdict.size,
                "created": verdict.created or None,
                "cause": verdict.why.cause.value,
                "reason": verdict.reason,
            }
            for verdict in report.verdicts
        ],
    }


def engine_as_json(shares: Iterable[UsageRow], disk: Disk | NotMeasured) -> dict[str, Any]:
    """Return the disk usage as plain values; sizes in bytes."""
    space = {"free": disk.free, "total": disk.total} if isinstance(disk, Disk) else {"not_measured": disk.why}
    return {"usage": [asdict(share) for share in shares], "disk": space}
