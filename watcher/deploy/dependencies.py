"""Start the dependencies of a compose project in order, and keep them as the compose file describes them.

`dependency_graph.py` decides what comes next; here are the effects. A managed service is a node too: whoever
manages it reports its state with `report`, and calls `require` before it starts a container.
"""

from __future__ import annotations

import asyncio
import itertools
import traceback
from collections.abc import Collection, Sequence
from functools import partial

from watcher import labels
from watcher.compose import ComposeProject, ServiceSpec, find_jobs
from watcher.deploy.dependency_containers import (
    DependencyContainers,
    Observed,
    container_state,
)
from watcher.deploy.dependency_errors import describe_failure, explain_refusal
from watcher.deploy.dependency_graph import (
    Decision,
    Graph,
    NodeState,
    decide_next,
    find_dependents,
    sort_services,
)
from watcher.deploy.dependency_reports import DependencyReports
from watcher.deploy.followers import Followers
from watcher.deploy.project_resources import ensure_resources
from watcher.deploy.slow_stop import SLOW_STOP
from watcher.deploy.stop_dependencies import stop_dependencies
from watcher.engine import Container, Engine, EngineError
from watcher.errors import (
    EngineTrouble,
    EngineUnavailable,
    RegistryTrouble,
    UserError,
    WatcherError,
)
from watcher.observers.events import InternalError, Observer

POLL = 0.25  # seconds between looks at a dependency that is waited for
QUICK_POLLS = 80  # looks until the wait counts as a long one
SLOW_POLL = 1.0  # seconds between looks then
LOG_LINES = 30  # of a dependency that failed
PASSING = (RegistryTrouble, EngineTrouble, EngineUnavailable)  # what can be over at the next try


