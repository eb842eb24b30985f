"""How verdicts are carried out, against the engine in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.facts import missing
from tests.fake_engine import FakeEngine
from tests.unit.prune.worlds import BUILDER, CLONE, FINAL, NOW, OLD, SCOPE, STAGE, proven, rev
from watcher import labels
from watcher.engine import CacheRecord, EngineError, Image, Removal, SystemInfo, Usage
from watcher.errors import EngineUnavailable
from watcher.observers.events import Event, Notice, Pruned, short
from watcher.prune import Disk, Needed, NotMeasured, ObjectKind, PrunePolicy, Pruner, freed_bytes


class Heard:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def notify(self, event: Event) -> None:
        self.events.append(event)

    def pruned(self) -> Pruned:
        (event,) = (event for event in self.events if isinstance(event, Pruned))
        return event


class Engine(FakeEngine):
    """The engine in memory, whose next removal may be preceded by somebody else's doing, or held up."""

    def __init__(self) -> None:
        super().__init__(clock=lambda: NOW)
        self.before_look: Callable[[str], None] = lambda _: None
        self.answer: Removal | Exception | None = None
        self.asked = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.looks = 0

    async def image(self, ref: str) -> Image | None:
        self.looks += 1
        self.before_look(ref)
        return await super().image(ref)

    async def remove_image(self, ref: str) -> Removal:
        self.asked.set()
        await self.go_on.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer or await super().remove_image(ref)


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def heard() -> Heard:
    return Heard()


def pruner(
    engine: FakeEngine,
    heard: Heard,
    *,
    policy: PrunePolicy | None = None,
    needed: Callable[[], Needed] = Needed,
    known: set[str] | None = None,
    space: Callable[[SystemInfo], Disk | NotMeasured] = lambda _: NotMeasured("a test"),
) -> Pruner:
    return Pruner(
        engine, heard, scope=SCOPE, policy=policy or PrunePolicy(), needed=needed, known=known, space=space
    )


def add_finals(engine: FakeEngine, count: int, size: int = 20) -> list[str]:
    """Finals that share a base and were tagged long ago, oldest first."""
    ids = []
    for number in range(count):
        engine.clock = lambda at=OLD + number: at  # type: ignore[misc]
        layers = {"base": 5, f"binary {number}": size}
        ids.append(engine.add_image(tags=[rev(number)], labels=FINAL, layers=layers))
    engine.clock = lambda: NOW
    return ids


def add_builders(engine: FakeEngine, count: int, *, named: bool = True) -> list[str]:
    """Exported builder images, oldest first; the newest has the tag, the others names of their own."""
    ids = [
        engine.add_image(labels=BUILDER, layers={"go": 50, f"work {number}": 9}, created=OLD + number)
        for number in range(count)
    ]
    engine.clock = lambda: OLD
    for image in ids[:-1] if named else ():
        engine.add_tag(image, f"web-dev:builder-{short(image)}")
    engine.add_tag(ids[-1], "web-dev:builder")
    engine.clock = lambda: NOW
    return ids


async def left(engine: FakeEngine) -> set[str]:
    return {image.id for image in await engine.images()}


async def test_stale_images_go_and_everything_is_told_with_its_reason(engine: Engine, heard: Heard) -> None:
    finals, builders = add_finals(engine, 5), add_builders(engine, 3)
    alpine = engine.add_image(tags=["alpine:latest"], layers={"base": 5})
    report = await pruner(engine, heard).prune()
    assert await left(engine) == {*finals[2:], builders[-1], alpine}
    told = heard.pruned()
    assert {item.id for item in told.items if item.removed} == {*finals[:2], *builders[:2]}
    assert {item.id for item in told.items} == {*finals, *builders}
    assert all(item.reason for item in told.items)
    assert {item.kind for item in told.items} == {"final", "builder"}
    assert told.service == SCOPE.service
    assert alpine not in {verdict.id for verdict in report.verdicts}


async def test_sizes_are_sums_of_layers_and_freed_bytes_count_shared_layers_once(
    engine: Engine, heard: Heard
) -> None:
    add_finals(engine, 5)
    add_builders(engine, 3)
    report = await pruner(engine, heard).prune()
    sizes = {verdict.size for verdict in report.verdicts if verdict.remove}
    assert sizes == {25, 59}  # with the base, which stays
    assert heard.pruned().freed == report.freed == 2 * 20 + 2 * 9


