"""Where the files of a build come from: entries that are held in memory, contents that are opened when asked
for.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

from watcher.buildkit.errors import ContextChanged

_READ_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class ContextEntry(Protocol):
    """One file, directory or symbolic link of a context; other kinds cannot be sent.

    `path` is relative and slash separated, with odd bytes as `os.fsdecode` gives them. `mode` is `st_mode`,
    `size` is in bytes. The engine compares `mtime_ns`, besides the size, to decide whether it asks for
    the contents: any number of nanoseconds since 1970 will do that changes whenever the contents do.
    `linkname` is a symbolic link's target, otherwise empty.
    """

    @property
    def path(self) -> str:
        """Relative, with slashes."""
        ...

    @property
    def mode(self) -> int:
        """`st_mode`."""
        ...

    @property
    def size(self) -> int:
        """Bytes."""
        ...

    @property
    def mtime_ns(self) -> int:
        """Nanoseconds since 1970."""
        ...

    @property
    def linkname(self) -> str:
        """Return a symbolic link's target."""
        ...


class ContextSource(Protocol):
    """The files of a context. Its methods are called from worker threads, possibly from two concurrently."""

    def entries(self) -> Sequence[ContextEntry]:
        """Return all entries in `walk_order`, with every parent directory; the same throughout a build.

        Entries that are the same objects as in an earlier build are not encoded again.
        """
        ...

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading from its beginning. Raises `ContextChanged` if it is not what its entry
        says.
        """
        ...

    def unchanged(self, path: str, fd: int, /) -> bool:
        """Return whether the open file still matches its entry; asked when the last byte has been read.

        A file without a descriptor is taken to be in memory and is not asked about.
        """
        ...


@runtime_checkable
class Prefiltered(Protocol):
    """A source that reports the ignore patterns it has applied; they are not applied a second time."""

    @property
    def excludes(self) -> tuple[str, ...]:
        """Return the patterns, in order, as `parse_dockerignore` gives them."""
        ...


@runtime_checkable
class ReadsWhole(Protocol):
    """A source that reads a small file in fewer calls than it takes to open one."""

    def read(self, path: str, /) -> bytes:
        """Return the bytes of a file. Raises `ContextChanged` if it does not match its entry."""
        ...


def walk_order(path: str) -> bytes:
    """Return a sort key for the order of Go's `filepath.WalkDir`: by names, parents before children."""
    return os.fsencode(path).replace(b"/", b"\0")


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A plain `ContextEntry`."""

    path: str
    mode: int
    size: int
    mtime_ns: int
    linkname: str = ""


class MemorySource:
    """Files that exist only in memory, like a generated Dockerfile."""

    def __init__(self, files: Mapping[str, bytes], *, mode: int = 0o644) -> None:
        """Hold the contents by path. A file's time follows from its contents, so equal ones are not sent
        twice.
        """
        self._files = dict(files)
        parents = {path[:at] for path in files for at, char in enumerate(path) if char == "/"}
        entries = [FileEntry(path, stat.S_IFDIR | 0o755, 0, 0) for path in parents]
        entries += [
            FileEntry(path, stat.S_IFREG | mode, len(data), _time_of(data)) for path, data in files.items()
        ]
        self._entries = sorted(entries, key=lambda entry: walk_order(entry.path))

    def entries(self) -> Sequence[ContextEntry]:
        """Return the files and the directories that they are in."""
        return self._entries

    def open(self, path: str) -> BinaryIO:
        """Return the contents."""
        return io.BytesIO(self._files[path])

    def unchanged(self, _path: str, _fd: int, /) -> bool:
        """Memory does not change."""
        return True


def _time_of(data: bytes) -> int:
    """Return a time (nanoseconds since 1970, before 2006) that follows from the contents."""
    return int.from_bytes(sha256(data).digest()[:8], "big") >> 4


def read_whole(root: str | Path, path: str, size: int, unchanged: Callable[[str, int], bool]) -> bytes:
    """Return the `size` bytes of the file `path` below `root`, with as few calls as can be.

    Raises `ContextChanged` if it has not that size, or `unchanged` says no when all has been read: whoever
    writes after that was not in what was read. Raises `OSError` if the very file cannot be read.
    """
    try:
        fd = os.open(os.path.join(root, path), _READ_FLAGS)  # noqa: PTH118 - odd bytes must survive
    except OSError as error:
        raise ContextChanged(path) from error
    try:
        try:
            data = os.read(fd, size + 1)
        except OSError as error:
            if unchanged(path, fd):
                raise
            raise ContextChanged(path) from error  # a directory or a fifo took the file's place
        if len(data) != size or not unchanged(path, fd):
            raise ContextChanged(path)
    finally:
        os.close(fd)
    return data
