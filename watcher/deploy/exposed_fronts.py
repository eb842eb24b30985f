"""Fronts for the TCP ports that a service only exposes, as other services reach them.

They listen in the network of its address container (`network_sockets.py`), nowhere else. The kernel could
forward these ports too, but a kept connection would stay with the old container and break when that is
stopped. A port that the program does not answer on is left to the kernel: clients are refused there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping

from watcher.deploy import probe
from watcher.front import Backend, Front

MakeFront = Callable[[int], Front]


class ExposedFronts:
    """The fronts of one service by port; `make` returns one that has no addresses of its own.

    `begin` says which container is live, `ask` waits until it answers, `hold` says that none is live.
    """

    def __init__(self, make: MakeFront) -> None:
        self._make = make
        self._fronts: dict[int, Front] = {}
        self._target: tuple[str, Backend] | None = None  # the live container's id; its address, with port 0
        self._waiting: set[int] = set()  # ports that it has not answered on yet
        self._silent: set[int] = set()  # ports that it did not answer on in time, or does not expose
        self._backends: dict[str, list[tuple[int, Backend]]] = {}  # by container: where its ports are

    @property
    def fronts(self) -> Mapping[int, Front]:
        """The fronts by port."""
        return self._fronts

    @property
    def silent(self) -> frozenset[int]:
        """Ports that are left to the kernel although they have a front."""
        return frozenset(self._silent)

    @property
    def waits(self) -> bool:
        """Whether the live container has ports that `ask` should ask."""
        return bool(self._waiting)

    async def prepare(self, ports: Collection[int]) -> bool:
        """Have a front for each of these ports; return whether there is a new one."""
        new = [port for port in ports if port not in self._fronts]
        for port in new:
            front = self._make(port)
            await front.start()
            self._fronts[port] = front
        return bool(new)

    def begin(
        self,
        container: str,
        address: str,
        revision: str,
        *,
        exposed: Collection[int],
        answered: Collection[int],
    ) -> None:
        """This container is live: send requests to the ports that it has `answered` on.

        The others stay where they were until `ask` gets an answer.
        """
        target = container, Backend(address, 0, revision)
        before = self._target
        if before is None or (before[0], before[1].host) != (container, address):
            self._silent = set(self._fronts) - set(exposed)
            self._waiting = set(self._fronts) - self._silent - set(answered)
        self._target = target
        for port in self._fronts.keys() - self._waiting - self._silent:
            self._lead(port)

    def _lead(self, port: int) -> None:
        if self._target is None:
            return
        container, place = self._target
        backend = Backend(place.host, port, place.revision)
        reached = self._backends.setdefault(container, [])
        if (port, backend) not in reached:
            reached.append((port, backend))
        if self._fronts[port].started:
            self._fronts[port].switch(backend)

    async def ask(self, seconds: float) -> bool:
        """Ask the ports that have not answered yet, for so long; return whether some never did.

        Returns early when another container is live.
        """
        target, tries = self._target, 0
        clock = asyncio.get_running_loop().time
        until = clock() + seconds
        while target and self._waiting:
            ports = sorted(self._waiting)
            asked: list[Awaitable[probe.ProbeResult]] = [
                probe.probe_tcp(target[1].host, port) for port in ports
            ]
            said = await asyncio.gather(*asked)
            if not self._is_target(target[0], target[1].host):
                return False
            for port, result in zip(ports, said, strict=True):
                if result.ready:
                    self._waiting.discard(port)
                    self._lead(port)
            if self._waiting and clock() > until:
                self._silent |= self._waiting
                self._waiting = set()
                return True
            if self._waiting:
                await asyncio.sleep(probe.BACKOFF.pause(tries))
                tries += 1
        return False

    def _is_target(self, container: str, address: str) -> bool:
        return self._target is not None and (self._target[0], self._target[1].host) == (container, address)

    def hold(self) -> None:
        """No container is live: hold requests."""
        self._target, self._waiting = None, set()
        for front in self._fronts.values():
            if front.started:
                front.switch(None)

    def leave(self, container: str) -> list[tuple[Front, Backend]]:
        """Send this container nothing more; return where it was reached, each with its front."""
        reached = [(self._fronts[port], backend) for port, backend in self._backends.get(container, ())]
        for front, backend in reached:
            if front.started and front.backend == backend:
                front.switch(None)
        return reached

    def forget(self, container: str) -> None:
        """This container is gone."""
        self._backends.pop(container, None)