async def test_layers_that_the_build_cache_still_holds_are_not_given_back(
    engine: Engine, heard: Heard
) -> None:
    add_finals(engine, 5)
    engine.add_cache("binary 0", 20)
    report = await pruner(engine, heard).prune()
    assert report.freed == 20
    assert report.cached == 20


async def test_a_dry_run_removes_and_tells_nothing(engine: Engine, heard: Heard) -> None:
    finals = add_finals(engine, 5)
    report = await pruner(engine, heard).prune(dry_run=True)
    assert await left(engine) == set(finals)
    assert {verdict.id for verdict in report.verdicts if verdict.remove} == set(finals[:2])
    assert report.dry_run
    assert report.freed is None
    assert heard.events == []


async def test_what_cannot_be_measured_is_removed_all_the_same(engine: Engine, heard: Heard) -> None:
    async def refuse(*, whole: bool = False) -> Usage:
        raise EngineError("snapshot k7 does not exist: not found", 404)

    engine.usage = refuse  # type: ignore[method-assign]
    finals = add_finals(engine, 5)
    report = await pruner(engine, heard).prune()
    assert await left(engine) == set(finals[2:])
    assert report.freed is None
    assert sum(item.removed for item in heard.pruned().items) == 2


async def test_pruning_twice_removes_nothing_more_and_measures_nothing(engine: Engine, heard: Heard) -> None:
    add_finals(engine, 5)
    await pruner(engine, heard).prune()
    again = Heard()
    report = await pruner(engine, again).prune()
    assert (again.pruned().freed, report.freed) == (0, None)
    assert not any(item.removed for item in again.pruned().items)


async def test_an_image_goes_tag_by_tag(engine: Engine, heard: Heard) -> None:
    finals = add_finals(engine, 4)
    engine.clock = lambda: OLD
    await engine.tag(finals[0], rev(77))
    engine.clock = lambda: NOW
    await pruner(engine, heard).prune()
    assert finals[0] not in await left(engine)
    assert engine.removed == [rev(0), rev(77)]


async def test_a_tag_that_somebody_adds_meanwhile_keeps_the_image(engine: Engine, heard: Heard) -> None:
    finals = add_finals(engine, 4)
    prune = pruner(engine, heard)
    verdicts = (await prune.prune(dry_run=True)).verdicts
    engine.looks = 0

    def tag_late(ref: str) -> None:
        if engine.looks > len(verdicts):  # the inventory is taken: this is the look right before
            engine.add_tag(finals[0], "bob/app:1")

    engine.before_look = tag_late
    report = await prune.prune()
    assert finals[0] in await left(engine)
    (verdict,) = (verdict for verdict in report.verdicts if verdict.id == finals[0])
    assert (verdict.remove, verdict.reason) == (False, "named bob/app:1 in the meantime")
    assert engine.removed == []


async def test_an_untagged_image_that_somebody_tags_meanwhile_keeps_its_tag(
    engine: Engine, heard: Heard
) -> None:
    builders = add_builders(engine, 2, named=False)

    def tag_late(ref: str) -> None:
        if engine.looks > len(builders):
            engine.add_tag(builders[0], "bob/debug:1")

    engine.before_look = tag_late
    await pruner(engine, heard, known={builders[0]}).prune()
    found = await engine.image(builders[0])
    assert found
    assert found.tags == ("bob/debug:1",)


async def test_what_the_daemon_comes_to_need_meanwhile_stays(engine: Engine, heard: Heard) -> None:
    builders = add_builders(engine, 2)
    answers = iter([Needed()])
    needed = lambda: next(answers, Needed(ids=frozenset({builders[0]})))  # noqa: E731
    report = await pruner(engine, heard, needed=needed).prune()
    assert builders[0] in await left(engine)
    assert "the daemon needs it" in {verdict.reason for verdict in report.verdicts}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Removal.IN_USE, "in use, according to the engine"),
        (Removal.GONE, "already removed"),
        (EngineError("removal is in progress", 500), "the engine refused: removal is in progress"),
    ],
)
async def test_a_refusal_is_normal_and_the_rest_goes_on(
    engine: Engine, heard: Heard, answer: Removal | Exception, reason: str
) -> None:
    builders = add_builders(engine, 3)
    engine.answer = answer
    await pruner(engine, heard).prune()
    told = {item.id: item for item in heard.pruned().items}
    for image in builders[:2]:
        assert (told[image].removed, told[image].reason) == (False, reason)
    assert heard.pruned().freed == 0


