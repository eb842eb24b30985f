"""The nodes of a tree: what one entry is, and directories whose digest covers everything below them.

Nodes are values: they never change. A new scan shares every directory that did not
change with the scan before, so what a scan costs, and what comparing two scans costs, follows the change and
not the tree.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple, TypeAlias, final

Stamp: TypeAlias = tuple[int, int, int, int]
"""(inode, size, mtime in ns, ctime in ns): equal stamps mean that nothing was written, racy ones aside."""

_SECOND = 1_000_000_000
_OF_GIT = frozenset({"HEAD", "refs", "packed-refs"})
_LAST_SECOND = (2**63 - 1) // _SECOND  # of the year 2262; the engine's times are 64 bits of nanoseconds
_DIR_MTIME = 315_619_200 * _SECOND  # 2 January 1980: zip archives know nothing earlier


@final
class TreeEntry(NamedTuple):
    """One file, symbolic link or directory that enters the build context.

    `path` is relative to the tree's root, with slashes; bytes that are no UTF-8 are surrogate escapes, as
    `os.fsdecode` makes them. `mode` is st_mode, `size` is bytes. `digest` is SHA-256 of the content (of the
    target for a link, empty for a directory). `stamp` is the real stat of the file, zeros for a directory.
    """

    path: str
    mode: int
    size: int
    digest: bytes
    linkname: str
    stamp: Stamp

    @property
    def mtime_ns(self) -> int:
        """Return the modification time (ns) to send to the engine: the file's own second, a fraction from its
        content.

        The engine asks for a file's bytes only when its size or mtime differs from what it keeps (fsutil,
        `sameFile` in diff_containerd.go), and the go command's package index trusts the same pair (cmd/go,
        `modindex.dirHash`). A file that was rewritten with its old size and had its mtime put back would stay
        stale in both for ever; with a fraction that follows the content it does not. One second is taken off
        so that the result is never in the future, which make would complain about.

        A time that no 64 bits of nanoseconds can say (before 1970, after 2262) is the beginning of 1970, as
        docker has it.

        For a directory it is always the same: the engine does not compare it, so it would keep whatever it
        got first, and images of equal trees would differ.
        """
        if not self.digest:
            return _DIR_MTIME
        second = self.stamp[2] // _SECOND - 1
        if not 0 <= second < _LAST_SECOND:
            second = 0
        return second * _SECOND + int.from_bytes(self.digest[:8], "big") % _SECOND

    @property
    def is_dir(self) -> bool:
        """Return whether this is a directory."""
        return stat.S_ISDIR(self.mode)

    @property
    def is_link(self) -> bool:
        """Return whether this is a symbolic link."""
        return stat.S_ISLNK(self.mode)


@dataclass(frozen=True, slots=True)
class TreeProblem:
    """Something in the tree that the user should know. `text` is a sentence that names `path`."""

    path: str
    kind: str  # unreadable | special | huge | ignore-file | dockerfile
    text: str


@final
class Directory:
    """A directory and all that was kept of it.

    `index` maps names to children in the engine's order (bytes of the name). It also
    holds directories that the ignore file excludes but that can contain something it takes back in; such a
    one is `shown` only if it does. `digest`, `size` (bytes of all files) and `count` (entries, itself not
    among them) cover shown entries only. Of a git repository that the user takes in, the digest covers what
    names a commit, a branch or a tag: the object store and the index change while git reads, too. `own`
    are the problems met in this directory, `problems` those of the whole branch.

    `stamp` is no part of the value but a note of the scan for itself: the directory's stat when it was
    listed.
    """

    __slots__ = ("count", "digest", "entry", "excluded", "index", "own", "problems", "shown", "size", "stamp")

    def __init__(
        self,
        entry: TreeEntry,
        stamp: Stamp,
        index: dict[str, TreeEntry | Directory],
        own: tuple[TreeProblem, ...],
        *,
        excluded: bool,
    ) -> None:
        self.entry = entry
        self.stamp = stamp
        self.index = index
        self.own = own
        self.excluded = excluded
        problems = own
        size = 0
        count = 0
        names: list[str] = []
        digests: list[bytes] = []
        git = entry.path == ".git" or entry.path.endswith("/.git")
        for name, node in index.items():
            if type(node) is TreeEntry:
                size += node.size
                count += 1
                mode = node.mode
            else:
                problems += node.problems
                if not node.shown:
                    continue
                size += node.size
                count += node.count + 1
                mode = node.entry.mode
            if not git or name in _OF_GIT:
                names.append(f"{mode:o} {name}\0")
                digests.append(node.digest)
        self.shown: bool = bool(count) or not excluded
        self.size: int = size
        self.count: int = count
        self.problems: tuple[TreeProblem, ...] = problems
        self.digest: bytes = sha256(os.fsencode("".join(names)) + b"\0" + b"".join(digests)).digest()

    def walk(self) -> Iterator[TreeEntry]:
        """Every shown entry below, parents before children, siblings by the bytes of their names."""
        for node in self.index.values():
            if type(node) is TreeEntry:
                yield node
            elif node.shown:
                yield node.entry
                yield from node.walk()

    def directories(self) -> Iterator[str]:
        """Paths of this directory and every directory kept below it, shown or not."""
        yield self.entry.path
        for node in self.index.values():
            if type(node) is Directory:
                yield from node.directories()


def byte_order(names: list[str]) -> list[str]:
    """Return the names sorted by their bytes on disk, as the engine's walk sorts them."""
    names.sort()
    if not "".join(names).isascii():  # only there can the order of code points and of bytes differ
        names.sort(key=os.fsencode)
    return names
