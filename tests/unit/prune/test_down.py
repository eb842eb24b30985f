"""`watcher down` removes what is the project's and was asked for, although its folder exists."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.prune.test_build_records import record
from tests.unit.prune.test_gone import NOTHING, Bench, bench  # noqa: F401  (a fixture)
from watcher import labels
from watcher.builder import EngineConnection
from watcher.engine import EngineError, Removal
from watcher.prune import DownReport, EngineUse, Registry, remove_project_objects
from watcher.system import lock
from watcher.system.lock import AlreadyRunning


async def down(bench: Bench, root: Path, *, images: bool = False, caches: bool = False) -> DownReport:  # noqa: F811
    return await remove_project_objects(
        bench.projects(), root, labels.project_id(root), images=images, caches=caches
    )


async def test_containers_and_networks_go_and_images_stay(bench: Bench) -> None:  # noqa: F811
    root = bench.project()
    await bench.everything(root)
    _, images, _ = await bench.there()
    report = await down(bench, root)
    assert await bench.there() == (set(), images, set())
    assert (report.complete, report.forgotten) == (True, False)
    assert sorted(verdict.kind for verdict in report.removed) == ["container", "container", "network"]
    assert bench.buildkit.records
    assert bench.registry.entry(labels.project_id(root)).record


async def test_images_and_caches_go_on_request_and_the_project_is_forgotten(bench: Bench) -> None:  # noqa: F811
    root = bench.project()
    await bench.everything(root)
    report = await down(bench, root, images=True, caches=True)
    assert await bench.there() == NOTHING
    assert (report.complete, report.forgotten, report.kept) == (True, True, ())
    assert bench.buildkit.records == {}
    assert set(bench.buildkit.mounts) == {"other-gocache"}
    assert bench.registry.entries() == []
    again = await down(bench, root, images=True, caches=True)
    # whether a Go cache still exists is not known, so it is asked for again
    assert {verdict.kind for verdict in again.removed} <= {"go-cache"}
    assert (again.complete, again.forgotten) == (True, False)


async def test_what_belongs_to_another_project_stays(bench: Bench) -> None:  # noqa: F811
    root, other = bench.project(), bench.project("other")
    await bench.everything(root)
    image = bench.image(other, "other:latest")
    await bench.container(other, image, "other-web")
    await bench.network(other, "other_default")
    await down(bench, root, images=True, caches=True)
    assert await bench.there() == ({"other-web"}, {"other:latest"}, {"other_default"})


async def test_a_project_that_is_being_watched_is_left_alone(bench: Bench) -> None:  # noqa: F811
    root = bench.project()
    await bench.everything(root)
    before = await bench.there()
    held = lock.ProjectLock.take(root, labels.project_id(root))
    try:
        with pytest.raises(AlreadyRunning):
            await down(bench, root)
    finally:
        held.release()
    assert await bench.there() == before
    await down(bench, root)
    lock.ProjectLock.take(root, labels.project_id(root)).release()  # the lock was given back


@pytest.mark.parametrize("same_project", [True, False])
async def test_a_dependency_that_a_watched_copy_uses_stays(bench: Bench, same_project: bool) -> None:  # noqa: F811
    root, copy = bench.project(), bench.project("copy")
    project = labels.project_id(root)
    for each, name in ((root, "shop"), (copy, "shop" if same_project else "copy")):
        record = bench.registry.entry(labels.project_id(each)).record
        assert record
        bench.registry.write(replace(record, compose_project=name))
    database = bench.engine.add_image(tags=("postgres:17",))
    own = labels.app_labels(project, "web", "1" * 64) | {labels.DEPENDENCY: project}
    own |= labels.proof_labels(database)
    box = await bench.engine.create("shop-db", {"Image": database, "Labels": own})
    await bench.engine.start(box)
    held = lock.ProjectLock.take(copy, labels.project_id(copy))
    try:
        report = await down(bench, root)
    finally:
        held.release()
    containers, _, _ = await bench.there()
    assert containers == ({"shop-db"} if same_project else set())
    if same_project:
        (kept,) = report.kept
        assert str(copy) in kept.reason
        assert not report.complete


async def test_an_engine_that_does_not_answer_is_named_and_nothing_is_forgotten(bench: Bench) -> None:  # noqa: F811
    root = bench.project(on=(EngineUse("one", "fake://one"), EngineUse("two", "fake://two")))
    await bench.everything(root)
    report = await down(bench, root, images=True, caches=True)
    assert await bench.there() == NOTHING
    assert (report.complete, report.forgotten) == (False, False)
    (problem,) = report.problems
    assert "fake://two" in problem
    assert bench.registry.entry(labels.project_id(root)).record


async def test_what_the_engine_refuses_to_remove_is_reported(
    bench: Bench,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = bench.project()
    await bench.everything(root)

    async def refuse(*_: Any, **__: Any) -> bool:
        raise EngineError("device or resource busy")

    monkeypatch.setattr(bench.engine, "remove", refuse)
    report = await down(bench, root, images=True, caches=True)
    assert not report.complete
    assert "device or resource busy" in " ".join(verdict.reason for verdict in report.kept)
    assert bench.registry.entry(labels.project_id(root)).record


async def test_a_container_that_another_program_removes_meanwhile_is_not_left(
    bench: Bench,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The engine refuses with "removal is already in progress" until it is gone."""
    root = bench.project()
    await bench.everything(root)
    answers: dict[str, list[Removal]] = {}

    async def remove(name: str, **_: Any) -> Removal:
        return answers.setdefault(name, [Removal.GONE, Removal.IN_USE, Removal.IN_USE]).pop()

    monkeypatch.setattr(bench.engine, "remove", remove)
    report = await down(bench, root)
    assert [verdict for verdict in report.kept if verdict.kind == "container"] == []
    assert list(answers.values()) == [[], []]