async def test_an_image_that_vanishes_meanwhile_was_gone_already(engine: Engine, heard: Heard) -> None:
    builders = add_builders(engine, 2)

    def vanish(ref: str) -> None:
        if engine.looks > len(builders):
            engine.forget(builders[0])

    engine.before_look = vanish
    await pruner(engine, heard).prune()
    told = {item.id: item for item in heard.pruned().items}
    assert (told[builders[0]].removed, told[builders[0]].reason) == (False, "already removed")


async def test_a_leftover_container_goes_and_then_its_image(engine: Engine, heard: Heard) -> None:
    finals = add_finals(engine, 4)
    engine.clock = lambda: OLD
    gone = await engine.create("web-box.0123", {"Image": finals[0], "Labels": proven(finals[0])})
    engine.clock = lambda: NOW
    await pruner(engine, heard).prune()
    assert engine.removed == [gone, rev(0)]
    assert await engine.container(gone) is None


async def test_a_container_that_is_started_meanwhile_is_not_killed(engine: Engine, heard: Heard) -> None:
    (image,) = add_finals(engine, 1)
    engine.clock = lambda: OLD
    box = await engine.create("web-box.0123", {"Image": image, "Labels": proven(image)})
    engine.clock = lambda: NOW
    started = False

    async def start(*, whole: bool = False) -> Usage:
        nonlocal started
        started = True
        await engine.start(box)
        return Usage(0)

    engine.usage = start  # type: ignore[method-assign]
    await pruner(engine, heard).prune()
    assert started
    found = await engine.container(box)
    assert found
    assert found.running


async def test_a_container_that_ended_a_moment_ago_stays_though_created_long_ago(
    engine: Engine, heard: Heard
) -> None:
    (image,) = add_finals(engine, 1)
    engine.clock = lambda: OLD
    box = await engine.create("web-box.0123", {"Image": image, "Labels": proven(image)})
    await engine.start(box)
    engine.clock = lambda: NOW
    await engine.stop(box, 0)
    await pruner(engine, heard).prune()
    assert await engine.container(box)


async def test_cancelling_stops_after_the_removal_under_way_and_tells_what_is_gone(
    engine: Engine, heard: Heard
) -> None:
    builders = add_builders(engine, 4)
    engine.go_on.clear()
    task = asyncio.create_task(pruner(engine, heard).prune())
    await engine.asked.wait()
    task.cancel()
    engine.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await left(engine) == set(builders[1:])
    assert [item.id for item in heard.pruned().items if item.removed] == builders[:1]


async def test_cancelling_before_anything_is_gone_tells_nothing(engine: Engine, heard: Heard) -> None:
    add_builders(engine, 4)
    engine.answer = Removal.IN_USE
    engine.go_on.clear()
    task = asyncio.create_task(pruner(engine, heard).prune())
    await engine.asked.wait()
    task.cancel()
    engine.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert heard.events == []


async def test_an_engine_that_goes_away_is_not_hidden_and_what_is_gone_is_told(
    engine: Engine, heard: Heard
) -> None:
    builders = add_builders(engine, 4)

    def away(ref: str) -> None:
        if engine.removed:
            raise EngineUnavailable("the engine went away")

    engine.before_look = away
    with pytest.raises(EngineUnavailable):
        await pruner(engine, heard).prune()
    assert [item.id for item in heard.pruned().items if item.removed] == builders[:1]


async def test_short_space_prunes_eagerly_and_warns_once_until_there_is_room_again(
    engine: Engine, heard: Heard
) -> None:
    finals = add_finals(engine, 3)
    low, roomy = Disk(1_000_000_000, 100_000_000_000), Disk(60_000_000_000, 100_000_000_000)
    disk = low
    prune = pruner(engine, heard, space=lambda _: disk)
    await prune.prune()
    assert await left(engine) == {finals[-1]}
    await prune.prune()
    disk = roomy
    await prune.prune()
    disk = low
    await prune.prune()
    notices = [event for event in heard.events if isinstance(event, Notice)]
    assert len(notices) == 2
    assert notices[0].level == "warning"
    assert notices[0].text.startswith("the engine's disk has 1.00 GB of 100 GB free")


