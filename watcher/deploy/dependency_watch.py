"""Keep dependencies running: start them with the daemon, and again when they end by themselves."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from watcher.backoff import Backoff
from watcher.compose import ONE_OFF_LABEL, PROJECT_LABEL, SERVICE_LABEL
from watcher.deploy.dependencies import Dependencies
from watcher.deploy.outside_stop import OutsideStop
from watcher.engine import Engine, EngineEvent
from watcher.errors import EngineUnavailable, WatcherError
from watcher.observers import humanize
from watcher.observers.events import InternalError, Observer

FOLLOW_AFTER = 1.0  # seconds after a start by another program
PAUSE = 5.0  # seconds until an engine that went away is asked again
PULLS = Backoff(first=5.0, most=120.0)  # pauses before an image is pulled again
RESTARTS = Backoff(first=1.0, most=60.0)  # pauses before a dependency is started again
SHOWN = frozenset({"start", "die", "destroy", "pause", "unpause", "health_status"})  # changes of a state
STABLE_AFTER = 60.0  # seconds after which an end counts as the first one again


class DependencyWatch:
    """Follows the containers of dependencies until cancelled."""

    def __init__(
        self,
        dependencies: Dependencies,
        engine: Engine,
        observer: Observer,
        restarts: Backoff = RESTARTS,
        pulls: Backoff = PULLS,
        *,
        pause: float = PAUSE,
        follow_after: float = FOLLOW_AFTER,
    ) -> None:
        self._dependencies, self._engine, self._observer = dependencies, engine, observer
        self._backoff, self._pulls, self._pause = restarts, pulls, pause
        self._follow_after = follow_after
        self._stops: dict[str, OutsideStop] = {}  # by container
        self._ended: set[str] = set()  # containers that have ended and still exist
        self._failures: dict[str, tuple[int, float]] = {}  # dependency -> ends in a row, when the last was
        self._tasks: set[asyncio.Task[None]] = set()
        self._bringing_up: asyncio.Task[None] | None = None
        self._reviving: set[str] = set()

    async def run(self) -> None:
        """Start the dependencies, then react to what happens to them."""
        try:
            self._spawn_task(self._run_guarded(self._dependencies.check_startable))
            self.apply_changes()
            await self._run_guarded(self._follow_events)
            while True:
                await asyncio.sleep(self._pause)
                await self._run_guarded(partial(self._follow_events, missed=True))
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def apply_changes(self) -> None:
        """Start what does not run, and replace what the compose file describes otherwise now."""
        if self._bringing_up:  # one that waits still would wait beside the new one
            self._bringing_up.cancel()
        self._bringing_up = self._spawn_task(self._run_guarded(self._bring_up))

    async def _bring_up(self) -> None:
        """Start the dependencies; try again while the engine or a registry does not answer."""
        names: Sequence[str] | None = None
        for failures in itertools.count():
            with contextlib.suppress(EngineUnavailable):
                names = await self._dependencies.bring_up(names)
                if not names:
                    return
            await asyncio.sleep(self._pulls.pause(failures))

    async def _follow_events(self, *, missed: bool = False) -> None:
        """Take in the engine's events until it goes away; `missed`: earlier events were possibly missed."""
        dependencies, since = self._dependencies, time.time()
        project = dependencies.project.name
        await dependencies.publish_states()
        self._spawn_task(self._run_guarded(dependencies.followers.check_all_followers))
        if missed:
            for name in dependencies.lasting:
                for item in await dependencies.find_ended(name):
                    self._start_later(name, item.exit_code)
        async for event in self._engine.events(labels=[f"{PROJECT_LABEL}={project}"], since=since):
            await self.handle_event(event)
            if dependencies.project.name != project:
                return

    async def handle_event(self, event: EngineEvent) -> None:
        """React to what happened to a container of the compose project; raises WatcherError."""
        dependencies, name = self._dependencies, event.attributes.get(SERVICE_LABEL, "")
        if event.attributes.get(ONE_OFF_LABEL) == "True":
            return
        if name not in dependencies.names:
            if name in dependencies.project.services and event.action == "start":  # a managed one
                self._spawn_task(self._run_guarded(partial(self._check_followers, name)))
            return
        stop = self._stops.setdefault(event.container, OutsideStop())
        stop.add(event)
        if event.action == "start":
            dependencies.note_start(name, event.container)
            if event.container not in dependencies.containers.started:
                self._spawn_task(self._run_guarded(partial(self._check_followers, name)))
            if event.container in self._ended:
                self._ended.discard(event.container)
                dependencies.followers.note_restart(name)
        if event.action == "die":
            self._ended.add(event.container)
        if event.action == "die" and not dependencies.is_busy(name):
            await self._handle_end(name, event.container, stop)
        if event.action == "destroy":
            self._stops.pop(event.container, None)
            self._ended.discard(event.container)
        if event.action.partition(":")[0] in SHOWN:
            await dependencies.publish_states()

    async def _check_followers(self, name: str) -> None:
        """Replace what uses parts of a container that another program has created again or restarted.

        docker compose possibly creates those again too, so that is waited for.
        """
        await asyncio.sleep(self._follow_after)
        await self._dependencies.followers.check_followers(name)

    async def _handle_end(self, name: str, container: str, stop: OutsideStop) -> None:
        dependencies, say = self._dependencies, self._dependencies.reports.show_line
        found = await self._engine.container(container)
        if found and found.state not in ("exited", "dead"):  # the engine starts it again itself
            return
        if found is None or stop.failure(container, found):
            dependencies.note_stop(container)
            what = "removed" if found is None else "stopped"
            self._spawn_task(self._run_guarded(partial(self._report_stop, name, what)))
        elif name in dependencies.one_shots:
            if found.exit_code:
                say(
                    "error",
                    f"{name} failed with exit status {found.exit_code}: the next deploy runs it again",
                )
        elif found.exit_code:
            self._start_later(name, found.exit_code)
        else:
            dependencies.note_end(container)
            say("warning", f"{name} ended with exit status 0: it is not started again")

    async def _report_stop(self, name: str, what: str) -> None:
        """Report a dependency that another program stopped, unless that also starts it: a restart."""
        await asyncio.sleep(self._follow_after)
        dependencies = self._dependencies
        spec = dependencies.project.services.get(name)
        if spec is None or dependencies.is_busy(name):
            return
        found = await dependencies.containers.find_containers(dependencies.project, name)
        if sum(item.running for item in found) < spec.replicas:
            dependencies.reports.show_line(
                "warning", f"{name} was {what} through the engine: the next deploy starts it again"
            )

    def _start_later(self, name: str, status: int) -> None:
        if name not in self._reviving:
            self._reviving.add(name)
            self._spawn_task(self._run_guarded(partial(self._start_after_pause, name, status)))

    async def _start_after_pause(self, name: str, status: int) -> None:
        """Restart a dependency that ended on its own, after a pause."""
        reports, now = self._dependencies.reports, time.monotonic()
        try:
            count, last = self._failures.get(name, (0, -STABLE_AFTER))
            count = 0 if now - last > STABLE_AFTER + self._backoff.most else count
            self._failures[name] = count + 1, now
            pause = self._backoff.pause(count)
            took = humanize.seconds(pause)
            reports.show_line(
                "warning", f"{name} ended with exit status {status}: it is started again in {took}"
            )
            await asyncio.sleep(pause)
        finally:
            self._reviving.discard(name)
        if await self._dependencies.start_ended(name):
            reports.count_restart(name)
            reports.show_line("info", f"{name} was started again")

    def _spawn_task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _run_guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run `work`. The daemon reports an engine that is away."""
        try:
            await work()
        except EngineUnavailable:
            pass
        except WatcherError as error:
            self._dependencies.reports.show_line("error", str(error))
        except Exception:
            self._observer.notify(InternalError(where="dependencies", traceback=traceback.format_exc()))
