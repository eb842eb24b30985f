"""Measure how much disk the project holds, and check that old build steps are removed."""

from __future__ import annotations

import asyncio
import json

from watcher.builder import Recipe, open_journal
from watcher.builder.dockerfile_variants import DockerfileVariants
from watcher.cli.doctor.findings import Finding, Grade
from watcher.compose import ServiceSpec
from watcher.daemon.engine_access import EngineAccess
from watcher.daemon.service_config import tree_of
from watcher.engine import EngineError
from watcher.errors import EngineUnavailable
from watcher.observers import humanize
from watcher.observers.events import DiskMeasured, Fanout
from watcher.prune import CacheNames, Marks, NotMeasured, RecordPruner, TrimmedCaches, measure_project
from watcher.prune.go_cache import GoCaches
from watcher.settings import Settings
from watcher.system import lock
from watcher.tree import TreeGone

KEEP = "20GB"  # build cache that the advice leaves: enough for the steps of several projects
ENGINE_RULE = {
    "builder": {"gc": {"enabled": True, "policy": [{"keepStorage": KEEP, "filter": ["type=regular"]}]}}
}
BUILDKITD_RULE = f'[worker.containerd]\ngc = true\ngckeepstorage = "{KEEP}"'


async def examine_disk(
    spec: ServiceSpec, recipe: Recipe, settings: Settings, access: EngineAccess
) -> list[Finding]:
    """Report the disk usage of the project, and what removes its old build steps."""
    engine, connection, bases = access.engine, access.connection, access.bases
    journal = open_journal(recipe.project, cache=access.build_cache)
    records = RecordPruner(
        connection,
        journal,
        Marks(recipe.project),
        keep={spec.name: settings.prune.keep},
        most=settings.prune.steps_max,
        daemon_runs=lambda: lock.find_running(recipe.project) is not None,
    )
    variants = DockerfileVariants(spec.name, bases=bases, connection=connection, observer=Fanout())
    caches = GoCaches(recipe, variants, connection, journal, CacheNames(journal.folder))
    try:
        await records.prune(dry_run=True)
        holdings = await records.take_holdings()
        found = await caches.measure(await asyncio.to_thread(tree_of(spec, recipe, settings).scan))
        held = measure_project(
            await engine.usage(),
            await engine.images(),
            holdings,
            None if isinstance(found, NotMeasured) else TrimmedCaches(found, 0),
            service=spec.name,
            project=recipe.project,
            standalone=connection.standalone,
        )
        findings = [describe_disk(held, settings.prune.go_cache_max, found)]
        if stay := await records.steps_stay():
            limit = await connection.cache_limit()
            findings.append(describe_steps(stay, limit, standalone=connection.standalone))
    except (EngineError, EngineUnavailable, TreeGone) as error:
        return [Finding("disk", Grade.GOOD, f"the disk usage of the project could not be measured: {error}")]
    finally:
        await asyncio.to_thread(journal.close)
    return findings


def describe_disk(held: DiskMeasured, go_cache_max: int, caches: object) -> Finding:
    """Return the disk usage in one line. `caches` is the reason if the Go caches are not known."""
    parts = [
        f"image layers that no other image has {humanize.size(held.images)}",
        f"build steps {humanize.size(held.steps)}",
    ]
    if held.go_cache is not None:
        bound = f"at most {humanize.size(go_cache_max)}" if go_cache_max else "without a bound"
        parts.append(
            f"Go build caches that it uses {humanize.size(held.go_cache)} ({bound}, prune.go_cache_max)"
        )
    if held.module_cache is not None:
        parts.append(f"Go modules {humanize.size(held.module_cache)}")
    text = f"this project: {', '.join(parts)}; everything else {humanize.size(held.others)}"
    if isinstance(caches, NotMeasured):
        text += f"; its Go caches are not known: {caches.why}"
    over = bool(go_cache_max and held.go_cache is not None and held.go_cache > go_cache_max)
    advice = "`watcher prune` trims Go's build cache now" if over else ""
    return Finding("disk", Grade.ADVICE if over else Grade.GOOD, text, advice)


def describe_steps(stay: str, limit: int | None, *, standalone: bool) -> Finding:
    """Return what removes superseded build steps that stay; `stay` says why, `limit` is BuildKit's own."""
    if limit is not None:
        return Finding("build steps", Grade.GOOD, stay)
    if standalone:
        advice = f"have BuildKit remove old ones itself: in buildkitd.toml write\n{BUILDKITD_RULE}"
    else:
        lines = json.dumps(ENGINE_RULE)
        advice = (
            f"have the engine remove old ones itself: in daemon.json write {lines} and restart it; or remove "
            "the base images from the engine (`docker image rm`), empty the build cache once "
            "(`docker builder prune --all`), and let BuildKit pull them: then superseded steps go after each "
            "deploy"
        )
    return Finding("build steps", Grade.ADVICE, stay, advice)
