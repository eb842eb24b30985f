"""The loop with scripted stages: what is begun, cancelled, told and kept. Waits are for conditions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import pytest

from tests.facts import missing
from watcher.errors import EngineTrouble, EngineUnavailable, Failure, Superseded, UserError
from watcher.observers.events import (
    BuildFinished,
    BuildOutcome,
    BuildStarted,
    ContainerLost,
    DeployFinished,
    DeployOutcome,
    DesiredChanged,
    EngineDown,
    Event,
    Held,
    InternalError,
    RevisionStateChanged,
)
from watcher.reconcile import state_machine
from watcher.reconcile.build_slots import BuildSlots
from watcher.reconcile.hold_notice import SLOT_NOTICE_AFTER
from watcher.reconcile.ports import Built, Deployed, Scan
from watcher.reconcile.reconciler import Reconciler

E = TypeVar("E", bound=Event)
BROKEN = UserError(Failure("compile", "main.go:1: no"))


class Recorder:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def notify(self, event: Event) -> None:
        self.events.append(event)

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]


class Stage:
    """Work that ends when the test says so: each call appears in `calls` with a future to answer it."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, asyncio.Future[None]]] = []
        self.forced: list[bool] = []
        self.cancelled: list[str] = []
        self.running = self.most = 0

    async def enter(self, revision: str) -> None:
        answer = asyncio.get_running_loop().create_future()
        self.calls.append((revision, answer))
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await answer
        except asyncio.CancelledError:
            self.cancelled.append(revision)
            raise
        finally:
            self.running -= 1

    @property
    def revisions(self) -> list[str]:
        return [revision for revision, _ in self.calls]

    def answer(self, error: Exception | None = None) -> None:
        future = self.calls[-1][1]
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)


class Builds(Stage):
    async def build(self, scan: Scan[str], *, forced: bool) -> Built:
        self.forced.append(forced)
        await self.enter(scan.revision)
        return Built(f"image of {scan.revision}")


class Deploys(Stage):
    live: str | None = None
    waiting: bool = False

    async def deploy(self, revision: str, image: str) -> Deployed:
        await self.enter(revision)
        self.live = revision
        return Deployed("container", DeployOutcome.LIVE)


class Idle(Stage):
    def deployed(self) -> None:
        self.deploys = getattr(self, "deploys", 0) + 1

    async def run(self, scan: Scan[str] | None) -> None:
        await self.enter(scan.revision if scan else "")


@dataclass
class Rig:
    builds: Builds = field(default_factory=Builds)
    deploys: Deploys = field(default_factory=Deploys)
    chores: Idle = field(default_factory=Idle)
    told: Recorder = field(default_factory=Recorder)
    limits: state_machine.BuildLimits = field(default_factory=state_machine.BuildLimits)
    slots: BuildSlots = field(default_factory=lambda: BuildSlots(1))
    service: str = "app"
    scans: int = 0  # asked for by builds
    now: float | None = None  # the loop's clock, where the test moves it

    def clock(self) -> float:
        return time.monotonic() if self.now is None else self.now

    def make(self, *, chores_after: float = 3600.0, chores_every: float = 3600.0) -> Reconciler[str]:
        self.loop: Reconciler[str] = Reconciler(
            self.service,
            builder=self.builds,
            deployer=self.deploys,
            chores=self.chores,
            observer=self.told,
            limits=self.limits,
            request_scan=self.request_scan,
            chores_after=chores_after,
            chores_every=chores_every,
            slots=self.slots,
            image_key=lambda: self.service,
            clock=self.clock,
        )
        return self.loop

    def request_scan(self) -> None:
        self.scans += 1

    def save(self, revision: str) -> None:
        self.loop.record_scan(Scan(revision, revision, 0.0, self.clock()), None)

    def has_calls(self, count: int) -> bool:
        return len(self.builds.calls) == count

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0)

    async def build(self, revision: str, error: Exception | None = None) -> None:
        """Wait until `revision` is built, and let that end."""
        await self.until(lambda: self.builds.running and self.builds.revisions[-1] == revision)
        self.builds.answer(error)

    async def deploy(self, revision: str, error: Exception | None = None) -> None:
        await self.until(lambda: self.deploys.running and self.deploys.revisions[-1] == revision)
        self.deploys.answer(error)

    async def live(self, revision: str) -> None:
        self.save(revision)
        await self.build(revision)
        await self.deploy(revision)
        await self.until(lambda: self.loop.state.live == revision)


