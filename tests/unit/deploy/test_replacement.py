"""A service without published ports is replaced while other services call it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.facts import missing
from tests.unit.deploy.inner_world import NETWORK, PORT, InnerWorld
from tests.unit.deploy.world import outcomes
from watcher import labels
from watcher.deploy import probe
from watcher.deploy.replacement import Replacement, choose_replacement
from watcher.errors import UserError


@pytest.fixture
async def inner(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[InnerWorld]:
    """A service that others call, with one exposed port."""
    made = InnerWorld()
    await made.engine.ensure_network({"Name": NETWORK})
    monkeypatch.setattr(probe, "probe_http", made.answer)
    monkeypatch.setattr(probe, "probe_tcp", made.answer_tcp)
    yield made
    await made.end()


async def test_the_old_container_answers_until_the_new_one_does(inner: InnerWorld) -> None:
    daemon = await inner.begin()
    first = await inner.good("one")
    await inner.settle(20)
    before = len(await inner.targets())
    old = await inner.address(first)
    second = await inner.good("two")
    new = await inner.address(second)
    assert (await inner.targets())[before:] == [new], "connections were never held"
    states = {item.id: item.state for item in await inner.mine()}
    assert states == {first: "running", second: "running"}, "the old one soaks"
    await inner.settle()
    assert {item.id for item in await inner.mine()} == {second}
    drained = [command.words[-2] for _, command in inner.engine.executed if "ESTABLISHED" in command.words[2]]
    assert drained == [f"src={old}"]
    await daemon.stop()
    await inner.nothing_left()


async def test_a_container_that_answered_is_not_taken_for_starting(inner: InnerWorld) -> None:
    await inner.begin()
    await inner.good("one")
    await inner.settle(20)
    await inner.good("two")
    rules = [c.words[4] for _, c in inner.engine.executed if c.words[4].startswith("*nat")]
    assert "RST" not in rules[-1], "its refusals are real ones"


async def test_a_new_container_that_never_answers_leaves_the_old_one_as_it_is(inner: InnerWorld) -> None:
    await inner.begin()
    first = await inner.good("one")
    await inner.settle(20)
    before = len(await inner.targets())
    failed = await inner.deploy("two", inner.image(silent=True))
    assert isinstance(failed, UserError)
    assert missing(str(failed), PORT, "30 s") == []
    assert missing(failed.failure.hint, PORT, "expose", "compose file", "EXPOSE", "Dockerfile") == []
    assert (await inner.targets())[before:] == []
    assert {item.id: item.state for item in await inner.mine()} == {first: "running"}


async def test_the_old_container_takes_over_when_the_new_one_ends_in_its_soak_time(inner: InnerWorld) -> None:
    daemon = await inner.begin()
    first = await inner.good("one")
    await inner.settle(20)
    second = await inner.good("two")
    inner.engine.end(second, 1)
    await inner.settle(1)
    assert (await inner.targets())[-1] == await inner.address(first)
    assert daemon.deployer.live == "one"
    assert "rolled_back two" in outcomes(daemon)


async def test_all_ports_that_the_old_one_answers_on_are_waited_for(inner: InnerWorld) -> None:
    inner.recipe.exposed = (PORT, PORT + 1)
    await inner.begin()
    await inner.good("one")
    inner.asked.clear()
    await inner.good("two")
    assert inner.asked == [PORT, PORT + 1] * 2, "of the old one, then of the new one"


async def test_what_both_would_write_is_written_by_one_at_a_time(inner: InnerWorld) -> None:
    inner.recipe.written = ("p_data",)
    await inner.begin()
    await inner.good("one")
    second = await inner.good("two")
    assert {item.id: item.state for item in await inner.mine() if item.running} == {second: "running"}
    await inner.good("three")
    said = [text for text in inner.notices() if "replaced in place" in text]
    assert len(said) == 1, "it is said once"
    assert missing(said[0], "both", "p_data") == []
    assert inner.asked == []


@pytest.mark.parametrize(
    ("exposed", "reason"), [((), "exposes no TCP port"), ((PORT,), "nothing answers on")]
)
async def test_without_a_port_that_answers_it_is_replaced_in_place(
    inner: InnerWorld, exposed: tuple[int, ...], reason: str
) -> None:
    inner.recipe.exposed = exposed
    await inner.begin()
    await inner.good("one", inner.image(silent=True))
    second = await inner.good("two", inner.image(silent=True))
    assert [item.id for item in await inner.mine() if item.running] == [second]
    assert [text for text in inner.notices() if reason in text]


async def test_a_port_that_the_new_one_no_longer_exposes_is_not_waited_for(inner: InnerWorld) -> None:
    inner.recipe.exposed = (PORT, PORT + 1)
    await inner.begin()
    first = await inner.good("one")
    inner.asked.clear()
    inner.recipe.exposed = (PORT + 1, PORT + 2)
    second = await inner.good("two")
    assert inner.asked == [PORT + 1] * 2, "of the old one, then of the new one"
    assert {item.id for item in await inner.mine() if item.running} == {first, second}
    inner.recipe.exposed = (PORT,)
    third = await inner.good("three", inner.image(silent=True))
    assert [item.id for item in await inner.mine() if item.running] == [third], "no port is left to ask"
    (said,) = [text for text in inner.notices() if "replaced in place" in text]
    assert missing(said, "no longer", PORT + 1, PORT + 2) == []


async def test_a_service_that_no_other_calls_is_replaced_in_place_silently(inner: InnerWorld) -> None:
    inner.recipe.address_endpoints = {}
    await inner.begin()
    await inner.good("one")
    second = await inner.good("two")
    assert [item.id for item in await inner.mine() if item.running] == [second]
    assert inner.notices() == []


async def test_the_next_daemon_goes_on_side_by_side(inner: InnerWorld) -> None:
    before = await inner.begin()
    first = await inner.good("one")
    before.kill()
    await inner.begin()
    second = await inner.good("two")
    assert {item.id for item in await inner.mine() if item.running} == {first, second}
    await inner.settle()
    selector = labels.service_filter(inner.recipe.project, inner.recipe.service)
    assert len(await inner.engine.containers(labels=selector)) == 1


def test_the_choice_needs_an_address_a_port_and_nothing_that_is_shared() -> None:
    def choose(**given: object) -> Replacement:
        facts = {"addressed": True, "written": (), "exposed": (1, 2), "answered": (2,)} | given
        return choose_replacement(**facts)  # type: ignore[arg-type]

    assert choose() == Replacement(side_by_side=True, ports=(2,))
    for changed in ({"addressed": False}, {"written": ("v",)}, {"exposed": ()}, {"answered": ()}):
        assert not choose(**changed).side_by_side
