"""The services that the watched one depends on: an end of one is told when it happens.

They are started when they are needed for a deploy, and otherwise left alone. Whether one should be started
again at once is not decided here: a person may have stopped it on purpose.
"""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Callable, Iterator, Mapping

from watcher.compose import ComposeProject
from watcher.engine import Engine, EngineEvent
from watcher.errors import WatcherError
from watcher.observers.events import InternalError, Notice, Observer

_PROJECT, _SERVICE = "com.docker.compose.project", "com.docker.compose.service"
PAUSE = 5.0  # seconds until an engine that went away is asked again


class DependencyWatch:
    """Tells of dependencies that end, and that run again. `project` gives what is in force."""

    def __init__(self, engine: Engine, observer: Observer, project: Callable[[], ComposeProject]) -> None:
        self._engine, self._observer, self._project = engine, observer, project
        self._ended: set[str] = set()  # services that were told as ended

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            since, name = time.time(), self._project().name
            if not self._expected():
                await asyncio.sleep(PAUSE)
                continue
            try:
                await self.look()
                async for event in self._engine.events(labels=[f"{_PROJECT}={name}"], since=since):
                    self.take(event)
                    if self._project().name != name:
                        break
            except WatcherError:  # who follows the service's own container says that the engine is away
                await asyncio.sleep(PAUSE)
            except Exception:
                text = traceback.format_exc()
                self._observer.notify(InternalError(where="dependencies", traceback=text))
                await asyncio.sleep(PAUSE)

    async def look(self) -> None:
        """See which dependencies do not run: events may have been missed."""
        project = self._project()
        for name in self._expected():
            listed = await self._engine.containers(
                labels=[f"{_PROJECT}={project.name}", f"{_SERVICE}={name}"]
            )
            details = [await self._engine.container(item.id) for item in listed]
            found = [item for item in details if item]
            if any(item.running for item in found):
                self._runs(name)
            elif ended := next((item for item in found if item.state in ("exited", "dead")), None):
                self._tell_end(name, str(ended.exit_code))

    def take(self, event: EngineEvent) -> None:
        """Something happened to a container of the compose project."""
        name = event.attributes.get(_SERVICE, "")
        if name not in self._expected():
            return
        if event.action == "die":
            self._tell_end(name, event.attributes.get("exitCode", "?"))
        elif event.action == "start":
            self._runs(name)

    def _expected(self) -> set[str]:
        """Dependencies that are to run for as long as the service does: not those that are to complete."""
        project = self._project()
        needed = {spec.name for spec in project.dependencies}
        services = (project.service, *project.dependencies)
        for spec in services:
            for name, dependency in spec.depends_on.items():
                if dependency.condition == "service_completed_successfully":
                    needed.discard(name)
        return needed

    def _tell_end(self, name: str, status: str) -> None:
        if name in self._ended:
            return
        self._ended.add(name)
        service = self._project().service.name
        text = (
            f"{name}, which {service} depends on, ended with exit status {status}: it is started again with "
            f"the next deploy; `docker compose up -d {name}` starts it now"
        )
        self._observer.notify(Notice(service=service, level="warning", text=text))

    def _runs(self, name: str) -> None:
        if name in self._ended:
            self._ended.discard(name)
            text = f"{name} runs again"
            self._observer.notify(Notice(service=self._project().service.name, level="info", text=text))


def left_as_they_are(before: ComposeProject, after: ComposeProject) -> tuple[str, ...]:
    """Names of dependencies that the compose file describes otherwise now: their containers stay."""
    known = {spec.name: spec for spec in before.dependencies}
    return tuple(spec.name for spec in after.dependencies if spec.name in known and known[spec.name] != spec)


def in_force(names: str, before: ComposeProject, after: ComposeProject) -> str:
    """What is said once the files `names` were read anew and are used."""
    text = f"{names} changed: what it says is in force"
    if left := left_as_they_are(before, after):
        listed, their = ", ".join(left), "its" if len(left) == 1 else "their"
        text += (
            f", except for {listed}: {their} running container stays as it is; "
            f"`docker compose up -d {' '.join(left)}` replaces it"
        )
    if made := [*_changed("network", before.networks, after.networks)]:
        text += f"; the {', '.join(made)} stays as it was made"
    if made := [*_changed("volume", before.volumes, after.volumes)]:
        text += f"; the {', '.join(made)} stays as it was made"
    return text


def _changed(what: str, before: Mapping[str, object], after: Mapping[str, object]) -> Iterator[str]:
    return (f"{what} {key}" for key, spec in after.items() if key in before and before[key] != spec)
