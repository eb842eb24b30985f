"""Scan the tree: everything once, then only what was touched.

A `Tree` remembers its last snapshot. A scan lists directories, compares each file's stat with the remembered
one and reads only files with another stat. Everything is reached through descriptors of directories, so one
that is replaced during the scan cannot lead the scan elsewhere; symbolic links are never followed, and
nothing but regular files is opened.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from watcher.dockerignore.errors import IgnorePatternError
from watcher.dockerignore.patterns import parse_dockerignore
from watcher.errors import ConfigError, WatcherError
from watcher.tree.build_files import BuildFiles, ignore_files, link_chain, read_build_files
from watcher.tree.node import Directory, TreeProblem
from watcher.tree.rules import Rules, is_outside
from watcher.tree.snapshot import Layout, Snapshot
from watcher.tree.walk import TreeWalk


class TreeGone(WatcherError):
    """The tree's root is not there, or it cannot be read now. The next scan can succeed."""


class Tree:
    """The watched files below `root`. For one thread at a time.

    `ignore` are patterns over `DEFAULT_IGNORE` in the syntax of a `.dockerignore`; `dockerfile` is a path
    relative to the root and can lie outside (`../docker/Dockerfile`). Without `ignore_file` the ignore file
    of the root is of no effect. `inline`: the text of the Dockerfile is in the compose file. Raises
    ConfigError for a pattern that cannot be used.
    """

    def __init__(
        self,
        root: Path,
        *,
        ignore: Sequence[str] = (),
        env_dirs: Sequence[str] = ("_envs",),
        dockerfile: str = "Dockerfile",
        ignore_file: bool = True,
        inline: bool = False,
    ) -> None:
        self.root = root
        self._base = os.path.abspath(root)  # noqa: PTH100 - not resolved: a root that is a link can be moved
        relative = os.path.relpath(os.path.join(self._base, dockerfile), self._base)  # noqa: PTH118
        self._layout = Layout(
            dockerfile=relative.replace(os.sep, "/"),
            env_dirs=tuple(os.path.normpath(directory) for directory in env_dirs),
        )
        self._has_ignore_file, self._inline = ignore_file, inline
        self._ignore = tuple(pattern for line in ignore for pattern in parse_dockerignore(line))
        self._always = frozenset((self._layout.dockerfile, *ignore_files(self._layout.dockerfile)))
        self._patterns: tuple[str, ...] = ()  # of the ignore file as it is
        self._excludes: tuple[str, ...] = ()  # of the ignore file when it was last usable
        try:
            self._rules = Rules(ignore=self._ignore, always=self._always)
        except IgnorePatternError as error:
            raise ConfigError("watch.ignore", error.pattern, error.rule) from error
        self._rules_problem: TreeProblem | None = None
        self._identity: tuple[int, int] | None = None
        self._snapshot: Snapshot | None = None
        self._racy: set[str] = set()
        self._again: set[str] = set()
        self._watched: tuple[Directory, frozenset[str]] | None = None
        self._walk: TreeWalk | None = None  # the scan under way in another thread
        self._links: frozenset[str] = frozenset()

    @property
    def rules(self) -> Rules:
        """Return the rules of the last scan's ignore file. Give another thread a `copy`."""
        return self._rules

    @property
    def seen(self) -> int:
        """Entries that the scan under way has listed; 0 when none is. For any thread."""
        walk = self._walk
        return walk.seen if walk else 0

    @property
    def links(self) -> frozenset[str]:
        """Paths (relative, can lead outside) that decide what the Dockerfile and the ignore files hold.

        Where one of these is a symbolic link, or is below one: each link on the way, and what it leads to.
        """
        return self._links

    @property
    def watch_dirs(self) -> frozenset[str]:
        """Directories (relative, "" is the root) in which a change can change the tree, as of the last scan.

        Only ones from which something can enter the context, and that of the Dockerfile, which can start
        with `../`. Each is meant for itself, not for what is below it.
        """
        snapshot = self._snapshot
        control = os.path.dirname(self._layout.dockerfile)  # noqa: PTH120
        if snapshot is None:
            return frozenset(("", control))
        if self._watched is None or self._watched[0] is not snapshot.root:
            self._watched = snapshot.root, frozenset((*snapshot.root.directories(), control))
        return self._watched[1]

    def scan(self, touched: Collection[str] | None = None) -> Snapshot:
        """Scan the tree and return its snapshot; the same object as last time if nothing differs.

        `touched` are the directories (relative, "" is the root) in which something can have changed; what
        is below a directory that is new or was replaced is scanned too. None means everything. The
        first scan, and one after a change of the ignore file or of the root itself, is always a full scan.

        Raises TreeGone if the root is missing or the process is out of descriptors or memory.
        """
        looked_ns = time.time_ns()
        # None until this scan has succeeded: after a failed one the next is a full scan.
        before, self._identity = self._identity, None
        try:
            fd = os.open(self._base, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
        except OSError as error:
            raise TreeGone(f"{self._base} cannot be watched: {error.strerror}") from error
        try:
            status = os.fstat(fd)
            identity = status.st_dev, status.st_ino
            control = read_build_files(self._base, self._layout.dockerfile, inline=self._inline)
            self._links = link_chain(self._base, self._always)
            new_rules = self._renew_rules(control)
            whole = new_rules or touched is None or identity != before
            walk = TreeWalk(
                self._rules,
                looked_ns,
                touched=None if whole else {*self._paths_inside(touched or ()), *self._again},
                racy=self._racy,
                same_rules=not new_rules and identity == before,
            )
            self._walk = walk
            with _no_collection(during=whole, first=self._snapshot is None):
                root = walk.walk_root(fd, self._snapshot.root if self._snapshot else None)
        except OSError as error:
            raise TreeGone(f"{self._base} cannot be scanned now: {error.strerror}") from error
        finally:
            self._walk = None
            os.close(fd)
        self._identity, self._racy, self._again = identity, walk.racy, walk.again
        return self._keep_snapshot(control, root, walk)

    def scan_since(self, touched: Collection[str] | None, since: float) -> Snapshot:
        """Scan; a shared tree can use a scan that began after `since` (monotonic seconds) instead."""
        del since
        return self.scan(touched)

    def _keep_snapshot(self, control: BuildFiles, root: Directory, walk: TreeWalk) -> Snapshot:
        problems = (*control.problems, *root.problems)
        if self._rules_problem:
            problems = (self._rules_problem, *problems)
        ignore_file = (control.ignore_path, control.ignore) if control.ignore_path else None
        new = Snapshot(
            self._base,
            self._layout,
            root,
            self._excludes,
            control.dockerfile,
            ignore_file,
            problems,
            tuple(walk.unsettled),
            kept=walk.kept,
        )
        if self._snapshot is None or not self._snapshot.is_like(new):
            self._snapshot = new
        return self._snapshot

    def _renew_rules(self, control: BuildFiles) -> bool:
        """Apply the ignore file; return whether it has changed."""
        if not self._has_ignore_file:
            return False
        patterns = parse_dockerignore(control.ignore.decode("utf-8", "surrogateescape"))
        if patterns == self._patterns:
            return False
        self._patterns = patterns
        try:
            self._rules = Rules(docker=patterns, ignore=self._ignore, always=self._always)
        except IgnorePatternError as error:
            self._rules_problem = TreeProblem(
                control.ignore_path,
                "ignore-file",
                f"{control.ignore_path}: {error.pattern!r}: {error.rule}",
            )
            return False
        self._rules_problem = None
        self._excludes = patterns
        return True

    @staticmethod
    def _paths_inside(touched: Collection[str]) -> set[str]:
        """Only what can be inside: the control files outside are read at every scan anyway."""
        return {"" if path == "." else path for path in touched if not is_outside(path)}


@contextmanager
def _no_collection(*, during: bool, first: bool) -> Iterator[None]:
    """Keep the garbage collector out of a full scan: it makes only objects that stay, and scanning
    through them again and again takes a sixth of its time. What the first scan made it never scans through.
    """
    pause = during and gc.isenabled()
    if pause:
        gc.disable()
    try:
        yield
    finally:
        if pause:
            if first:
                gc.freeze()
            gc.enable()
