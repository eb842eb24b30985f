"""Report on dependencies: one event for each change of a state, and lines for the user."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Collection, Iterator, Mapping
from typing import Literal

from watcher.compose import ComposeProject
from watcher.deploy.dependency_containers import Observed
from watcher.deploy.dependency_graph import Decision, NodeState
from watcher.engine import PullProgress
from watcher.errors import EngineTrouble, RegistryTrouble, UserError, WatcherError
from watcher.observers import humanize
from watcher.observers.events import DependencyChanged, DependencyRemoved, Notice, Observer

SAY_AFTER = 1.0  # seconds of waiting from which it is worth a line
SILENT_EVERY = 10.0  # seconds without news of a pull until it is said, and said again
SAY_EVERY = 15.0  # seconds between two lines about the same wait
_CONDITIONS = {
    "service_started": "is started",
    "service_healthy": "is healthy",
    "service_completed_successfully": "has completed",
}
_GOOD = frozenset({NodeState.RUNNING, NodeState.CHECKING, NodeState.HEALTHY, NodeState.COMPLETED})


class DependencyReports:
    """Reports on dependencies to observers; repeats nothing."""

    def __init__(self, observer: Observer, *, say_after: float = SAY_AFTER) -> None:
        self._observer, self._say_after = observer, say_after
        self._last: dict[str, DependencyChanged] = {}
        self._pulls: dict[str, str] = {}
        self._complaints: dict[str, str] = {}
        self._restarts: dict[str, int] = {}
        self._waiting: dict[str, float] = {}  # service -> when it began to wait
        self._said: dict[tuple[str, str], float] = {}  # (service, dependency) -> when its wait was last shown

    def show_line(self, level: Literal["info", "warning", "error"], text: str) -> None:
        """Show a line to the user."""
        self._observer.notify(Notice(level=level, text=text))

    def show_failure(self, name: str, error: WatcherError, more: str) -> None:
        """Show why a dependency cannot be started, once until it was started."""
        if self._complaints.get(name) != str(error):
            self._complaints[name] = str(error)
            hint = _hint_of(error)
            self.show_line("error", f"{name}: {error}{more}{f' ({hint})' if hint else ''}")

    @contextlib.contextmanager
    def track_wait(self, service: str) -> Iterator[None]:
        """While the context lasts, `service` waits for what it depends on."""
        self._waiting[service] = time.monotonic()
        try:
            yield
        finally:
            del self._waiting[service]
            self._said = {key: at for key, at in self._said.items() if key[0] != service}

    def show_pull(self, name: str, pull: PullProgress) -> None:
        """Show how much of a dependency's image has arrived, and since when nothing has."""
        text = "pulling"
        if pull.known:
            text += f", {humanize.size(pull.received)} of {humanize.size(pull.known)}"
        if pull.silent >= SILENT_EVERY:
            text += f", nothing for {humanize.seconds(pull.silent // SILENT_EVERY * SILENT_EVERY)}"
        if text == self._pulls.get(name):
            return
        self._pulls[name] = text
        if last := self._last.get(name):
            self._emit_change(dataclasses.replace(last, reason=self._pulls[name], at=time.time()))

    def count_restart(self, name: str) -> None:
        """Count a restart of a dependency that had ended on its own."""
        self._restarts[name] = self._restarts.get(name, 0) + 1

    def describe_state(self, name: str) -> str:
        """Describe the state of a dependency: the end of a sentence that begins with its name."""
        last = self._last.get(name)
        if last is None:
            return "is not started"
        if last.state is NodeState.RUNNING:
            return "runs without a health check, so it never becomes healthy"
        if last.state == NodeState.COMPLETED:
            return "ended with status 0"
        return f"is {last.reason}" if not last.reason.startswith("ended") else last.reason

    def publish_changes(
        self,
        project: ComposeProject,
        names: Collection[str],
        observed: Mapping[str, Observed],
        states: Mapping[str, NodeState],
        *,
        errors: Mapping[str, WatcherError],
        decision: Decision | None = None,
    ) -> None:
        """Emit an event for each dependency that changed, and lines about long waits.

        `names` are all dependencies; others that were known have left the file, or are managed now. `errors`
        are why broken ones cannot be started.
        """
        waiting = decision.waiting if decision else {}
        for name, found in observed.items():
            if states[name] is not NodeState.STARTING:
                self._pulls.pop(name, None)
            if states[name] in _GOOD:
                self._complaints.pop(name, None)
            self._emit_change(
                DependencyChanged(
                    name=name,
                    state=states[name],
                    reason=_describe_reason(states[name], found, errors.get(name), self._pulls.get(name)),
                    image=project.services[name].image,
                    containers=tuple(each.name for each in found.containers),
                    waits_for=waiting.get(name, ()),
                    needed_by=tuple(user for user, others in waiting.items() if name in others),
                    restarts=self._restarts.get(name, 0),
                )
            )
        for service, begun in self._waiting.items():
            for other in waiting.get(service, ()):
                self._say_wait(project, service, other, begun)
        for name in self._last.keys() - set(names):
            del self._last[name]
            self._observer.notify(DependencyRemoved(name=name))

    def _emit_change(self, event: DependencyChanged) -> None:
        last = self._last.get(event.name)
        if last is None or dataclasses.replace(event, at=last.at) != last:
            self._last[event.name] = event
            self._observer.notify(event)

    def _say_wait(self, project: ComposeProject, service: str, other: str, begun: float) -> None:
        now = time.monotonic()
        last = self._said.get((service, other))
        if now - (begun + self._say_after - SAY_EVERY if last is None else last) < SAY_EVERY:
            return
        self._said[service, other] = now
        condition = _CONDITIONS[project.services[service].depends_on[other].condition]
        known = self._last.get(other)
        state = f" ({known.reason or known.state})" if known else ""
        if known and known.waits_for:
            state = f" (waits for {', '.join(known.waits_for)})"
        took = humanize.seconds(now - begun)
        self.show_line("info", f"{service} waits until {other} {condition}{state}, for {took} so far")


def _describe_reason(state: NodeState, found: Observed, error: WatcherError | None, pull: str | None) -> str:
    if pull is not None:
        return pull
    return str(error) if error and state is NodeState.BROKEN else found.reason


def _hint_of(error: WatcherError) -> str:
    if isinstance(error, UserError):
        return error.failure.hint
    return error.hint if isinstance(error, EngineTrouble | RegistryTrouble) else ""
