"""A tree with the other folders that its build reads (`additional_contexts`): one snapshot of all."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from watcher.tree.node import TreeProblem
from watcher.tree.scan import Tree
from watcher.tree.snapshot import Snapshot

_ALL = None


class TreeWithContexts(Tree):
    """A tree that includes the snapshots of `contexts`, by name, in its own.

    `touch` marks where in another folder something can have changed; it can be called from any thread.
    """

    def __init__(
        self,
        root: Path,
        *,
        contexts: Mapping[str, Tree],
        ignore: Sequence[str] = (),
        env_dirs: Sequence[str] = ("_envs",),
        dockerfile: str = "Dockerfile",
        inline: bool = False,
    ) -> None:
        super().__init__(root, ignore=ignore, env_dirs=env_dirs, dockerfile=dockerfile, inline=inline)
        self.contexts = contexts
        self._guard = threading.Lock()
        self._pending: dict[str, Collection[str] | None] = dict.fromkeys(contexts)
        self._found: dict[str, Snapshot] = {}
        self._whole: tuple[Snapshot, Snapshot] | None = None  # the main one alone, and with the others

    def touch(self, name: str, touched: Collection[str] | None) -> None:
        """Something can have changed in these directories of a context; None: anywhere."""
        with self._guard:
            if name not in self._pending:
                self._pending[name] = touched
            elif touched is _ALL or self._pending[name] is _ALL:
                self._pending[name] = _ALL
            else:
                self._pending[name] = {*touched, *(self._pending[name] or ())}

    def paths_in(self, name: str, paths: Collection[str]) -> list[str]:
        """Return those of the paths of a joined snapshot that lie in a context, as it calls them."""
        prefix = os.path.relpath(self.contexts[name].root, self.root) + "/"
        return [path.removeprefix(prefix) for path in paths if path.startswith(prefix)]

    def scan(self, touched: Collection[str] | None = None) -> Snapshot:
        """As `Tree.scan`, of all folders; raises TreeGone for any of them."""
        main = super().scan(touched)
        with self._guard:
            pending, self._pending = self._pending, {}
        if touched is _ALL:
            pending = dict.fromkeys(self.contexts)
        new = dict(self._found)
        try:
            for name, where in pending.items():
                new[name] = self.contexts[name].scan(where)
        except BaseException:
            for name in pending:
                self.touch(name, _ALL)
            raise
        same = all(new[name] is self._found.get(name) for name in self.contexts)
        if self._whole is None or self._whole[0] is not main or not same:
            self._found, self._whole = new, (main, _join_snapshots(main, new))
        return self._whole[1]


def _join_snapshots(main: Snapshot, contexts: Mapping[str, Snapshot]) -> Snapshot:
    problems: list[TreeProblem] = [*main.problems]
    unsettled: list[str] = [*main.unsettled]
    for name, other in contexts.items():
        problems += [
            replace(each, path=main.shown(each.path, other), text=f"{name}: {each.text}")
            for each in other.problems
            if each.path != other.layout.dockerfile  # nothing is built from another folder's
        ]
        unsettled += [main.shown(path, other) for path in other.unsettled]
    return replace(main, problems=tuple(problems), unsettled=tuple(unsettled), contexts=contexts)