@asynccontextmanager
async def running(
    rig: Rig, *, chores_after: float = 3600.0, chores_every: float = 3600.0
) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(rig.make(chores_after=chores_after, chores_every=chores_every).run())
    try:
        yield task
    finally:
        for stage in (rig.builds, rig.deploys, rig.chores):
            for _, future in stage.calls:
                if not future.done():
                    future.set_result(None)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def test_a_save_is_built_and_goes_live(rig: Rig) -> None:
    async with running(rig):
        await rig.live("a")
        assert rig.told.of(DeployFinished)[-1].outcome is DeployOutcome.LIVE


async def test_a_build_that_is_cancelled_before_its_first_step_is_made_again(rig: Rig) -> None:
    async with running(rig) as task:
        rig.save("a")
        while rig.loop._building is None:
            await asyncio.sleep(0)
        rig.loop._building.cancel()
        await rig.build("a")
        await rig.deploy("a")
        await rig.until(lambda: rig.loop.state.live == "a")
        assert not task.done()
        assert rig.told.of(InternalError) == []


async def test_the_revisions_are_emitted_when_one_changes_and_before_what_changed_them(rig: Rig) -> None:
    async with running(rig):
        await rig.live("a")
        rig.save("b")
        await rig.build("b", UserError(Failure("compile", "no")))
        await rig.until(lambda: rig.loop.state.failed == "b")
        rig.save("b")  # the same tree again
    told = rig.told.of(RevisionStateChanged)
    assert [(event.desired, event.live, event.failed) for event in told] == [
        ("a", None, None),
        ("a", "a", None),
        ("b", "a", None),
        ("b", "a", "b"),
    ]
    failed = next(index for index, event in enumerate(rig.told.events) if event is told[-1])
    assert isinstance(rig.told.events[failed + 1], BuildFinished)


async def test_an_adopted_container_is_emitted_before_the_first_scan_and_nothing_before_it(rig: Rig) -> None:
    async with running(rig):
        rig.loop.hold("git is writing files")
        rig.loop.hold("")
        assert rig.told.of(RevisionStateChanged) == []
        rig.loop.record_adopted(
            DeployFinished(service="app", revision="a", image="i", outcome=DeployOutcome.ADOPTED, seconds=0.1)
        )
        (event,) = rig.told.of(RevisionStateChanged)
        assert (event.desired, event.live, event.failed) == (None, "a", None)


async def test_from_save_to_live_is_measured_on_the_monotonic_clock_and_only_for_saves(rig: Rig) -> None:
    rig.now = 1000.0
    async with running(rig):
        rig.loop.record_scan(Scan("first", "first", 0.0), None)  # the tree as it was at the start
        await rig.build("first")
        await rig.deploy("first")
        await rig.until(lambda: rig.loop.state.live == "first")
        rig.save("a")
        await rig.until(lambda: rig.builds.running)
        rig.now = 1003.0
        await rig.build("a")
        await rig.deploy("a")
        await rig.until(lambda: rig.loop.state.live == "a")
        rig.now = 1180.0
        rig.loop.rebuild()
        await rig.build("a")
        await rig.deploy("a")
        await rig.until(lambda: len(rig.told.of(DeployFinished)) == 3)
        rig.loop.pause(paused=True)
        rig.save("b")
        await rig.until(lambda: rig.loop.state.desired == "b")
        rig.now = 1300.0
        rig.loop.pause(paused=False)
        await rig.build("b")
        await rig.deploy("b")
        await rig.until(lambda: rig.loop.state.live == "b")
    assert [event.save_to_live for event in rig.told.of(DeployFinished)] == [None, 3.0, None, None]
    assert [event.seconds for event in rig.told.of(BuildFinished)] == [0.0, 3.0, 0.0, 0.0]
    assert [event.seconds for event in rig.told.of(DeployFinished)] == [0.0] * 4


async def test_the_newest_save_wins(rig: Rig) -> None:
    async with running(rig):
        rig.save("a")
        await rig.until(lambda: rig.builds.running)
        rig.save("b")
        await rig.build("b")
        await rig.deploy("b")
        await rig.until(lambda: rig.loop.state.live == "b")
    assert rig.builds.cancelled == ["a"]
    assert rig.deploys.revisions == ["b"]
    assert rig.builds.most == 1


async def test_saves_that_arrive_together_do_not_wedge_the_loop(rig: Rig) -> None:
    """The build of the first is cancelled before its first step, and so cannot say that it ended."""
    async with running(rig):
        rig.save("a")
        rig.save("b")
        await rig.build("b")
        await rig.deploy("b")
        await rig.until(lambda: rig.loop.state.live == "b")


