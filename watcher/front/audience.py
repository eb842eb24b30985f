"""Decide which clients see failure details: compiler errors and log lines hold paths and source.

Clients on this machine see them. A web page with a name that was made to point here (DNS rebinding) does not:
its request carries that name as its Host. All other clients get a pointer to the status page.
"""

from __future__ import annotations

import asyncio
import ipaddress

from watcher.front.framing import all_fields


def may_read(transport: asyncio.Transport, head: bytes) -> bool:
    """Return whether the client of this request head can see the lines of a failure."""
    peer, own = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
    if not peer or not is_local(peer[0], own[0]):
        return False
    return all(is_own_name(value) for name, value in all_fields(head) if name == "host")


def is_local(peer: str, own: str) -> bool:
    """Return whether a client at address `peer` that connected to `own` is on this machine."""
    return peer == own or _loopback(peer)


def is_own_name(host: str) -> bool:
    """Whether a Host field names an address or this machine, which no stranger can make point elsewhere."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    name = name.removeprefix("[").removesuffix("]").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _loopback(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return bool((mapped or found).is_loopback)
