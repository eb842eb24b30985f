"""A reload that chooses a port of a range: no other program can take it between the choice and the front."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.unit.daemon.in_process import House
from tests.unit.daemon.test_daemon import house  # noqa: F401 - a fixture
from watcher.daemon import fleet
from watcher.daemon.fleet import Fleet
from watcher.daemon.port_exchange import exchange_ports
from watcher.observers.events import ConfigurationRefused
from watcher.system import inherited_sockets

REAL_CLOCK = True
FIRST = 21360  # ports of these tests


def write_services(root: Path, **ranges: str) -> None:
    """Write a compose file with a port of each service, as the file has it without the container's port."""
    services = (f"  {name}: {{build: ., ports: ['127.0.0.1:{host}']}}" for name, host in ranges.items())
    (root / "compose.yaml").write_text("\n".join(["services:", *services, ""]))


def listens(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
            sock.listen()
        except OSError:
            return True
    return False


class Rival:
    """Another program, which takes each free port of a range just before the fronts start."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, ports: range) -> None:
        self.ports, self.found_free = ports, list[int]()
        exchange, add = exchange_ports, Fleet.add

        def exchange_after(changes: Any) -> AbstractContextManager[None]:
            self._look()
            return exchange(changes)

        def add_after(of: Fleet, configs: Any) -> list[Any]:
            self._look()
            return add(of, configs)

        monkeypatch.setattr(fleet, "exchange_ports", exchange_after)
        monkeypatch.setattr(Fleet, "add", add_after)

    def _look(self) -> None:
        self.found_free += [port for port in self.ports if not listens(port)]


async def until_published(running: Any, name: str, port: int) -> None:
    def published() -> bool:
        service = running.daemon.services.get(name)
        return bool(service) and port in service.held_ports

    await running.seen.until(published)


@pytest.mark.parametrize("joins", [False, True], ids=["changed", "joins"])
async def test_a_port_that_a_reload_chooses_is_held_until_its_front_starts(
    house: House,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    joins: bool,
) -> None:
    write_services(house.root, web=f"{FIRST}:{house.port}")
    async with house.daemon() as running:
        await running.until_live()
        rival = Rival(monkeypatch, range(FIRST + 1, FIRST + 2))
        wide, fixed = f"{FIRST + 1}-{FIRST + 2}:{house.port}", f"{FIRST}:{house.port}"
        services = {"web": fixed, "api": wide} if joins else {"web": wide}
        write_services(house.root, **services)
        name = "api" if joins else "web"
        await until_published(running, name, FIRST + 1)
        assert rival.found_free == []
        await running.until_live(name)
        assert (await running.ask(name)).text == "hello"
        assert not listens(FIRST + 2)
    assert inherited_sockets.list_ports() == frozenset()


async def test_a_refused_reload_releases_what_it_reserved_and_keeps_the_old_choice(house: House) -> None:  # noqa: F811
    write_services(house.root, web=f"{FIRST}-{FIRST + 2}:{house.port}")
    async with house.daemon() as running:
        await running.until_live()
        hosts: Callable[[str], Any] = running.daemon.services["web"]._shared.host_ports.chosen
        before = hosts("web")
        assert [each.port for each in before] == [FIRST]
        with socket.socket() as other, socket.socket() as last:
            other.bind(("127.0.0.1", FIRST + 3))
            other.listen()
            last.bind(("127.0.0.1", FIRST + 4))
            last.listen()
            more = f"{FIRST + 3}-{FIRST + 4}:{house.port}"
            write_services(house.root, web=f"{FIRST + 5}-{FIRST + 6}:{house.port}", api=more)
            await running.seen.until(lambda: bool(running.seen.of(ConfigurationRefused)))
        assert inherited_sockets.list_ports() == frozenset()
        assert not listens(FIRST + 5)
        assert hosts("web") == before
        assert (await running.ask()).text == "hello"