async def test_a_save_during_a_deploy_is_built_and_goes_live_after_the_switch(rig: Rig) -> None:
    async with running(rig):
        rig.save("a")
        await rig.build("a")
        await rig.until(lambda: rig.deploys.running)
        rig.save("b")
        await rig.build("b")
        await rig.until(lambda: rig.loop.state.built)
        assert rig.deploys.revisions == ["a"], "never two at once"
        await rig.deploy("a")
        await rig.deploy("b")
        await rig.until(lambda: rig.loop.state.live == "b")
    assert rig.deploys.cancelled == []
    assert rig.deploys.most == 1


async def test_a_deploy_that_waits_for_its_container_gives_way_to_what_is_built_newer(rig: Rig) -> None:
    async with running(rig):
        await rig.live("a")
        rig.save("b")
        await rig.build("b")
        await rig.until(lambda: rig.deploys.running)
        rig.save("c")
        await rig.until(lambda: rig.builds.running)
        rig.deploys.waiting = True
        assert rig.deploys.cancelled == [], "nothing newer is built yet"
        await rig.build("c")
        await rig.until(lambda: rig.deploys.cancelled == ["b"])
        await rig.deploy("c")
        await rig.until(lambda: rig.loop.state.live == "c")
    assert rig.deploys.most == 1
    outcomes = [event.outcome for event in rig.told.of(DeployFinished)]
    assert outcomes == [DeployOutcome.LIVE, DeployOutcome.CANCELLED, DeployOutcome.LIVE]
    assert rig.told.of(DeployFinished)[1].failure is None
    assert rig.told.of(DeployFinished)[1].save_to_live is None


async def test_a_build_that_is_cancelled_by_hand_is_left_alone_until_the_next_save(rig: Rig) -> None:
    async with running(rig):
        await rig.live("a")
        assert not rig.loop.cancel(), "nothing runs"
        rig.save("b")
        await rig.until(lambda: rig.builds.running)
        assert rig.loop.cancel()
        await rig.until(lambda: rig.loop.state.failed == "b")
        assert rig.loop.state.live == "a"
        ended = rig.told.of(BuildFinished)[-1]
        assert ended.outcome is BuildOutcome.CANCELLED
        assert ended.failure
        assert ended.failure.summary == "the build was cancelled by hand"
        rig.loop.rebuild()
        await rig.build("b")
        await rig.deploy("b")
        await rig.until(lambda: rig.loop.state.live == "b")
        await rig.live("c")
    assert rig.builds.revisions == ["a", "b", "b", "c"]


async def test_a_deploy_that_is_cancelled_by_hand_leaves_the_one_before_live(rig: Rig) -> None:
    async with running(rig):
        await rig.live("a")
        rig.save("b")
        await rig.build("b")
        await rig.until(lambda: rig.deploys.running)
        assert not rig.loop.cancel(), "it may be switching"
        rig.deploys.waiting = True
        assert rig.loop.cancel()
        await rig.until(lambda: rig.loop.state.failed == "b")
        assert rig.loop.state.live == "a"
        ended = rig.told.of(DeployFinished)[-1]
        assert ended.outcome is DeployOutcome.CANCELLED
        assert ended.failure
        assert ended.failure.kind == "cancelled"
        await rig.until(lambda: rig.loop.state.deploying is None)
        await rig.live("c")


async def test_a_build_that_takes_longer_than_it_may_has_failed(rig: Rig) -> None:
    rig.limits = state_machine.BuildLimits(build_timeout=0.01)
    async with running(rig):
        rig.save("a")
        await rig.until(lambda: rig.loop.state.failed == "a")
        ended = rig.told.of(BuildFinished)[-1]
        assert ended.outcome is BuildOutcome.FAILED
        assert ended.failure
        assert missing(ended.failure.summary, "build", "longer", "10 ms") == []
        assert "build.timeout" in ended.failure.hint
        assert rig.builds.cancelled == ["a"]


async def test_a_timeout_within_a_build_is_no_timeout_of_the_build(rig: Rig) -> None:
    async with running(rig):
        rig.save("a")
        await rig.build("a", TimeoutError("of its own"))
        await rig.until(lambda: rig.told.of(BuildFinished))
        assert rig.told.of(BuildFinished)[-1].outcome is BuildOutcome.ERROR
        assert rig.told.of(InternalError)


async def test_a_rebuild_and_a_pause_stop_the_build_that_runs_at_once(rig: Rig) -> None:
    async with running(rig):
        rig.save("a")
        await rig.until(lambda: rig.builds.running)
        rig.loop.rebuild()
        await rig.until(lambda: rig.builds.forced == [False, True])
        assert rig.builds.cancelled == ["a"]
        rig.loop.pause(paused=True)
        await rig.until(lambda: rig.builds.cancelled == ["a", "a"] and rig.loop.state.building is None)
        rig.loop.pause(paused=False)
        await rig.build("a")
        assert rig.builds.forced == [False, True, True], "the rebuild was not answered yet"
    assert rig.builds.most == 1


