"""When the idle work is done."""

from __future__ import annotations

from typing import Any

import pytest

from watcher.chores import SPACE_EVERY, IdleChores
from watcher.reconcile import Look

LOOK: Any = Look("r", None, 0.0)


class Hands:
    """Builder and pruner at once: what was asked of them, in order."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.short = False

    async def tell_base(self, look: Any) -> None:
        self.done.append("base")

    async def keep_programs(self, look: Any) -> None:
        self.done.append("programs")

    async def export_builder(self, look: Any) -> None:
        self.done.append("builder")

    async def prune(self) -> None:
        self.done.append("prune")

    def became_short(self) -> bool:
        return self.short

    async def trim(self) -> None:
        self.done.append("trim")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def chores(hands: Any, clock: Clock, *, every: float = 600.0, export: bool = True) -> IdleChores:
    return IdleChores(hands, hands, export_builder=export, prune_every=every, clock=clock)


async def test_after_a_deploy_sizes_are_measured_before_anything_goes() -> None:
    hands = Hands()
    await chores(hands, Clock()).run(LOOK)
    assert hands.done == ["base", "programs", "builder", "prune"]


async def test_the_builder_image_is_exported_only_if_wanted() -> None:
    hands = Hands()
    await chores(hands, Clock(), export=False).run(LOOK)
    assert hands.done == ["base", "programs", "prune"]


async def test_without_a_deploy_it_prunes_by_the_clock() -> None:
    hands, clock = Hands(), Clock()
    idle = chores(hands, clock)
    clock.now += 599
    await idle.run(None)
    assert hands.done == []
    clock.now += 1
    await idle.run(None)
    await idle.run(None)
    assert hands.done == ["prune"]


@pytest.mark.parametrize("every", [600.0, 0.0])
async def test_when_the_disk_runs_short_it_prunes_at_once(every: float) -> None:
    hands, clock = Hands(), Clock()
    idle = chores(hands, clock, every=every)
    clock.now += 60
    await idle.run(None)
    hands.short = True
    await idle.run(None)
    assert hands.done == ["prune"]


def test_it_looks_at_the_disk_more_often_than_it_prunes_and_never_when_pruning_is_off() -> None:
    hands: Any = Hands()
    assert chores(hands, Clock()).every == chores(hands, Clock(), every=0.0).every == SPACE_EVERY
    assert chores(hands, Clock(), every=5.0).every == 5.0
    assert IdleChores(hands, None, export_builder=True, prune_every=600.0).every == float("inf")


async def test_the_build_cache_is_trimmed_by_the_clock_and_not_after_each_deploy() -> None:
    hands, clock = Hands(), Clock()
    anything: Any = hands
    idle = IdleChores(anything, hands, hands, export_builder=False, prune_every=600.0, clock=clock)
    clock.now += 400
    await idle.run(LOOK)
    assert hands.done == ["base", "programs", "prune"]
    clock.now += 200  # the prune is not due yet again, the cache is
    await idle.run(None)
    await idle.run(None)
    assert hands.done == ["base", "programs", "prune", "trim"]
    hands.short = True
    await idle.run(None)
    assert hands.done == ["base", "programs", "prune", "trim", "prune", "trim"]
