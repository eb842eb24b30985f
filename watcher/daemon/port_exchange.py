"""Pass listening sockets between services whose host ports change in one edit: two can swap theirs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager

from watcher.front import Front
from watcher.system import inherited_sockets


@contextmanager
def exchange_ports(changes: Iterable[tuple[Collection[Front], Collection[Front]]]) -> Iterator[None]:
    """Let new fronts take the sockets of those that are dropped, while the context lasts.

    `changes` has the fronts before and after for each service. A dropped front listens on, with the same
    socket, until it is closed: no client is refused in between. What was reserved for services that start
    later stays reserved.
    """
    pairs = [(before, [*after]) for before, after in changes]
    wanted = {
        item.port
        for before, after in pairs
        for front in after
        if front not in before
        for item in front.listen
    }
    dropped = (front for before, after in pairs for front in before if front not in after)
    offered = []
    for front in dropped:
        for sock in front.sockets:
            if sock.getsockname()[1] in wanted:
                inherited_sockets.offer_socket(sock)
                offered.append(sock)
            else:
                sock.close()
    try:
        yield
    finally:
        inherited_sockets.withdraw_sockets(offered)