async def test_a_full_disk_is_tried_again_and_what_is_stale_is_pruned_meanwhile(rig: Rig) -> None:
    rig.now = 1000.0
    async with running(rig, chores_after=0.0):
        rig.save("a")
        await rig.build("a", EngineTrouble("no space left on device"))
        await rig.until(lambda: rig.chores.running)
        ended = rig.told.of(BuildFinished)[-1]
        assert ended.outcome is BuildOutcome.ERROR
        assert ended.failure
        said = ended.failure.summary
        assert missing(said, "no space left on device", "engine's machine", "tried again", "0.5 s") == []
        assert rig.loop.state.failed is None
        assert rig.told.of(EngineDown) == []
        rig.chores.answer()
        rig.now = rig.loop.state.retry_at
        rig.loop.hold("")  # look at the clock
        await rig.build("a")
        await rig.deploy("a")
        await rig.until(lambda: rig.loop.state.live == "a")


async def test_signs_of_life_of_a_build_are_noted_once_a_second(rig: Rig) -> None:
    rig.now = 1000.0
    async with running(rig):
        rig.loop.record_progress()
        rig.save("a")
        await rig.until(lambda: rig.builds.running)
        for moment, recorded in ((1000.5, 1000.5), (1001.0, 1000.5), (1001.5, 1001.5), (1006.5, 1006.5)):
            rig.now = moment
            rig.loop.record_progress()
            assert rig.loop.state.progress_at == recorded
        await rig.build("a")


async def test_going_back_to_the_live_tree_cancels_the_build_and_builds_nothing(rig: Rig) -> None:
    async with running(rig):
        await rig.live("a")
        rig.save("b")
        await rig.until(lambda: rig.builds.running)
        rig.save("a")
        await rig.until(lambda: rig.builds.cancelled == ["b"] and rig.loop.state.building is None)
        assert rig.builds.revisions == ["a", "b"]
        assert rig.deploys.revisions == ["a"]


async def test_a_users_error_keeps_the_live_revision_and_waits_for_the_next_save(rig: Rig) -> None:
    async with running(rig):
        await rig.live("a")
        rig.save("b")
        await rig.build("b", BROKEN)
        await rig.until(lambda: rig.loop.state.failed == "b")
        assert rig.loop.state.live == "a"
        assert rig.told.of(BuildFinished)[-1].failure == BROKEN.failure
        await rig.live("c")


async def test_a_failed_deploy_that_lost_the_old_container_is_known_as_such(rig: Rig) -> None:
    async with running(rig):
        await rig.live("a")
        rig.save("b")
        await rig.build("b")
        await rig.until(lambda: rig.deploys.running)
        rig.deploys.live = None
        await rig.deploy("b", BROKEN)
        await rig.until(lambda: rig.loop.state.failed == "b")
        assert rig.loop.state.live is None


async def test_an_engine_that_went_away_is_asked_again_for_the_same_revision(rig: Rig) -> None:
    async with running(rig):
        rig.save("a")
        await rig.build("a", EngineUnavailable("no engine"))
        await rig.until(lambda: rig.told.of(EngineDown))
        rig.loop.record_engine_recovered()
        await rig.until(lambda: rig.builds.revisions == ["a", "a"])
        await rig.build("a")
        await rig.deploy("a", EngineUnavailable("no engine"))
        rig.loop.record_engine_recovered()
        await rig.until(lambda: rig.builds.revisions == ["a", "a", "a"])


async def test_a_bug_in_a_stage_is_told_and_the_loop_lives_on(rig: Rig) -> None:
    async with running(rig) as task:
        rig.save("a")
        await rig.build("a", ZeroDivisionError("oh"))
        await rig.until(lambda: rig.told.of(InternalError))
        assert "ZeroDivisionError" in rig.told.of(InternalError)[0].traceback
        assert not task.done()
        await rig.live("b")


async def test_a_bug_in_a_deploy_is_reported_and_the_next_save_goes_live(rig: Rig) -> None:
    async with running(rig) as task:
        rig.save("a")
        await rig.build("a")
        await rig.deploy("a", ZeroDivisionError("oh"))
        await rig.until(lambda: rig.told.of(DeployFinished))
        assert ["ZeroDivisionError" in event.traceback for event in rig.told.of(InternalError)] == [True]
        assert not task.done()
        await rig.live("b")


