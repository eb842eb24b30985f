"""What the tree was at one moment, and what a build can ask of it."""

from __future__ import annotations

import io
import os
import stat
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import BinaryIO, cast

from watcher.buildkit.errors import ContextChanged
from watcher.buildkit.sources import read_whole
from watcher.tree.node import Directory, TreeEntry, TreeProblem
from watcher.tree.read import HUGE, stamp_of

_USUAL_MODE = 0o755
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things are in a project: paths relative to the tree's root, with slashes."""

    dockerfile: str = "Dockerfile"
    env_dirs: tuple[str, ...] = ("_envs",)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Every file that can enter the build context, as one scan found it. It never changes.

    It is a `watcher.buildkit.ContextSource`: `entries` lists, `open` and `unchanged` see to it that the bytes
    are those of the listed file. Safe to use from any thread.

    `excludes` are the ignore file's patterns that were applied. `dockerfile` and `ignore_file` (path and
    text) are the contents of the control files at this scan; None if it does not exist. `problems` are
    sentences for the user. `unsettled` are files that were being written while they were read: their digests
    are of no particular moment, and another scan is due. `contexts` are the folders that the build has
    besides this one, by name. `kept` is the content of small files that were written shortly before the scan.
    """

    base: str
    layout: Layout
    root: Directory
    excludes: tuple[str, ...]
    dockerfile: bytes | None
    ignore_file: tuple[str, bytes] | None
    problems: tuple[TreeProblem, ...]
    unsettled: tuple[str, ...]
    contexts: Mapping[str, Snapshot] = field(default_factory=dict)
    kept: Mapping[str, bytes] = field(default_factory=dict)

    def is_like(self, other: Snapshot) -> bool:
        """Return whether two scans of one `Tree` found the same: cheap, as they share what did not change."""
        return self.root is other.root and (
            (self.dockerfile, self.ignore_file, self.problems, self.unsettled)
            == (other.dockerfile, other.ignore_file, other.problems, other.unsettled)
        )

    @cached_property
    def digest(self) -> str:
        """64 hex digits over all names, modes, contents and link targets, and the Dockerfile.

        Owners and times are not part of it: touching a file, or checking it out again, changes nothing. The
        ignore file is part of it only as far as it is in the context itself; its effect is in what is listed.
        """
        control = b"-" if self.dockerfile is None else sha256(self.dockerfile).digest()
        if self.ignore_problem:  # what it meant to leave out is not known, so this is no earlier tree
            control += sha256(self.ignore_problem.text.encode("utf-8", "surrogateescape")).digest()
        for name, other in sorted(self.contexts.items()):
            control += sha256(f"{name}\0{other.digest}".encode("utf-8", "surrogateescape")).digest()
        return sha256(b"tree 1\0" + self.root.digest + control).hexdigest()

    def shown(self, path: str, other: Snapshot) -> str:
        """Return a path of another context relative to this one, like `../shared/a.go`."""
        return os.path.join(os.path.relpath(other.base, self.base), path)  # noqa: PTH118 - odd bytes must survive

    @cached_property
    def odd_modes(self) -> str:
        """A digest over the modes of directories: of most, and each that differs. Empty where all have 0755.

        An engine that is sent a directory with another mode than before takes the mode over, but does not
        count that as a change (fsutil, `HandleChange` in diskwriter.go): its cache gives the old image. Where
        this differs the context must be one that the engine does not know yet.
        """
        modes = [(entry.path, entry.mode) for entry in self._entries if not entry.digest]
        if not modes:
            return ""
        counts = Counter(mode for _, mode in modes)
        counts[self.root.entry.mode] += 1
        usual = max(counts, key=lambda mode: (counts[mode], mode == self.root.entry.mode, mode))
        odd = [f"{mode:o} {path}" for path, mode in modes if mode != usual]
        if not odd and stat.S_IMODE(usual) == _USUAL_MODE:
            return ""
        text = "\0".join((f"{usual:o}", *odd))
        return sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:12]

    @property
    def ignore_problem(self) -> TreeProblem | None:
        """Why the ignore file cannot be used; None when it can. A build of this tree has to fail."""
        return next((problem for problem in self.problems if problem.kind == "ignore-file"), None)

    @property
    def no_dockerfile(self) -> str:
        """Why `dockerfile` is None, as a sentence: it is missing, no regular file, too large, unreadable."""
        found = (problem.text for problem in self.problems if problem.kind == "dockerfile")
        return next(found, f"{self.layout.dockerfile}: there is no such Dockerfile")

    @property
    def total_bytes(self) -> int:
        """Bytes of all files."""
        return self.root.size

    @property
    def count(self) -> int:
        """Number of entries, directories among them."""
        return self.root.count

    @cached_property
    def files(self) -> Mapping[str, TreeEntry]:
        """Return the entries by path."""
        return {entry.path: entry for entry in self._entries}

    @cached_property
    def _entries(self) -> tuple[TreeEntry, ...]:
        return tuple(self.root.walk())

    def entries(self) -> Sequence[TreeEntry]:
        """Return all entries in the order of fsutil's walk: a directory before what it holds, names by bytes.

        Entries that did not change are the same objects as in the snapshot before.
        """
        return self._entries

    def open(self, path: str) -> BinaryIO:
        """Open a regular file of the context for reading, unbuffered.

        A file that grew since is read as far as this snapshot saw it, and what is read is compared with what
        it saw: a log that is written all the time keeps no build from its end. Of a huge file only the size
        is known. A small file that was written shortly before the scan is given as it was then. Raises
        `ContextChanged` if the file is gone or holds something else, maybe only on reading its last byte.
        """
        entry = self.files.get(path)
        if entry is None or not stat.S_ISREG(entry.mode):
            raise ContextChanged(path)
        try:
            fd = os.open(os.path.join(self.base, path), _FLAGS)  # noqa: PTH118 - odd bytes must survive
        except OSError:
            raise ContextChanged(path) from None
        file = os.fdopen(fd, "rb", buffering=0)
        kept = self.kept.get(path)
        status = os.fstat(fd)
        if kept is not None and status.st_mode == entry.mode and sha256(kept).digest() == entry.digest:
            file.close()
            return io.BytesIO(kept)
        if status.st_mode != entry.mode or status.st_size < entry.size:
            file.close()
            raise ContextChanged(path)
        return cast(BinaryIO, _Verified(file, entry))

    def read(self, path: str, /) -> bytes:
        """Return the bytes of a regular file of the context.

        A file that was rewritten with the same bytes, or only grew, still counts as unchanged; see `open`.
        Raises `ContextChanged` if the file is gone or holds something else.
        """
        entry = self.files.get(path)
        if entry is None or not stat.S_ISREG(entry.mode):
            raise ContextChanged(path)
        try:
            return read_whole(self.base, path, entry.size, self.unchanged)
        except ContextChanged:
            with self.open(path) as file:
                return file.read()

    def unchanged(self, path: str, fd: int) -> bool:
        """Return whether the open file `fd` still is what this snapshot saw at `path`.

        To be asked after the last byte was read too: the stat changes with every write.
        """
        entry = self.files.get(path)
        return entry is not None and stamp_of(os.fstat(fd)) == entry.stamp


class _Verified(io.RawIOBase):
    """The first bytes of an open file, up to the size of `entry`. Reading the last one compares the digest.

    It has no descriptor, so only the digest decides whether the file is the entry's.
    """

    def __init__(self, file: BinaryIO, entry: TreeEntry) -> None:
        super().__init__()
        self._file, self._entry = file, entry
        self._left = entry.size
        self._content = sha256() if entry.size <= HUGE else None

    def readable(self) -> bool:
        """See `io.RawIOBase`."""
        return True

    def read(self, size: int = -1, /) -> bytes:
        """See `io.RawIOBase`. Raises `ContextChanged` where the bytes are not the entry's."""
        data = self._file.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(data)
        if self._content is not None:
            self._content.update(data)
        if not data or not self._left:
            content = self._content
            if self._left or (content is not None and content.digest() != self._entry.digest):
                raise ContextChanged(self._entry.path)
        return data

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


def revision(snapshot: Snapshot, inputs: Mapping[str, str]) -> str:
    """64 hex digits over the tree and everything else that decides the image (build args, target, ...).

    The order of `inputs` does not matter. Huge files (see `read.HUGE`) are the exception to equal content
    giving equal revisions.
    """
    state = sha256(b"revision 1\0" + snapshot.digest.encode())
    for name, value in sorted(inputs.items()):
        for part in (name, value):
            data = part.encode("utf-8", "surrogateescape")
            state.update(b"%d:%b" % (len(data), data))
    return state.hexdigest()
