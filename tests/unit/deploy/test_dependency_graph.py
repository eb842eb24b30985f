"""Which service is started next: examples, and random graphs brought up step by step."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.compose import Dependency
from watcher.deploy.dependency_graph import (
    ConditionState,
    Decision,
    Graph,
    NodeState,
    decide_next,
    find_dependents,
    judge_edge,
    sort_services,
)

STARTED, HEALTHY = Dependency(), Dependency("service_healthy")
COMPLETED = Dependency("service_completed_successfully")


@pytest.mark.parametrize(
    ("condition", "met", "impossible"),
    [
        ("service_started", "running checking healthy unhealthy completed failed unused", "broken"),
        ("service_healthy", "healthy unused", "running unhealthy completed failed broken"),
        ("service_completed_successfully", "completed unused", "failed broken"),
    ],
)
def test_what_each_state_means_for_each_condition(condition: str, met: str, impossible: str) -> None:
    for state in NodeState:
        expected = ConditionState.MET if state in met.split() else ConditionState.PENDING
        if state in impossible.split():
            expected = ConditionState.IMPOSSIBLE
        assert judge_edge(Dependency(condition), state) is expected, state  # type: ignore[arg-type]


def test_a_service_waits_for_a_dependency_of_its_dependency() -> None:
    graph: Graph = {"api": {"cache": STARTED}, "cache": {"db": HEALTHY}, "db": {}}
    states = {"db": NodeState.CHECKING}
    assert decide_next(graph, states, ["api"]) == Decision((), {"cache": ("db",), "api": ("cache",)})
    states["db"] = NodeState.HEALTHY
    assert decide_next(graph, states, ["api"]).start == ("cache",)


def test_a_failure_names_what_it_holds_up_and_the_rest_is_started() -> None:
    graph: Graph = {"api": {"job": COMPLETED, "mail": STARTED}, "job": {"db": HEALTHY}, "db": {}, "mail": {}}
    decision = decide_next(graph, {"db": NodeState.UNHEALTHY}, ["api"])
    assert decision.held_up == {"job": ("db",), "api": ("db",)}
    assert decision.start == ("mail",)


def test_what_is_not_required_holds_nothing_up() -> None:
    graph: Graph = {
        "api": {"mail": Dependency("service_healthy", required=False)},
        "mail": {"db": STARTED},
        "db": {},
    }
    decision = decide_next(graph, {"db": NodeState.BROKEN}, ["api"])
    assert (decision.start, decision.skipped) == (("api",), {"api": ("mail",)})


def test_what_runs_is_not_held_up() -> None:
    graph: Graph = {"api": {"db": HEALTHY}, "db": {}}
    states = {"api": NodeState.RUNNING, "db": NodeState.UNHEALTHY}
    assert decide_next(graph, states, ["api"]) == Decision()


def test_only_what_a_target_needs_is_started() -> None:
    graph: Graph = {"api": {"db": STARTED}, "db": {}, "mail": {}}
    assert decide_next(graph, {}, ["api"]).start == ("db",)
    assert sort_services(graph, ["mail", "api"]) == ("mail", "db", "api")


def test_the_services_that_depend_on_one() -> None:
    graph: Graph = {"a": {"c": Dependency(restart=True)}, "b": {"c": STARTED}, "c": {}}
    assert find_dependents(graph, "c", lambda _: True) == ("a", "b")
    assert find_dependents(graph, "c", lambda each: each.restart) == ("a",)


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, dict[str, Dependency]]:
    """A graph without a cycle, in an order that says nothing."""
    names = [f"s{number}" for number in range(draw(st.integers(1, 9)))]
    found: dict[str, dict[str, Dependency]] = {}
    for place, name in enumerate(names):
        needs = draw(st.lists(st.sampled_from(names[:place]), unique=True)) if place else []
        found[name] = {
            other: Dependency(
                draw(
                    st.sampled_from(("service_started", "service_healthy", "service_completed_successfully"))
                ),
                required=draw(st.booleans()) or draw(st.booleans()),
            )
            for other in needs
        }
    return {name: found[name] for name in draw(st.permutations(names))}


ENDS = (
    NodeState.RUNNING,
    NodeState.HEALTHY,
    NodeState.UNHEALTHY,
    NodeState.COMPLETED,
    NodeState.FAILED,
    NodeState.BROKEN,
)


@given(graphs(), st.randoms(use_true_random=False), st.booleans())
def test_random_graphs_come_up_in_order_and_never_hang(
    graph: dict[str, dict[str, Dependency]], chance: random.Random, all_well: bool
) -> None:
    """Each started service goes through STARTING and CHECKING to a random end."""
    ends = {name: chance.choice(ENDS) for name in graph}
    if all_well:  # what satisfies all who depend on it, where one state can
        for name in graph:
            conditions = {needs[name].condition for needs in graph.values() if name in needs}
            ends[name] = (
                NodeState.COMPLETED if "service_completed_successfully" in conditions else NodeState.HEALTHY
            )
    states = dict.fromkeys(graph, NodeState.ABSENT)
    while True:
        decision = decide_next(graph, states, list(graph))
        for name in decision.start:
            assert states[name] is NodeState.ABSENT
            for other, dependency in graph[name].items():
                lost = (
                    judge_edge(dependency, states[other]) is ConditionState.IMPOSSIBLE
                    or other in decision.held_up
                )
                met = judge_edge(dependency, states[other]) is ConditionState.MET
                assert met or (lost and not dependency.required), "started before its condition held"
                assert (other in decision.skipped.get(name, ())) is (lost and not met)
            states[name] = NodeState.STARTING
        under_way = [name for name in graph if states[name] in (NodeState.STARTING, NodeState.CHECKING)]
        if not under_way:
            break
        moved = chance.choice(under_way)
        checked = states[moved] is NodeState.STARTING and ends[moved] is not NodeState.BROKEN
        states[moved] = NodeState.CHECKING if checked and chance.random() < 0.5 else ends[moved]
    left = {name for name in graph if states[name] is NodeState.ABSENT}
    assert set(decision.held_up) <= left
    for name in left - decision.held_up.keys():  # only for something that runs on and is to complete
        assert decision.waiting[name]
    for name, causes in decision.held_up.items():
        assert causes
        needed = set(sort_services(graph, [name])) - {name}
        for cause in causes:
            assert cause in needed
            assert states[cause] is ends[cause] is not NodeState.ABSENT
            assert any(
                judge_edge(needs[cause], states[cause]) is ConditionState.IMPOSSIBLE
                for needs in graph.values()
                if cause in needs
            )
    if all_well and not any(
        len({needs[name].condition for needs in graph.values() if name in needs} - {"service_started"}) > 1
        for name in graph
    ):
        assert not left
