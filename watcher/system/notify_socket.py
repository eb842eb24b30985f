"""Talk to the service manager that started this process: sd_notify(3), and the watchdog's interval.

The variables stay in the environment: a program that replaces this one in the same process needs them too.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

_LONGEST = 500  # characters of a value


def notify_manager(environ: Mapping[str, str] = os.environ, **values: str | int) -> bool:
    """Send the values, like `READY=1, STATUS="…"`; return whether a service manager received them."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    lines = (f"{name}={' '.join(str(value).split())[:_LONGEST]}" for name, value in values.items())
    address = f"\0{address[1:]}" if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.setblocking(False)  # a manager that does not read must not stop the loop
            sock.sendto("\n".join(lines).encode("utf-8", "replace"), address)
    except OSError:
        return False
    return True


def watchdog_interval(environ: Mapping[str, str] = os.environ, pid: int | None = None) -> float | None:
    """Return the seconds between two signs of life, half of what the manager allows; None if it asks none."""
    text, owner = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if owner and owner != str(os.getpid() if pid is None else pid):
        return None
    if not (text.isascii() and text.isdecimal()) or not int(text):
        return None
    return int(text) / 2_000_000


def writes_to_journal(descriptor: int, environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether what is written there goes to systemd's journal, which reads priorities: `<4>text`."""
    device, _, inode = environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return (device, inode) == (str(found.st_dev), str(found.st_ino))
