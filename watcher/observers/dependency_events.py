"""Events about dependencies: services of the compose file that the watcher starts and does not build."""

from __future__ import annotations

from dataclasses import dataclass

from watcher.observers.event_base import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class DependencyChanged(Event):
    """The state of one dependency, or of what is waited for, changed. `service` is empty."""

    name: str
    state: str  # absent | starting | running | checking | healthy | unhealthy | completed | failed | …
    reason: str = ""  # exit status, health, progress of a pull
    image: str = ""
    containers: tuple[str, ...] = ()  # names
    waits_for: tuple[str, ...] = ()  # dependencies whose conditions do not hold yet
    needed_by: tuple[str, ...] = ()  # services that wait for this one
    restarts: int = 0  # by the watcher, because it ended by itself


@dataclass(frozen=True, slots=True, kw_only=True)
class DependencyRemoved(Event):
    """A dependency is no longer in the compose file."""

    name: str
