"""`watcher down`: stop the daemon of a project, and remove what is ours on the engine."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict

from watcher import labels
from watcher import prune as pruning
from watcher.builder import connect_engine
from watcher.cli.background import stop_daemon
from watcher.cli.service_files import has_service
from watcher.errors import EXIT_FAILED
from watcher.observers import humanize
from watcher.observers.humanize import short_path
from watcher.prune import DownReport, ObjectKind, Verdict
from watcher.settings import Settings

_WORDS = {
    ObjectKind.CONTAINER: "container",
    ObjectKind.NETWORK: "network",
    ObjectKind.FINAL: "image",
    ObjectKind.BUILDER: "image",
    ObjectKind.TAG: "image tag",
    ObjectKind.STEP: "cache record",
    ObjectKind.GO_CACHE: "Go cache",
}


async def take_down(settings: Settings, *, images: bool, caches: bool) -> DownReport:
    """Remove what is ours; raises EngineUnavailable, AlreadyRunning."""
    root = settings.root
    async with await connect_engine(settings.engine) as engine:
        projects = pruning.GoneProjects(engine, pruning.Registry())
        return await pruning.remove_project_objects(
            projects, root, labels.project_id(root), images=images, caches=caches
        )


def stop_and_report(settings: Settings, *, as_json: bool) -> int | None:
    """Stop the daemon; return its process id, None if none was running."""
    pid = stop_daemon(settings.root)
    if not as_json:
        shown = short_path(settings.root)
        print(f"stopped the watcher of {shown} (process {pid})" if pid else f"no watcher ran for {shown}")
        if has_service(settings.root):
            print("its service starts it again at the next login: `watcher service uninstall` removes it")
    return pid


def print_report(report: DownReport, pid: int | None, *, as_json: bool) -> int:
    """Print what was removed and what was kept; return the exit status."""
    if as_json:
        document = {
            "schema_version": 1,
            "stopped": pid,
            "removed": [_as_document(verdict) for verdict in report.removed if not _is_unknown(verdict)],
            "kept": [{**_as_document(verdict), "reason": verdict.reason} for verdict in report.kept],
            "spared": [{**_as_document(verdict), "reason": verdict.reason} for verdict in report.spared],
            "problems": list(report.problems),
            "forgotten": report.forgotten,
        }
        print(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        counted = _count(report.removed)
        nothing = "nothing else was left" if pid else "there was nothing to remove"
        print(f"removed {counted}" if counted else nothing)
        for verdict in report.removed:
            if verdict.kind in (ObjectKind.CONTAINER, ObjectKind.NETWORK, ObjectKind.TAG):
                print(f"  {_WORDS[verdict.kind]} {verdict.name}")
        for verdict in report.kept:
            print(f"kept {_WORDS.get(verdict.kind, verdict.kind)} {verdict.name}: {verdict.reason}")
        for (word, reason), number in Counter(map(_spared_as, report.spared)).items():
            print(f"left {humanize.count(number, word)}: {reason}")
        for problem in report.problems:
            print(problem)
    return 0 if report.complete else EXIT_FAILED


def _spared_as(verdict: Verdict) -> tuple[str, str]:
    return _WORDS[verdict.kind], verdict.reason


def _is_unknown(verdict: Verdict) -> bool:
    """Return whether nothing shows that a Go cache existed: BuildKit reports freed bytes only."""
    return verdict.kind is ObjectKind.GO_CACHE and not verdict.size


def _as_document(verdict: Verdict) -> dict[str, object]:
    found = asdict(verdict)
    return {name: found[name] for name in ("kind", "name", "id", "size")}


def _count(verdicts: Iterable[Verdict]) -> str:
    """Return what was removed in a few words. Of Go caches only the freed bytes are known."""
    verdicts = list(verdicts)
    counts = Counter(
        _WORDS.get(verdict.kind, str(verdict.kind))
        for verdict in verdicts
        if verdict.kind is not ObjectKind.GO_CACHE
    )
    parts = [humanize.count(number, word) for word, number in counts.items()]
    freed = sum(verdict.size for verdict in verdicts if verdict.kind is ObjectKind.GO_CACHE)
    return ", ".join([*parts, f"Go caches of {humanize.size(freed)}"] if freed else parts)
