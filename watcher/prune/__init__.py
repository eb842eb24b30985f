"""Pruning: `select_stale` decides, purely and with a reason for each object; `Pruner` carries it out.

    scope, policy = Scope.of(recipe, container=name), Policy.of(settings.prune, builder_image=False)
    pruner = Pruner(engine, observer, scope=scope, policy=policy)
    report = await pruner.prune(dry_run=True)

Of the build cache only records go that are proven to be this project's own (`build_records`, pure;
`RecordPruner` carries it out). `filling` sums up what the engine's disk holds, the build cache among it.

`GoneProjects` finds what projects left whose folder was deleted, by the `Registry` of all that were watched;
`remove_gone` removes it.
"""

from watcher.prune.cache_names import CacheNames, NamedCache
from watcher.prune.disk import free_space
from watcher.prune.disk_meter import DiskMeter, measure_project
from watcher.prune.disk_usage import DiskInventory, Share, filling
from watcher.prune.go_cache_keeper import GoCacheKeeper, TrimmedCaches
from watcher.prune.go_cache_select import CacheMount
from watcher.prune.gone import GoneProjects
from watcher.prune.gone_removal import remove_gone
from watcher.prune.gone_table import (
    GoneRow,
    ProjectRow,
    doctor_text,
    gone_as_json,
    gone_rows,
    gone_summary,
    project_rows,
    removal_summary,
)
from watcher.prune.left_project import Choice, LeftProject, Removed
from watcher.prune.location import locate
from watcher.prune.marked_records import Marks
from watcher.prune.model import (
    Cache,
    Cause,
    Disk,
    Inventory,
    Needed,
    ObjectKind,
    PrunePolicy,
    ServiceScope,
    Unseen,
    Verdict,
    Why,
)
from watcher.prune.pruner import Pruner, Report, given_back
from watcher.prune.record_pruner import RecordPruner
from watcher.prune.registry import EngineUse, ProjectRecord, Registry, ServiceUse
from watcher.prune.select import select_stale
from watcher.prune.table import (
    Row,
    ShareRow,
    as_json,
    describe_go_cache,
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
    "Choice",
    "Disk",
    "DiskInventory",
    "DiskMeter",
    "EngineUse",
    "GoCacheKeeper",
    "GoneProjects",
    "GoneRow",
    "Inventory",
    "LeftProject",
    "Marks",
    "NamedCache",
    "Needed",
    "ObjectKind",
    "ProjectRecord",
    "ProjectRow",
    "PrunePolicy",
    "Pruner",
    "RecordPruner",
    "Registry",
    "Removed",
    "Report",
    "Row",
    "ServiceScope",
    "ServiceUse",
    "Share",
    "ShareRow",
    "TrimmedCaches",
    "Unseen",
    "Verdict",
    "Why",
    "as_json",
    "describe_go_cache",
    "doctor_text",
    "engine_as_json",
    "excess",
    "filling",
    "free_space",
    "given_back",
    "gone_as_json",
    "gone_rows",
    "gone_summary",
    "locate",
    "measure_project",
    "project_rows",
    "removal_summary",
    "remove_gone",
    "room",
    "rows",
    "select_stale",
    "share_rows",
    "summary",
    "trimmed",
]
