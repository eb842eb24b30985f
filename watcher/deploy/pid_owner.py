"""Find out whether a container ended because the owner of its PID namespace did."""

from __future__ import annotations

import asyncio

from watcher.backoff import Backoff
from watcher.engine import Container, Engine
from watcher.errors import Failure, WatcherError
from watcher.observers.events import short

KILLED = 137  # exit status of a program that the kernel killed
# The kernel kills all other processes of a PID namespace before its first one is gone, so the engine can
# report the end of the owner after that of the container that used its namespace.
LOOKS = 7
PAUSES = Backoff(first=0.02, most=0.5)  # seconds between looks at the owner


class OwnerEnded(WatcherError):
    """A container ended with the owner of its PID namespace, so it can be tried again."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.summary)
        self.failure = failure


async def find_ended_owner(engine: Engine, found: Container | None) -> Failure | None:
    """Return the failure of a container that ended with its owner; None if it ended on its own.

    `found` is the ended container, None if it was removed. Raises EngineUnavailable.
    """
    if found is None or not found.pid_owner or found.exit_code != KILLED or found.oom_killed:
        return None
    for tries in range(LOOKS):
        owner = await engine.container(found.pid_owner)
        if owner is None:
            return _describe_end(short(found.pid_owner), "was removed")
        if not (owner.running or owner.paused):
            return _describe_end(owner.name, "ended")
        if owner.changed > found.changed:
            return _describe_end(owner.name, "was restarted")
        await asyncio.sleep(PAUSES.pause(tries))
    return None


def _describe_end(owner: str, what: str) -> Failure:
    return Failure(
        "container",
        f"it ended because it uses the PID namespace of the container {owner}, which {what}",
        hint="the watcher starts it again",
    )
