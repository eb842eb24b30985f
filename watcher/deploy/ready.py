"""Waiting until a new container answers, and finding out why one does not run."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from watcher.deploy import probe
from watcher.deploy.model import ContainerRecipe, DeployPolicy, Live, backends, has_completed
from watcher.deploy.pid_owner import OwnerEnded, find_ended_owner
from watcher.diagnosis.diagnose import container_failure, not_ready
from watcher.diagnosis.positions import Where, find_nothing
from watcher.engine import Container, Engine
from watcher.errors import EngineUnavailable, UserError
from watcher.front import Backend
from watcher.observers.events import Failure

LOG_LINES = 60  # of a container that failed, shown to the user
LONG_LOG = 1000  # lines that a panic is looked for in: one of many goroutines is long


async def probe_once(recipe: ContainerRecipe, policy: DeployPolicy, found: Container) -> probe.ProbeResult:
    """Ask the first port once. A container without ports is ready as soon as it runs."""
    port = next(iter(recipe.ports), None)
    if port is None:
        return probe.ProbeResult(ready=True, text="no port to ask")
    backend = backends(recipe, found, "").get(port)
    if backend is None:
        return probe.ProbeResult(ready=False, text=f"port {port} is not published yet")
    if policy.protocol == "tcp":
        return await probe.probe_tcp(backend.host, backend.port)
    path = policy.ready_path or probe.health_path(found.healthcheck, port)
    return await probe.probe_http(backend.host, backend.port, path)


def find_address(recipe: ContainerRecipe, found: Container) -> str:
    """Return the container's own address; empty if it has none."""
    return found.addresses.get(recipe.network or "") or next(iter(found.addresses.values()), "")


async def probe_exposed(
    recipe: ContainerRecipe, policy: DeployPolicy, found: Container, port: int
) -> probe.ProbeResult:
    """Ask a port that no front serves once, at the container's own address."""
    reached = find_address(recipe, found)
    if not reached:
        return probe.ProbeResult(ready=False, text="it has no address yet")
    path = policy.ready_path or probe.health_path(found.healthcheck, port)
    if path and policy.protocol != "tcp":
        return await probe.probe_http(reached, port, path)
    return await probe.probe_tcp(reached, port)


async def _probe_all(
    recipe: ContainerRecipe, policy: DeployPolicy, found: Container, exposed: Sequence[int]
) -> tuple[int, probe.ProbeResult]:
    """Return the first port that does not answer, or the last one that does, and what it said."""
    port, said = next(iter(recipe.ports), 0), await probe_once(recipe, policy, found)
    for port in exposed if said.ready else ():
        if not (said := await probe_exposed(recipe, policy, found, port)).ready:
            break
    return port, said


async def until_ready(
    engine: Engine,
    recipe: ContainerRecipe,
    policy: DeployPolicy,
    container: str,
    revision: str,
    *,
    where: Where = find_nothing,
    exposed: Sequence[int] = (),
) -> Mapping[int, Backend]:
    """Ask tightly at first, then less often; where its ports are reached, once it answers on them.

    `exposed` are ports without a front that must answer too.

    Raises UserError with its last lines when it ends, turns unhealthy, or `startup_timeout` is up, and
    OwnerEnded when it ended with the owner of its PID namespace.
    """
    if recipe.completes:
        await _until_completed(engine, container, where)
        return {}
    clock = asyncio.get_running_loop().time
    tries, deadline = 0, clock() + policy.startup_timeout
    found = await engine.container(container)
    while True:
        port, said = next(iter((*recipe.ports, *exposed)), 0), None
        if found and found.running:
            port, said = await _probe_all(recipe, policy, found, exposed)
        # Inspect it after the answer: a container that answered and ended is not ready.
        found = await engine.container(container)
        if found is None or not (found.running or found.paused):
            if ended := await find_ended_owner(engine, found):
                raise OwnerEnded(ended)
            raise UserError(
                await explain_end(engine, container, found, "the new container ended at once", where=where)
            )
        if found.health == "unhealthy":
            log = await engine.logs(container, tail=LOG_LINES)
            raise UserError(Failure("container", "the new container's HEALTHCHECK says unhealthy", log))
        reached = backends(recipe, found, revision)
        if said and said.ready and set(reached) == set(recipe.ports):
            return reached
        if clock() > deadline:
            log = await engine.logs(container, tail=LOG_LINES)
            last = said.text if said else "it was not running"
            last = "somebody has paused it: docker unpause" if found.paused else last
            replaces = port in exposed and port not in recipe.ports
            raise UserError(not_ready(policy.startup_timeout, port, last, log, replaces=replaces))
        await asyncio.sleep(probe.BACKOFF.pause(tries))
        tries += 1


async def still_answers(engine: Engine, recipe: ContainerRecipe, policy: DeployPolicy, live: Live) -> bool:
    """Return whether a container that served before answers, where it did then."""
    found = await engine.container(live.id)
    if found is None or not found.running or found.paused or found.health == "unhealthy":
        return False
    reached = backends(recipe, found, live.revision)
    return reached == live.backends and (await probe_once(recipe, policy, found)).ready


async def _until_completed(engine: Engine, container: str, where: Where) -> None:
    """Wait until a job has ended, however long it takes; raises UserError unless it ended well."""
    tries = 0
    while True:
        found = await engine.container(container)
        if found and has_completed(found):
            return
        if found is None or found.state in ("exited", "dead"):
            raise UserError(await explain_end(engine, container, found, "the job failed", where=where))
        await asyncio.sleep(probe.BACKOFF.pause(tries))
        tries += 1


async def explain_end(
    engine: Engine, container: str, found: Container | None, summary: str, *, where: Where = find_nothing
) -> Failure:
    """Why a container does not serve any more; `found` as it was seen, None when it was removed.

    Never raises EngineUnavailable: when the engine is away, the failure has fewer details.
    """
    if found is None:
        return Failure("container", f"{summary}: it was removed")
    try:
        log = await engine.logs(container, tail=LOG_LINES if found.running else LONG_LOG)
    except EngineUnavailable:
        log = ()
    if found.running:
        return Failure("container", summary, log)
    summary = f"{summary} with exit status {found.exit_code}"
    return container_failure(
        summary,
        log,
        exit_code=found.exit_code,
        oom=found.oom_killed,
        error=found.error,
        where=where,
    )
