"""Listening sockets that outlive the process which made them.

They come from the program that starts this one (systemd's socket activation, or this program when it replaces
itself: sd_listen_fds(3)). After a kill, a new process opens them first of all, at the addresses of the one
before. Until it accepts, clients wait in the kernel.

The sockets belong to the process, so this module holds them. It imports almost nothing, because it runs
before the rest of the program is imported.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
import sys
from collections.abc import Iterable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

FIRST = 3  # sd_listen_fds(3): the first descriptor that is passed
BACKLOG = 4096
_ASIDE = 200  # descriptors are moved out of the way of those that are passed
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")

_sockets: list[socket.socket] = []
_files: list[int] = []


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """An address that is listened on; `only6`: an IPv6 one that takes no IPv4 clients."""

    host: str
    port: int
    only6: bool = False


def address_of(sock: socket.socket) -> ListenAddress:
    """Return where a socket listens."""
    host, port = sock.getsockname()[:2]
    only6 = sock.family == socket.AF_INET6 and bool(sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY))
    return ListenAddress(host, port, only6)


def receive_sockets(environ: MutableMapping[str, str] | None = None, first: int = FIRST) -> None:
    """Take the sockets that were passed to this process, and remove the variables about them."""
    environ = os.environ if environ is None else environ
    pid, count, _ = (environ.pop(name, "") for name in _VARIABLES)
    if pid != str(os.getpid()) or not (count.isascii() and count.isdigit()):
        return
    for descriptor in range(first, first + min(int(count), 64)):
        with contextlib.suppress(OSError):
            os.set_inheritable(descriptor, False)
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                _files.append(descriptor)
                continue
            sock = socket.socket(fileno=descriptor)
            inet = sock.family in (socket.AF_INET, socket.AF_INET6)
            if inet and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                _sockets.append(sock)
            else:
                sock.close()


def reopen_sockets(addresses: Iterable[ListenAddress]) -> None:
    """Listen again where a killed process did; an address that cannot be had is left to a later bind."""
    for address in addresses:
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        if _find_socket(family, address.host, address.port):
            continue
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address.only6))
            sock.bind((address.host, address.port))
            sock.listen(BACKLOG)
        except OSError:
            sock.close()
        else:
            _sockets.append(sock)


def offer_socket(sock: socket.socket) -> None:
    """Give a listening socket of this process to the next one that asks for its address."""
    _sockets.append(sock)


def withdraw_sockets(sockets: Iterable[socket.socket]) -> None:
    """Close those of `sockets` that were offered and that nothing has taken."""
    for sock in sockets:
        if sock in _sockets:
            _sockets.remove(sock)
            sock.close()


def take_socket(family: int, host: str, port: int) -> socket.socket | None:
    """Return the inherited socket that listens at this address, or None; the caller owns it."""
    found = _find_socket(family, host, port)
    if found:
        _sockets.remove(found)
    return found


def take_for_all(port: int) -> socket.socket | None:
    """One socket that takes IPv4 and IPv6 clients of all addresses, as systemd makes it."""
    found = _find_socket(socket.AF_INET6, "::", port)
    return take_socket(socket.AF_INET6, "::", port) if found and not address_of(found).only6 else None


def list_ports() -> frozenset[int]:
    """Return the ports that a socket listens on already, at whatever address."""
    return frozenset(address_of(sock).port for sock in _sockets)


def holds_port(port: int) -> bool:
    """Return whether a socket listens at this port already, at whatever address."""
    return port in list_ports()


def _find_socket(family: int, host: str, port: int) -> socket.socket | None:
    for sock in _sockets:
        if port and sock.family == family and sock.getsockname()[:2] == (host, port):
            return sock
    return None


def take_file(path_status: os.stat_result) -> int | None:
    """Return the descriptor of this very file that was passed, if it was; it is the caller's from now on."""
    for descriptor in _files:
        if os.path.samestat(os.fstat(descriptor), path_status):
            _files.remove(descriptor)
            return descriptor
    return None


def close_unused() -> None:
    """Close the sockets that were not taken."""
    for sock in _sockets:
        sock.close()
    for descriptor in _files:
        os.close(descriptor)
    _sockets.clear()
    _files.clear()


class Handover:
    """What a process leaves to the program that replaces it: descriptors, which stay open throughout."""

    def __init__(self, command: Sequence[str]) -> None:
        """`command` is the program and its arguments."""
        self._command = list(command)
        self._descriptors: list[int] = []

    def keep(self, descriptor: int) -> None:
        """Pass it on: a copy stays open when its owner closes it."""
        self._descriptors.append(fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _ASIDE))

    def start(self) -> NoReturn:
        """Become the other program, in this process: same id, same terminal, same supervisor."""
        for place, descriptor in enumerate(self._descriptors, FIRST):
            os.dup2(descriptor, place)  # inheritable
        passed = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(self._descriptors))}
        sys.stdout.flush()
        sys.stderr.flush()
        environment = {**os.environ, **passed}
        os.execve(self._command[0], self._command, environment)  # noqa: S606 - this process's own command