async def test_a_tree_that_changed_under_the_build_counts_as_cancelled(rig: Rig) -> None:
    async with running(rig):
        rig.save("a")
        await rig.build("a", Superseded("main.go changed"))
        await rig.until(lambda: rig.told.of(BuildFinished))
        assert rig.told.of(BuildFinished)[0].outcome is BuildOutcome.CANCELLED
        assert rig.scans == 1, "the tree is scanned again"
        await rig.live("b")


async def test_a_third_build_dropped_for_nothing_new_is_said_to_be_a_bug(rig: Rig) -> None:
    rig.now = 1000.0
    async with running(rig):
        rig.save("a")
        for number in range(3):
            await rig.until(partial(rig.has_calls, number + 1))
            rig.builds.answer(Superseded("main.go changed"))
            await rig.until(lambda: rig.loop.state.building is None)
            rig.now = rig.loop.state.retry_at
            rig.loop.hold("")  # look at the clock
        (bug,) = rig.told.of(InternalError)
        assert missing(bug.traceback, "3 builds", "main.go changed") == []
        assert [event.outcome for event in rig.told.of(BuildFinished)] == [
            BuildOutcome.CANCELLED,
            BuildOutcome.CANCELLED,
            BuildOutcome.ERROR,
        ]
        await rig.build("a")
        await rig.deploy("a")


async def test_builds_dropped_for_newer_snapshots_are_no_bug(rig: Rig) -> None:
    rig.now = 1000.0
    async with running(rig):
        for number in range(5):
            rig.save("a")
            await rig.until(partial(rig.has_calls, number + 1))
            rig.builds.answer(Superseded("main.go changed"))
            await rig.until(lambda: rig.loop.state.building is None)
        rig.save("a")
        await rig.build("a")
        await rig.deploy("a")
        assert rig.told.of(InternalError) == []


def lost(revision: str) -> ContainerLost:
    image = f"image of {revision}"
    return ContainerLost(
        service="app", revision=revision, container="c", image=image, failure=Failure("container", "it ended")
    )


async def test_a_lost_container_is_put_back_without_a_build(rig: Rig) -> None:
    async with running(rig):
        await rig.live("a")
        rig.deploys.live = None
        rig.loop.record_lost(lost("a"))
        await rig.deploy("a")
        await rig.until(lambda: rig.deploys.live == "a" and rig.loop.state.live == "a")
    assert rig.builds.revisions == ["a"]
    first, again = rig.told.of(DeployFinished)
    assert first.save_to_live is not None
    assert again.save_to_live is None, "it answers no save"
    assert rig.told.of(ContainerLost)[0].failure.summary == "it ended"


async def test_a_lost_container_is_put_back_although_the_tree_does_not_build(rig: Rig) -> None:
    async with running(rig):
        await rig.live("a")
        rig.save("broken")
        await rig.build("broken", BROKEN)
        await rig.until(lambda: rig.loop.state.failed == "broken")
        rig.deploys.live = None
        rig.loop.record_lost(lost("a"))
        await rig.deploy("a")
        await rig.until(lambda: rig.loop.state.live == "a")
        assert rig.loop.state.failed == "broken"


async def test_what_ended_while_no_daemon_looked_serves_again_before_the_first_look(rig: Rig) -> None:
    async with running(rig):
        rig.loop.record_stopped("a", "image of a")
        await rig.deploy("a")
        await rig.until(lambda: rig.loop.state.live == "a")
    assert rig.told.of(ContainerLost) == []


async def test_a_crash_loop_is_called_one_and_slows_down(rig: Rig) -> None:
    rig.now = 1000.0
    async with running(rig):
        await rig.live("a")
        for _ in range(3):
            rig.deploys.live = None
            rig.loop.record_lost(lost("a"))
            await rig.until(lambda: rig.loop.state.lost)
            rig.now = rig.loop.state.retry_at
            rig.loop.hold("")  # look at the clock
            await rig.deploy("a")
            await rig.until(lambda: rig.loop.state.live)
    first, second, third = (event.failure.summary for event in rig.told.of(ContainerLost))
    assert first == "it ended"
    assert missing(second, "it ended", "2 times", "crash loop", "1.0 s") == []
    assert missing(third, "it ended", "3 times", "crash loop", "2.0 s") == []


async def test_what_cannot_be_put_back_is_a_crash_loop_too(rig: Rig) -> None:
    rig.now = 1000.0
    async with running(rig):
        await rig.live("a")
        rig.deploys.live = None
        rig.loop.record_lost(lost("a"))
        await rig.deploy("a", UserError(Failure("container", "no database")))
        await rig.until(lambda: rig.loop.state.crashes)
        rig.now = rig.loop.state.retry_at
        rig.loop.hold("")
        await rig.deploy("a")
        await rig.until(lambda: rig.loop.state.live)
    failure = rig.told.of(DeployFinished)[1].failure
    assert failure
    assert missing(failure.summary, "no database", 2, "crash loop", "1.0 s") == []


