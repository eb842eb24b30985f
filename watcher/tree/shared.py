"""Trees that several services have in common: a save is scanned once for all of them."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from weakref import WeakValueDictionary

from watcher.tree.scan import Tree
from watcher.tree.snapshot import Snapshot

_REMEMBERED = 64  # scans; the notifications of one save come within a few of them


class SharedTree(Tree):
    """A tree for several threads, which get the result of another one's scan where it answers theirs."""

    def __init__(
        self,
        root: Path,
        *,
        ignore: Sequence[str] = (),
        env_dirs: Sequence[str] = ("_envs",),
        dockerfile: str = "Dockerfile",
        inline: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(root, ignore=ignore, env_dirs=env_dirs, dockerfile=dockerfile, inline=inline)
        self._scan_lock, self._clock = threading.Lock(), clock
        self._scans: deque[tuple[float, frozenset[str] | None]] = deque(maxlen=_REMEMBERED)  # start, touched

    def scan(self, touched: Collection[str] | None = None) -> Snapshot:
        """Scan; see `Tree.scan`."""
        with self._scan_lock:
            return self._scan(touched)

    def scan_since(self, touched: Collection[str] | None, since: float) -> Snapshot:
        """Return the last snapshot if scans that began after `since` have covered `touched`; else scan."""
        with self._scan_lock:
            if self._snapshot is not None and self._covers(touched, since):
                return self._snapshot
            return self._scan(touched)

    def _scan(self, touched: Collection[str] | None) -> Snapshot:
        started = self._clock()
        try:
            snapshot = super().scan(touched)
        except BaseException:
            self._scans.clear()
            raise
        self._scans.append((started, None if touched is None else frozenset(touched)))
        return snapshot

    def _covers(self, touched: Collection[str] | None, since: float) -> bool:
        later = [where for started, where in self._scans if started > since]
        if any(where is None for where in later):
            return True
        return touched is not None and {*touched} <= {path for where in later for path in where or ()}


class TreePool:
    """Gives the same tree for the same folder and rules, as long as it is in use."""

    def __init__(self) -> None:
        self._trees: WeakValueDictionary[tuple[object, ...], SharedTree] = WeakValueDictionary()

    def make_tree(
        self,
        root: Path,
        *,
        ignore: Sequence[str],
        env_dirs: Sequence[str],
        dockerfile: str,
        inline: bool = False,
    ) -> SharedTree:
        """Return a tree as `Tree` would be made. Raises ConfigError."""
        key = root, tuple(ignore), tuple(env_dirs), dockerfile, inline
        tree = self._trees.get(key)
        if tree is None:
            tree = SharedTree(root, ignore=ignore, env_dirs=env_dirs, dockerfile=dockerfile, inline=inline)
            self._trees[key] = tree
        return tree
