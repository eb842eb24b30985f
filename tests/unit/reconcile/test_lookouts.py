"""Several folders are listened to as one: each look is told to those that gave the reason for it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from pathlib import Path
from typing import Any, cast

import pytest

from watcher.fswatch import Hint, Looked
from watcher.reconcile.debounce import Lookout
from watcher.reconcile.lookouts import ContextLookouts
from watcher.tree import Tree, TreeWithContexts


class Listening:
    """A look-out whose hints a test gives."""

    def __init__(self) -> None:
        self.hints: asyncio.Queue[Hint] = asyncio.Queue()
        self.followed: list[tuple[Hint, list[str]]] = []
        self.source = self
        self.gone_told = 0
        self.running = False

    async def start(self) -> None:
        self.running = True

    async def stop(self) -> None:
        self.running = False

    async def next(self) -> Hint:
        return await self.hints.get()

    async def follow(self, tree: Tree, looked: Looked) -> None:
        self.followed.append((looked.hint, sorted(looked.changed)))

    async def gone(self) -> None:
        self.gone_told += 1


def hint(*touched: str) -> Hint:
    return Hint(frozenset(touched), "event", 1.0, 2.0, paths=frozenset(touched))


class Rig:
    def __init__(self, root: Path) -> None:
        self.main, self.shared = Listening(), Listening()
        for name in ("svc", "shared"):
            (root / name).mkdir()
        self.tree = TreeWithContexts(root / "svc", contexts={"shared": Tree(root / "shared")})
        self.touched: list[tuple[str, Collection[str] | None]] = []
        cast(Any, self.tree).touch = lambda name, touched: self.touched.append((name, touched))
        others = {"shared": cast(Lookout, self.shared)}
        self.lookouts = ContextLookouts(cast(Lookout, self.main), others, self.tree)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


async def test_a_hint_of_another_folder_is_no_reason_to_look_at_the_main_one(rig: Rig) -> None:
    given = hint("x")
    rig.shared.hints.put_nowait(given)
    found = await rig.lookouts.next()
    assert (found.touched, found.reason) == (frozenset(), "event")
    assert rig.touched == [("shared", frozenset({"x"}))]
    await rig.lookouts.follow(rig.tree, Looked(found, 0.1, ("../shared/x/a.go", "b.go")))
    assert rig.shared.followed == [(given, ["x/a.go"])]
    assert rig.main.followed == []


async def test_hints_of_both_are_one_look(rig: Rig) -> None:
    first, second = hint("a"), hint("b")
    waiting = asyncio.create_task(rig.lookouts.next())
    await asyncio.sleep(0)
    rig.main.hints.put_nowait(first)
    rig.shared.hints.put_nowait(second)
    found = await waiting
    assert found.touched == frozenset({"a"})
    if not rig.touched:  # the other one came a moment later
        await rig.lookouts.follow(rig.tree, Looked(found, 0.1))
        found = await rig.lookouts.next()
    await rig.lookouts.follow(rig.tree, Looked(found, 0.1, ("a/x", "../shared/b/y")))
    assert rig.touched == [("shared", frozenset({"b"}))]
    assert [each for each, _ in rig.main.followed] == [first]
    assert rig.shared.followed == [(second, ["b/y"])]


async def test_a_look_that_nobody_gave_a_reason_for_is_told_to_all(rig: Rig) -> None:
    asked = Hint(None, "request", 1.0, 1.0)
    await rig.lookouts.follow(rig.tree, Looked(asked, 0.1, ("../shared/a", "b")))
    assert rig.main.followed == [(asked, ["b"])]
    assert rig.shared.followed == [(asked, ["a"])]


async def test_only_the_folder_that_is_gone_is_told_so(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "shared").rmdir()
    await rig.lookouts.gone()
    assert (rig.main.gone_told, rig.shared.gone_told) == (0, 1)


async def test_who_is_cancelled_leaves_nothing_running(rig: Rig) -> None:
    await rig.lookouts.source.start()
    waiting = asyncio.create_task(rig.lookouts.next())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert len(asyncio.all_tasks()) == 1
    await rig.lookouts.source.stop()
    assert not rig.main.running
    assert not rig.shared.running