async def test_a_disk_that_becomes_short_between_prunes_is_noticed_once(engine: Engine, heard: Heard) -> None:
    disk = Disk(60_000_000_000, 100_000_000_000)
    prune = pruner(engine, heard, space=lambda _: disk)
    assert not prune.became_short()  # nobody knows yet where the engine's data are
    await prune.prune()
    assert not prune.became_short()
    disk = Disk(1_000_000_000, 100_000_000_000)
    assert prune.became_short()
    await prune.prune()
    assert not prune.became_short()


async def test_no_warning_when_pruning_made_room(engine: Engine, heard: Heard) -> None:
    add_finals(engine, 3)
    answers = iter([Disk(1, 100), Disk(90, 100)])
    await pruner(engine, heard, space=lambda _: next(answers)).prune()
    assert not [event for event in heard.events if isinstance(event, Notice)]


async def test_untagged_builder_images_of_nobody_go_only_when_all_projects_are_asked_for(
    engine: Engine, heard: Heard
) -> None:
    stranger = engine.add_image(labels=STAGE, layers={"x": 7}, created=OLD)
    report = await pruner(engine, heard).prune()
    assert [verdict.kind for verdict in report.verdicts] == [ObjectKind.BUILDER]
    assert await left(engine) == {stranger}
    await pruner(engine, Heard(), policy=PrunePolicy(all_projects=True)).prune()
    assert await left(engine) == set()


def _usage(layers: int, *records: tuple[str, int, bool]) -> Usage:
    return Usage(
        layers, tuple(CacheRecord(name, "regular", "", size, False, shared) for name, size, shared in records)
    )


@pytest.mark.parametrize(
    ("before", "after", "bound", "expected"),
    [
        pytest.param(_usage(100), _usage(70), 50, (30, 0), id="layers that nobody holds"),
        pytest.param(
            _usage(100, ("a", 30, True)),
            _usage(70, ("a", 30, False)),
            50,
            (0, 30),
            id="layers that the cache holds",
        ),
        pytest.param(
            _usage(100, ("a", 10, True), ("b", 5, False)),
            _usage(70, ("a", 10, False), ("b", 5, False)),
            50,
            (20, 10),
            id="some of each",
        ),
        pytest.param(_usage(100), _usage(10), 50, (50, 0), id="somebody else removed more meanwhile"),
        pytest.param(_usage(100), _usage(170), 50, (0, 0), id="a build added layers meanwhile"),
        pytest.param(
            _usage(100), _usage(70, ("new", 30, False)), 50, (30, 0), id="a build added a record meanwhile"
        ),
        pytest.param(
            _usage(100, ("a", 30, False)), _usage(70), 50, (30, 0), id="somebody pruned the cache meanwhile"
        ),
    ],
)
def test_given_back_is_what_neither_image_nor_cache_holds(
    before: Usage, after: Usage, bound: int, expected: tuple[int, int]
) -> None:
    assert freed_bytes(before, after, bound) == expected


# What is ours.


async def test_an_image_whose_name_a_rebuild_took_is_remembered_and_goes(
    engine: Engine, heard: Heard
) -> None:
    engine.clock = lambda: OLD
    old = engine.add_image(tags=[rev(1)], labels=FINAL, created=OLD)
    found = pruner(engine, heard)
    await found.prune()
    engine.add_image(tags=[rev(1)], labels=FINAL, created=OLD + 1)  # the same revision, built again
    engine.clock = lambda: NOW
    assert old in await left(engine)
    await found.prune()
    assert old not in await left(engine)


async def test_an_untagged_image_with_inherited_labels_stays(engine: Engine, heard: Heard) -> None:
    """As `docker build` leaves it, of a Dockerfile that begins with `FROM web-dev`."""
    child = engine.add_image(labels=FINAL, created=OLD)
    compile_stage = engine.add_image(labels=BUILDER, created=OLD)
    add_finals(engine, 1)
    add_builders(engine, 1)
    report = await pruner(engine, heard).prune()
    assert {child, compile_stage} <= await left(engine)
    said = {verdict.id: verdict.reason for verdict in report.verdicts}
    assert missing(said[child], "nothing", "built") == []
    await pruner(engine, Heard(), policy=PrunePolicy(all_projects=True)).prune()
    assert child in await left(engine)
    assert compile_stage not in await left(engine), "the article's rule was asked for"


