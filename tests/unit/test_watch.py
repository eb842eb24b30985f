"""Looks that somebody asks for: what they wait for, and what they say."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from watcher.events import Source
from watcher.observe import Fanout, Wanted
from watcher.reconcile import Look
from watcher.settle import Lookout
from watcher.tree import Snapshot, Tree
from watcher.watch import TreeWatch


class WrittenTo(Tree):
    """A tree of which a file is being written to at the first looks."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.unsettled = [("main.go",)] * 2
        self.looks = 0

    def take(self, touched: Collection[str] | None = None) -> Snapshot:
        self.looks += 1
        found = super().take(touched)
        return replace(found, unsettled=self.unsettled.pop() if self.unsettled else ())


class Sink:
    def __init__(self) -> None:
        self.told: list[Wanted] = []

    def saw(self, look: Look[Snapshot], wanted: Wanted | None) -> None:
        if wanted:
            self.told.append(wanted)


class Rig:
    def __init__(self, root: Path) -> None:
        (root / "main.go").write_text("package main\n")
        self.root, self.sink = root, Sink()
        self.source = Source(root, observer=Fanout(), mode="polling")
        self.lookout = Lookout(self.source, root, hold=lambda _: None)
        self.tree = Tree(root)
        self.watch = self.make(self.tree)

    def make(self, tree: Tree) -> TreeWatch:
        return TreeWatch("app", tree, self.lookout, inputs={}, observer=Fanout())


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.watch.close()


async def test_who_asks_gets_no_revision_of_files_that_are_being_written(rig: Rig) -> None:
    await rig.source.start()
    before = await rig.watch.look_now(rig.sink)
    tree = WrittenTo(rig.root)
    await rig.watch.refit(tree, rig.lookout, inputs={})
    (rig.root / "main.go").write_text("package main // more\n")
    after = await rig.watch.look_now(rig.sink)
    await rig.source.stop()
    assert tree.looks == 3
    assert after != before
    assert [event.revision for event in rig.sink.told] == [before, after]


async def test_other_inputs_are_another_revision_of_the_same_tree(rig: Rig) -> None:
    await rig.source.start()
    await rig.watch.look_now(rig.sink)
    await rig.watch.refit(rig.tree, rig.lookout, inputs={"arg A": "1"})
    await rig.watch.look_now(rig.sink)
    await rig.source.stop()
    first, second = rig.sink.told
    assert first.revision != second.revision
    assert second.summary == "configuration changed"


async def test_the_configuration_is_asked_before_each_look(rig: Rig) -> None:
    await rig.source.start()
    asked = asyncio.Event()

    async def first() -> None:
        asked.set()
        (rig.root / "main.go").write_text("package main // written by the first\n")

    rig.watch.ask_first(first)
    one = await rig.watch.look_now(rig.sink)
    assert asked.is_set()
    assert one == await rig.watch.look_now(rig.sink)
    await rig.source.stop()
