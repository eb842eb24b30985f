"""When the idle work is done."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from watcher.daemon.maintenance import MEASURE_WITHIN, SPACE_EVERY, Maintenance
from watcher.engine import Usage
from watcher.errors import EngineUnavailable
from watcher.prune import PruneReport
from watcher.reconcile.ports import Scan

LOOK: Any = Scan("r", None, 0.0)
USAGE = Usage(layers=1)


class Hands:
    """Builder and pruner at once: what was asked of them, in order."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.short = self.failing = False

    async def report_base_size(self, scan: Any) -> None:
        self.done.append("base")

    async def save_binaries(self, scan: Any) -> None:
        self.done.append("programs")

    async def export_image(self, scan: Any) -> None:
        self.done.append("builder")

    async def report_size(self, scan: Any, stage_size: Any) -> None:
        self.done.append("stage")

    async def prune(self) -> PruneReport:
        if self.failing:
            raise EngineUnavailable("gone")
        self.done.append("prune")
        return PruneReport(verdicts=(), usage=USAGE)

    async def stage_size(self, stage: str) -> int | None:
        return None

    def on_error(self, error: Exception) -> None:
        self.done.append(str(error))

    def became_short(self) -> bool:
        return self.short

    async def trim(self) -> None:
        self.done.append("trim")


class Meter:
    """A disk meter that notes what it is given."""

    def __init__(self) -> None:
        self.given: list[tuple[Any, Any]] = []
        self.too_soon = False

    async def run(self, snapshot: Any, usage: Any) -> bool:
        self.given.append((snapshot, usage))
        return not self.too_soon


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def chores(
    hands: Any, clock: Clock, *, every: float = 600.0, export: bool = True, within: float = 60.0, **more: Any
) -> Maintenance:
    return Maintenance(
        hands,
        more.get("pruner", hands),
        more.get("cache"),
        more.get("meter"),
        export_builder=export,
        stage_size=hands.stage_size,
        prune_every=every,
        on_error=hands.on_error,
        clock=clock,
        prune_within=within,
    )


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


async def test_after_a_deploy_pruning_comes_first() -> None:
    hands = Hands()
    await chores(hands, Clock()).run(LOOK)
    assert hands.done == ["prune", "base", "programs", "builder", "stage"]


async def test_the_builder_image_is_exported_only_if_wanted() -> None:
    hands = Hands()
    await chores(hands, Clock(), export=False).run(LOOK)
    assert hands.done == ["prune", "base", "programs", "stage"]


async def test_a_deploy_is_followed_by_a_prune_without_an_idle_moment() -> None:
    hands = Hands()
    idle = chores(hands, Clock(), within=0.0)
    idle.deployed()
    idle.deployed()
    await until(lambda: hands.done)
    await idle.close()
    assert hands.done == ["prune"]


async def test_what_idle_work_pruned_is_not_pruned_again() -> None:
    hands = Hands()
    idle = chores(hands, Clock(), export=False, within=0.01)
    idle.deployed()
    await idle.run(LOOK)
    await until(lambda: idle._in_time is None)
    assert hands.done.count("prune") == 1


async def test_a_prune_that_fails_beside_builds_is_told_and_tried_again_after_the_next_deploy() -> None:
    hands = Hands()
    hands.failing = True
    idle = chores(hands, Clock(), within=0.0)
    idle.deployed()
    await until(lambda: hands.done)
    assert hands.done == ["gone"]
    await until(lambda: idle._in_time is None)
    hands.failing = False
    idle.deployed()
    await until(lambda: len(hands.done) > 1)
    assert hands.done == ["gone", "prune"]


async def test_without_pruning_a_deploy_owes_nothing() -> None:
    hands = Hands()
    idle = chores(hands, Clock(), pruner=None)
    idle.deployed()
    assert idle._in_time is None
    await idle.close()


async def test_without_a_deploy_it_prunes_by_the_clock() -> None:
    hands, clock = Hands(), Clock()
    idle = chores(hands, clock)
    clock.now += 599
    await idle.run(None)
    assert hands.done == []
    clock.now += 1
    await idle.run(None)
    await idle.run(None)
    assert hands.done == ["prune"]


@pytest.mark.parametrize("every", [600.0, 0.0])
async def test_when_the_disk_runs_short_it_prunes_at_once(every: float) -> None:
    hands, clock = Hands(), Clock()
    idle = chores(hands, clock, every=every)
    clock.now += 60
    await idle.run(None)
    hands.short = True
    await idle.run(None)
    assert hands.done == ["prune"]


def test_it_looks_at_the_disk_more_often_than_it_prunes_and_never_when_pruning_is_off() -> None:
    hands: Any = Hands()
    assert chores(hands, Clock()).every == chores(hands, Clock(), every=0.0).every == SPACE_EVERY
    assert chores(hands, Clock(), every=5.0).every == 5.0
    assert chores(hands, Clock(), pruner=None).every == float("inf")


