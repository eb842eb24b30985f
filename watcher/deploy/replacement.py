"""How a container of a service without published ports is replaced: side by side, or in place.

Only other services call it, through its address container (`address_container.py`). So the new one can start
while the old one answers, if something tells when the new one is ready: a port that the old one answers on.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from watcher.deploy import ready
from watcher.deploy.traffic import Traffic
from watcher.engine import Engine


@dataclass(frozen=True, slots=True)
class Replacement:
    """How to replace it. `ports` are asked until they answer; `reason` is why not side by side.

    The reason is empty if no other service can notice it.
    """

    side_by_side: bool
    ports: tuple[int, ...] = ()
    reason: str = ""

    @property
    def notice(self) -> str:
        """Return what a user should know, to be read after the name of the service; or empty."""
        waits = "other services that call it wait until the new container runs"
        return f"is replaced in place: {self.reason}; {waits}" if self.reason else ""


def choose_replacement(
    *,
    addressed: bool,
    written: Sequence[str],
    exposed: Sequence[int],
    answered: Collection[int],
    dropped: Sequence[int] = (),
) -> Replacement:
    """Choose for a service without a front, of which a container runs.

    `addressed`: it has an address container. `written` is what both containers would write, `exposed` are
    TCP ports of both the old and the new one (`expose`, EXPOSE), `answered` those that the old one answers.
    `dropped` are ports that only the old one exposes.
    """
    if not addressed:
        return Replacement(side_by_side=False)
    if written:
        return Replacement(side_by_side=False, reason=f"both containers would write {', '.join(written)}")
    if not exposed and dropped:
        shown = ", ".join(map(str, dropped))
        reason = f"it no longer exposes the port {shown}, and no other that could be asked"
        return Replacement(side_by_side=False, reason=reason)
    if not exposed:
        return Replacement(side_by_side=False, reason="it exposes no TCP port (expose) that could be asked")
    ports = tuple(port for port in exposed if port in answered)
    if not ports:
        shown = ", ".join(map(str, exposed))
        return Replacement(side_by_side=False, reason=f"nothing answers on its port {shown} (expose)")
    return Replacement(side_by_side=True, ports=ports)


async def plan_replacement(
    engine: Engine, traffic: Traffic, candidate: str, *, addressed: bool
) -> Replacement:
    """Choose how to replace what is live by `candidate`. `addressed`: see `choose_replacement`.

    The old container's ports are asked only if that decides. Raises EngineUnavailable.
    """
    recipe, policy, live = traffic.recipe, traffic.policy, traffic.live
    if traffic.fronts or recipe.ports:
        return Replacement(side_by_side=traffic.side_by_side)
    found = await engine.container(live.id) if live and addressed else None
    if found is None or not found.running:
        return Replacement(side_by_side=False)
    new = await engine.container(candidate)
    kept = new.exposed if new else ()
    exposed = () if recipe.written else tuple(port for port in found.exposed if port in kept)
    dropped = tuple(port for port in found.exposed if port not in kept)
    answered = [port for port in exposed if (await ready.probe_exposed(recipe, policy, found, port)).ready]
    return choose_replacement(
        addressed=addressed, written=recipe.written, exposed=exposed, answered=answered, dropped=dropped
    )
