"""Events of the front: requests and connections of the published ports."""

from __future__ import annotations

from dataclasses import dataclass

from watcher.observers.event_base import Event

REFUSALS = {
    "timeout": "waited longer than front.hold_timeout",
    "limit": "too many waited or were connected",
    "malformed": "not valid HTTP",
    "backend": "the container did not answer",
    "drain": "not answered within deploy.drain",
    "gone": "the client had gone",
    "closing": "the port is closed",
}
"""Why the front answers a request itself: the reasons of `FrontRefused`, each in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontExchange(Event):
    """The front finished one exchange (or tunnel, then `code` is 101 or 0 for raw TCP)."""

    code: int
    seconds: float
    held: float = 0.0
    revision: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontHeld(Event):
    """The number of requests that wait in the front for a container."""

    held: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontOld(Event):
    """How many requests and connections of one listening port older versions still have after a switch."""

    port: int
    connections: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontRefused(Event):
    """The front answered the request itself; `reason` is one of `REFUSALS`."""

    reason: str
    code: int
