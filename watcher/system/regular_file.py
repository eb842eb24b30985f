"""Read a whole regular file of a bounded size, without ever waiting for it.

The name comes from a configuration. Opening a fifo waits for a writer, and `/dev/zero` has no end.
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
    """The path is not a regular file, or it is too large; `strerror` has the reason."""


def read_regular(path: Path, most: int) -> bytes:
    """Return a file's bytes, `most` at most. Raises OSError; FileNotFoundError if there is none."""
    _check_mode(path.stat().st_mode)  # before it is opened: that alone does something to a device
    fd = os.open(path, _FLAGS)
    try:
        status = os.fstat(fd)
        _check_mode(status.st_mode)
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


def _check_mode(mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise NotReadable(errno.EINVAL, f"it is {kind}, not a file")
