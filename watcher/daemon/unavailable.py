"""What the front tells a client while nothing can answer, and when those who wait are told at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from watcher.front import Front, Unavailable
from watcher.observers.events import BuildFinished, ContainerLost, DeployFinished, Event, Paused, short
from watcher.observers.status_schema import EngineInfo, FailureInfo, ServiceStatus

_NEWS = (BuildFinished, DeployFinished, ContainerLost, Paused)
_BUILD_KINDS = frozenset({"compile", "build"})


def unavailable(service: ServiceStatus | None, engine: EngineInfo) -> Unavailable:
    """Return what to say, judged by what is known of the service and the engine.

    Waiting is pointless only where nothing is under way that could end it: the tree is known to fail, or
    building was paused. A live container that is silent for a moment is always waited for, and one that
    ended is put back before long, whatever the tree is like.
    """
    if service is None or service.desired is None:
        return Unavailable(text="The watcher has just started.")
    if engine.up is False:
        return Unavailable("The container engine does not answer", _sentence(engine.reason), private=True)
    if service.container_paused:
        return Unavailable("The container is paused", f"`docker unpause {service.container}` lets it go on.")
    if service.live:
        revision = short(service.live.revision)
        return Unavailable("The service does not answer", f"The container of revision {revision} is silent.")
    if service.building:
        return Unavailable(text=f"Revision {short(service.building.revision)} is being built.")
    if service.deploying:
        return Unavailable(text=f"Revision {short(service.deploying.revision)} is coming up.")
    if service.failed and service.last_good:
        return Unavailable(text=f"Revision {short(service.last_good)}, which was live last, is coming up.")
    error = service.last_error
    if error and service.failed and error.failure.kind == "cancelled":
        return _failed("The new version was cancelled", error.failure, wait=False)
    if error and error.stage == "container" and error.resolved_at is None:
        return _failed("The container ended", error.failure, wait=True)
    if error and service.failed:
        built = error.failure.kind not in _BUILD_KINDS
        return _failed(
            "The container does not run" if built else "The build failed", error.failure, wait=False
        )
    if service.paused:
        return Unavailable("Building is paused", "`watcher resume` goes on.", wait=False)
    if service.held:
        return Unavailable(text=f"Nothing is built for the moment: {service.held}.")
    return Unavailable(text="The new version is on its way.")


def _failed(title: str, failure: FailureInfo, *, wait: bool) -> Unavailable:
    text = " ".join(_sentence(part) for part in (failure.summary, failure.hint) if part)
    return Unavailable(title, text, tuple(failure.lines), wait=wait, private=True)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""


class HeldRequestReleaser:
    """An observer that lets the fronts of a service look again at whether waiting makes sense.

    It has to be told after the observer that keeps the status document. `fronts` gives those of a service.
    """

    def __init__(self, fronts: Callable[[str], Iterable[Front]]) -> None:
        self._fronts = fronts

    def notify(self, event: Event) -> None:
        """See `Observer`."""
        if isinstance(event, _NEWS):
            for front in self._fronts(event.service):
                front.reconsider()
