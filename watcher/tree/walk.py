"""Walk the tree once, from an open root; reuse what the scan before found."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection
from hashlib import sha256

from watcher.tree.node import Directory, Stamp, TreeEntry, TreeProblem, byte_order
from watcher.tree.read import (
    HUGE,
    Replaced,
    is_racy,
    may_be_racy_since,
    quick_entry,
    read_file,
    stamp_of,
)
from watcher.tree.rules import Inclusion, Rules

_DIR_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY | os.O_NOFOLLOW
_NO_STAMP = (0, 0, 0, 0)
_TYPE = 0o170000  # the bits of st_mode for the type of a node
_KEPT_MOST = 4 * 1024 * 1024  # bytes of `TreeWalk.kept`
_DEEPEST = 200  # levels; each takes a descriptor and a stack frame
_SPECIAL = {stat.S_IFIFO: "a fifo", stat.S_IFSOCK: "a socket"}
# Not the file's fault: the scan as a whole has failed and is tried again.
_OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
# Gone or replaced; the next scan finds the change.
_VANISHED = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE, errno.ENXIO})


class TreeWalk:
    """Walks once. `touched` None: everything; else only these directories and what they imply.

    After the walk `racy` holds files to read again next time whatever their stat, `again` directories to
    list again, `unsettled` files that were being written, and `kept` the content of small files that were
    written lately.
    """

    def __init__(
        self,
        rules: Rules,
        looked_ns: int,
        *,
        touched: Collection[str] | None,
        racy: Collection[str],
        same_rules: bool,
    ) -> None:
        self.racy: set[str] = set() if touched is None else set(racy)
        self.again: set[str] = set()
        self.unsettled: list[str] = []
        self.kept: dict[str, bytes] = {}
        self._kept_bytes = 0
        self.seen = 0  # entries listed so far
        self._rules = rules
        self._same_rules = same_rules  # what the scan before kept need not be asked about again
        self._looked_ns = looked_ns
        self._fresh = may_be_racy_since(looked_ns)
        self._was_racy = frozenset(racy)
        self._deep = touched is None
        self._touched = frozenset(touched or ())
        self._ways = _names_below(self._touched)

    def walk_root(self, fd: int, old: Directory | None) -> Directory:
        """Return the root directory, open as `fd`; `old` is what the scan before found."""
        return self._visit_directory(fd, "", old, deep=self._deep, excluded=False)

    def _visit_directory(
        self, fd: int, path: str, old: Directory | None, *, deep: bool, excluded: bool
    ) -> Directory:
        """Return the directory `path`: listed if it was touched, else only followed to touched ones below."""
        if old is None or deep or path in self._touched:
            return self._list_directory(fd, path, old, deep=deep, excluded=excluded)
        changed: dict[str, Directory] = {}
        for name in self._ways.get(path, ()):
            child = old.index.get(name)
            if type(child) is not Directory:
                return self._list_directory(fd, path, old, deep=deep, excluded=excluded)
            try:
                below = os.open(name, _DIR_FLAGS, dir_fd=fd)
            except OSError:
                return self._list_directory(fd, path, old, deep=deep, excluded=excluded)
            try:
                if os.fstat(below).st_ino != child.stamp[0]:
                    return self._list_directory(fd, path, old, deep=deep, excluded=excluded)
                new = self._visit_directory(
                    below, child.entry.path, child, deep=False, excluded=child.excluded
                )
            finally:
                os.close(below)
            if new is not child:
                changed[name] = new
        if not changed:
            return old
        return Directory(old.entry, old.stamp, {**old.index, **changed}, old.own, excluded=excluded)

    def _list_directory(
        self, fd: int, path: str, old: Directory | None, *, deep: bool, excluded: bool
    ) -> Directory:
        status = os.fstat(fd)
        with os.scandir(fd) as listing:
            found = {item.name: item for item in listing}
        self.seen += len(found)
        prefix = f"{path}/" if path else ""
        known = old.index if old else {}
        index: dict[str, TreeEntry | Directory] = {}
        problems: list[TreeProblem] = []
        excludes, racy, fresh, quick = self._rules.excludes, self.racy, self._fresh, old is None
        for name in byte_order(list(found)):
            below, item = prefix + name, found[name]
            try:
                if quick and item.is_file(follow_symlinks=False):
                    if excludes(below, name):
                        continue
                    racy.discard(below)
                    entry = quick_entry(below, name, fd, fresh)
                    if entry is not None:
                        index[name] = entry
                        continue
                    quick = False  # one that is too young or too large for that seldom comes alone
                node = self._make_node(fd, item, below, known.get(name), problems, deep=deep)
            except OSError as error:
                if error.errno in _OURS:
                    raise
                if isinstance(error, Replaced) or error.errno in _VANISHED:
                    self.again.add(path)
                else:
                    problems.append(_unreadable_problem(below, error))
                continue
            if node is not None:
                index[name] = node
        mode = status.st_mode
        own = tuple(problems)
        if (
            old is not None
            and old.entry.mode == mode
            and old.own == own
            and old.excluded == excluded
            and _same_nodes(old.index, index)
        ):
            old.stamp = stamp_of(status)
            return old
        entry = TreeEntry(path, mode, 0, b"", "", _NO_STAMP)
        return Directory(entry, stamp_of(status), index, own, excluded=excluded)

    def _make_node(
        self,
        fd: int,
        item: os.DirEntry[str],
        path: str,
        known: TreeEntry | Directory | None,
        problems: list[TreeProblem],
        *,
        deep: bool,
    ) -> TreeEntry | Directory | None:
        """Return what `item` of the listing is; None for what does not belong to the tree."""
        if item.is_dir(follow_symlinks=False):
            if type(known) is Directory and self._same_rules:
                excluded = known.excluded
            else:
                place = self._rules.place(path, item.name)
                if place is Inclusion.OUT:
                    return None
                excluded = place is Inclusion.TRAVERSE
            return self._make_directory(fd, item, path, known, problems, excluded=excluded, deep=deep)
        if not (type(known) is TreeEntry and self._same_rules) and self._rules.excludes(path, item.name):
            return None
        return self._make_entry(fd, item, path, known, problems)

    def _make_directory(
        self,
        fd: int,
        item: os.DirEntry[str],
        path: str,
        known: TreeEntry | Directory | None,
        problems: list[TreeProblem],
        *,
        excluded: bool,
        deep: bool,
    ) -> Directory | None:
        """Return the directory that `item` of the listing is; None if it is too deep."""
        old = known if type(known) is Directory else None
        same = old is not None and not deep and old.stamp == stamp_of(item.stat(follow_symlinks=False))
        if same and path not in self._touched and path not in self._ways:
            return old
        if path.count("/") >= _DEEPEST:
            problems.append(
                TreeProblem(path, "special", f"{path} lies more than {_DEEPEST} levels deep and is left out")
            )
            return None
        below = os.open(item.name, _DIR_FLAGS, dir_fd=fd)
        try:
            replaced = old is not None and os.fstat(below).st_ino != old.stamp[0]
            if same and not replaced:
                return self._visit_directory(below, path, old, deep=False, excluded=excluded)
            return self._list_directory(below, path, old, deep=deep or replaced, excluded=excluded)
        finally:
            os.close(below)

    def _make_entry(
        self,
        fd: int,
        item: os.DirEntry[str],
        path: str,
        known: TreeEntry | Directory | None,
        problems: list[TreeProblem],
    ) -> TreeEntry | None:
        """Return the entry of anything but a directory; None for what cannot be part of a context."""
        status = item.stat(follow_symlinks=False)
        stamp = status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
        mode = status.st_mode
        kind = mode & _TYPE
        if kind == stat.S_IFREG and stamp[1] > HUGE:
            problems.append(_huge_problem(path))
        if type(known) is TreeEntry and known.stamp == stamp and path not in self._was_racy:
            return known
        link = ""
        self.racy.discard(path)
        if kind == stat.S_IFREG:
            mode, stamp, digest = self._read_entry(fd, item.name, path, status)
        elif kind == stat.S_IFLNK:
            link = os.readlink(item.name, dir_fd=fd)
            mode = stat.S_IFLNK | 0o777  # Linux has this mode for every link
            digest = sha256(os.fsencode(link)).digest()
        elif kind == stat.S_IFDIR:
            raise Replaced(item.name)
        else:
            what = _SPECIAL.get(kind, "a device")
            problems.append(TreeProblem(path, "special", f"{path} is {what} and is left out of the build"))
            return None
        if (stamp[2] > self._fresh or stamp[3] > self._fresh) and is_racy(stamp, self._looked_ns):
            self.racy.add(path)
        entry = TreeEntry(path, mode, stamp[1], digest, link, stamp)
        return known if type(known) is TreeEntry and known == entry else entry

    def _read_entry(self, fd: int, name: str, path: str, status: os.stat_result) -> tuple[int, Stamp, bytes]:
        """Mode, stamp and digest of a file that changed, is large, or was written lately."""
        reading = read_file(name, status, fd)
        if not reading.steady:
            self.unsettled.append(path)
            self.racy.add(path)
            self.again.add(path.rpartition("/")[0])
        if reading.data is not None and self._kept_bytes < _KEPT_MOST:
            self.kept[path] = reading.data
            self._kept_bytes += len(reading.data)
        return reading.mode, reading.stamp, reading.digest


def _names_below(touched: Collection[str]) -> dict[str, set[str]]:
    """For every directory above a touched one the names that lead there."""
    ways: dict[str, set[str]] = {}
    for path in touched:
        below = path
        while below:
            above, _, name = below.rpartition("/")
            ways.setdefault(above, set()).add(name)
            below = above
    return ways


def _same_nodes(old: dict[str, TreeEntry | Directory], new: dict[str, TreeEntry | Directory]) -> bool:
    """Return whether both hold the very same nodes."""
    return len(old) == len(new) and all(new.get(name) is node for name, node in old.items())


def _unreadable_problem(path: str, error: OSError) -> TreeProblem:
    return TreeProblem(
        path,
        "unreadable",
        f"{path} cannot be read ({error.strerror}) and is left out of the build: "
        "change its permissions or add it to the ignore file",
    )


def _huge_problem(path: str) -> TreeProblem:
    return TreeProblem(
        path,
        "huge",
        # No size: a file that grows would be reported again at each scan.
        f"{path} has more than {HUGE / 1e6:.0f} MB and enters the build context: "
        "add it to the ignore file if the image does not need it",
    )
