"""Choose one host port of a range such as `"8000-8010:80"` for the managed service.

docker compose leaves the choice to the engine, which chooses again for each container. Here the address of a
service has to outlive its containers. The port is therefore chosen once, before anything listens, and the
choice is remembered: a restart of the watcher takes the same port again if it is free.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from watcher.compose import ComposeProject, PortSpec, ServiceSpec
from watcher.deploy.owned import OwnContainers
from watcher.engine import Container, Engine
from watcher.errors import PartlyApplied, WatcherError
from watcher.system import inherited_sockets
from watcher.system.blocking_call import in_thread

ANYWHERE = frozenset({"", "0.0.0.0", "::"})
MAX_BYTES = 65_536  # of the file with the remembered ports
_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}

Remembered = dict[str, dict[str, list[int]]]  # service -> "80/tcp" -> ports chosen last


class NoFreePort(WatcherError):
    """No port of a range is free; the deploy can succeed later."""

    def __init__(self, service: str, port: PortSpec, why: str) -> None:
        rule = f"no port of the range is free{why}: stop what uses one of them, or publish another range"
        super().__init__(f"services.{service}.ports = {str(port)!r}: {rule}")


class HostAddress(NamedTuple):
    """A port of the host that something uses. An empty `host` means every address."""

    protocol: str
    host: str
    port: int

    def __str__(self) -> str:
        """Return the address as a compose file writes it: 127.0.0.1:53/udp."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        suffix = "" if self.protocol == "tcp" else f"/{self.protocol}"
        return f"{host}:{self.port}{suffix}".removeprefix(":")

    def overlaps(self, other: HostAddress) -> bool:
        """Return whether only one of the two can be listened on."""
        if (self.protocol, self.port) != (other.protocol, other.port):
            return False
        return self.host == other.host or bool({self.host, other.host} & ANYWHERE)


@dataclass(frozen=True, slots=True)
class ChosenPort:
    """A range of the compose file, and the port of it that the service has."""

    wanted: PortSpec
    port: int

    def __str__(self) -> str:
        """Return a sentence for the user."""
        return f"port {self.wanted.container_port} is published at {self.port}, of {self.wanted.host_ports}"


def order_candidates(port: PortSpec, preferred: Iterable[int]) -> Iterator[int]:
    """The ports of a range in the order in which to try them: preferred ones first. Each comes once."""
    first, last = port.host_port or 1, port.last_host_port or port.host_port or 1
    ahead = list(dict.fromkeys(number for number in preferred if first <= number <= last))
    yield from ahead
    yield from (number for number in range(first, last + 1) if number not in ahead)


def fixed_addresses(spec: ServiceSpec) -> Iterator[HostAddress]:
    """The host ports that a service publishes without a choice."""
    for port in spec.ports:
        if port.host_port is not None and port.last_host_port is None:
            yield HostAddress(port.protocol, port.host_ip, port.host_port)


def published_addresses(container: Container) -> Iterator[HostAddress]:
    """The host ports that a container takes."""
    for key, bound in container.ports.items():
        protocol = key.partition("/")[2]
        for host, number in bound:
            yield HostAddress(protocol, "" if host in ANYWHERE else host, number)


