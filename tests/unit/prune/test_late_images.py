"""`watcher down --images` and a build that was stopped while BuildKit exports its image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.prune.test_build_records import record
from tests.unit.prune.test_down import down
from tests.unit.prune.test_gone import NOTHING, Bench, bench  # noqa: F401  (a fixture)
from tests.unit.prune.test_marked_records import marked_by
from watcher import labels
from watcher.backoff import Backoff
from watcher.buildkit import ConnectError, UsageInfo
from watcher.prune.engine_visits import visit_engines
from watcher.prune.late_images import find_late_images
from watcher.prune.left_project import Choice, LeftProject


def export(
    bench: Bench,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    root: Path,
    finish: Callable[[], object],
    readings: int = 3,
) -> None:
    """Let BuildKit use a compile step of the project for some readings; then `finish` is called."""
    step = replace(record("run", 1.0, marked_by(labels.project_id(root))), in_use=True)
    left = readings

    async def disk_usage(filters: Sequence[str] = ()) -> list[UsageInfo]:
        nonlocal left
        left -= 1
        if left == 0:
            finish()
        return [step] if left > 0 else []

    monkeypatch.setattr(bench.buildkit, "disk_usage", disk_usage)


async def test_an_image_that_appears_after_the_stop_is_removed(
    bench: Bench,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = bench.project()
    await bench.everything(root)
    own = labels.image_labels(labels.project_id(root), "web", labels.BUILDER)
    export(bench, monkeypatch, root, lambda: bench.engine.add_image(labels=own, layers={"late": 100}))
    report = await down(bench, root, images=True)
    assert await bench.there() == NOTHING
    assert await bench.engine.images() == []
    assert len([verdict for verdict in report.removed if verdict.kind == "builder"]) == 2
    assert report.complete


async def test_images_of_others_that_appear_meanwhile_stay(
    bench: Bench,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root, other = bench.project(), bench.project("other")
    export(bench, monkeypatch, root, lambda: bench.image(other, "other:late", kind=labels.BUILDER))
    await down(bench, root, images=True)
    assert (await bench.there())[1] == {"other:late"}


async def test_a_build_of_another_project_is_not_waited_for(
    bench: Bench,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root, other = bench.project(), bench.project("other")
    finished: list[bool] = []
    export(bench, monkeypatch, other, lambda: finished.append(True))
    await down(bench, root, images=True)
    assert not finished


async def test_without_images_nothing_is_waited_for(
    bench: Bench,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = bench.project()
    finished: list[bool] = []
    export(bench, monkeypatch, root, lambda: finished.append(True), readings=1)
    await down(bench, root)
    assert not finished


@pytest.mark.parametrize("away", [True, False])
async def test_a_buildkit_that_never_lets_go_or_is_away_does_not_hold_it_up(
    bench: Bench,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    away: bool,
) -> None:
    root = bench.project()
    project = labels.project_id(root)
    if away:

        async def refuse(filters: Sequence[str] = ()) -> list[UsageInfo]:
            raise ConnectError("away")

        monkeypatch.setattr(bench.buildkit, "disk_usage", refuse)
    else:
        export(bench, monkeypatch, root, lambda: None, readings=1_000_000)
    left = LeftProject(project, str(root), Choice.BY_NAME, "", record=bench.registry.entry(project).record)
    async with visit_engines(bench.projects().own, []) as visits:
        late = bench.image(root, kind=labels.BUILDER)
        found = await find_late_images(visits.engines[0], left, seconds=0.01, retry=Backoff(0.001, 0.001))
        assert [(verdict.id, verdict.remove) for verdict in found] == [(late, True)]


@pytest.mark.parametrize("why", ["nothing is built", "parent", "named"])
async def test_an_image_of_unknown_origin_stays(
    bench: Bench,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    why: str,
) -> None:
    """Labels pass from a base image to what is built on it, by anybody."""
    root = bench.project()
    project = labels.project_id(root)
    if why != "nothing is built":
        export(bench, monkeypatch, root, lambda: None)
    left = LeftProject(project, str(root), Choice.BY_NAME, "", record=bench.registry.entry(project).record)
    async with visit_engines(bench.projects().own, []) as visits:
        tags = ("mine:latest",) if why == "named" else ()
        image = bench.engine.add_image(tags=tags, labels=labels.image_labels(project, "web", labels.BUILDER))
        if why == "parent":
            image = bench.engine.commit(await bench.container(root, image))
        found = await find_late_images(visits.engines[0], left, retry=Backoff(0.001, 0.001))
        assert not any(verdict.remove for verdict in found if verdict.id == image)
