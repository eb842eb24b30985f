"""Choose the port of the status page: the one that was set, else the first free one from 9001 on.

Several watchers run on one machine, so a default port that is taken is no error. Every command finds the
daemon by its lock file, and Prometheus by its target file.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from watcher.settings import HttpSettings
from watcher.system import inherited_sockets
from watcher.system.lock import Running

TRIED = 100  # ports from the default one on


def is_explicit(http: HttpSettings) -> bool:
    """Return whether the user set the port; then no other one is taken."""
    return "port" in http.model_fields_set


def preferred_ports(http: HttpSettings, before: Running | None) -> set[int]:
    """Return the ports that the choice of other ports should leave to the status page."""
    return {port for port in (http.port, _inherited_port(before)) if port}


def candidate_ports(http: HttpSettings, published: Collection[int], before: Running | None) -> list[int]:
    """Return the ports to try, in order.

    `published` are host ports of the project's own services. `before` is what the process before this one
    announced: its port is listened on still after an upgrade or a kill.
    """
    inherited = _inherited_port(before)
    if is_explicit(http):
        return [http.port or inherited]
    free = [port for port in range(http.port, http.port + TRIED) if port not in published]
    return list(dict.fromkeys([inherited, *free] if inherited else free))


def explain_other_port(http: HttpSettings, port: int, published: Collection[int], holder: str) -> str:
    """Return why the status page is not at its default port; empty if it is, or the user chose the port."""
    if is_explicit(http) or port == http.port:
        return ""
    if http.port in published:
        why = "is published by a service of this project"
    elif holder:
        why = f"is in use by {holder}"
    else:
        why = "was in use"
    return f"port {http.port} {why}, so the status page is at port {port}; `http.port` sets another one"


def _inherited_port(before: Running | None) -> int:
    """Return the port of the process before this one if it is listened on still; else 0."""
    port = urlsplit(before.url).port if before else None
    return port if port and inherited_sockets.holds_port(port) else 0
