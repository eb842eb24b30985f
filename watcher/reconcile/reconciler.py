"""The control loop of one service: drive the live container to the desired revision.

Fold every event into the state, ask `state_machine.decide` for the next action, and execute it. A newer save
cancels a running build; once it is built it also cancels a deploy that only waits for its container, never
one that switches. Chores (export of the builder image, pruning) run when nothing else is to do and stop when
something is.

The ports in `ports.py` do the work; `state_machine.py` makes the decisions.
"""

from __future__ import annotations

import asyncio
import math
import time
import traceback
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from typing import Generic, TypeVar

from watcher.errors import EngineTrouble, EngineUnavailable, Superseded, UserError, WatcherError
from watcher.observers import humanize
from watcher.observers.events import (
    BuildFinished,
    BuildOutcome,
    BuildStarted,
    ContainerLost,
    DeployFinished,
    DeployOutcome,
    DeployStarted,
    DesiredChanged,
    EngineDown,
    Failure,
    Held,
    InternalError,
    Observer,
    Paused,
    RevisionStateChanged,
)
from watcher.reconcile import state_machine
from watcher.reconcile.ports import Builder, Built, Chores, Deployed, Deployer, Scan

S = TypeVar("S")

PROGRESS_EVERY = 1.0  # seconds between two signs of life of a build that are taken note of
_GIVE_WAY_TICK = 0.1  # seconds until a deploy that cannot be stopped now is looked at again
_GOOD = (DeployOutcome.LIVE, DeployOutcome.UNCHANGED)


