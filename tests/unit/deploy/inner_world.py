"""A service without published ports, which others call at its address, in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import cast

from tests.unit.deploy.world import NotedFront, World
from watcher.deploy.forwarding import IMAGE
from watcher.deploy.network_sockets import NetworkSockets
from watcher.deploy.probe import ProbeResult
from watcher.front import Front

NETWORK, PORT = "p_default", 7000


class InnerWorld(World):
    """A world whose service has no front, and is called by others at its address."""

    def __init__(self) -> None:
        super().__init__(fronts=False)
        self.engine.add_image(tags=(IMAGE,))
        self.recipe.ports, self.recipe.exposed = (), (PORT,)
        self.recipe.network = NETWORK
        self.recipe.address_endpoints = {NETWORK: {"Aliases": ["app"]}}
        self.asked: list[int] = []

    async def answer_tcp(self, host: str, port: int) -> ProbeResult:
        """Answer as a program that listens on its exposed ports, unless its image is silent."""
        await asyncio.sleep(0.001)
        self.asked.append(port)
        answers = [
            box
            for box in await self.mine()
            if host in box.addresses.values() and box.image not in self.silent
        ]
        return ProbeResult(bool(answers), "refused")

    async def targets(self) -> list[str]:
        """Addresses to which the address container was told to forward, in order; "" holds."""
        found = [
            command.words[4] for _, command in self.engine.executed if command.words[4].startswith("*nat")
        ]
        parts = [[line.split()[-1] for line in text.splitlines() if "DNAT" in line] for text in found]
        return ["".join(each) for each in parts]

    async def address(self, container: str) -> str:
        found = await self.engine.container(container)
        assert found
        return found.addresses[NETWORK]

    def served(self) -> list[set[int]]:
        """Return the ports that the kernel left to fronts, by the rules in order."""
        rules = [c.words[4] for _, c in self.engine.executed if c.words[4].startswith("*nat")]
        lines = [[line for line in text.splitlines() if line.endswith("RETURN")] for text in rules]
        return [{int(line.split()[5]) for line in each} for each in lines]

    def serve_exposed(self) -> dict[int, NotedFront]:
        """Have daemons serve exposed ports by fronts; return the fronts by port, filled as they are made."""
        made: dict[int, NotedFront] = {}

        def make(port: int) -> Front:
            made[port] = NotedFront()
            return cast(Front, made[port])

        self.make_front = make
        self.sockets = cast(NetworkSockets, Sockets())
        return made


class Sockets:
    """Sockets in the network of an address container, which can all be had."""

    def __init__(self) -> None:
        self.ports: frozenset[int] = frozenset()
        self.on_end = lambda: None
        self.mounts: Mapping[str, str] = {}

    def prepare(self) -> None:
        """Nothing has to be made."""

    async def open(self, _container: str, fronts: Mapping[int, Front]) -> None:
        self.ports = frozenset(fronts)

    async def close(self) -> None:
        self.ports = frozenset()
