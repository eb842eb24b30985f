"""The status document as the lines that `watcher status` prints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from watcher.cli.status_overview import find_failure, list_overview
from watcher.observers import humanize
from watcher.observers.humanize import short

if TYPE_CHECKING:  # a client reads JSON: importing the models takes longer than the answer
    from watcher.observers.status_schema import (
        BuildInfo,
        DependencyInfo,
        DiskInfo,
        ServiceStatus,
        Status,
        SuggestionInfo,
    )

_STALE_WORDS = {True: "stale", False: "equal to the tree", None: "the tree was not scanned yet"}


def render_lines(status: Status, now: float, service: str | None = None) -> list[str]:
    """Return one service in full, or several with one line each; `now` is Unix seconds."""
    return list(_list_lines(status, now, service))


def _list_lines(status: Status, now: float, service: str | None) -> Iterator[str]:
    if status.daemon.stopping:
        yield f"the watcher is stopping: {status.daemon.stopping}"
    if status.engine.up is False:
        yield f"the engine does not answer: {status.engine.reason}"
    if status.daemon.refused and not any(found.refused for found in status.services):
        yield f"the configuration is refused: {status.daemon.refused}"
    services = [found for found in status.services if service in (None, found.name)]
    if len(services) > 1:
        yield from list_overview(services, now, status.dependencies if service is None else ())
    else:
        for found in services:
            yield f"{found.name}  {found.phase}  {' '.join(found.urls)}".rstrip()
            for name, text in _list_facts(found, now):
                yield f"  {name:<9} {text}".rstrip()
    if service is None:
        width = max((len(each.name) for each in status.dependencies), default=0)
        for each in status.dependencies:
            yield f"{each.name:<{width}}  {_describe_dependency(each, now)}"


def _describe_dependency(found: DependencyInfo, now: float) -> str:
    text = f"{found.state} for {humanize.seconds(max(0.0, now - found.since))}  {found.image}"
    if found.reason and found.reason != found.state:
        text += f"  ({found.reason})"
    if found.waits_for:
        text += f"  waits for {', '.join(found.waits_for)}"
    if found.needed_by:
        text += f"  {', '.join(found.needed_by)} waits for it"
    if found.restarts:
        text += f"  restarted {humanize.count(found.restarts, 'time')}"
    return text


def _list_facts(found: ServiceStatus, now: float) -> Iterator[tuple[str, str]]:
    old = humanize.old_connections(found.front.old_connections)
    live = short(found.live.revision if found.live else None)
    yield "live", f"{live}  {_describe_staleness(found, now)}{old}"
    if found.source.scanning is not None:
        yield "scanning", f"a large change: {found.source.scanning} files so far"
    if found.desired:
        yield "desired", f"{short(found.desired.revision)}  {found.desired.summary}".rstrip()
    if found.building:
        yield "building", _describe_running(found.building.revision, found.building.started_at, now)
    if found.deploying:
        yield "deploying", _describe_running(found.deploying.revision, found.deploying.started_at, now)
    if found.container_paused:
        yield "container", f"paused: requests wait until `docker unpause {found.container}`"
    if found.held and not found.paused:
        yield "waiting", found.held.removeprefix("waiting ")
    if found.refused:
        yield "refused", f"the configuration: {found.refused}; what that concerns stays as it was"
    if failure := find_failure(found):
        failed = found.failed or (found.desired.revision if found.desired else None)
        yield "failed" if found.failed else "error", f"{short(failed)}  {failure.summary}"
        yield from (("", line) for line in failure.lines)
        if failure.hint:
            yield "", f"hint: {failure.hint}"
    if found.last_build and found.last_build.seconds is not None:
        yield "build", _describe_build(found.last_build, found.save_to_live, needless=found.stale is False)
    yield from _list_sizes(found, now)
    if found.disk:
        mine, others = _describe_disk(found.disk)
        yield "disk", mine
        yield "", others


def _list_sizes(found: ServiceStatus, now: float) -> Iterator[tuple[str, str]]:
    if found.images:
        sizes = (f"{stage} {humanize.size(image.size)}" for stage, image in sorted(found.images.items()))
        yield "images", f"{', '.join(sizes)}, all layers counted"
    if found.suggestion:
        yield "smaller", _describe_suggestion(found.suggestion, now)


def _describe_suggestion(found: SuggestionInfo, now: float) -> str:
    """Return what the doctor has found, and on which revision."""
    ago = f"{humanize.seconds(max(0.0, now - found.measured_at))} ago"
    where = "the live revision" if found.current else f"{short(found.revision)}, which is not live"
    if not found.names:
        return f"nothing was found on {where}, {ago}"
    sizes = humanize.size_since(found.before, found.after)
    return f"{sizes} with {', '.join(found.names)}; measured on {where}, {ago}"


def _describe_disk(disk: DiskInfo) -> tuple[str, str]:
    """Return what this project uses of the engine's disk, and everything else there."""
    sizes = {
        "image layers that no other image has": disk.images,
        "build steps": disk.steps,
        "Go build cache": disk.go_cache,
        "Go modules": disk.module_cache,
    }
    mine = ", ".join(f"{name} {humanize.size(size)}" for name, size in sizes.items() if size is not None)
    others = humanize.size(disk.others)
    return mine, f"everything else on the engine {others}, with the layers that several images share"


def _describe_staleness(found: ServiceStatus, now: float) -> str:
    if found.source.gone:
        return f"unknown whether it equals the tree: {found.source.gone}"
    if found.stale and found.live is None:
        return "nothing answers yet"
    if found.stale and found.stale_since is not None:
        how = "differs from the configuration files" if found.refused else _STALE_WORDS[True]
        return f"{how} for {humanize.seconds(max(0.0, now - found.stale_since))}"
    return _STALE_WORDS[found.stale]


def _describe_running(revision: str, at: float, now: float) -> str:
    return f"{short(revision)}  for {humanize.seconds(max(0.0, now - at))}"


def _describe_build(build: BuildInfo, save_to_live: float | None, *, needless: bool) -> str:
    outcome = build.outcome or "running"
    text = f"{outcome} in {humanize.seconds(build.seconds or 0.0)}"
    if needless and build.outcome in ("failed", "error", "cancelled"):
        text += "; the live tree needed no build"
    if build.step_count:
        text += f", {build.cached_steps} of {build.step_count} steps cached"
    if build.deploy and save_to_live is not None and build.deploy.save_to_live is not None:
        text += f", live {humanize.seconds(build.deploy.save_to_live)} after the save"
    return text
