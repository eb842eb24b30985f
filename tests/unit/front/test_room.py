"""Many connections: whose place a newcomer gets."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.unit.front.support import Peer, fronted, get, ok, origin, refusals, says, true
from watcher.front import FrontLimits, FrontTimes
from watcher.front.room import Room
from watcher.observers.events import FrontRefused, Notice

TIMES = FrontTimes()
AT_ONCE = FrontTimes(idle_kept=0.0)


class Somebody:
    """A connection that notes whether it was closed."""

    def __init__(self, address: str, *, fresh: bool = False) -> None:
        self.address, self.fresh, self.closed = address, fresh, False

    def shut(self) -> None:
        self.closed = True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    now = [100.0]
    monkeypatch.setattr("watcher.front.room.time.monotonic", lambda: now[0])

    def move(seconds: float) -> None:
        now[0] += seconds

    return move


def idle(it: Room, address: str, *, fresh: bool = False) -> Somebody:
    guest = Somebody(address, fresh=fresh)
    it.joined(address)
    it.mark_idle(guest)
    return guest


def test_the_longest_idle_one_goes(clock: Callable[[float], None]) -> None:
    it = Room(TIMES)
    first = idle(it, "a")
    clock(1)
    second = idle(it, "b")
    clock(1)
    it.mark_idle(first)  # it has been used
    clock(5)
    it.joined("c")
    assert it.make_room("c", 2)
    assert second.closed
    assert not first.closed


def test_one_that_has_just_become_idle_stays(clock: Callable[[float], None]) -> None:
    it = Room(TIMES)
    kept, fresh = idle(it, "a"), idle(it, "b", fresh=True)
    it.joined("c")
    assert not it.make_room("c", 2)
    clock(TIMES.idle_kept)
    assert it.make_room("c", 2)
    assert kept.closed
    assert not it.make_room("c", 2)
    clock(TIMES.idle_fresh - TIMES.idle_kept)
    assert it.make_room("c", 2)
    assert fresh.closed


def test_a_busy_one_stays(clock: Callable[[float], None]) -> None:
    it = Room(TIMES)
    guest = idle(it, "a")
    it.mark_busy(guest)
    clock(100)
    it.joined("b")
    assert not it.make_room("b", 1)
    assert not guest.closed


def test_one_address_cannot_take_all_places(clock: Callable[[float], None]) -> None:
    it = Room(TIMES)
    other = idle(it, "b")
    clock(100)
    for _ in range(6):
        it.joined("a")
        assert it.make_room("a", 8)
    it.joined("a")
    assert not it.make_room("a", 8)  # the seventh of eight, and none of its own is idle
    it.left("a")
    assert not other.closed
    it.joined("b")
    assert it.make_room("b", 8)


async def test_idle_connections_make_room_for_a_new_client() -> None:
    async with origin(says("x")) as app, fronted(FrontLimits(connections=40), AT_ONCE) as it:
        it.front.switch(app.backend)
        clients: list[Peer] = []
        for _ in range(100):
            clients.append(await it.connect())
            await clients[-1].ask(get(), ok("x"))
        assert await clients[0].rest() == b""
        assert it.told(FrontRefused) == []
        await true(lambda: it.front.stats.connections <= 40)
        assert len([event for event in it.told(Notice) if "front.connections" in event.text]) == 1


async def test_busy_connections_do_not() -> None:
    async with origin() as app, fronted(FrontLimits(connections=2), AT_ONCE) as it:
        it.front.switch(app.backend)
        busy = [await it.connect() for _ in range(2)]
        for number, client in enumerate(busy):
            await client.send(get())
            await (await app.peer(number)).head()
        third = await it.connect()
        await third.send(get())
        assert (await third.rest()).startswith(b"HTTP/1.1 503 ")
        assert refusals(it.told(FrontRefused)) == [("limit", 503)]
        for number, client in enumerate(busy):
            await app.peers[number].send(ok("x"))
            await client.expect(ok("x"))
