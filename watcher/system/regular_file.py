"""Reading a whole file that somebody named: a regular one, of a bounded size, without ever waiting for it.

Opening a fifo waits for a writer, `/dev/zero` has no end. Neither should be a configuration or a secret.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a fifo",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class NotReadable(OSError):
    """What is there is no regular file, or is too large. `strerror` says so."""


def read_regular(path: Path, most: int) -> bytes:
    """All of a file that has at most `most` bytes. Raises OSError; FileNotFoundError when there is none."""
    _check(path.stat().st_mode)  # before it is opened: that alone does something to a device
    fd = os.open(path, _FLAGS)
    try:
        status = os.fstat(fd)
        _check(status.st_mode)
        parts: list[bytes] = []
        left = most + 1
        while left > 0 and (data := os.read(fd, min(left, 1 << 20))):
            parts.append(data)
            left -= len(data)
    finally:
        os.close(fd)
    if left <= 0:
        raise NotReadable(errno.EFBIG, f"it has more than {most >> 10} KiB")
    return b"".join(parts)


def _check(mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise NotReadable(errno.EINVAL, f"it is {kind}, not a file")
