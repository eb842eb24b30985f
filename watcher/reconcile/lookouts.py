"""The look-outs of a tree and of the other folders that its build reads, as one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from functools import reduce

from watcher.fswatch import Hint, Looked
from watcher.reconcile.debounce import Lookout
from watcher.tree import Tree, TreeWithContexts, is_outside

_MAIN = ""


class Sources:
    """The sources of all folders."""

    def __init__(self, lookouts: Mapping[str, Lookout]) -> None:
        self._lookouts = lookouts

    async def start(self) -> None:
        """Begin to listen."""
        for each in self._lookouts.values():
            await each.source.start()

    def ask(self, reason: str) -> None:
        """Have everything looked at soon."""
        for each in self._lookouts.values():
            each.source.ask(reason)

    async def stop(self) -> None:
        """Listen no more."""
        for each in self._lookouts.values():
            await each.source.stop()


class ContextLookouts:
    """As `Lookout`, for a `TreeWithContexts`: `others` are the look-outs of its contexts, by name."""

    def __init__(self, main: Lookout, others: Mapping[str, Lookout], tree: TreeWithContexts) -> None:
        self._lookouts = {_MAIN: main, **others}
        self._tree = tree
        self._sources = Sources(self._lookouts)
        self._waiting: dict[str, asyncio.Task[Hint]] = {}
        self._looking: dict[str, Hint] = {}  # who gave the hint that is being looked at

    @property
    def source(self) -> Sources:
        """All sources."""
        return self._sources

    async def next(self) -> Hint:
        """The next reason to look at any of the folders."""
        for name, lookout in self._lookouts.items():
            if name not in self._waiting:
                self._waiting[name] = asyncio.create_task(lookout.next())
        try:
            await asyncio.wait(self._waiting.values(), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            for task in self._waiting.values():
                task.cancel()
            await asyncio.gather(*self._waiting.values(), return_exceptions=True)
            self._waiting = {}
            raise
        self._looking = {}
        for name, task in [*self._waiting.items()]:
            if task.done():
                del self._waiting[name]
                self._looking[name] = task.result()
        return reduce(Hint.then, [self._for_main(name, hint) for name, hint in self._looking.items()])

    def _for_main(self, name: str, hint: Hint) -> Hint:
        """What a hint means for the main folder: nothing to look at there, when it is of another one."""
        if name == _MAIN:
            return hint
        self._tree.touch(name, hint.touched)
        return replace(hint, touched=frozenset(), writing=frozenset())

    async def follow(self, tree: Tree, looked: Looked) -> None:
        """Say what came of a look to those that gave the reason for it; to all when somebody else did."""
        looking, self._looking = self._looking, {}
        asked = looking or dict.fromkeys(self._lookouts, looked.hint)
        for name, hint in asked.items():
            if name == _MAIN:
                changed = [path for path in looked.changed if not is_outside(path)]
                await self._lookouts[name].follow(tree, replace(looked, hint=hint, changed=changed))
            else:
                changed = self._tree.paths_in(name, looked.changed)
                unsettled = self._tree.paths_in(name, looked.unsettled)
                own = Looked(hint, looked.seconds, changed, unsettled)
                await self._lookouts[name].follow(self._tree.contexts[name], own)

    async def gone(self) -> None:
        """Say that a look raised TreeGone."""
        self._looking = {}
        for name, lookout in self._lookouts.items():
            root = self._tree.root if name == _MAIN else self._tree.contexts[name].root
            if not root.is_dir():
                await lookout.gone()