async def test_a_state_folder_that_cannot_be_removed_is_a_problem(
    bench: Bench,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = bench.project()

    def refuse(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Registry, "forget", refuse)
    report = await down(bench, root, images=True, caches=True)
    (problem,) = report.problems
    assert "Permission denied" in problem
    assert not report.forgotten


async def test_objects_on_a_second_engine_go_too(bench: Bench) -> None:  # noqa: F811
    second = Bench(bench.folder)
    second.engine.name = "two"
    root = bench.project(on=(EngineUse("one", "fake://one"), EngineUse("two", "fake://two")))
    link: Any = second.buildkit
    bench.others["fake://two"] = EngineConnection(second.engine, link)
    image = second.image(root, "shop:rev-00000000cccc")
    await second.container(root, image)
    await down(bench, root)
    assert await second.there() == (set(), {"shop:rev-00000000cccc"}, set())


@pytest.mark.parametrize("images", [True, False])
async def test_steps_of_images_that_stay_are_no_failure(bench: Bench, images: bool) -> None:  # noqa: F811
    root = bench.project()
    await bench.everything(root)
    bench.buildkit.records["a"] = replace(bench.buildkit.records["a"], shared=True)
    report = await down(bench, root, images=images, caches=True)
    assert (report.complete, report.forgotten) == (not images, False)
    (verdict,) = report.kept if images else report.spared
    assert (verdict.kind, verdict.why.cause) == ("step", "needed")
    assert "an image has it" in verdict.reason
    assert not (report.spared if images else report.kept)


async def test_steps_that_other_builds_are_built_on_are_left_to_them(bench: Bench) -> None:  # noqa: F811
    root = bench.project()
    await bench.everything(root)
    bench.buildkit.built_on = {"a"}
    bench.buildkit.records["other"] = record("other", 500.0, "[2/2] COPY c .", parents=("a",))
    report = await down(bench, root, images=True, caches=True)
    assert (report.complete, report.forgotten) == (True, True)
    assert [(each.id, each.why.cause) for each in report.spared if each.kind == "step"] == [("a", "foreign")]
    assert set(bench.buildkit.records) == {"a", "other"}