class HostPorts:
    """Chooses ports and remembers them in `folder`; without one, until the process ends.

    `reachable` are the ports that the watcher's own container publishes, None outside of a container.
    """

    def __init__(
        self,
        engine: Engine | None,
        project: str,
        folder: Path | None,
        reachable: Collection[int] | None = None,
    ) -> None:
        self._engine, self._project, self._reachable = engine, project, reachable
        self._path = folder / "ports.json" if folder else None
        self._remembered: Remembered = {}
        self._chosen: dict[str, tuple[ChosenPort, ...]] = {}

    def chosen(self, service: str) -> tuple[ChosenPort, ...]:
        """Return the choices in force for a service."""
        return self._chosen.get(service, ())

    @contextlib.contextmanager
    def reserving(self) -> Iterator[None]:
        """Release what nothing took in the end; after an error restore the choices of before."""
        before = dict(self._chosen)
        try:
            yield
        except PartlyApplied:
            raise
        except BaseException:
            self._chosen = before
            raise
        finally:
            inherited_sockets.close_unused()

    async def choose(
        self,
        spec: ServiceSpec,
        project: ComposeProject,
        *,
        front: bool,
        held: Collection[int] = (),
        avoid: Collection[int] = (),
        remember: bool = True,
        reserve: bool = False,
    ) -> ServiceSpec:
        """`spec` with one port in place of each range; raises NoFreePort or EngineUnavailable.

        `held` are ports that the service's fronts listen on now, `avoid` those that something else of this
        process is about to. Without `front` the engine publishes. With `reserve` a port of a front is held
        from now on: no watcher that starts at the same time chooses it too.
        """
        ranges = [port for port in spec.ports if port.last_host_port is not None]
        if not ranges:
            self._chosen[spec.name] = ()
            return spec
        own, others = await self._list_published(spec.name)
        used = [*others, *fixed_addresses(spec), *(HostAddress("tcp", "", number) for number in avoid)]
        for each in project.services.values():  # a fixed port of theirs leaves them no other choice
            if each.name != spec.name:
                used += fixed_addresses(each)
                used += [
                    HostAddress(item.wanted.protocol, item.wanted.host_ip, item.port)
                    for item in self._chosen.get(each.name, ())
                ]
        last = await in_thread(self._read_choices, "the remembered ports")
        choices: dict[PortSpec, int] = {}
        for port in ranges:
            before = last.get(spec.name, {}).get(_port_key(port), ())
            number = self._choose_one(
                spec.name, port, before, own=own, used=used, held=held, front=front, reserve=reserve
            )
            choices[port] = number
            used.append(HostAddress(port.protocol, port.host_ip, number))
        self._chosen[spec.name] = tuple(ChosenPort(port, number) for port, number in choices.items())
        if remember:
            chosen: dict[str, list[int]] = {}
            for port, number in choices.items():
                chosen.setdefault(_port_key(port), []).append(number)
            self._remembered = {**last, spec.name: chosen}
            await in_thread(self._write_choices, "the remembered ports")
        ports = (
            replace(port, host_port=choices[port], last_host_port=None) if port in choices else port
            for port in spec.ports
        )
        return replace(spec, ports=tuple(dict.fromkeys(ports)))

    def _choose_one(
        self,
        service: str,
        port: PortSpec,
        before: Iterable[int],
        *,
        own: Collection[HostAddress],
        used: Collection[HostAddress],
        held: Collection[int],
        front: bool,
        reserve: bool,
    ) -> int:
        inside = self._reachable is not None
        ours = {item.port for item in own if item.protocol == port.protocol and _same_host(item, port)}
        if front and port.protocol == "tcp":
            ours |= {*held, *inherited_sockets.list_ports()}
        reachable = sorted(self._reachable or ()) if front else ()
        bind_here = not inside or (front and port.protocol == "tcp")
        host = "" if inside else port.host_ip
        reasons: dict[str, None] = {}
        for number in order_candidates(port, (*reachable, *before, *sorted(ours))):
            wanted = HostAddress(port.protocol, port.host_ip, number)
            if any(wanted.overlaps(other) for other in used):
                continue
            if number in ours or not bind_here:
                return number
            why = bind_problem(host, number, port.protocol, reserve=reserve and front)
            if not why:
                return number
            reasons[why] = None
        special = [why for why in reasons if why != os.strerror(errno.EADDRINUSE)]
        raise NoFreePort(service, port, f" ({', '.join(special)})" if special else "")

    async def _list_published(self, service: str) -> tuple[list[HostAddress], list[HostAddress]]:
        """Return what our containers of the service publish, and what all others do."""
        if self._engine is None:
            return [], []
        mine = {item.id for item in await OwnContainers(self._engine, self._project, service).apps()}
        own: list[HostAddress] = []
        others: list[HostAddress] = []
        for item in await self._engine.containers():
            (own if item.id in mine else others).extend(published_addresses(item))
        return own, others

    def _read_choices(self) -> Remembered:
        """Return the choices of before; what cannot be read is forgotten."""
        if self._path is None or self._remembered:
            return self._remembered
        try:
            with self._path.open("rb") as file:
                document = json.loads(file.read(MAX_BYTES))
            return {
                str(service): {
                    str(key): [number for number in numbers if isinstance(number, int)]
                    for key, numbers in ports.items()
                }
                for service, ports in document.items()
            }
        except (OSError, ValueError, AttributeError, TypeError):
            return {}

    def _write_choices(self) -> None:
        if self._path is not None:
            new = self._path.with_suffix(f".{os.getpid()}.new")
            with contextlib.suppress(OSError):  # then the next start takes the first free port
                new.write_text(json.dumps(self._remembered), encoding="utf-8")
                new.replace(self._path)


def _port_key(port: PortSpec) -> str:
    return f"{port.container_port}/{port.protocol}"


def _same_host(found: HostAddress, port: PortSpec) -> bool:
    return found.host == ("" if port.host_ip in ANYWHERE else port.host_ip)


def bind_problem(host: str, port: int, protocol: str, *, reserve: bool = False) -> str:
    """Why this port of this machine cannot be listened on now; "" when it can.

    With `reserve` a TCP port that can is listened on, until a front takes the sockets.
    """
    kind = _KINDS.get(protocol)
    if kind is None:  # few kernels have SCTP: the engine reports it
        return ""
    problem, sockets = "", list[socket.socket]()
    for address in ("0.0.0.0", "::") if host in ANYWHERE else (host,):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            sock = socket.socket(family, kind)
            sockets.append(sock)
            if kind is socket.SOCK_STREAM:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family is socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((address, port))
            if kind is socket.SOCK_STREAM:
                sock.listen(inherited_sockets.BACKLOG)
        except OSError as error:
            if address == "::" and error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                continue  # this machine has no IPv6
            problem = problem or os.strerror(error.errno or 0)
    keep = reserve and kind is socket.SOCK_STREAM and not problem
    for sock in sockets:
        if keep and sock.getsockname()[1] == port:
            inherited_sockets.offer_socket(sock)
        else:
            sock.close()
    return problem
