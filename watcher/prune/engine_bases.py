"""Find the build steps that BuildKit forgets when one record is removed: a pure decision over the records.

A BuildKit that asks containerd over a connection looks its records up after each removal, with a context that
has ended (moby/buildkit, control/control.go, `Prune`). That fails for a layer that BuildKit never unpacked
itself (cache/refs.go, `isLazy`) because the engine had pulled or loaded the image before, and every step
above such a layer is forgotten. A layer that BuildKit fetched and unpacked has the description "pulled from"
(cache/remote.go); steps above it are not forgotten.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from watcher.builder import BuildEntry, StepRun
from watcher.buildkit import UsageInfo, parse_step
from watcher.observers.events import short
from watcher.prune.marked_records import Marks
from watcher.prune.record_matching import matches_step


def find_forgotten(records: Collection[UsageInfo], leaving: Collection[str] = ()) -> set[str]:
    """Return the ids of the steps that are forgotten when a record is removed, without those in `leaving`."""
    children: dict[str, list[UsageInfo]] = defaultdict(list)
    for record in records:
        for parent in record.parents:
            children[parent].append(record)
    waiting = [record.id for record in records if record.kind == "regular" and _is_engine_layer(record)]
    above = set(waiting)
    found = set[str]()
    while waiting:
        for record in children[waiting.pop()]:
            if record.id not in above:
                above.add(record.id)
                found.add(record.id)
                waiting.append(record.id)
    return found.difference(leaving)


def _is_engine_layer(record: UsageInfo) -> bool:
    """Return whether BuildKit took the layer from the engine: it neither made nor fetched it."""
    return not record.description and not record.mutable


def correct_shared(
    records: Sequence[UsageInfo], entries: Sequence[BuildEntry], tags: Collection[str] | None = None
) -> list[UsageInfo]:
    """Return the records without wrong claims that an image shares them.

    A containerd store compares the layers as which a record was exported (moby/buildkit,
    snapshot/imagerefchecker). A step that was never exported has none, so it counts as shared if an image
    consists of exactly its base. Such a step is not committed yet, or of another stage than the image's.

    Steps of the image's stage were seen without such layers too, after their image had gone. So a step is not
    shared either if no image can have it by `tags`, the names of all images; see `_find_imageless`.
    """
    makers = {record: entry for entry in entries for record in entry.records or ()}
    exported = _exported_stages(entries)
    imageless = set[str]() if tags is None else _find_imageless(entries, exported, tags)
    return [
        replace(record, shared=False)
        if record.shared
        and (
            record.mutable
            or _was_not_exported(record, makers.get(record.id), exported)
            or (record.id in makers and makers[record.id].id in imageless)
        )
        else record
        for record in records
    ]


def correct_marked(
    marked: Sequence[UsageInfo], entries: Sequence[BuildEntry], marks: Marks, *, gone: bool
) -> tuple[UsageInfo, ...]:
    """Return the records of `find_marked` without wrong claims that an image shares them.

    No build of the journal made them, so the marked steps of the journal decide: none of them may be of a
    stage of which images are made. Of a `gone` project no image is left.
    """
    exported = _exported_stages(entries)
    steps = {
        (entry.service, _stage_of(step))
        for entry in entries
        for step in entry.steps
        if marks.is_own_step(step)
    }
    apart = bool(steps) and all(
        stage and exported.get(service) and stage not in exported[service] for service, stage in steps
    )
    return tuple(
        replace(record, shared=False) if record.shared and (gone or apart or record.mutable) else record
        for record in marked
    )


def _exported_stages(entries: Sequence[BuildEntry]) -> dict[str, set[str]]:
    """Return the stages that images consist of, by service: those of the last steps of good builds.

    A build whose binary is the same as before runs no step of the last stage. So only builds count that ran
    steps of several stages, unless there are none.
    """
    found: dict[str, set[str]] = defaultdict(set)
    alone: dict[str, set[str]] = defaultdict(set)
    for entry in entries:
        steps = [step for step in entry.steps if _stage_of(step)]
        if entry.final and entry.ended == "ok" and steps:
            last = _stage_of(max(steps, key=lambda step: step.finished))
            several = len({_stage_of(step) for step in steps}) > 1
            (found if several else alone)[entry.service].add(last)
    return {**alone, **found}


def _was_not_exported(
    record: UsageInfo, entry: BuildEntry | None, exported: Mapping[str, Collection[str]]
) -> bool:
    """Return whether no image was made of the step: its build failed, or it is of another stage.

    A later build can have made an image of a step of a failed one. Such an image keeps the layer.
    """
    if entry is None or entry.ended != "ok":
        return entry is not None and bool(entry.ended)
    if not exported.get(entry.service):
        return False
    made = next((step for step in entry.steps if matches_step(step, record)), None)
    return made is not None and _stage_of(made) not in ("", *exported[entry.service])


def _find_imageless(
    entries: Sequence[BuildEntry], exported: Mapping[str, Collection[str]], tags: Collection[str]
) -> set[str]:
    """Return the ids of the builds that ended and of which no image is left; `tags` name all images.

    A later revision with the same program has the same image under another name: its build ran no step of the
    image's stage. While the service has an image of such a revision, none of its builds are returned.
    """
    named: dict[str, set[str]] = defaultdict(set)  # revisions of images, 12 digits, by repository
    for repository, mark, revision in (tag.rpartition(":rev-") for tag in tags):
        if mark:
            named[repository].add(revision)
    built: dict[str, set[str]] = defaultdict(set)  # revisions by service
    apart: dict[str, set[str]] = defaultdict(set)  # those that have an image of their own
    for entry in entries:
        if entry.final:
            built[entry.service].add(short(entry.revision))
            if any(_stage_of(step) in exported.get(entry.service, ()) for step in entry.steps):
                apart[entry.service].add(short(entry.revision))
    found = set[str]()
    for service, revisions in built.items():
        present = set[str]().union(*(each for each in named.values() if each & revisions))
        if present <= apart[service]:
            found |= {
                entry.id
                for entry in entries
                if entry.service == service and entry.ended and short(entry.revision) not in present
            }
    return found


def _stage_of(step: StepRun) -> str:
    return parse_step("", step.name).stage
