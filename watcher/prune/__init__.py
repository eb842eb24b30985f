"""Prune stale objects: `select_stale` decides, purely and with a reason for each; `Pruner` removes.

    scope = ServiceScope.of(recipe, container=name)
    policy = PrunePolicy.of(settings.prune, builder_image=False)
    pruner = Pruner(engine, observer, scope=scope, policy=policy)
    report = await pruner.prune(dry_run=True)

Build cache records are removed only if they are proven to be this project's (`build_records` decides,
`RecordPruner` removes). `summarize_disk_usage` sums up what the engine's disk holds.

`GoneProjects` finds what projects with a deleted folder left, by the `Registry` of all projects that were
watched; `remove_gone` removes it.
"""

from watcher.prune.cache_names import CacheNames, NamedCache
from watcher.prune.disk import free_space
from watcher.prune.disk_meter import DiskMeter, measure_project
from watcher.prune.disk_usage import DiskInventory, UsageRow, summarize_disk_usage
from watcher.prune.down import DownReport, remove_project_objects
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
    NotMeasured,
    ObjectKind,
    PrunePolicy,
    Reason,
    ServiceScope,
    Verdict,
)
from watcher.prune.pruner import Pruner, PruneReport, freed_bytes
from watcher.prune.record_pruner import RecordPruner
from watcher.prune.registry import EngineUse, ProjectRecord, Registry, ServiceUse
from watcher.prune.select import select_stale
from watcher.prune.table import (
    Row,
    UsageText,
    engine_as_json,
    format_usage,
    free_space_text,
    report_as_json,
    report_rows,
    summarize_emptied,
    summarize_estimate,
    summarize_go_cache,
    summarize_report,
    summarize_trim,
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
    "DownReport",
    "EngineUse",
    "GoCacheKeeper",
    "GoneProjects",
    "GoneRow",
    "Inventory",
    "LeftProject",
    "Marks",
    "NamedCache",
    "Needed",
    "NotMeasured",
    "ObjectKind",
    "ProjectRecord",
    "ProjectRow",
    "PrunePolicy",
    "PruneReport",
    "Pruner",
    "Reason",
    "RecordPruner",
    "Registry",
    "Removed",
    "Row",
    "ServiceScope",
    "ServiceUse",
    "TrimmedCaches",
    "UsageRow",
    "UsageText",
    "Verdict",
    "doctor_text",
    "engine_as_json",
    "format_usage",
    "free_space",
    "free_space_text",
    "freed_bytes",
    "gone_as_json",
    "gone_rows",
    "gone_summary",
    "locate",
    "measure_project",
    "project_rows",
    "removal_summary",
    "remove_gone",
    "remove_project_objects",
    "report_as_json",
    "report_rows",
    "select_stale",
    "summarize_disk_usage",
    "summarize_emptied",
    "summarize_estimate",
    "summarize_go_cache",
    "summarize_report",
    "summarize_trim",
]
