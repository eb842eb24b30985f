"""Pruning: `select_stale` decides, purely and with a reason for each object; `Pruner` carries it out.

    scope, policy = Scope.of(recipe, container=name), Policy.of(settings.prune, builder_image=False)
    pruner = Pruner(engine, observer, scope=scope, policy=policy)
    report = await pruner.prune(dry_run=True)

Of the build cache only records go that are proven to be this project's own (`build_records`, pure;
`RecordPruner` carries it out). `filling` sums up what the engine's disk holds, the build cache among it.
"""

from watcher.prune.cache_names import CacheNames, NamedCache
from watcher.prune.disk import free_space
from watcher.prune.disk_meter import DiskMeter
from watcher.prune.disk_usage import Found, Share, filling
from watcher.prune.go_cache_keeper import GoCacheKeeper, TrimmedCaches
from watcher.prune.go_cache_select import CacheMount
from watcher.prune.model import (
    Cache,
    Cause,
    Disk,
    Inventory,
    Kind,
    Needed,
    Policy,
    Scope,
    Unseen,
    Verdict,
    Why,
)
from watcher.prune.pruner import Pruner, Report, given_back
from watcher.prune.record_pruner import RecordPruner
from watcher.prune.select import select_stale
from watcher.prune.table import (
    Row,
    ShareRow,
    as_json,
    engine_as_json,
    excess,
    room,
    rows,
    share_rows,
    summary,
    trimmed,
)

__all__ = [
    "Cache",
    "CacheMount",
    "CacheNames",
    "Cause",
    "Disk",
    "DiskMeter",
    "Found",
    "GoCacheKeeper",
    "Inventory",
    "Kind",
    "NamedCache",
    "Needed",
    "Policy",
    "Pruner",
    "RecordPruner",
    "Report",
    "Row",
    "Scope",
    "Share",
    "ShareRow",
    "TrimmedCaches",
    "Unseen",
    "Verdict",
    "Why",
    "as_json",
    "engine_as_json",
    "excess",
    "filling",
    "free_space",
    "given_back",
    "room",
    "rows",
    "select_stale",
    "share_rows",
    "summary",
    "trimmed",
]