async def test_an_untagged_compile_stage_goes_when_its_last_step_is_a_watchers(
    engine: Engine, heard: Heard
) -> None:
    """As an earlier version left it, whose next export took the tag. A child of it has one step more."""
    earlier = "find . -newer /root/.cache/go-build/watcher-c683e71ef5f8 -print -quit && go build -o app ."
    ours = f"cp -p /root/.cache/go-build/watcher-{SCOPE.project}-c683e71ef5f8 app && go build -o app ."
    others = "cp -p /root/.cache/go-build/watcher-blog-9876543210-c683e71ef5f8 app && go build -o app ."
    gone = [
        engine.add_image(labels=BUILDER, created=OLD, last_step=f"RUN /bin/sh -c {step} # buildkit")
        for step in (earlier, ours)
    ]
    stays = [
        engine.add_image(labels=BUILDER, created=OLD, last_step='ENTRYPOINT ["/app"]'),
        engine.add_image(labels=BUILDER, created=OLD, last_step=others),
        engine.add_image(labels=FINAL, created=OLD, last_step=ours),
        engine.add_image(labels={**BUILDER, labels.PROJECT: CLONE.project}, created=OLD, last_step=earlier),
        engine.add_image(labels=BUILDER, created=OLD, last_step=ours, tags=["theirs:1"]),
        engine.add_image(labels=BUILDER, created=OLD, last_step=ours, digests=["theirs@sha256:12"]),
    ]
    newest = add_builders(engine, 1)
    await pruner(engine, heard).prune()
    assert await left(engine) == {*stays, *newest}
    assert {item.id for item in heard.pruned().items if item.removed} == set(gone)


async def test_a_name_of_a_builder_image_on_another_image_proves_nothing(
    engine: Engine, heard: Heard
) -> None:
    child = engine.add_image(tags=["web-dev:builder-0123456789ab"], labels=BUILDER, created=OLD)
    engine.clock = lambda: NOW
    report = await pruner(engine, heard, policy=PrunePolicy(grace=0.0)).prune()
    (verdict,) = report.verdicts
    assert verdict.id == child
    assert verdict.reason == "tagged web-dev:builder-0123456789ab, not by the watcher"


async def test_a_stopped_container_of_a_commit_of_ours_stays(engine: Engine, heard: Heard) -> None:
    finals = add_finals(engine, 2)
    ours = await engine.create("web-box.0123", {"Image": finals[0], "Labels": proven(finals[0])})
    image = engine.commit(ours, "bob/x:1")
    theirs = await engine.create("web-box.theirs", {"Image": image})
    engine.clock = lambda: NOW + 1000
    await pruner(engine, heard).prune()
    assert {item.id for item in await engine.containers()} == {theirs}


async def test_a_copy_of_our_container_with_all_its_labels_stays(engine: Engine, heard: Heard) -> None:
    """As tools make it that create a container again from what `docker inspect` says."""
    (image,) = add_finals(engine, 1)
    found = proven(image)
    ours = await engine.create("web-box.0123", {"Image": image, "Labels": found})
    engine.clock = lambda: NOW + 5
    copy = await engine.create("web-box.copy", {"Image": image, "Labels": found})
    engine.clock = lambda: NOW + 1000
    await pruner(engine, heard).prune()
    assert {item.id for item in await engine.containers()} == {copy}
    assert ours in engine.removed


async def test_the_next_prune_takes_what_only_soaked_or_drained_during_the_last_one(
    engine: Engine, heard: Heard
) -> None:
    drains, soaks, live = add_finals(engine, 3)
    box = await engine.create(f"{SCOPE.container}.0123", {"Image": drains, "Labels": proven(drains)})
    await engine.start(box)
    needed = [Needed(live=live, ids=frozenset({box, soaks}))]
    policy = PrunePolicy(keep=1, knows_needed=True)
    prunes = pruner(engine, heard, policy=policy, needed=lambda: needed[0])
    await prunes.prune()
    assert await left(engine) == {drains, soaks, live}
    needed[0] = Needed(live=live)
    await engine.stop(box, 0)
    await engine.remove(box)
    await prunes.prune()
    assert await left(engine) == {live}
