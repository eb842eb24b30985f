"""The control loop of one service: drive the live container to the desired revision.

Fold every event into the state, ask `state_machine.decide` for the next action, and execute it. A newer save
cancels a running build; once it is built it also cancels a deploy that only waits for its container, never
one that switches. Chores (export of the builder image, pruning) run while nothing else is to do.

The ports in `ports.py` do the work, `verdicts.py` judges its results, `state_machine.py` makes the decisions.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Collection, Coroutine
from dataclasses import replace
from functools import partial
from typing import Generic, TypeVar
from weakref import WeakSet

from watcher.errors import EngineTrouble, Superseded, UserError
from watcher.observers.events import (
    BuildStarted,
    Change,
    ContainerLost,
    DeployFinished,
    DeployStarted,
    DesiredChanged,
    Observer,
    Paused,
)
from watcher.reconcile import state_machine
from watcher.reconcile import transition_events as events
from watcher.reconcile.build_slots import BuildSlots, ServiceSlot
from watcher.reconcile.chore_runner import ChoreRunner
from watcher.reconcile.hold_notice import HoldNotice
from watcher.reconcile.ports import Builder, Built, Chores, Deployed, Deployer, Scan
from watcher.reconcile.revision_emitter import RevisionEmitter
from watcher.reconcile.transition import transition
from watcher.reconcile.verdicts import (
    BuildVerdict,
    DeployVerdict,
    Situation,
    build_finished,
    deploy_finished,
    explain_error,
    explain_timeout,
    judge_build,
    judge_deploy,
    name_broken_work,
    name_crash_loop,
)

S = TypeVar("S")

PROGRESS_EVERY = 1.0  # seconds between two recorded signs of life of a build
_CANCEL_TICK = 0.1  # seconds until another attempt to cancel a deploy that cannot be cancelled now


class Reconciler(Generic[S]):
    """Closes the difference between the tree and the live container. `run` until cancelled."""

    def __init__(
        self,
        service: str,
        *,
        builder: Builder[S],
        deployer: Deployer,
        chores: Chores[S],
        observer: Observer,
        limits: state_machine.BuildLimits,
        request_scan: Callable[[], None] = lambda: None,
        chores_after: float = 1.0,
        chores_every: float = 600.0,
        slots: BuildSlots | None = None,
        image_key: Callable[[], str] = str,
        choose_first: Callable[[S, Collection[Change]], frozenset[str]] = lambda *_: frozenset(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`request_scan` is called when a build finds a file other than the last scan did.

        `slots` bounds the builds of all services; `image_key` returns which image this service builds.
        `choose_first` returns the services whose builds of the same save begin before this one's.
        """
        self.state = state_machine.State()
        self._service, self._observer, self._limits, self._clock = service, observer, limits, clock
        self._builder, self._deployer, self._request_scan = builder, deployer, request_scan
        self._wake = asyncio.Event()  # an event was folded since the last decision
        self._slot = ServiceSlot(slots or BuildSlots(1), service, image_key, self._wake.set)
        self._choose_first, self._first = choose_first, frozenset[str]()
        self._revisions = RevisionEmitter(service, observer)
        self._notice = HoldNotice(service, observer, clock)
        self._scans: dict[str, Scan[S]] = {}
        self._building: asyncio.Task[None] | None = None
        self._deploying: asyncio.Task[None] | None = None
        self._by_hand: WeakSet[asyncio.Task[None]] = WeakSet()  # work that a user cancelled
        self._progress_recorded = -math.inf
        self._chores = ChoreRunner(
            chores,
            after=chores_after,
            every=chores_every,
            clock=clock,
            on_error=partial(self._report_error, "chores"),
            on_end=self._wake.set,
        )

    def reconfigure(
        self, chores: Chores[S], *, limits: state_machine.BuildLimits, chores_every: float
    ) -> None:
        """Continue with these, while `run` does not run."""
        self._limits = limits
        self._chores.reconfigure(chores, every=chores_every)

    # Inputs.

    def record_scan(self, scan: Scan[S], desired: DesiredChanged | None) -> None:
        """Take a scan of the tree; `desired` is the event to emit if its revision is new."""
        self._scans[scan.revision] = scan
        self._record(events.TreeScanned(scan.revision))
        if desired is not None:
            self._first = self._choose_first(scan.snapshot, desired.changes)
            self._observer.notify(desired)

    def hold(self, reason: str) -> None:
        """Start no build or deploy while `reason` is not empty."""
        self._notice.set_hold(reason)
        self._record(events.HoldChanged(reason))

    def show_turn_wait(self, reason: str) -> None:
        """Show what the running deploy waits for before it starts; "" ends the wait."""
        self._notice.set_turn_wait(reason)

    def pause(self, *, paused: bool) -> None:
        """Stop building, or continue."""
        if not paused:  # the next build answers the user who ended the pause, not a save
            self._scans = {revision: replace(scan, saved=None) for revision, scan in self._scans.items()}
        self._observer.notify(Paused(service=self._service, paused=paused))
        self._record(events.PauseChanged(paused))

    def rebuild(self) -> None:
        """Build the tree again even if it is live or known to fail."""
        self._record(events.RebuildRequested())

    def cancel(self) -> bool:
        """Cancel the running build or deploy until the next save or `rebuild`; False if nothing can be."""
        build, deploy = (self._building, self.state.building), (self._deploying, self._deployer.waiting)
        for task, cancellable in (build, deploy):
            if task and not task.done() and cancellable:
                self._by_hand.add(task)
                return task.cancel()
        return False

    def record_progress(self) -> None:
        """Record that the running build shows a sign of life; can be called any number of times a second."""
        if self.state.building and self._clock() - self._progress_recorded >= PROGRESS_EVERY:
            self._progress_recorded = self._clock()
            self._record(events.BuildProgressed())

    def record_adopted(self, event: DeployFinished) -> None:
        """Record that a container of an earlier daemon serves."""
        self._record(events.LiveChanged(event.revision))
        self._observer.notify(event)

    def record_lost(self, event: ContainerLost) -> None:
        """Record that the live container exited."""
        exited = events.ContainerExited(event.revision, event.image, event.excused)
        failure = name_crash_loop(event.failure, exited, self._situation())
        self._record(exited)
        self._observer.notify(replace(event, failure=failure))

    def record_stopped(self, revision: str, image: str) -> None:
        """Record that the container that served last exited while no daemon ran."""
        self._record(events.ContainerExited(revision, image))

    def record_last_good(self, revision: str, image: str) -> None:
        """Record the image that was live last under an earlier daemon: it serves if the tree cannot."""
        self._record(events.LastGoodFound(revision, image))

    def record_rollback(self, event: DeployFinished) -> None:
        """Record that a container failed in its soak time and the previous one has the traffic again."""
        self._record(events.RolledBack(event.revision, self._deployer.live))
        self._observer.notify(event)

    def record_engine_recovered(self) -> None:
        """Record that the engine answers again."""
        self._record(events.EngineRecovered())

    def find_snapshot(self, revision: str) -> S | None:
        """Return the snapshot of a revision that is desired, built or deployed; else of the desired one."""
        scan = self._scans.get(revision) or self._scans.get(self.state.desired or "")
        return scan.snapshot if scan else None

    # The loop.

    async def run(self) -> None:
        """Reconcile until cancelled; then cancel a build, and a deploy that only waits."""
        try:
            while True:
                action = state_machine.decide(self.state, self._clock(), self._limits)
                if not isinstance(action, state_machine.Build):
                    self._stop_slot_wait()
                    if self.state.building is None:
                        self._slot.release()
                await self._execute(action)
        finally:
            self._stop_slot_wait()
            try:
                await self._stop_work()
            finally:
                self._slot.release()

    async def _execute(self, action: state_machine.Action) -> None:
        """Start or cancel work, or wait for the next event."""
        match action:
            case state_machine.Build() if not self._slot.take(self._first):
                await self._wait(self._notice.update_slot_wait(self._slot.describe_wait))
            case state_machine.Build(revision, forced):
                self._stop_slot_wait()
                scan = self._scans[revision]
                if forced:  # the build answers a request, not a save
                    scan = self._scans[revision] = replace(scan, saved=None)
                work = self._build(scan, forced=forced)
                self._building = self._start(events.BuildBegun(revision, forced), work)
            case state_machine.Deploy(revision, image):
                restored = (revision, image) in (self.state.lost, self.state.last_good)  # answers no save
                deployed = None if restored else self._scans[revision]
                work = self._deploy(revision, image, deployed)
                self._deploying = self._start(events.DeployBegun(revision), work)
            case state_machine.CancelBuild():
                if self._building:
                    self._building.cancel()
                self._fold(events.BuildCancelRequested())
            case state_machine.CancelDeploy() if self._deployer.waiting:
                if self._deploying:
                    self._deploying.cancel()
                self._fold(events.DeployCancelRequested())
            case state_machine.CancelDeploy():
                await self._wait(self._clock() + _CANCEL_TICK)
            case state_machine.Wait(until):
                await self._wait(math.inf if until is None else until)

    def _stop_slot_wait(self) -> None:
        """Wait no longer for a slot, because it is taken or no build is to start."""
        self._slot.leave()
        self._notice.end_slot_wait()

    def _start(
        self, begun: events.BuildBegun | events.DeployBegun, work: Coroutine[None, None, None]
    ) -> asyncio.Task[None]:
        self._chores.cancel()
        self._fold(begun)
        task = asyncio.create_task(work)
        task.add_done_callback(partial(self._check_ended, begun))
        return task

    def _check_ended(self, begun: events.BuildBegun | events.DeployBegun, work: asyncio.Task[None]) -> None:
        """Record the end of work that could not: it was cancelled before its first step, or has a bug."""
        error = None if work.cancelled() else work.exception()
        if work.cancelled() or error:
            self._record(name_broken_work(begun, error))
        if error:
            self._report_error("loop", error)

    async def _wait(self, until: float) -> None:
        """Return after an event, or at `until`; start the chores once they are due."""
        idle = self.state.building is None and self.state.deploying is None
        if idle:
            until = min(until, self._chores.due)
        try:
            async with asyncio.timeout(None if math.isinf(until) else max(0.0, until - self._clock())):
                await self._wake.wait()
                self._wake.clear()
        except TimeoutError:
            if idle:
                self._chores.start_if_due()

    def _record(self, event: events.TransitionEvent) -> None:
        """Fold `event` into the state now, and decide on the next action at the loop's next turn."""
        self._fold(event)
        self._wake.set()

    def _fold(self, event: events.TransitionEvent) -> None:
        before, self.state = self.state, transition(self.state, event, self._clock())
        if before.building and not self.state.building and not isinstance(event, events.BuildCancelled):
            self._slot.release()  # now, not after the next decision: others can have waited longer
        for revision in self._scans.keys() - self.state.needed_revisions:
            del self._scans[revision]
        scan = self._scans.get(self.state.desired or "")
        self._revisions.emit_change(self.state, scan.saved_at if scan else None)

    async def _stop_work(self) -> None:
        self._chores.cancel()
        if self._building:
            self._building.cancel()
        # A deploy that has started to switch ends by itself; one that only waits is cancelled.
        while self._deploying and not self._deploying.done():
            if self._deployer.waiting:
                self._deploying.cancel()
                break
            await asyncio.wait([self._deploying], timeout=_CANCEL_TICK)
        if left := [task for task in (self._building, self._deploying, self._chores.task) if task]:
            await asyncio.wait(left)

    # Work.

    async def _build(self, scan: Scan[S], *, forced: bool) -> None:
        started, revision = self._clock(), scan.revision
        self._observer.notify(BuildStarted(service=self._service, revision=revision))
        result = await self._try_build(scan, forced=forced)
        if isinstance(result, Superseded):
            self._request_scan()
        verdict = judge_build(revision, result, self._situation())
        self._report_problem(verdict, result)
        self._record(verdict.event)
        seconds = self._clock() - started
        self._observer.notify(build_finished(self._service, revision, result, verdict, seconds=seconds))

    async def _try_build(self, scan: Scan[S], *, forced: bool) -> Built | BaseException:
        """Return the result of a build, or what it raised."""
        limit = asyncio.timeout(self._limits.build_timeout or None)
        try:
            async with limit:
                return await self._builder.build(scan, forced=forced)
        except TimeoutError as error:
            return UserError(explain_timeout(self._limits.build_timeout)) if limit.expired() else error
        except (Exception, asyncio.CancelledError) as error:
            return error

    async def _deploy(self, revision: str, image: str, scan: Scan[S] | None) -> None:
        """Deploy; without a `scan` the container that served last is restored."""
        started = self._clock()
        self._observer.notify(DeployStarted(service=self._service, revision=revision, image=image))
        result: Deployed | BaseException
        try:
            result = await self._deployer.deploy(revision, image)
            self._chores.record_deploy(scan)
        except (Exception, asyncio.CancelledError) as error:
            result = error
        verdict = judge_deploy(revision, result, self._situation())
        self._report_problem(verdict, result)
        good = isinstance(result, Deployed)
        if not good:  # usually the previous container still serves; the deploy can also have lost it
            self._record(events.LiveChanged(self._deployer.live))
        self._record(verdict.event)
        seconds, saved = self._clock() - started, scan.saved if scan and good else None
        finished = deploy_finished(self._service, revision, image, result, verdict, seconds=seconds)
        save_to_live = None if saved is None else max(0.0, self._clock() - saved)
        self._observer.notify(replace(finished, save_to_live=save_to_live))

    def _situation(self) -> Situation:
        return Situation(self._service, self.state, self._clock(), asyncio.current_task() in self._by_hand)

    def _report_problem(self, verdict: BuildVerdict | DeployVerdict, result: object) -> None:
        if isinstance(result, EngineTrouble):
            self._chores.hurry()  # pruning can free the engine's disk
        if verdict.report:
            self._observer.notify(verdict.report)

    def _report_error(self, where: str, error: BaseException) -> None:
        """Emit an error of the loop or of the chores."""
        _, report = explain_error(where, error, self._situation())
        if report:
            self._observer.notify(report)