async def test_a_roll_back_during_a_build_leaves_that_build_alone(rig: Rig) -> None:
    async with running(rig):
        await rig.live("a")
        await rig.live("b")
        rig.save("c")
        await rig.until(lambda: rig.builds.running)
        rig.deploys.live = "a"
        outcome = DeployOutcome.ROLLED_BACK
        rig.loop.record_rollback(
            DeployFinished(service="app", revision="b", image="i", outcome=outcome, seconds=1.0)
        )
        await rig.until(lambda: rig.loop.state.live == "a")
        await rig.build("c")
        await rig.deploy("c")
        await rig.until(lambda: rig.loop.state.live == "c")
    assert rig.builds.most == 1
    assert rig.builds.revisions == ["a", "b", "c"]


async def test_what_was_rolled_back_is_not_deployed_again(rig: Rig) -> None:
    async with running(rig):
        await rig.live("a")
        await rig.live("b")
        rig.deploys.live = "a"
        outcome = DeployOutcome.ROLLED_BACK
        rig.loop.record_rollback(
            DeployFinished(service="app", revision="b", image="i", outcome=outcome, seconds=1.0)
        )
        await rig.until(lambda: rig.loop.state.failed == "b")
        for _ in range(100):
            await asyncio.sleep(0)
    assert rig.loop.state.live == "a"
    assert rig.builds.revisions == ["a", "b"]
    assert rig.deploys.revisions == ["a", "b"]


async def test_a_paused_service_begins_nothing_until_it_is_resumed(rig: Rig) -> None:
    async with running(rig):
        rig.loop.pause(paused=True)
        rig.save("a")
        await rig.until(lambda: rig.loop.state.desired == "a")
        assert rig.builds.calls == []
        rig.loop.pause(paused=False)
        await rig.build("a")


async def test_a_rebuild_builds_what_is_live_already(rig: Rig) -> None:
    async with running(rig):
        await rig.live("a")
        rig.loop.rebuild()
        await rig.until(lambda: rig.builds.revisions == ["a", "a"])
        assert rig.builds.forced == [False, True]


async def test_chores_run_after_a_deploy_and_make_way_for_work_and_come_back(rig: Rig) -> None:
    async with running(rig, chores_after=0.0):
        await rig.live("a")
        await rig.until(lambda: rig.chores.running)
        assert rig.chores.revisions == ["a"]
        rig.save("b")
        await rig.until(lambda: rig.chores.cancelled == ["a"])
        await rig.build("b", BROKEN)
        await rig.until(lambda: rig.chores.revisions == ["a", "a"])


async def test_chores_run_again_after_their_interval_without_any_other_event(rig: Rig) -> None:
    async with running(rig, chores_after=0.0, chores_every=0.0):
        await rig.live("a")
        await rig.until(lambda: rig.chores.running)
        rig.chores.answer()
        await rig.until(lambda: rig.chores.revisions == ["a", ""])


async def test_chores_start_when_they_are_due_and_not_before(rig: Rig) -> None:
    rig.now = 1000.0
    async with running(rig, chores_after=10.0, chores_every=600.0):
        await rig.live("a")
        for moment, calls in ((1009.9, []), (1010.0, ["a"])):
            rig.now = moment
            rig.loop.hold("")  # look at the clock
            for _ in range(20):
                await asyncio.sleep(0)
            assert rig.chores.revisions == calls
        rig.chores.answer()
        await rig.until(lambda: rig.loop._chores.task is None)
        for moment, calls in ((1609.9, ["a"]), (1610.0, ["a", ""])):
            rig.now = moment
            rig.loop.hold("")
            for _ in range(20):
                await asyncio.sleep(0)
            assert rig.chores.revisions == calls


async def test_without_a_deploy_the_first_chores_run_after_their_interval(rig: Rig) -> None:
    rig.now = 1000.0
    async with running(rig, chores_every=60.0):
        for now in (1000.0, 1059.0):
            rig.now = now
            rig.loop.hold("")  # look at the clock
            await turns()
            assert rig.chores.calls == []
        rig.now = 1060.0
        rig.loop.hold("")
        await rig.until(lambda: rig.chores.running)


async def test_chores_that_are_cancelled_before_their_first_step_run_later(rig: Rig) -> None:
    rig.now = 1000.0
    async with running(rig, chores_after=5.0):
        await rig.live("a")
        rig.now = 1005.0
        runner = rig.loop._chores
        runner.start_if_due()
        runner.cancel()
        await rig.until(lambda: runner.task is None)
        assert rig.chores.calls == []
        assert runner.due == 1010.0
        rig.now = 1010.0
        rig.loop.hold("")  # look at the clock
        await rig.until(lambda: rig.chores.revisions == ["a"])


