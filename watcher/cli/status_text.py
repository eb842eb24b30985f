"""The status document as a few lines for a person: what `watcher status` prints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from watcher.observers import humanize
from watcher.observers.humanize import short

if TYPE_CHECKING:  # a client of the daemon reads JSON: making the models takes longer than its answer
    from watcher.observers.status_schema import BuildInfo, DiskInfo, ServiceStatus, Status

_STANDING = {True: "stale", False: "equal to the tree", None: "the tree is not known yet"}


def lines(status: Status, now: float, service: str | None = None) -> list[str]:
    """What is known of all services, or of one; `now` is Unix seconds."""
    return list(_lines(status, now, service))


def _lines(status: Status, now: float, service: str | None) -> Iterator[str]:
    if status.daemon.stopping:
        yield f"the watcher is stopping: {status.daemon.stopping}"
    if status.engine.up is False:
        yield f"the engine does not answer: {status.engine.reason}"
    for found in status.services:
        if service in (None, found.name):
            yield f"{found.name}  {found.phase}  {' '.join(found.urls)}".rstrip()
            for name, text in _facts(found, now):
                yield f"  {name:<8} {text}"


def _facts(found: ServiceStatus, now: float) -> Iterator[tuple[str, str]]:
    old = humanize.old_connections(found.front.old_connections)
    yield "live", f"{short(found.live.revision if found.live else None)}  {_standing(found, now)}{old}"
    if found.source.scanning is not None:
        yield "reading", f"a large change: {found.source.scanning} files so far"
    if found.wanted:
        yield "desired", f"{short(found.wanted.revision)}  {found.wanted.summary}".rstrip()
    if found.building:
        yield "building", _since(found.building.revision, found.building.started_at, now)
    if found.deploying:
        yield "going up", _since(found.deploying.revision, found.deploying.started_at, now)
    if found.container_paused:
        yield "container", f"paused: requests wait until `docker unpause {found.container}`"
    if found.held and not found.paused:
        yield "waiting", found.held
    if found.refused:
        yield "refused", f"the configuration: {found.refused}; what was in force before stays"
    if found.failed and found.last_error:
        failure = found.last_error.failure
        yield "failed", f"{short(found.failed)}  {failure.summary}"
        yield from (("", line) for line in failure.lines)
        if failure.hint:
            yield "", f"hint: {failure.hint}"
    if found.last_build and found.last_build.seconds is not None:
        yield "build", _build(found.last_build, found.save_to_live, mended=found.stale is False)
    if found.images:
        sizes = (f"{stage} {humanize.size(image.size)}" for stage, image in sorted(found.images.items()))
        yield "images", ", ".join(sizes)
    if found.disk:
        yield "disk", _disk(found.disk)


def _disk(disk: DiskInfo) -> str:
    sizes = {
        "images": disk.images,
        "steps": disk.steps,
        "Go cache": disk.go_cache,
        "modules": disk.module_cache,
    }
    held = (f"{name} {humanize.size(size)}" for name, size in sizes.items() if size is not None)
    return f"{', '.join(held)}; all others {humanize.size(disk.others)}"


def _standing(found: ServiceStatus, now: float) -> str:
    if found.source.gone:
        return f"unknown whether it is the tree: {found.source.gone}"
    if found.stale and found.live is None:
        return "nothing answers yet"
    if found.stale and found.stale_since is not None:
        how = "not what the configuration files say" if found.refused else _STANDING[True]
        return f"{how} for {humanize.seconds(max(0.0, now - found.stale_since))}"
    return _STANDING[found.stale]


def _since(revision: str, at: float, now: float) -> str:
    return f"{short(revision)}  for {humanize.seconds(max(0.0, now - at))}"


def _build(build: BuildInfo, save_to_live: float | None, *, mended: bool) -> str:
    outcome = build.outcome or "running"
    text = f"{outcome} in {humanize.seconds(build.seconds or 0.0)}"
    if mended and build.outcome in ("failed", "error", "cancelled"):
        text += "; the tree that is live needed no build"
    if build.step_count:
        text += f", {build.cached_steps} of {build.step_count} steps cached"
    if build.deploy and save_to_live is not None and build.deploy.save_to_live is not None:
        text += f", live {humanize.seconds(build.deploy.save_to_live)} after the save"
    return text