class Dependencies:
    """The dependencies of one compose project. `owner` is the id of the watcher's project.

    `managed` are the services that are built here. `followers` finds what is replaced with another service.
    """

    def __init__(
        self,
        engine: Engine,
        observer: Observer,
        project: ComposeProject,
        owner: str,
        *,
        managed: Collection[str],
        poll: float = POLL,
        reports: DependencyReports | None = None,
    ) -> None:
        self._engine, self._observer, self._owner = engine, observer, owner
        self.project, self._managed = project, dict.fromkeys(managed, NodeState.ABSENT)
        self.containers = DependencyContainers(
            engine,
            owner,
            lambda spec: self.followers.with_owner_ids(spec),  # noqa: PLW0108 - is made after this
            lambda text: self.reports.show_line("warning", text),
        )
        self.followers = Followers(
            engine,
            self.containers,
            find_project=lambda: self.project,
            is_managed=lambda name: name in self._managed,
        )
        self.reports = reports or DependencyReports(observer)
        self._poll = poll
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._errors: dict[str, WatcherError] = {}
        self._stopped: set[str] = set()  # containers that were stopped on purpose
        self._ended: set[str] = set()  # containers that ended with status 0 while this process ran
        self._gone: dict[str, ServiceSpec] = {}  # dependencies that left the compose file
        self._resources = asyncio.Lock()

    @property
    def graph(self) -> Graph:
        """Return the services and what they depend on."""
        return {name: spec.depends_on for name, spec in self.project.services.items()}

    @property
    def names(self) -> tuple[str, ...]:
        """Return the dependencies: the services that are not managed."""
        return tuple(name for name in self.project.services if name not in self._managed)

    @property
    def lasting(self) -> frozenset[str]:
        """Return the dependencies that are to run for as long as the project does, not to complete."""
        return frozenset(self.names) - self.one_shots

    @property
    def one_shots(self) -> frozenset[str]:
        """Return the services that another one waits for to complete."""
        return find_jobs(self.project.services.values())

    def report(self, service: str, state: NodeState) -> None:
        """Set the state of a managed service, for what depends on it."""
        self._managed[service] = state

    async def check_startable(self) -> None:
        """Report all dependencies that cannot be started, with the reason."""
        self.containers.hashes.ask(self.project)  # later, when a container is created, it is known
        for name in self.names:
            try:
                await self.containers.check_startable(self.project, self.project.services[name])
            except UserError as error:
                users = find_dependents(self.graph, name, lambda each: each.required)
                self.reports.show_failure(name, error, f"; needed by {', '.join(users)}" if users else "")

    # Starting.

    async def require(self, service: str) -> None:
        """Start what `service` depends on and return when all conditions hold.

        Raises UserError, which names what prevents it, EngineTrouble or EngineUnavailable.
        """
        async with self._resources:
            await ensure_resources(self._engine, self.project, self._owner, service)
        with self.reports.track_wait(service):
            decision = await self._start_until_settled([service])
        if causes := decision.held_up.get(service):
            raise await describe_failure(
                service,
                causes,
                self._errors,
                describe_reason=self._describe_reason,
                read_last_lines=self._last_lines,
            )
        for other in decision.skipped.get(service, ()):
            text = f"{service} starts without {other} (required: false): {self._describe_reason(other)}"
            self.reports.show_line("warning", text)

    async def bring_up(self, names: Sequence[str] | None = None) -> tuple[str, ...]:
        """Start all dependencies, or these; report each failure and start the others anyway.

        Return those that are worth another try: what prevents them can pass.
        """
        async with self._resources:
            await ensure_resources(self._engine, self.project, self._owner, "the project")
        await self._remove_gone()
        decision = await self._start_until_settled(self.names if names is None else names)
        again: dict[str, None] = {}
        for name in self.names:
            if error := self._errors.get(name):
                held = [each for each, causes in decision.held_up.items() if name in causes]
                what = f"; {', '.join(held)} cannot start without it" if held else ""
                if isinstance(error, PASSING):
                    what += "; it is tried again"
                    again |= dict.fromkeys((name, *(each for each in held if each in self.names)))
                self.reports.show_failure(name, error, what)
        return tuple(again)

    async def _start_until_settled(self, targets: Sequence[str]) -> Decision:
        """Start whatever can start, until none of `targets` waits any longer."""
        attempted: set[str] = set()
        for name in sort_services(self.graph, targets):
            if name not in self._tasks:
                self._errors.pop(name, None)
        pauses = itertools.chain(itertools.repeat(self._poll, QUICK_POLLS), itertools.repeat(SLOW_POLL))
        for pause in pauses:
            targets = [name for name in targets if name in self.project.services]  # others left the file
            needed = [name for name in sort_services(self.graph, targets) if name in self.names]
            observed = await self._observe(needed)
            if observed.keys() != set(needed):
                continue
            states = {name: self._needed_state(name, observed[name], attempted) for name in needed}
            for name, state in self._managed.items():
                states[name] = NodeState.ABSENT if name in targets else state
            decision = decide_next(self.graph, states, targets)
            for name in decision.start:
                if name in observed:
                    attempted.add(name)
                    states[name] = NodeState.STARTING
                    self._start_one(name)
            self.reports.publish_changes(
                self.project, self.names, observed, states, errors=self._errors, decision=decision
            )
            if not any(name in decision.waiting or name in self._tasks for name in targets):
                return decision
            tasks = [self._tasks[name] for name in needed if name in self._tasks]
            await _wait_for_any(tasks, pause)
        raise AssertionError("the pauses never end")

    def _start_one(self, name: str) -> None:
        if name not in self._tasks:
            spec = self.project.services[name]
            task = self._tasks[name] = asyncio.create_task(self._bring_up_one(spec))
            task.add_done_callback(partial(self._forget_task, name))

    def _forget_task(self, name: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(name) is task:
            del self._tasks[name]

    async def _bring_up_one(self, spec: ServiceSpec) -> None:
        name = spec.name
        error: WatcherError | None = None
        try:
            replaced = await self.containers.bring_up(
                self.project,
                spec,
                replace_all=name in self.followers.outdated,
                say=partial(self.reports.show_line, "info"),
                pulling=partial(self.reports.show_pull, name),
            )
            self.followers.outdated.discard(name)
            if replaced:
                self.followers.replace(name)
            else:  # the container before was possibly removed by another program
                await self.followers.check_followers(name)
        except EngineError as refusal:
            error = explain_refusal(refusal, "it cannot be started")
        except WatcherError as known:
            error = known
        except Exception:
            text = traceback.format_exc()
            self._observer.notify(InternalError(where="dependencies", traceback=text))
            error = WatcherError("an error of the watcher itself")
        if error and self.project.services.get(name) == spec:  # else it is of an earlier compose file
            self._errors[name] = error

    async def _observe(self, names: Sequence[str]) -> dict[str, Observed]:
        """Return what the engine has of these dependencies; nothing if the compose file changed meanwhile."""
        project = self.project
        looks = (self.containers.observe_service(project, project.services[name]) for name in names)
        found = await asyncio.gather(*looks)
        return dict(zip(names, found, strict=True)) if project is self.project else {}

    def _needed_state(self, name: str, observed: Observed, attempted: Collection[str]) -> NodeState:
        """Return the state of a dependency, where ABSENT means that it is to be started or replaced."""
        if name in self._tasks:
            return NodeState.STARTING
        if name in self._errors:
            return NodeState.BROKEN
        if name in attempted:
            return observed.state
        if observed.outdated or name in self.followers.outdated:
            return NodeState.ABSENT
        state = observed.state
        if state is NodeState.COMPLETED and name not in self.one_shots:
            ended = all(each.id in self._ended for each in observed.containers if not each.running)
            return state if ended else NodeState.ABSENT
        return NodeState.ABSENT if state is NodeState.FAILED else state

    def _describe_reason(self, name: str) -> str:
        error = self._errors.get(name)
        return str(error) if error else self.reports.describe_state(name)

    async def _last_lines(self, name: str) -> Sequence[str]:
        found = await self.containers.find_containers(self.project, name)
        return await self._engine.logs(found[0].id, tail=LOG_LINES) if found else ()

    def reconfigure(self, project: ComposeProject, managed: Collection[str]) -> None:
        """Go on with another compose file; `bring_up` or the next `require` applies it."""
        known = {*project.services, *project.others}
        self._gone |= {name: spec for name, spec in self.project.services.items() if name in self.names}
        self._gone = {name: spec for name, spec in self._gone.items() if name not in known}
        for name, task in self._tasks.items():
            same = name not in managed and project.services.get(name) == self.project.services.get(name)
            if not same and name in self.containers.pulling:  # what goes beyond a pull ends soon by itself
                task.cancel()
        self.project = project
        self.containers.hashes.ask(project)
        self._managed = {name: self._managed.get(name, NodeState.ABSENT) for name in managed}

    async def _remove_gone(self) -> None:
        """Remove the containers of dependencies that left the compose file, if a watcher started them."""
        for name, spec in [*self._gone.items()]:
            await self._end_start(name)
            for item in await self.containers.find_containers(self.project, name):
                what = f"{name} is no longer in the compose file: its container {item.name}"
                if self.containers.is_own(item):
                    await self.containers.stop_container(spec, item)
                    await self.containers.remove_container(item)
                    self.reports.show_line("info", f"{what} was removed; its volumes stay")
                else:
                    self.reports.show_line("info", f"{what} stays, because the watcher did not start it")
            self._gone.pop(name, None)

    async def _end_start(self, name: str) -> None:
        """Wait for the end of a start that runs, so that no container appears after it."""
        if task := self._tasks.get(name):
            await asyncio.wait([task])

    async def release(self, spec: ServiceSpec) -> None:
        """Remove the containers that a watcher started of a service before it was managed.

        They have its ports and its name. Raises EngineUnavailable or EngineError.
        """
        await self._end_start(spec.name)
        for item in await self.containers.find_containers(self.project, spec.name):
            if labels.DEPENDENCY in item.labels and self.containers.is_own(item):
                await self.containers.stop_container(spec, item)
                await self.containers.remove_container(item)
                self.reports.show_line("info", f"{spec.name} is managed now: {item.name} makes way")

    async def find_ended(self, name: str) -> list[Container]:
        """Return the containers of a dependency that ended by themselves and badly; raises WatcherError."""
        if name in self._tasks or name not in self.project.services:
            return []
        found = await self.containers.find_containers(self.project, name)
        return [
            item
            for item in found
            if container_state(item) is NodeState.FAILED and item.id not in self._stopped
        ]

    async def start_ended(self, name: str) -> bool:
        """Start the containers of a dependency that ended by themselves; return whether there are any."""
        found = await self.find_ended(name)
        for item in found:
            await self.containers.start_container(item.id)
        return bool(found)

    def note_start(self, name: str, container: str) -> None:
        """Forget how a container ended; and why it could not be started, if another client has started it."""
        self._stopped.discard(container)
        self._ended.discard(container)
        if container not in self.containers.started:
            self._errors.pop(name, None)

    def note_end(self, container: str) -> None:
        """Remember that a container ended on its own with status 0: a deploy does not start it again."""
        self._ended.add(container)

    def note_stop(self, container: str) -> None:
        """Remember that a container was stopped on purpose: only a deploy starts it again."""
        self._stopped.add(container)

    def is_busy(self, name: str) -> bool:
        """Return whether the dependency is being started or replaced now."""
        return name in self._tasks

    async def publish_states(self) -> None:
        """Publish the states as they are, and start nothing; raises EngineUnavailable."""
        observed = await self._observe(self.names)
        self._stopped.difference_update(  # its start can have been missed
            each.id for found in observed.values() for each in found.containers if each.running
        )
        states = {name: self._shown_state(name, found) for name, found in observed.items()}
        self.reports.publish_changes(self.project, self.names, observed, states, errors=self._errors)

    def _shown_state(self, name: str, observed: Observed) -> NodeState:
        """Return the state to show of a dependency."""
        if name in self._tasks:
            return NodeState.STARTING
        ended = [each.id for each in observed.containers if not (each.running or each.paused)]
        if ended and self._stopped.issuperset(ended):
            return NodeState.STOPPED
        if name in self._errors:
            return NodeState.BROKEN
        if (
            observed.state is NodeState.COMPLETED
            and name in self.lasting
            and not self._ended.issuperset(ended)
        ):
            return NodeState.ABSENT  # stopped with the watcher before this one, and not started yet
        return observed.state

    async def close(self, *, stop: bool, say_after: float = SLOW_STOP) -> None:
        """End what runs; with `stop` the containers that a watcher started too, dependents first."""
        for task in (tasks := list(self._tasks.values())):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.containers.hashes.close()
        if stop:
            names, graph = tuple(self.names), self.graph
            await stop_dependencies(
                self.containers, self.project, names, graph, self.reports, say_after=say_after
            )


async def _wait_for_any(tasks: Sequence[asyncio.Task[None]], pause: float) -> None:
    """Return when one of the tasks is done, or after the pause."""
    if tasks:
        await asyncio.wait(tasks, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
    else:
        await asyncio.sleep(pause)