class Reconciler(Generic[S]):
    """Closes the difference between the tree and what serves. `run` until cancelled."""

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
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`request_scan` is called when a build finds a file other than the last scan did."""
        self.state = state_machine.State()
        self._request_scan = request_scan
        self._service = service
        self._builder, self._deployer, self._chores = builder, deployer, chores
        self._observer, self._limits, self._clock = observer, limits, clock
        self._chores_after, self._chores_every = chores_after, chores_every
        self._wake = asyncio.Event()  # something happened since the last decision
        self._told: RevisionStateChanged | None = None
        self._scans: dict[str, Scan[S]] = {}
        self._told_hold = ""
        self._building: asyncio.Task[None] | None = None
        self._deploying: asyncio.Task[None] | None = None
        self._by_hand: set[asyncio.Task[None]] = set()  # work that somebody cancelled
        self._progress_told = -math.inf
        self._chore: asyncio.Task[None] | None = None
        self._chore_scan: Scan[S] | None = None
        self._chore_due = clock() + chores_every

    def reconfigure(
        self, chores: Chores[S], *, limits: state_machine.BuildLimits, chores_every: float
    ) -> None:
        """Go on with these, while `run` does not run."""
        self._chores, self._limits, self._chores_every = chores, limits, chores_every
        self._chore_due = min(self._chore_due, self._clock() + chores_every)

    # What the outside says.

    def record_scan(self, scan: Scan[S], wanted: DesiredChanged | None) -> None:
        """The tree was looked at; `wanted` is the event to tell when its revision is new."""
        self._scans[scan.revision] = scan
        self._happened(state_machine.TreeSeen(scan.revision))
        if wanted is not None:
            self._observer.notify(wanted)

    def hold(self, reason: str) -> None:
        """Begin nothing while `reason` is not empty."""
        if reason != self._told_hold:
            self._told_hold = reason
            self._observer.notify(Held(service=self._service, reason=reason))
        self._happened(state_machine.HoldChanged(reason))

    def pause(self, *, paused: bool) -> None:
        """Stop beginning builds, or go on."""
        if not paused:  # what is built from now on answers whoever ended the pause, and no save
            self._scans = {revision: replace(scan, saved=None) for revision, scan in self._scans.items()}
        self._observer.notify(Paused(service=self._service, paused=paused))
        self._happened(state_machine.PauseAsked(paused))

    def rebuild(self) -> None:
        """Build the tree again even if it is live or known to fail."""
        self._happened(state_machine.RebuildAsked())

    def cancel(self) -> bool:
        """Stop the build or the deploy that runs, until the next save or `rebuild`; False when none does."""
        if self._building and not self._building.done() and self.state.building:
            self._by_hand.add(self._building)
            self._building.cancel()
            return True
        if self._deploying and not self._deploying.done() and self._deployer.waiting:
            self._by_hand.add(self._deploying)
            self._deploying.cancel()
            return True
        return False

    def progressed(self) -> None:
        """The running build shows a sign of life; any number of times a second."""
        if self.state.building and self._clock() - self._progress_told >= PROGRESS_EVERY:
            self._progress_told = self._clock()
            self._happened(state_machine.BuildProgressed())

    def adopted(self, event: DeployFinished) -> None:
        """A container that was there already serves."""
        self._happened(state_machine.LiveChanged(event.revision))
        self._observer.notify(event)

    def lost(self, event: ContainerLost) -> None:
        """The live container ended."""
        ended = state_machine.ContainerExited(event.revision, event.image, event.excused)
        failure = self._crash_loop(event.failure, ended)
        self._happened(ended)
        self._observer.notify(replace(event, failure=failure))

    def found_stopped(self, revision: str, image: str) -> None:
        """The container that served last ended while no daemon looked."""
        self._happened(state_machine.ContainerExited(revision, image))

    def rolled_back(self, event: DeployFinished) -> None:
        """A container that was live died in its soak time; the one before it has the traffic again."""
        self._happened(state_machine.RolledBack(event.revision, self._deployer.live))
        self._observer.notify(event)

    def engine_back(self) -> None:
        """The engine answers again."""
        self._happened(state_machine.EngineBack())

    def snapshot_of(self, revision: str) -> S | None:
        """The tree of a revision that is wanted, being built or deployed; else of the wanted one."""
        scan = self._scans.get(revision) or self._scans.get(self.state.wanted or "")
        return scan.snapshot if scan else None

    # The loop.

    async def run(self) -> None:
        """Reconcile until cancelled; on the way out a build is cancelled, and a deploy that only waits."""
        try:
            while True:
                match state_machine.decide(self.state, self._clock(), self._limits):
                    case state_machine.Build(revision, forced):
                        scan = self._scans[revision]
                        if forced:
                            scan = self._scans[revision] = replace(scan, saved=None)
                        self._begin(
                            state_machine.BuildBegun(revision, forced), self._build(scan, forced=forced)
                        )
                    case state_machine.Deploy(revision, image):
                        # What is put back answers no save: it was live before.
                        put_back = (revision, image) == self.state.lost
                        deployed = None if put_back else self._scans[revision]
                        self._begin(
                            state_machine.DeployBegun(revision), self._deploy(revision, image, deployed)
                        )
                    case state_machine.CancelBuild():
                        self._cancel_build()
                    case state_machine.GiveWay() if self._deployer.waiting:
                        self._cancel_deploy()
                    case state_machine.GiveWay():
                        await self._wait(self._clock() + _GIVE_WAY_TICK)
                    case state_machine.Wait(until):
                        await self._wait(until)
        finally:
            await self._wind_up()

    def _begin(
        self, begun: state_machine.BuildBegun | state_machine.DeployBegun, work: Coroutine[None, None, None]
    ) -> None:
        self._stop_chores()
        self._fold(begun)
        task = asyncio.create_task(work)
        if isinstance(begun, state_machine.DeployBegun):
            self._deploying = task
        else:
            self._building = task
        task.add_done_callback(partial(self._ended, begun))

    def _ended(
        self, begun: state_machine.BuildBegun | state_machine.DeployBegun, work: asyncio.Task[None]
    ) -> None:
        """Work says itself what came of it, unless it was cancelled before its first step, or is broken."""
        of_deploy = isinstance(begun, state_machine.DeployBegun)
        self._by_hand.discard(work)
        if work.cancelled():
            self._happened(state_machine.Cancelled(begun.revision, of_deploy))
        elif error := work.exception():
            self._happened(state_machine.InfraFailed(begun.revision, of_deploy))
            self._trouble("loop", error)

    def _cancel_build(self) -> None:
        if self._building:
            self._building.cancel()
        self._fold(state_machine.BuildCancelAsked())

    def _cancel_deploy(self) -> None:
        if self._deploying:
            self._deploying.cancel()
        self._fold(state_machine.DeployCancelAsked())

    def _stopped_by_hand(self, what: str) -> Failure | None:
        """The failure to tell when the work that asks was cancelled by somebody, not by a newer save."""
        if asyncio.current_task() not in self._by_hand:
            return None
        hint = "the next save builds again, and so does `watcher rebuild`"
        return Failure("cancelled", f"the {what} was cancelled by hand", hint=hint)

    async def _wait(self, until: float | None) -> None:
        """Return when something happened, or at `until`; meanwhile start chores once they are due."""
        if self._idle and self._chore is None:
            until = min(until or self._chore_due, self._chore_due)
        try:
            async with asyncio.timeout(None if until is None else max(0.0, until - self._clock())):
                await self._wake.wait()
                self._wake.clear()
        except TimeoutError:
            if self._idle and self._chore is None and self._clock() >= self._chore_due:
                self._chore = asyncio.create_task(self._do_chores())

    @property
    def _idle(self) -> bool:
        return self.state.building is None and self.state.deploying is None

    def _fold(self, event: state_machine.Input) -> None:
        self.state = state_machine.transition(self.state, event, self._clock())
        needed = {self.state.wanted, self.state.building, self.state.deploying}
        needed.add(self.state.built[0] if self.state.built else None)
        self._scans = {revision: scan for revision, scan in self._scans.items() if revision in needed}
        self._notify_revisions()

    def _happened(self, event: state_machine.Input) -> None:
        """Fold `event` into the state now, and decide what follows at the loop's next turn."""
        self._fold(event)
        self._wake.set()

    def _notify_revisions(self) -> None:
        """Emit the desired, live and failed revisions when one of them has changed."""
        state, told = self.state, self._told
        if told and (told.desired, told.live, told.failed) == (state.wanted, state.live, state.failed):
            return
        if told is None and state.wanted is None and state.live is None:
            return
        scan = self._scans.get(state.wanted or "")
        self._told = RevisionStateChanged(
            service=self._service,
            desired=state.wanted,
            live=state.live,
            failed=state.failed,
            saved_at=scan.saved_at if scan else time.time(),
        )
        self._observer.notify(self._told)

    async def _wind_up(self) -> None:
        self._stop_chores()
        if self._building:
            self._building.cancel()
        # A deploy that has begun to switch comes to its end; one that only waits is not waited for.
        while self._deploying and not self._deploying.done():
            if self._deployer.waiting:
                self._deploying.cancel()
                break
            await asyncio.wait([self._deploying], timeout=_GIVE_WAY_TICK)
        if left := [task for task in (self._building, self._deploying, self._chore) if task]:
            await asyncio.wait(left)

    # The work; each part ends by saying what came of it.

    async def _build(self, scan: Scan[S], *, forced: bool) -> None:
        begun, revision = self._clock(), scan.revision
        self._observer.notify(BuildStarted(service=self._service, revision=revision))
        built, failure, outcome = Built(""), None, BuildOutcome.ERROR
        ended: state_machine.Input = state_machine.InfraFailed(revision)
        limit = asyncio.timeout(self._limits.build_timeout or None)
        try:
            async with limit:
                built = await self._builder.build(scan, forced=forced)
            outcome = BuildOutcome.REUSED if built.reused else BuildOutcome.BUILT
            ended = state_machine.BuildEnded(revision, built.image)
        except asyncio.CancelledError:
            failure = self._stopped_by_hand("build")
            outcome = BuildOutcome.CANCELLED
            ended = state_machine.Failed(revision) if failure else state_machine.Cancelled(revision)
        except Superseded as error:
            self._request_scan()
            if failure := self._in_vain(revision, error):
                outcome = BuildOutcome.ERROR
            else:
                outcome, ended = BuildOutcome.CANCELLED, state_machine.Cancelled(revision)
        except UserError as error:
            outcome, failure = BuildOutcome.FAILED, error.failure
            ended = state_machine.Failed(revision)
        except TimeoutError as error:
            if limit.expired():
                outcome, failure = BuildOutcome.FAILED, self._timed_out()
                ended = state_machine.Failed(revision)
            else:
                failure = self._trouble("build", error)
        except Exception as error:
            failure = self._trouble("build", error)
        self._happened(ended)
        self._observer.notify(
            BuildFinished(
                service=self._service,
                revision=revision,
                outcome=outcome,
                seconds=self._clock() - begun,
                image=built.image,
                context_bytes=built.context_bytes,
                steps=built.steps,
                cached_steps=built.cached_steps,
                failure=failure,
            )
        )

    async def _deploy(self, revision: str, image: str, scan: Scan[S] | None) -> None:
        """Without a `look` it is what served last, put back."""
        begun = self._clock()
        self._observer.notify(DeployStarted(service=self._service, revision=revision, image=image))
        deployed, failure = Deployed("", DeployOutcome.ERROR), None
        ended: state_machine.Input = state_machine.InfraFailed(revision, of_deploy=True)
        try:
            deployed = await self._deployer.deploy(revision, image)
            ended = state_machine.DeployEnded(revision)
            self._chores.deployed()
            self._chore_scan, self._chore_due = scan or self._chore_scan, self._clock() + self._chores_after
        except UserError as error:
            ended = state_machine.Failed(revision, of_deploy=True)
            deployed, failure = Deployed("", DeployOutcome.FAILED), self._crash_loop(error.failure, ended)
        except asyncio.CancelledError:
            failure, deployed = self._stopped_by_hand("deploy"), Deployed("", DeployOutcome.CANCELLED)
            ended = (
                state_machine.Failed(revision, of_deploy=True)
                if failure
                else state_machine.Cancelled(revision, of_deploy=True)
            )
        except Exception as error:
            failure = self._trouble("deploy", error)
        good = deployed.outcome in _GOOD
        if not good:  # the one before serves on, as a rule; it may have been lost on the way
            self._happened(state_machine.LiveChanged(self._deployer.live))
        self._happened(ended)
        self._observer.notify(
            DeployFinished(
                service=self._service,
                revision=revision,
                image=image,
                outcome=deployed.outcome,
                seconds=self._clock() - begun,
                container=deployed.container,
                save_to_live=self._since_save(scan) if scan and good else None,
                phases=deployed.phases,
                failure=failure,
            )
        )

    def _since_save(self, scan: Scan[S]) -> float | None:
        return None if scan.saved is None else max(0.0, self._clock() - scan.saved)

    def _timed_out(self) -> Failure:
        limit = humanize.seconds(self._limits.build_timeout)
        return Failure(
            "build",
            f"the build was ended because it took longer than {limit}",
            hint="build.timeout allows more (0: no end); `watcher rebuild` tries again",
        )

    def _in_vain(self, revision: str, error: Superseded) -> Failure | None:
        """The failure to tell when builds find a change again and again and no scan finds one."""
        after = state_machine.transition(self.state, state_machine.Cancelled(revision), self._clock())
        if after.superseded <= state_machine.SUPERSEDED_MOST:
            return None
        text = f"{after.superseded} builds in a row were dropped ({error}), and no scan finds a change"
        self._observer.notify(InternalError(service=self._service, where="build", traceback=text))
        return Failure("bug", text, hint="`watcher rebuild` tries again at once; please report this")

    def _crash_loop(self, failure: Failure, event: state_machine.Input) -> Failure:
        """The failure, which also says so when what serves ends again and again."""
        now = self._clock()
        after = state_machine.transition(self.state, event, now)
        if after.lost is None or after.crashes <= self.state.crashes:
            return failure
        times, pause = after.crashes + 1, humanize.seconds(after.retry_at - now)
        text = f"{failure.summary} ({times} times in a row: a crash loop; it is started again in {pause})"
        return replace(failure, summary=text)

    def _trouble(self, where: str, error: BaseException) -> Failure:
        """Tell of a failure that is not the user's, and say it in a value."""
        if isinstance(error, EngineUnavailable):
            pause = state_machine.RETRY.pause(self.state.troubles)
            self._observer.notify(EngineDown(service=self._service, reason=str(error), retry_in=pause))
            return Failure("engine", str(error))
        if isinstance(error, EngineTrouble):
            # What is stale may be what fills the disk.
            self._chore_due = min(self._chore_due, self._clock() + self._chores_after)
            again = humanize.seconds(state_machine.RETRY.pause(self.state.troubles))
            return Failure("engine", f"{error}: the {where} is tried again in {again}", hint=error.hint)
        if isinstance(error, WatcherError):
            return Failure("engine", f"the {where} could not be carried out: {error}")
        text = "".join(traceback.format_exception(error))
        self._observer.notify(InternalError(service=self._service, where=where, traceback=text))
        return Failure("bug", f"an error of the watcher itself in the {where}: {error!r}")

    async def _do_chores(self) -> None:
        scan, self._chore_scan = self._chore_scan, None
        pause = self._chores_every
        try:
            await self._chores.run(scan)
        except asyncio.CancelledError:
            self._put_back(scan)
            pause = self._chores_after
            raise
        except Exception as error:
            self._trouble("chores", error)
        finally:
            self._chore = None
            self._chore_due = self._clock() + pause

    def _put_back(self, scan: Scan[S] | None) -> None:
        """The chores for `look` are still to be done, unless a deploy left newer ones meanwhile."""
        if self._chore_scan is None:
            self._chore_scan = scan

    def _stop_chores(self) -> None:
        if self._chore:
            self._chore.cancel()