async def test_a_bug_in_the_chores_is_told_and_the_loop_lives_on(rig: Rig) -> None:
    async with running(rig, chores_after=0.0):
        await rig.live("a")
        await rig.until(lambda: rig.chores.running)
        rig.chores.answer(ZeroDivisionError("oh"))
        await rig.until(lambda: rig.told.of(InternalError))
        await rig.live("b")


async def test_the_end_of_the_daemon_cancels_a_build(rig: Rig) -> None:
    async with running(rig) as task:
        rig.save("a")
        await rig.until(lambda: rig.builds.running)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert rig.builds.cancelled == ["a"]
        assert rig.builds.running == 0


async def test_the_end_of_the_daemon_waits_for_a_deploy(rig: Rig) -> None:
    async with running(rig) as task:
        rig.save("a")
        await rig.build("a")
        await rig.until(lambda: rig.deploys.running)
        task.cancel()
        for _ in range(10):  # turns of the loop, in which a deploy that is cancelled too would end
            await asyncio.sleep(0)
        assert not task.done()
        rig.deploys.answer()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert rig.deploys.live == "a"
        assert rig.deploys.cancelled == []


async def test_the_end_of_the_daemon_does_not_wait_for_a_container_to_answer(rig: Rig) -> None:
    async with running(rig) as task:
        await rig.live("a")
        rig.save("b")
        await rig.build("b")
        await rig.until(lambda: rig.deploys.running)
        rig.deploys.waiting = True
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 10)
        assert rig.deploys.cancelled == ["b"]
        assert rig.deploys.live == "a"


async def test_the_end_of_the_daemon_waits_for_cancelled_chores(rig: Rig) -> None:
    async with running(rig, chores_after=0.0) as task:
        await rig.live("a")
        await rig.until(lambda: rig.chores.running)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert rig.chores.running == 0


async def test_the_loop_goes_on_where_it_was_when_it_is_run_again(rig: Rig) -> None:
    """A change of the configuration cancels the build, lets a deploy end, and starts the loop again."""
    async with running(rig) as first:
        await rig.live("a")
        rig.loop.pause(paused=True)
        await rig.until(lambda: rig.loop.state.paused)
        rig.loop.pause(paused=False)
        rig.save("b")
        await rig.until(lambda: rig.builds.running)
        first.cancel()
        await rig.until(first.done)
        rig.loop.reconfigure(rig.chores, limits=state_machine.BuildLimits(max_cancels=1), chores_every=60.0)
        again = asyncio.create_task(rig.loop.run())
        rig.save("c")
        await rig.build("c")
        await rig.deploy("c")
        await rig.until(lambda: rig.loop.state.live == "c")
        again.cancel()
        await rig.until(again.done)
    assert rig.builds.revisions == ["a", "b", "c"]
    assert rig.builds.cancelled == ["b"]


async def test_the_end_of_a_hold_is_told_however_quickly_it_comes(rig: Rig) -> None:
    async with running(rig):
        rig.loop.hold("git is writing files")
        rig.loop.hold("")
        assert [event.reason for event in rig.told.of(Held)] == ["git is writing files", ""]


async def test_what_the_outside_says_is_told_and_folded(rig: Rig) -> None:
    async with running(rig):
        wanted = DesiredChanged(service="app", revision="a", changes=(), summary="first look", saved_at=0.0)
        rig.loop.record_scan(Scan("a", "a", 0.0), wanted)
        adopted = DeployFinished(
            service="app", revision="a", image="i", outcome=DeployOutcome.ADOPTED, seconds=0.1
        )
        rig.loop.record_adopted(adopted)
        await rig.until(lambda: rig.loop.state.live == "a")
        back = DeployFinished(
            service="app", revision="a", image="i", outcome=DeployOutcome.ROLLED_BACK, seconds=0.1
        )
        rig.loop.record_rollback(back)
        await rig.until(lambda: rig.loop.state.live is None)
    assert rig.told.of(DesiredChanged) == [wanted]
    assert rig.told.of(DeployFinished)[:2] == [adopted, back]


class Broken(Recorder):
    """An observer with a bug, which the loop's work must not fall to silently."""

    def notify(self, event: Event) -> None:
        super().notify(event)
        if isinstance(event, BuildStarted) and len(self.of(BuildStarted)) == 1:
            raise ZeroDivisionError("oh")


