"""A build context that walks its directory itself, for tests and measurements: no watcher knows its files."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from watcher.buildkit import ContextChanged, ContextEntry, FileEntry
from watcher.buildkit.sources import read_whole, walk_order
from watcher.dockerignore.patterns import PatternMatcher

_READ_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class DirectorySource:
    """A directory as it is when it is first read.

    Sockets, pipes and devices are left out: no build can need them from a context.
    """

    def __init__(self, root: Path, excludes: Sequence[str] = ()) -> None:
        """List `root` when first asked, without what the ignore patterns exclude."""
        self.excludes = tuple(excludes)
        self._root = root
        self._found: dict[str, tuple[FileEntry, tuple[int, int, int, int]]] | None = None
        self._looking = threading.Lock()

    def entries(self) -> Sequence[ContextEntry]:
        """The entries of the first look. Raises `OSError` if a directory cannot be read."""
        return [entry for entry, _ in self._list_folder().values()]

    def open(self, path: str) -> BinaryIO:
        """Open a file. Raises `ContextChanged` if it is gone or is not what it was at the first look."""
        try:
            fd = os.open(os.path.join(self._root, path), _READ_FLAGS)
        except OSError as error:
            raise ContextChanged(path) from error
        file = os.fdopen(fd, "rb", buffering=0)
        if not self.unchanged(path, fd):
            file.close()
            raise ContextChanged(path)
        return file

    def unchanged(self, path: str, fd: int, /) -> bool:
        """Whether size, times, mode and inode are those of the first look."""
        entry, stamp = self._list_folder()[path]
        status = os.fstat(fd)
        return _stamp_of(status) == stamp and status.st_mode == entry.mode

    def read(self, path: str, /) -> bytes:
        """All of a file. Raises `ContextChanged` if it does not, or no longer does, match its entry."""
        return read_whole(self._root, path, self._list_folder()[path][0].size, self.unchanged)

    def _list_folder(self) -> dict[str, tuple[FileEntry, tuple[int, int, int, int]]]:
        with self._looking:
            if self._found is None:
                found = dict(self._walk_tree("", PatternMatcher(self.excludes)))
                self._found = {path: found[path] for path in sorted(found, key=walk_order)}
            return self._found

    def _walk_tree(
        self, directory: str, matcher: PatternMatcher
    ) -> Iterator[tuple[str, tuple[FileEntry, tuple[int, int, int, int]]]]:
        """Entries below a directory; a directory that is itself excluded comes only with something in it."""
        with os.scandir(os.path.join(self._root, directory)) as names:
            children = list(names)
        for child in children:
            path = f"{directory}/{child.name}" if directory else child.name
            status = child.stat(follow_symlinks=False)
            kind = stat.S_IFMT(status.st_mode)
            excluded = matcher.excluded(path)
            if kind == stat.S_IFDIR:
                entry = FileEntry(path, status.st_mode, 0, status.st_mtime_ns)
                inside = [] if matcher.can_prune(path) else list(self._walk_tree(path, matcher))
                if inside or not excluded:
                    yield path, (entry, _stamp_of(status))
                yield from inside
            elif not excluded and kind in (stat.S_IFREG, stat.S_IFLNK):
                target = os.readlink(child.path) if kind == stat.S_IFLNK else ""
                entry = FileEntry(path, status.st_mode, status.st_size, status.st_mtime_ns, target)
                yield path, (entry, _stamp_of(status))


def _stamp_of(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