async def test_the_build_cache_is_trimmed_by_the_clock_and_not_after_each_deploy() -> None:
    hands, clock = Hands(), Clock()
    idle = chores(hands, clock, export=False, cache=hands)
    clock.now += 400
    await idle.run(LOOK)
    assert hands.done == ["prune", "base", "programs", "stage"]
    clock.now += 200  # the prune is not due yet again, the cache is
    await idle.run(None)
    await idle.run(None)
    assert hands.done == ["prune", "base", "programs", "stage", "trim"]
    hands.short = True
    await idle.run(None)
    assert hands.done == ["prune", "base", "programs", "stage", "trim", "prune", "trim"]


async def test_the_disk_is_measured_after_each_prune_with_what_the_prune_has_asked() -> None:
    hands, clock, meter = Hands(), Clock(), Meter()
    idle = chores(hands, clock, meter=meter)
    scan: Any = Scan("r", "the live tree", 0.0)
    await idle.run(scan)
    await idle.run(None)
    assert meter.given == [("the live tree", USAGE)]
    clock.now += 600
    await idle.run(None)
    assert meter.given[1:] == [("the live tree", USAGE)]


async def test_the_disk_is_measured_after_a_deploy_even_where_nothing_may_be_pruned() -> None:
    hands, meter = Hands(), Meter()
    await chores(hands, Clock(), pruner=None, meter=meter).run(LOOK)
    assert meter.given == [(None, None)]


async def test_a_measurement_that_came_too_soon_is_made_later() -> None:
    hands, meter = Hands(), Meter()
    idle = chores(hands, Clock(), meter=meter)
    meter.too_soon = True
    await idle.run(LOOK)
    await idle.run(None)
    meter.too_soon = False
    await idle.run(None)
    await idle.run(None)
    assert len(meter.given) == 3


async def test_saves_without_an_idle_moment_do_not_keep_the_disk_from_being_measured() -> None:
    hands, meter = Hands(), Meter()
    idle = chores(hands, Clock(), meter=meter, within=0.0)
    idle.deployed()
    await until(lambda: idle._in_time is None)
    assert meter.given == [(None, USAGE)], "the Go caches are not trimmed beside builds"


class NothingStale(Hands):
    """A pruner that finds nothing to remove, so it does not ask how much the engine holds."""

    async def prune(self) -> PruneReport:
        self.done.append("prune")
        return PruneReport(verdicts=())


async def test_beside_builds_the_engine_is_asked_only_where_no_measurement_is_recent() -> None:
    hands, clock, meter = NothingStale(), Clock(), Meter()
    idle = chores(hands, clock, meter=meter, within=0.0)
    for passed, times in ((0.0, 0), (MEASURE_WITHIN, 1), (1.0, 1), (MEASURE_WITHIN, 2)):
        clock.now += passed
        idle.deployed()
        await until(lambda: idle._in_time is None)
        assert meter.given == [(None, None)] * times


async def test_without_pruning_the_disk_is_measured_beside_builds_too() -> None:
    hands, clock, meter = Hands(), Clock(), Meter()
    idle = chores(hands, clock, pruner=None, meter=meter, within=0.0)
    clock.now += MEASURE_WITHIN
    idle.deployed()
    await until(lambda: idle._in_time is None)
    assert meter.given == [(None, None)]


async def test_the_disk_is_not_measured_twice_at_once() -> None:
    hands, meter = Hands(), Meter()
    idle = chores(hands, Clock(), meter=meter, within=0.0)
    idle.deployed()
    go_on, run = asyncio.Event(), meter.run

    async def slow(snapshot: Any, usage: Any) -> bool:
        done = await run(snapshot, usage)
        await go_on.wait()
        return done

    meter.run = slow  # type: ignore[method-assign]
    await until(lambda: meter.given)
    await idle.run(LOOK)
    assert len(meter.given) == 1
    go_on.set()
    await until(lambda: idle._in_time is None)
    await idle.run(None)
    assert len(meter.given) == 2, "and then with the Go caches"
    await idle.close()


async def test_an_engine_that_goes_away_during_a_measurement_is_no_failed_prune() -> None:
    hands, meter = Hands(), Meter()

    async def fail(snapshot: Any, usage: Any) -> bool:
        meter.given.append((snapshot, usage))
        raise EngineUnavailable("gone")

    meter.run = fail  # type: ignore[method-assign]
    idle = chores(hands, Clock(), meter=meter, within=0.0)
    idle.deployed()
    await until(lambda: idle._in_time is None)
    assert (hands.done, len(meter.given)) == (["prune"], 1)
