"""Read one file, with a digest and a stat of the same content.

A file can be written while it is read, and a clock has a grain: a second write within the same grain leaves
the same stat. So where a recent write happened the stat before reading must equal the stat after, and a
file whose stat is younger than the grain when it is read is racy, as git's index calls it: it is read again
at the next scan, whatever its stat.
"""

from __future__ import annotations

import os
import stat
from hashlib import sha256
from typing import NamedTuple

from watcher.tree.node import Stamp, TreeEntry

HUGE = 128 * 1024 * 1024
"""Bytes above which a file's content is not read: its digest is taken from its stat.

Hashing costs about a second per 1.5 GB, and a sparse file can claim terabytes. The kernel sets ctime at
every write, so no change is missed; what is lost is that touching such a file, or returning it to an earlier
content, counts as a change. The user is notified, because a file of this size seldom means to be in a
context.
"""

_ONE_READ = 1024 * 1024
_ATTEMPTS = 3
_FINE_GRAIN = 100_000_000  # ns; the kernel's clock for timestamps ticks every 1 to 10 ms
_COARSE_GRAIN = 2_100_000_000  # FAT keeps 2 s, HFS+ and ext3 one second
_SECOND = 1_000_000_000

# Not blocking: a fifo that replaces a file between two calls cannot hang the scan.
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class Reading(NamedTuple):
    """What was read: `digest` is of the content that `mode` and `stamp` are of, if `steady`.

    Otherwise the file was being written, and the digest is of the bytes that were read, as many as `stamp`
    says. `data` holds them where they were read in one go.
    """

    digest: bytes
    mode: int
    stamp: Stamp
    steady: bool
    data: bytes | None


class Replaced(OSError):
    """What was a regular file a moment ago is something else now."""


def stamp_of(status: os.stat_result) -> Stamp:
    """Return the part of a stat that changes with every write."""
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def may_be_racy_since(looked_ns: int) -> int:
    """Return the time (Unix ns) before which no stamp is racy for a scan that started at `looked_ns`."""
    return looked_ns - _COARSE_GRAIN


def is_racy(stamp: Stamp, looked_ns: int) -> bool:
    """Return whether a write after `looked_ns` (Unix time in ns) could leave this very stamp."""
    newest = max(stamp[2], stamp[3])
    whole_seconds = not stamp[2] % _SECOND and not stamp[3] % _SECOND
    return newest >= looked_ns - (_COARSE_GRAIN if whole_seconds else _FINE_GRAIN)


def quick_entry(path: str, name: str, dir_fd: int, fresh: int) -> TreeEntry | None:
    """The entry of the regular file `name`, opened in `dir_fd` and unknown until now; None: ask `read_file`.

    That is to be asked about a file that is large, or whose stat is younger than `fresh` (Unix ns). For the
    others, tens of thousands at the first scan, this does with as few calls as can be, of the kernel and of
    Python: if a process writes after the stat, it changes, so the next scan reads the file again, and no
    build takes it (`Snapshot.unchanged`). Raises OSError as `read_file` does.
    """
    fd = os.open(name, _FLAGS, 0, dir_fd=dir_fd)
    try:
        status = os.fstat(fd)
        mode, size = status.st_mode, status.st_size
        mtime, ctime = status.st_mtime_ns, status.st_ctime_ns
        if not stat.S_ISREG(mode):
            raise Replaced(name)
        if size > _ONE_READ or ctime > fresh or mtime > fresh:
            return None
        data = os.read(fd, size + 1)
    finally:
        os.close(fd)
    if len(data) != size:
        return None
    return TreeEntry(path, mode, size, sha256(data).digest(), "", (status.st_ino, size, mtime, ctime))


def read_file(name: str, status: os.stat_result, dir_fd: int) -> Reading:
    """Digest the regular file `name` in the directory `dir_fd`; `status` is its lstat of just now.

    A file that is being written is tried three times; then what was read last is returned as not steady.
    Raises OSError: FileNotFoundError or `Replaced` when it is gone, PermissionError when it cannot be read.
    """
    fd = os.open(name, _FLAGS, 0, dir_fd=dir_fd)
    try:
        stamp = status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
        for attempt in range(_ATTEMPTS):
            digest, length, data = _digest_file(fd, stamp)
            after = os.fstat(fd)
            found = after.st_ino, after.st_size, after.st_mtime_ns, after.st_ctime_ns
            if found == stamp and length == stamp[1]:
                return Reading(digest, after.st_mode, stamp, steady=True, data=data)
            if not stat.S_ISREG(after.st_mode):
                raise Replaced(name)
            status, read, stamp = after, stamp, found
            if attempt + 1 < _ATTEMPTS:
                os.lseek(fd, 0, os.SEEK_SET)
        return Reading(digest, status.st_mode, (read[0], length, *read[2:]), steady=False, data=data)
    finally:
        os.close(fd)


def _digest_file(fd: int, stamp: Stamp) -> tuple[bytes, int, bytes | None]:
    """Return the digest of the first bytes of a file, as many as `stamp` says or fewer if it holds fewer.

    Then the number of bytes that the digest covers, and the bytes if one read gave them all. Of a huge file
    it is the digest of its stamp.
    """
    size = stamp[1]
    if size <= _ONE_READ:
        data = os.read(fd, size)
        return sha256(data).digest(), len(data), data
    if size > HUGE:
        return sha256(b"by stat %d %d %d %d" % stamp).digest(), size, None
    content = sha256()
    length = 0
    while length < size and (data := os.read(fd, min(_ONE_READ, size - length))):
        content.update(data)
        length += len(data)
    return content.digest(), length, None
