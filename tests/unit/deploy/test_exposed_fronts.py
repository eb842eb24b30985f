"""Ports that a service only exposes are served by fronts: kept connections of other services do not break."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.unit.deploy.inner_world import NETWORK, PORT, InnerWorld
from tests.unit.deploy.world import NotedFront
from watcher.deploy import probe
from watcher.front import Backend

Fronts = dict[int, NotedFront]


@pytest.fixture
async def inner(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[InnerWorld]:
    """A service that others call, with one exposed port."""
    made = InnerWorld()
    await made.engine.ensure_network({"Name": NETWORK})
    monkeypatch.setattr(probe, "probe_http", made.answer)
    monkeypatch.setattr(probe, "probe_tcp", made.answer_tcp)
    yield made
    await made.end()


@pytest.fixture
def fronts(inner: InnerWorld) -> Fronts:
    """The fronts of exposed ports, once they are made."""
    return inner.serve_exposed()


async def backend(inner: InnerWorld, container: str, revision: str, port: int = PORT) -> Backend:
    return Backend(await inner.address(container), port, revision)


async def test_a_front_serves_the_port_and_switches_with_the_deploy(
    inner: InnerWorld, fronts: Fronts
) -> None:
    await inner.begin()
    first = await inner.good("one")
    await inner.settle(1)
    assert fronts[PORT].backend == await backend(inner, first, "one")
    assert inner.served()[-1] == {PORT}
    fronts[PORT].pointed.clear()
    second = await inner.good("two")
    assert fronts[PORT].backend == await backend(inner, second, "two"), "at the switch, not later"
    assert fronts[PORT].pointed == ["two"], "requests were never held"


async def test_the_old_container_is_drained_of_requests_before_it_is_stopped(
    inner: InnerWorld, fronts: Fronts
) -> None:
    await inner.begin()
    first = await inner.good("one")
    await inner.settle(1)
    before = await backend(inner, first, "one")
    await inner.good("two")
    await inner.settle()
    assert fronts[PORT].drained == [before]
    assert [item.id for item in await inner.mine()] != [first]


async def test_requests_are_held_until_the_first_container_answers(inner: InnerWorld, fronts: Fronts) -> None:
    await inner.begin()
    slow = inner.image(silent=True)
    first = await inner.good("one", slow)
    await inner.settle(1)
    assert (fronts[PORT].backend, inner.served()[-1]) == (None, {PORT})
    inner.silent.clear()
    await inner.settle(1)
    assert fronts[PORT].backend == await backend(inner, first, "one")


async def test_a_port_that_nothing_answers_on_is_left_to_the_kernel(
    inner: InnerWorld, fronts: Fronts
) -> None:
    await inner.begin()
    first = await inner.good("one", inner.image(silent=True))
    await inner.settle(15)
    assert inner.served()[-1] == set()
    assert (await inner.targets())[-1] == await inner.address(first)
    asked = len(inner.asked)
    await inner.settle(60)
    assert len(inner.asked) == asked, "it is not asked for ever"
    second = await inner.good("two")
    await inner.settle(1)
    assert inner.served()[-1] == {PORT}, "the next container is asked again"
    assert fronts[PORT].backend == await backend(inner, second, "two")


async def test_only_ports_that_answer_have_their_requests_sent_on(
    inner: InnerWorld, fronts: Fronts, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answer_one(host: str, port: int) -> probe.ProbeResult:
        if port == PORT:
            return await inner.answer_tcp(host, port)
        return probe.ProbeResult(ready=False, text="refused")

    monkeypatch.setattr(probe, "probe_tcp", answer_one)
    inner.recipe.exposed = (PORT, PORT + 1)
    await inner.begin()
    first = await inner.good("one")
    await inner.settle(15)
    assert inner.served()[-1] == {PORT}
    assert fronts[PORT].backend == await backend(inner, first, "one")
    assert fronts[PORT + 1].backend is None


async def test_requests_are_held_while_it_is_replaced_in_place(inner: InnerWorld, fronts: Fronts) -> None:
    inner.recipe.written = ("p_data",)
    await inner.begin()
    await inner.good("one")
    await inner.settle(1)
    fronts[PORT].pointed.clear()
    second = await inner.good("two")
    await inner.settle(1)
    assert fronts[PORT].pointed[0] is None
    assert fronts[PORT].backend == await backend(inner, second, "two")


async def test_requests_are_held_while_no_container_lives_and_go_to_the_next(
    inner: InnerWorld, fronts: Fronts
) -> None:
    await inner.begin()
    first = await inner.good("one")
    await inner.settle()
    inner.engine.end(first, 1)
    await inner.settle(1)
    assert fronts[PORT].backend is None
    second = await inner.good("two")
    await inner.settle(1)
    assert fronts[PORT].backend == await backend(inner, second, "two")


async def test_the_one_before_gets_the_requests_back_when_a_new_one_fails(
    inner: InnerWorld, fronts: Fronts
) -> None:
    await inner.begin()
    first = await inner.good("one")
    await inner.settle(1)
    second = await inner.good("two")
    inner.engine.end(second, 1)
    await inner.settle(1)
    assert fronts[PORT].backend == await backend(inner, first, "one")


async def test_the_next_daemon_serves_what_it_adopts(inner: InnerWorld, fronts: Fronts) -> None:
    before = await inner.begin()
    first = await inner.good("one")
    before.kill()
    fronts.clear()
    await inner.begin()
    await inner.settle(1)
    assert fronts[PORT].backend == await backend(inner, first, "one")


async def test_a_port_that_is_exposed_later_gets_a_front_and_one_that_is_not_loses_it(
    inner: InnerWorld, fronts: Fronts
) -> None:
    inner.recipe.exposed = (PORT, PORT + 1)
    await inner.begin()
    await inner.good("one")
    await inner.settle(1)
    inner.recipe.exposed = (PORT + 1, PORT + 2)
    second = await inner.good("two")
    await inner.settle(1)
    assert inner.served()[-1] == {PORT + 1, PORT + 2}
    assert fronts[PORT + 2].backend == await backend(inner, second, "two", PORT + 2)


async def test_a_service_with_published_ports_has_no_such_fronts(inner: InnerWorld, fronts: Fronts) -> None:
    inner.fronts = True
    inner.recipe.ports = (9000,)
    await inner.begin()
    await inner.good("one")
    await inner.settle(1)
    assert fronts == {}


async def test_without_sockets_in_the_network_the_kernel_forwards(inner: InnerWorld) -> None:
    fronts = inner.serve_exposed()
    inner.sockets = None
    await inner.begin()
    await inner.good("one")
    await inner.settle(20)
    assert (fronts, inner.served()[-1]) == ({}, set())
