"""Sockets and transports: binding the front's addresses, and three careful ways to write and to end."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import select
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress

from watcher.front.model import CannotListen, Listen, PortInUse
from watcher.system import inherited_sockets
from watcher.system.lock import watcher_at

BACKLOG = 4096  # connections the kernel completes before they are accepted; it caps this at somaxconn
FILES_MOST = 65_536  # descriptors to request; a container's limit can be a billion
FILES_KEPT = 256  # descriptors for everything that is no connection of a client


def room_for(connections: int) -> int:
    """Number of client connections that fit the descriptor limit: each needs two descriptors.

    The process's soft limit, 1,024 on most systems, is raised first. Without descriptors a front could not
    even refuse a client: the kernel would leave it waiting, or reset it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = FILES_MOST if hard == resource.RLIM_INFINITY else min(hard, FILES_MOST)
    if soft != resource.RLIM_INFINITY and soft < most:
        with suppress(OSError, ValueError):  # macOS has a lower limit of its own
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            soft = most
    files = FILES_MOST if soft == resource.RLIM_INFINITY else soft
    return max(1, min(connections, (files - FILES_KEPT) // 2))


def bind(addresses: Sequence[Listen]) -> list[socket.socket]:
    """One bound socket per address; an empty host and `localhost` give one per address family that is there.

    Port 0 chooses one port for all families of an address. Raises `CannotListen` (and leaves no socket).
    """
    sockets: list[socket.socket] = []
    try:
        for address in addresses:
            sockets += _bind_one(address)
    except CannotListen:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def check_free(address: Listen) -> None:
    """Raise `CannotListen` if a front cannot listen at this address now."""
    for sock in _bind_one(address):
        sock.close()


def _bind_one(address: Listen) -> list[socket.socket]:
    both = {"": ("0.0.0.0", "::"), "localhost": ("127.0.0.1", "::1")}
    hosts = both.get(address.host, (address.host,))
    port = address.port
    if not address.host and (one := inherited_sockets.take_for_all(port)):
        return [one]
    sockets: list[socket.socket] = []
    for host in hosts:
        sock = None
        try:
            sock = _bind_socket(host, port)
        except OSError as error:
            if sockets and error.errno in {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}:
                continue  # this machine has no IPv6
            for other in sockets:
                other.close()
            if error.errno == errno.EADDRINUSE:
                raise PortInUse(address.host, address.port, watcher_at(address.port)) from None
            raise CannotListen(address.host, address.port, _explain_error(error)) from None
        port = sock.getsockname()[1]
        sockets.append(sock)
    return sockets


def _bind_socket(host: str, port: int) -> socket.socket:
    family, kind, proto, _, name = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    if there := inherited_sockets.take_socket(family, str(name[0]), int(name[1])):
        return there
    sock = socket.socket(family, kind, proto)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(name)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _explain_error(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "the name is not known; give an IP address of this machine"
    if error.errno == errno.EADDRNOTAVAIL:
        return "the address does not belong to this machine; give one that does, or none for all"
    if error.errno == errno.EACCES:
        return "ports below 1024 need a privilege; publish a higher port"
    return os.strerror(error.errno) if error.errno else str(error)


def has_ended(transport: asyncio.Transport) -> bool:
    """Return whether the peer has sent its end of file, also behind bytes that were not read yet."""
    if transport.is_closing():
        return True
    wanted = getattr(select, "POLLRDHUP", 0)  # Linux
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), wanted)
    return bool(poll.poll(0))


def put(transport: asyncio.Transport, data: bytes) -> None:
    """Write, unless the peer has gone already (its `connection_lost` is on the way)."""
    if not transport.is_closing():
        transport.write(data)


def half_close(transport: asyncio.Transport) -> None:
    """Send an end of file after what was written; nothing happens when the peer has gone already."""
    if not transport.is_closing():
        with suppress(OSError):
            transport.write_eof()


def reset(transport: asyncio.Transport) -> None:
    """Reset the connection to show the peer that its data is incomplete."""
    if not transport.is_closing():
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
