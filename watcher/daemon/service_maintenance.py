"""Assemble what one service does in idle moments: pruning, and measuring what it holds on disk."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable
from dataclasses import replace

from watcher.builder import ImageBuilder
from watcher.daemon.maintenance import Maintenance
from watcher.daemon.service_config import ServiceConfig, SharedResources
from watcher.errors import WatcherError
from watcher.observers.events import InternalError, Notice
from watcher.prune import (
    DiskMeter,
    GoCacheKeeper,
    Marks,
    Needed,
    PrunePolicy,
    Pruner,
    RecordPruner,
    ServiceScope,
)
from watcher.prune.build_cache import build_cache
from watcher.prune.go_cache import GoCaches


def assemble_maintenance(
    shared: SharedResources,
    config: ServiceConfig,
    builder: ImageBuilder,
    *,
    needed: Callable[[], Needed],
    own_images: set[str],
    explain: Callable[[], Awaitable[object]],
) -> Maintenance:
    """Return the maintenance of one service.

    `explain` explains the live image. `needed` says what pruning must leave. `own_images` holds the ids
    of images proven to be the service's, and outlives a change of configuration.
    """
    settings, service = config.settings, config.spec.name
    records = RecordPruner(
        shared.connection,
        shared.journal,
        Marks(shared.project),
        keep=shared.kept_builds,
        most=settings.prune.steps_max,
    )
    policy = PrunePolicy.of(settings.prune, builder_image=settings.build.builder_image)
    pruner = Pruner(
        shared.engine,
        shared.observer,
        scope=ServiceScope.of(config.recipe, container=config.container.name),
        policy=replace(policy, knows_needed=True),
        records=records,
        needed=needed,
        known=own_images,
    )

    def report_failure(error: Exception) -> None:
        if isinstance(error, WatcherError):
            text = f"pruning failed, the next deploy tries again: {error}"
            shared.observer.notify(Notice(service=service, level="warning", text=text))
        else:
            trace = "".join(traceback.format_exception(error))
            shared.observer.notify(InternalError(service=service, where="chores", traceback=trace))

    return Maintenance(
        builder.compile_stage,
        pruner if settings.prune.enabled else None,
        build_cache(settings, shared.connection, shared.observer, service),
        _disk_meter(shared, config, builder, records),
        export_builder=settings.build.builder_image,
        stage_size=records.stage_size,
        on_error=report_failure,
        prune_every=settings.prune.interval,
        turn=shared.pruning,
        explain=explain,
    )


def _disk_meter(
    shared: SharedResources, config: ServiceConfig, builder: ImageBuilder, records: RecordPruner
) -> DiskMeter:
    service, prune = config.spec.name, config.settings.prune
    caches = GoCacheKeeper(
        GoCaches(
            config.recipe,
            builder.variants,
            shared.connection,
            shared.journal,
            shared.cache_names,
            services=shared.kept_builds.keys(),
        ),
        shared.observer,
        service=service,
        most=prune.go_cache_max if prune.enabled else 0,
    )
    return DiskMeter(
        shared.engine,
        shared.observer,
        records,
        caches,
        service=service,
        project=shared.project,
        standalone=shared.connection.standalone,
    )
