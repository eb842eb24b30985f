"""Stop the containers of a project's dependencies, dependents first."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from watcher.compose import ComposeProject
from watcher.deploy.dependency_containers import DependencyContainers, stop_grace
from watcher.deploy.dependency_graph import Graph, find_dependents
from watcher.deploy.dependency_reports import DependencyReports
from watcher.deploy.slow_stop import announce_slow_stop
from watcher.errors import WatcherError


async def stop_dependencies(
    containers: DependencyContainers,
    project: ComposeProject,
    names: Sequence[str],
    graph: Graph,
    reports: DependencyReports,
    *,
    say_after: float,
) -> None:
    """Stop those containers of the services `names` that a watcher started; report what cannot be stopped.

    A container that still runs after `say_after` seconds is named in a line.
    """

    async def stop_one(name: str) -> None:
        spec = project.services[name]
        try:
            for item in await containers.find_containers(project, name):
                if containers.is_own(item) and item.state not in ("created", "exited", "dead"):
                    show = partial(reports.show_line, "info")
                    with announce_slow_stop(show, item.name, stop_grace(spec), say_after):
                        await containers.stop_container(spec, item)
        except WatcherError as error:
            reports.show_line("warning", f"{name} could not be stopped: {error}")

    left = list(names)
    while left:
        last = [name for name in left if not set(find_dependents(graph, name, lambda _: True)) & set(left)]
        await asyncio.gather(*map(stop_one, last))
        left = [name for name in left if name not in last]