async def test_work_that_is_broken_itself_is_told_and_tried_again() -> None:
    rig = Rig(told=Broken())
    rig.now = 1000.0
    async with running(rig):
        rig.save("a")
        await rig.until(lambda: rig.told.of(InternalError))
        await rig.until(lambda: rig.loop.state.building is None)
        assert rig.told.of(InternalError)[0].where == "loop"
        rig.now = rig.loop.state.retry_at
        rig.loop.hold("")  # look at the clock
        await rig.build("a")
        await rig.deploy("a")
        await rig.until(lambda: rig.loop.state.live == "a")


@pytest.fixture
def other(rig: Rig) -> Rig:
    """Return another service that shares the only build slot."""
    return Rig(service="other", slots=rig.slots)


async def test_a_build_that_ends_leaves_its_slot_to_the_one_that_waited(rig: Rig, other: Rig) -> None:
    """A rebuild that was asked for meanwhile is behind it, however soon the loop asks."""
    rig.limits = state_machine.BuildLimits(max_cancels=0)
    async with running(rig), running(other):
        rig.save("a")
        await rig.until(lambda: rig.builds.running)
        other.save("x")
        rig.save("b")
        await rig.build("a")
        await other.until(lambda: other.builds.running)
        assert rig.builds.revisions == ["a"]
        await other.build("x")
        await rig.deploy("a")
        await rig.build("b")
    assert rig.slots.builders == ()


async def test_a_save_while_a_build_fails_is_built_after_the_service_that_waits(rig: Rig, other: Rig) -> None:
    """The slot is free when the build ends, although the next build of the same service is already due."""
    rig.limits = state_machine.BuildLimits(max_cancels=0)
    async with running(rig), running(other):
        rig.save("a")
        await rig.until(lambda: rig.builds.running)
        other.save("x")
        await turns()
        rig.builds.answer(BROKEN)
        rig.save("b")
        await other.build("x")
        assert rig.builds.revisions == ["a"]
        await rig.build("b")


async def test_a_newer_save_takes_the_slot_of_the_build_that_it_cancels(rig: Rig, other: Rig) -> None:
    """Also if that build was cancelled before its first step."""
    async with running(rig), running(other):
        rig.save("a")
        await rig.until(lambda: rig.loop.state.building == "a")
        other.save("x")
        rig.save("b")
        await rig.until(lambda: rig.builds.running and rig.builds.revisions[-1] == "b")
        rig.save("c")
        await rig.until(lambda: rig.builds.running and rig.builds.revisions[-1] == "c")
        assert other.builds.revisions == []
        await rig.build("c")
        await other.build("x")
    assert rig.slots.builders == ()


@pytest.mark.parametrize("error", [BROKEN, EngineTrouble("no space"), RuntimeError("a bug"), Superseded("x")])
async def test_a_build_that_fails_or_is_dropped_leaves_its_slot(
    rig: Rig, other: Rig, error: Exception
) -> None:
    async with running(rig), running(other):
        rig.save("a")
        await rig.until(lambda: rig.builds.running)
        other.save("x")
        await rig.build("a", error)
        await other.build("x")
        await other.until(lambda: other.loop.state.built or other.deploys.running)


async def test_the_end_of_a_service_leaves_its_slot_and_its_place(rig: Rig, other: Rig) -> None:
    last = Rig(service="last", slots=rig.slots)
    async with running(last):
        async with running(rig):
            rig.save("a")
            await rig.until(lambda: rig.builds.running)
            async with running(other):
                other.save("x")
                await turns()
                last.save("y")
                await turns()
            assert last.builds.revisions == []
        await last.build("y")
    assert rig.slots.builders == ()


async def test_a_long_wait_for_a_slot_is_said_and_its_end_too(rig: Rig, other: Rig) -> None:
    rig.now = other.now = 1000.0
    async with running(rig), running(other):
        rig.save("a")
        await rig.until(lambda: rig.builds.running)
        other.save("x")
        await turns()
        assert other.told.of(Held) == []
        other.now += SLOT_NOTICE_AFTER
        other.save("y")
        await other.until(lambda: other.told.of(Held))
        other.loop.hold("git is writing files")
        await other.until(lambda: len(other.told.of(Held)) == 2)
        other.loop.hold("")
        await turns()
        other.now += SLOT_NOTICE_AFTER
        other.save("y again")
        await other.until(lambda: len(other.told.of(Held)) == 4)
        await rig.build("a")
        await other.build("y again")
    waits, git = "waiting for a build slot: app builds", "git is writing files"
    assert [event.reason for event in other.told.of(Held)] == [waits, git, "", waits, ""]


async def turns() -> None:
    """Let all loops act on what they were given."""
    for _ in range(20):
        await asyncio.sleep(0)
