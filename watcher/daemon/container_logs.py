"""What the project's containers print, told as it comes: of each container from its start to its end.

So the lines go on across replacements by themselves, and a container that never gets ready is heard too.
It is bounded: of a container that prints without measure the newest lines are shown, and it costs little.
"""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Sequence
from contextlib import aclosing
from itertools import groupby

from watcher.engine import Engine, EngineError, EngineEvent, Printed
from watcher.engine.ownership import proven_containers
from watcher.errors import EngineUnavailable
from watcher.labels import APP, KIND, PROJECT, SERVICE, is_proven
from watcher.observers.events import ContainerOutput, InternalError, Notice, Observer

TAIL = 200  # lines of a container that has printed already
CALM = 0.1  # seconds between two batches
MUCH = 100  # lines in a batch, from which on more are likely to wait
PATIENCE = 20  # such batches in a row, until lines are left out
LEFT_OUT = "[watcher] printed faster than it can be shown: lines are missing here"
STEP = 1e-6  # seconds: by how much time stamps differ at least


class LogStreamer:
    """Follows the containers of one project: `look` after each connection, `take` with each event."""

    def __init__(
        self, engine: Engine, observer: Observer, project: str, *, tail: int = TAIL, calm: float = CALM
    ) -> None:
        """Show the last `tail` lines of a container that has printed; pause for `calm` between batches."""
        self._engine, self._observer, self._project = engine, observer, project
        self._tail, self._calm = tail, calm
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()  # started again before the end of what they printed before was read
        self._seen: dict[str, float] = {}  # container -> time of its last line that was told
        self._unreadable: set[str] = set()  # services

    async def look(self) -> None:
        """Follow every container that runs, and forget those that are gone. Raises EngineUnavailable."""
        listed = await self._engine.containers(labels=[f"{PROJECT}={self._project}"])
        found = proven_containers(listed)  # somebody else's container inherits our labels from our image
        self._seen = {item.id: self._seen[item.id] for item in found if item.id in self._seen}
        for item in found:
            if item.running and item.labels.get(KIND) == APP:  # the others print nothing
                self._begin(item.id, item.labels.get(SERVICE, ""))

    def take(self, event: EngineEvent) -> None:
        """Something happened to a container that has the project's labels."""
        said = event.attributes
        if said.get(KIND) != APP:
            return
        if event.action == "start" and is_proven(said, said.get("name", ""), said.get("image", "")):
            self._begin(event.container, said.get(SERVICE, ""))
        elif event.action == "destroy":
            self._seen.pop(event.container, None)

    async def close(self) -> None:
        """Follow nothing any more."""
        tasks = list(self._tasks.values())
        self._again.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, container: str, service: str) -> None:
        if container in self._tasks:
            self._again.add(container)
            return

        def ended(_: asyncio.Task[None]) -> None:
            del self._tasks[container]
            if container in self._again:
                self._again.discard(container)
                self._begin(container, service)

        task = self._tasks[container] = asyncio.create_task(self._follow(container, service))
        task.add_done_callback(ended)

    async def _follow(self, container: str, service: str) -> None:
        try:
            while await self._listen(container, service):
                self._tell(container, service, [Printed(self._seen[container], LEFT_OUT)])
        except EngineUnavailable:
            pass  # `look` follows it again, from where it was left
        except EngineError as error:
            if service not in self._unreadable:
                self._unreadable.add(service)
                text = f"what the container prints cannot be shown: {error}"
                self._observer.notify(Notice(service=service, level="info", text=text))
        except Exception:
            event = InternalError(service=service, where="logs", traceback=traceback.format_exc())
            self._observer.notify(event)

    async def _listen(self, container: str, service: str) -> bool:
        """Tell what it prints until it ends; whether it is to be asked anew, because it prints too much."""
        seen, much = self._seen.get(container), 0
        since = 0.0 if seen is None else seen + STEP
        async with aclosing(self._engine.follow(container, since=since, tail=self._tail)) as batches:
            async for batch in batches:
                self._tell(container, service, batch)
                self._seen[container] = max(batch[-1].at, since)
                much = much + 1 if len(batch) >= MUCH else 0
                if much >= PATIENCE:
                    return True
                await asyncio.sleep(self._calm)
        return False

    def _tell(self, container: str, service: str, lines: Sequence[Printed]) -> None:
        """One event for each second, so that what was printed long ago carries its own time."""
        for _, group in groupby(lines, lambda line: int(line.at)):
            first, *others = group
            text = "\n".join((first.text, *(line.text for line in others)))
            at = first.at or time.time()
            self._observer.notify(ContainerOutput(service=service, at=at, container=container, text=text))
