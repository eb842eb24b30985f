"""Decide which services of a compose project to start next. Pure: graph and states in, a decision out.

The rules are those of docker compose (pkg/compose/convergence.go, `waitDependencies`), with one difference: a
failure stops only what needs the failed service. Everything else goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum

from watcher.compose import Dependency

Graph = Mapping[str, Mapping[str, Dependency]]  # service -> the services it depends on, with the conditions


class NodeState(StrEnum):
    """The state of one service."""

    ABSENT = "absent"  # it is to be started
    STARTING = "starting"  # its image is pulled, or its container is created
    RUNNING = "running"  # it runs and has no health check
    CHECKING = "checking"  # it runs and its health check has not passed yet
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    COMPLETED = "completed"  # it ended with exit status 0
    FAILED = "failed"  # it ended with another exit status
    BROKEN = "broken"  # it cannot be started
    STOPPED = "stopped"  # it was stopped on purpose
    UNUSED = "unused"  # no container of it is asked for (scale: 0)


class ConditionState(Enum):
    """What the state of a dependency means for a service that depends on it."""

    MET = "met"
    PENDING = "pending"
    IMPOSSIBLE = "impossible"


_NOT_YET = frozenset({NodeState.ABSENT, NodeState.STARTING, NodeState.STOPPED})
_PENDING: Mapping[str, frozenset[NodeState]] = {
    "service_started": _NOT_YET,
    "service_healthy": _NOT_YET | {NodeState.CHECKING},
    "service_completed_successfully": _NOT_YET
    | {NodeState.RUNNING, NodeState.CHECKING, NodeState.HEALTHY, NodeState.UNHEALTHY},
}
_IMPOSSIBLE: Mapping[str, frozenset[NodeState]] = {
    "service_started": frozenset({NodeState.BROKEN}),
    "service_healthy": frozenset(
        {
            NodeState.RUNNING,
            NodeState.UNHEALTHY,
            NodeState.COMPLETED,
            NodeState.FAILED,
            NodeState.BROKEN,
        }
    ),
    "service_completed_successfully": frozenset({NodeState.FAILED, NodeState.BROKEN}),
}


def judge_edge(dependency: Dependency, state: NodeState) -> ConditionState:
    """Return whether the condition holds, can still come to hold, or cannot hold without intervention."""
    if state in _PENDING[dependency.condition]:
        return ConditionState.PENDING
    if state in _IMPOSSIBLE[dependency.condition]:
        return ConditionState.IMPOSSIBLE
    return ConditionState.MET


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows from the states.

    `start` are the services whose conditions hold. `waiting` maps a service to the dependencies that it still
    waits for. `held_up` maps a service to the failed services that prevent its start. `skipped` maps one to
    the dependencies with `required: false` that failed.
    """

    start: tuple[str, ...] = ()
    waiting: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    held_up: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    skipped: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def decide_next(graph: Graph, states: Mapping[str, NodeState], targets: Collection[str]) -> Decision:
    """Decide about `targets` and everything that they depend on. The graph has no cycle."""
    start: list[str] = []
    waiting: dict[str, tuple[str, ...]] = {}
    held_up: dict[str, tuple[str, ...]] = {}
    skipped: dict[str, tuple[str, ...]] = {}
    for name in sort_services(graph, targets):
        if states.get(name, NodeState.ABSENT) is not NodeState.ABSENT:
            continue
        pending: list[str] = []
        causes: dict[str, None] = {}
        without: list[str] = []
        for other, dependency in graph[name].items():
            state = states.get(other, NodeState.ABSENT)
            verdict = ConditionState.IMPOSSIBLE if other in held_up else judge_edge(dependency, state)
            if verdict is ConditionState.PENDING:
                pending.append(other)
            elif verdict is ConditionState.IMPOSSIBLE and dependency.required:
                causes.update(dict.fromkeys(held_up.get(other, (other,))))
            elif verdict is ConditionState.IMPOSSIBLE:
                without.append(other)
        if without:
            skipped[name] = tuple(without)
        if causes:
            held_up[name] = tuple(causes)
        elif pending:
            waiting[name] = tuple(pending)
        else:
            start.append(name)
    return Decision(tuple(start), waiting, held_up, skipped)


def sort_services(graph: Graph, targets: Collection[str]) -> tuple[str, ...]:
    """Return `targets` and everything that they depend on, each after what it depends on."""
    found: dict[str, None] = {}
    trail: list[tuple[str, Iterator[str]]] = []

    def enter(name: str) -> None:
        if name not in found and all(name != other for other, _ in trail):
            trail.append((name, iter(graph[name])))

    for target in targets:
        enter(target)
        while trail:
            name, rest = trail[-1]
            following = next(rest, None)
            if following is None:
                trail.pop()
                found[name] = None
            else:
                enter(following)
    return tuple(found)


def find_dependents(graph: Graph, name: str, follow: Callable[[Dependency], bool]) -> tuple[str, ...]:
    """Return the services that depend on `name` by an edge that `follow` accepts, in the graph's order."""
    return tuple(each for each, needs in graph.items() if name in needs and follow(needs[name]))
