"""Services that exchange their host ports in one edit: no port is refused, and none is left open."""

from __future__ import annotations

import socket
from contextlib import suppress

import pytest

from watcher.daemon.port_exchange import exchange_ports
from watcher.front import Front, Listen, PortInUse
from watcher.observers.events import Fanout
from watcher.system import inherited_sockets


def front(port: int, service: str, host: str = "127.0.0.1") -> Front:
    return Front([Listen(host, port)], observer=Fanout(), service=service)


def port_of(made: Front) -> int:
    return made.addresses[0].port


def connects(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
        return True
    return False


@pytest.mark.parametrize("count", [2, 3])
async def test_services_that_exchange_their_ports_are_never_refused(count: int) -> None:
    before = [front(0, f"s{number}") for number in range(count)]
    for each in before:
        await each.start()
    ports = [port_of(each) for each in before]
    after = [front(port, f"s{number}") for number, port in enumerate([*ports[1:], ports[0]])]
    with pytest.raises(PortInUse):
        await after[0].start()
    with exchange_ports([([old], [new]) for old, new in zip(before, after, strict=True)]):
        for each in after:
            await each.start()
    assert all(connects(port) for port in ports)
    for each in before:
        await each.close()
    assert all(connects(port) for port in ports)
    for each in after:
        await each.close()
    assert not any(connects(port) for port in ports)
    assert inherited_sockets.list_ports() == frozenset()


async def test_a_port_that_stays_or_that_no_other_service_wants_is_not_offered() -> None:
    stays, goes = front(0, "a"), front(0, "b")
    for each in (stays, goes):
        await each.start()
    with exchange_ports([([stays, goes], [stays])]):
        assert inherited_sockets.list_ports() == frozenset()
    left = port_of(goes)
    await goes.close()
    assert connects(port_of(stays))
    assert not connects(left)
    await stays.close()


async def test_a_port_that_was_not_taken_is_closed_again() -> None:
    """The other service could not be changed for another reason."""
    before = front(0, "a")
    await before.start()
    port = port_of(before)
    with exchange_ports([([before], []), ([], [front(port, "b")])]):
        assert inherited_sockets.list_ports() == {port}
    await before.close()
    assert not connects(port)
