"""A prune as people and programs read it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from watcher.observers import humanize
from watcher.observers.events import short
from watcher.prune.disk_usage import UsageRow
from watcher.prune.go_cache_select import CacheMount, plan_trim
from watcher.prune.model import Cause, Disk, NotMeasured, ObjectKind
from watcher.prune.pruner import PruneReport

_SIZED = (ObjectKind.FINAL, ObjectKind.BUILDER, ObjectKind.STEP)


class Row(NamedTuple):
    """One line of the table."""

    verdict: str  # keep | removed | would remove
    kind: str
    name: str
    id: str
    age: str
    size: str
    reason: str


def report_rows(report: PruneReport) -> tuple[Row, ...]:
    """The table: what goes first, then what stays, larger objects first."""
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
    """One line of what fills the disk."""

    on_the_engine: str
    size: str
    this_project: str
    note: str


def format_usage(shares: Iterable[UsageRow]) -> tuple[UsageText, ...]:
    """What fills the engine's disk."""
    return tuple(
        UsageText(
            share.what,
            humanize.size(share.size),
            "not told" if share.ours is None else humanize.size(share.ours),
            share.note,
        )
        for share in shares
    )


def summarize_report(report: PruneReport) -> tuple[str, ...]:
    """What was given back, or would be, in sentences."""
    removed = [verdict for verdict in report.verdicts if verdict.remove]
    lines = ["room is short: only one final image is kept"] if report.low else []
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
            lines.append("build steps that only these images have would be removed after them")
    elif report.freed is None:
        lines.append(f"{objects} removed; what that gave back could not be measured")
    else:
        text = f"{objects} removed, {humanize.size(report.freed)} given back"
        if report.cached:
            text += f"; {humanize.size(report.cached)} more are held by the build cache alone now"
        lines.append(text)
    return tuple(lines)


def summarize_trim(records: int, freed: int) -> str:
    """What was removed of the build cache, in a sentence."""
    if not records:
        return "nothing of the build cache had to go"
    return (
        f"{humanize.count(records, 'record')} of the build cache removed, {humanize.size(freed)} given back"
    )


def summarize_estimate(holds: int, keep: int, over: int) -> str:
    """What would be removed of the build cache, which holds so many bytes and may keep so many."""
    sizes = f"it holds {humanize.size(holds)}, and prune.cache_keep_storage is {humanize.size(keep)}"
    if over:
        return f"about {humanize.size(over)} of the build cache would be removed: {sizes}"
    if holds <= keep:
        return f"nothing of the build cache would be removed: {sizes}"
    return (
        f"nothing of the build cache would be removed: {sizes}, but all that may go is in use or was lately"
    )


def summarize_go_cache(mounts: Sequence[CacheMount], most: int, freed: int, *, dry_run: bool) -> str:
    """What was or would be removed of Go's build cache, in a sentence."""
    holds = humanize.size(sum(mount.size for mount in mounts if not mount.modules))
    bound = f"prune.go_cache_max is {humanize.size(most)}" if most else "prune.go_cache_max sets no bound"
    sizes = f"it holds {holds}, and {bound}"
    if not dry_run:
        gone = f"{humanize.size(freed)} of Go's build cache" if freed else "nothing of Go's build cache"
        return f"{gone} removed: {sizes}"
    plan = plan_trim(mounts, most, time.time())
    gain = sum(mount.size for mount in mounts if mount.id in plan.empty) + plan.excess
    if not gain:
        return f"nothing of Go's build cache would be removed: {sizes}"
    most_text = f"up to {humanize.size(gain)} of Go's build cache would be removed"
    return f"{most_text}, what was unused for longest first: {sizes}"


def free_space_text(disk: Disk | NotMeasured) -> str:
    """How much room there is, in a sentence."""
    if isinstance(disk, Disk):
        return f"the engine's disk has {humanize.size(disk.free)} of {humanize.size(disk.total)} free"
    return f"how full the engine's disk is cannot be measured from here: {disk.why}"


def report_as_json(report: PruneReport) -> dict[str, Any]:
    """The whole report in plain values; sizes are bytes."""
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
    """What fills the disk, in plain values; sizes are bytes."""
    space = {"free": disk.free, "total": disk.total} if isinstance(disk, Disk) else {"not_measured": disk.why}
    return {"usage": [asdict(share) for share in shares], "disk": space}
