"""Who is shown the lines of a failure."""

from __future__ import annotations

import pytest

from tests.unit.front.support import fronted, get
from watcher.front import Unavailable, audience
from watcher.front.audience import is_local, is_own_name

FAILED = Unavailable(
    "The build failed", "Does not compile.", ("main.go:1:1: secret",), wait=False, private=True
)
HOST = b"GET / HTTP/1.1\r\nHost: %s\r\n\r\n"


@pytest.mark.parametrize(
    ("peer", "own", "local"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.8.9.1", "127.0.0.1", True),
        ("::1", "::1", True),
        ("::ffff:127.0.0.1", "::ffff:127.0.0.1", True),
        ("192.168.1.5", "192.168.1.5", True),  # this machine, by an address of its own
        ("fe80::1%eth0", "fe80::1%eth0", True),
        ("192.168.1.6", "192.168.1.5", False),
        ("172.17.0.1", "172.17.0.2", False),  # through docker's proxy it may be anybody
        ("fe80::2%eth0", "fe80::1%eth0", False),
        ("", "127.0.0.1", False),
    ],
)
def test_a_client_on_this_machine_is_known(peer: str, own: str, local: bool) -> None:
    assert is_local(peer, own) is local


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:9000", "a.localhost:9000", "127.0.0.1:9", "[::1]:9"]
)
def test_names_that_are_this_machines_own(host: str) -> None:
    assert is_own_name(host)


@pytest.mark.parametrize(
    "host", ["evil.test", "evil.test:9000", "localhost.evil.test", "127.0.0.1.evil.test", ""]
)
def test_names_that_a_stranger_can_point_here(host: str) -> None:
    assert not is_own_name(host)


async def test_a_client_on_this_machine_sees_the_lines() -> None:
    async with fronted(explain=lambda: FAILED) as it:
        for request in (HOST % b"localhost", HOST % b"127.0.0.1:9000", b"GET / HTTP/1.0\r\n\r\n"):
            client = await it.connect()
            await client.send(request)
            assert b"main.go:1:1: secret" in await client.rest()


async def test_a_page_that_was_made_to_point_here_does_not() -> None:
    async with fronted(explain=lambda: FAILED) as it:
        client = await it.connect()
        await client.send(HOST % b"rebound.evil.test:9000")
        answer = await client.rest()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"The build failed" in answer
        assert b"secret" not in answer
        assert b"compile" not in answer


@pytest.mark.parametrize("accept", ["text/html", "application/json", "*/*"])
async def test_a_client_elsewhere_is_told_where_to_look(accept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audience, "is_local", lambda _peer, _own: False)
    async with fronted(explain=lambda: FAILED) as it:
        client = await it.connect()
        await client.send(get("/", f"Accept: {accept}"))
        answer = await client.rest()
        assert b"The build failed" in answer
        assert b"status page" in answer
        assert b"secret" not in answer
