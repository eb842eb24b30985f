"""When the live container ends, freezes or moves: the one before takes over, or requests wait."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection
from dataclasses import replace

from watcher import labels
from watcher.deploy import events, ready
from watcher.deploy.address_container import AddressContainer
from watcher.deploy.live_names import LiveNames
from watcher.deploy.model import Live, Phases, backends, has_completed
from watcher.deploy.outside_stop import OutsideStop
from watcher.deploy.owned import OwnContainers
from watcher.deploy.pid_owner import OwnerEnded, find_ended_owner
from watcher.deploy.retirement import Retirement
from watcher.deploy.traffic import Traffic
from watcher.diagnosis.positions import Where
from watcher.engine import Container, Engine, EngineError, EngineEvent
from watcher.errors import EngineUnavailable, UserError
from watcher.observers.events import (
    ContainerLost,
    ContainerPaused,
    DeployFinished,
    DeployOutcome,
    Failure,
    Observer,
)
from watcher.reconcile.ports import Deployed

RESTART_PATIENCE = 5.0  # seconds that a restarted container has to answer


class Failover:
    """Watches the live container of one service, and rolls back to the previous one when it fails."""

    def __init__(
        self,
        traffic: Traffic,
        *,
        engine: Engine,
        own: OwnContainers,
        retirement: Retirement,
        names: LiveNames,
        observer: Observer,
        on_lost: Callable[[ContainerLost], None],
        on_rolled_back: Callable[[DeployFinished], None],
        where: Where,
        address: AddressContainer,
    ) -> None:
        """`where` finds the user's files in the output of a container."""
        self._address = address
        self._traffic, self._engine, self._own = traffic, engine, own
        self._retirement, self._names, self._observer = retirement, names, observer
        self._on_lost, self._on_rolled_back, self._where = on_lost, on_rolled_back, where
        self._outside_stop = OutsideStop()
        # Ids of images whose containers failed to start, or died while they soaked.
        self.failed_images: set[str] = set()

    async def handle_event(self, event: EngineEvent) -> None:
        """React to what happened to a container of this project; raises EngineUnavailable."""
        if event.attributes.get(labels.KIND) == labels.ADDRESS:
            if event.action == "die" and event.container in self._address.ids:
                await self._address.check()
            return
        if event.attributes.get(labels.KIND) == labels.PAUSE:
            if event.action == "die":  # of the network that the live one uses, it may be
                await self.check()
            return
        if not self._traffic.is_live(event.container):
            return
        self._outside_stop.add(event)
        if event.action == "start":
            self._address.refresh()
        if event.action in ("die", "start", "pause", "unpause", "rename"):
            await self.check()
        elif event.action == "health_status: unhealthy":
            await self._handle_unhealthy(event.container)

    async def _handle_unhealthy(self, container: str) -> None:
        """In its soak time the container before takes over; later there is none, and it serves on."""
        async with self._traffic.lock:
            if not self._traffic.is_live(container):
                return
            summary = "the container's HEALTHCHECK says unhealthy"
            if self._traffic.previous:
                await self._fail_over(summary, await self._engine.container(container))
            else:
                self._names.warn(f"{summary}; it serves on, because there is no container to go back to")

    async def check(self, *, engine_restarted: bool = False) -> None:
        """Check whether the live container still runs, and where: events get lost.

        Raises EngineUnavailable; then nothing has changed.
        """
        await self._address.check()
        async with self._traffic.lock:
            live = self._traffic.live
            if live is None:
                return
            found = await self._engine.container(live.id)
            if found and self._traffic.recipe.completes and has_completed(found):
                return
            if found is None or not (found.running or found.paused):
                await self._handle_end(live, found, engine_restarted=engine_restarted)
                return
            self._notify_paused(found)
            if found.paused:
                return
            recipe = self._traffic.recipe
            reached = backends(recipe, found, live.revision, live.backends)
            if found.joined and not reached and live.backends:
                await self._fail_over("the container that holds its network ended", found, excused=True)
            elif reached != live.backends:
                await self.follow_restart(live)
            if found.name != recipe.name and self._traffic.is_live(found.id):
                await self._names.name_container(live.id)

    async def check_quietly(self) -> None:
        """Like `check`, but ignore an engine that is away: `check` runs again when it is back."""
        with contextlib.suppress(EngineUnavailable):
            await self.check()

    async def _handle_end(self, live: Live, found: Container | None, *, engine_restarted: bool) -> None:
        if engine_restarted and found:
            await self._fail_over("the container ended while the engine was away", found, excused=True)
        elif excuse := self._outside_stop.failure(live.id, found) or await find_ended_owner(
            self._engine, found
        ):
            await self._handle_outside_stop(live, excuse, found)
        else:
            await self._fail_over("the container ended", found)

    def _notify_paused(self, found: Container) -> None:
        """Hold requests while the live container is frozen (`docker pause`)."""
        if found.paused == (self._traffic.paused == found.id):
            return
        self._traffic.paused = found.id if found.paused else ""
        self._traffic.point_fronts()
        service = self._traffic.recipe.service
        self._observer.notify(
            ContainerPaused(service=service, container=found.id, name=found.name, paused=found.paused)
        )

    async def return_to_previous(self, revision: str, wanted: tuple[str, str, str]) -> Deployed | None:
        """Give the traffic back to the previous container if it is of the wanted image, digest and mounts.

        A save that is undone is live without a start; call it while holding the lock. The container that
        served until now soaks in turn.
        """
        traffic, previous = self._traffic, self._traffic.previous
        if previous is None or (previous.image, previous.digest, previous.mounted) != wanted:
            return None
        if not (traffic.side_by_side and traffic.previous_runs):
            return None
        clock = Phases()
        if not await ready.still_answers(self._engine, traffic.recipe, traffic.policy, previous):
            return None
        clock.mark("ready")
        traffic.take_previous()
        live = replace(previous.as_revision(revision), since=time.monotonic())
        traffic.switch_to(live, old_runs=True)
        clock.mark("switch")
        self._retirement.spawn(self.check_quietly())  # gives it its name, too
        self._retirement.spawn(self._names.name_image())
        return Deployed(live.id, DeployOutcome.LIVE, clock.done)

    async def follow_restart(self, live: Live) -> None:
        """Find the live container's new loopback ports after another program restarted it."""
        self._traffic.hold_requests()
        try:
            self._traffic.live = await self._wait_for_answer(live)
        except UserError:
            found = await self._engine.container(live.id)
            await self._fail_over("the container was restarted and did not answer", found)
            return
        except OwnerEnded as error:
            await self._handle_outside_stop(live, error.failure, await self._engine.container(live.id))
            return
        self._traffic.point_fronts()

    async def _wait_for_answer(self, live: Live) -> Live:
        """A container that was started again, once it answers; raises UserError, OwnerEnded."""
        patience = min(RESTART_PATIENCE, self._traffic.policy.startup_timeout)
        policy = replace(self._traffic.policy, startup_timeout=patience)
        reached = await ready.until_ready(self._engine, self._traffic.recipe, policy, live.id, live.revision)
        return replace(live, backends=reached)

    async def _handle_outside_stop(self, live: Live, failure: Failure, found: Container | None) -> None:
        """Requests wait until it is started again: that is no fault of this revision's."""
        if previous := self._traffic.take_previous():
            self._retirement.retire(previous)
        self._traffic.live = None
        self._traffic.point_fronts()
        if found is None:
            await self._retirement.discard(live.id)
        self._notify_lost(live, failure, excused=True)

    async def replace(self, reason: str, only: Collection[str] | None = None) -> None:
        """Give up the live container, to have another one of the same image take its place.

        `only`: if it is one of these.
        """
        async with self._traffic.lock:
            live = self._traffic.live
            if live and (only is None or live.id in only):
                found = await self._engine.container(live.id)
                await self._handle_outside_stop(live, Failure("container", reason), found)

    async def _fail_over(self, summary: str, found: Container | None, *, excused: bool = False) -> None:
        """Switch to the previous container, or hold requests: the live one failed."""
        live, runs, previous = (
            self._traffic.live,
            self._traffic.previous_runs,
            self._traffic.take_previous(),
        )
        if live is None:
            return
        self._traffic.live = previous if runs else None
        self._traffic.point_fronts()
        failure = await ready.explain_end(self._engine, live.id, found, summary, where=self._where)
        if found is None:  # the container that held its network is still there
            await self._retirement.discard(live.id)
        if previous is None:
            # Whether it is started again is decided by the loop, not by the engine's restart policy.
            with contextlib.suppress(EngineError, EngineUnavailable):
                await self._own.stop(live.id, self._traffic.recipe.stop_timeout)
            self._notify_lost(live, failure, excused=excused)
            return
        self.failed_images.add(live.image)
        await self._retirement.discard(live.id)
        self._on_rolled_back(events.rolled_back(self._traffic.recipe.service, live, previous, failure))
        if runs or await self._start_again(previous):
            await self._names.name_container(previous.id)
            self._retirement.spawn(self._names.name_image())
            # The same cause can have ended the other one too, or paused it: notify that again.
            self._traffic.paused = ""
            self._retirement.spawn(self.check_quietly())

    async def _start_again(self, previous: Live) -> bool:
        """Return whether a container that was stopped to make way serves again; if not, that is notified."""
        try:
            await self._engine.start(previous.id)
            self._traffic.live = await self._wait_for_answer(previous)
        except (UserError, OwnerEnded, EngineError, EngineUnavailable) as error:
            self._notify_not_restarted(previous, error)
            return False
        self._traffic.point_fronts()
        return True

    async def put_back(self, candidate: str, old: Live) -> None:
        """Start `old` again, which made way for a candidate that failed."""
        async with self._traffic.lock:
            self._traffic.take_previous()
            await self._retirement.discard(candidate)
            if self._traffic.recipe.completes:  # its effects remain: do not run it twice
                self._traffic.live = old
                return
            try:
                await self._engine.start(old.id)
            except (EngineError, EngineUnavailable) as error:
                self._notify_not_restarted(old, error)
            else:
                self._traffic.live = live = replace(old, since=time.monotonic())
                if self._traffic.fronts:
                    await self.follow_restart(live)

    def _notify_not_restarted(self, live: Live, error: Exception) -> None:
        summary = f"the container before it could not be started again: {error}"
        self._notify_lost(live, Failure("container", summary))

    def _notify_lost(self, live: Live, failure: Failure, *, excused: bool = False) -> None:
        self._traffic.lost = live
        self._on_lost(events.container_lost(self._traffic.recipe.service, live, failure, excused=excused))
