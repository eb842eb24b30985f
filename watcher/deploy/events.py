"""Create the events about a live container that failed. Pure."""

from __future__ import annotations

import time

from watcher.deploy.model import Live
from watcher.observers.events import ContainerLost, DeployFinished, DeployOutcome, Failure


def container_lost(service: str, live: Live, failure: Failure, *, excused: bool = False) -> ContainerLost:
    """Nothing serves in its place."""
    return ContainerLost(
        service=service,
        revision=live.revision,
        container=live.id,
        image=live.image,
        failure=failure,
        excused=excused,
    )


def rolled_back(service: str, live: Live, previous: Live, failure: Failure) -> DeployFinished:
    """Return the one before has the traffic again, or will have once it is started."""
    return DeployFinished(
        service=service,
        revision=live.revision,
        image=live.image,
        outcome=DeployOutcome.ROLLED_BACK,
        seconds=time.monotonic() - live.since,
        container=previous.id,
        failure=failure,
    )
