"""At most so many builds run at once, in the order in which they were asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from tests.facts import missing
from watcher.reconcile.build_slots import BuildSlots, ServiceSlot


class Asker:
    def __init__(self, slots: BuildSlots, name: str, image: str = "") -> None:
        self.slots, self.name, self.image, self.woken = slots, name, image or name, 0

    def wake(self) -> None:
        self.woken += 1

    def take(self, first: Collection[str] = ()) -> bool:
        return self.slots.take(self.name, self.image, self.wake, first)


def test_a_build_that_finds_no_slot_is_woken_when_one_is_free() -> None:
    slots = BuildSlots(1)
    first, second = Asker(slots, "a"), Asker(slots, "b")
    assert first.take()
    assert not second.take()
    assert second.woken == 0
    slots.release("a")
    assert second.woken == 1
    assert second.take()


def test_the_one_that_waits_longest_is_the_next() -> None:
    slots = BuildSlots(1)
    first, second, third = (Asker(slots, name) for name in "abc")
    assert [each.take() for each in (first, second, third)] == [True, False, False]
    slots.release("a")
    assert not first.take()  # behind those that wait already
    assert not third.take()
    assert second.take()


def test_one_that_no_longer_wants_a_slot_lets_the_next_have_it() -> None:
    slots = BuildSlots(1)
    first, second, third = (Asker(slots, name) for name in "abc")
    for each in (first, second, third):
        each.take()
    slots.release("a")
    slots.leave("b")
    assert third.woken >= 1
    assert third.take()


def test_more_slots_wake_all_for_whom_there_is_one() -> None:
    slots = BuildSlots(1)
    askers = [Asker(slots, name) for name in "abc"]
    assert [each.take() for each in askers] == [True, False, False]
    slots.resize(3)
    assert askers[1].woken == 1
    assert askers[1].take()
    assert askers[2].woken == 2
    assert askers[2].take()


def test_builds_of_one_image_take_one_slot_together() -> None:
    slots = BuildSlots(2)
    first, second, other, last = (
        Asker(slots, *each) for each in (("a", "x"), ("b", "x"), ("c", "c"), ("d", "d"))
    )
    assert [each.take() for each in (first, second, other, last)] == [True, True, True, False]
    slots.release("a")
    assert not last.take()
    slots.release("b")
    assert last.woken >= 1
    assert last.take()


def test_one_that_waits_is_woken_when_a_build_of_its_image_begins() -> None:
    slots = BuildSlots(1)
    first, second, third = (Asker(slots, *each) for each in (("a", "a"), ("b", "x"), ("c", "x")))
    assert [each.take() for each in (first, second, third)] == [True, False, False]
    slots.release("a")
    assert second.take()
    assert third.woken >= 1
    assert third.take()


def test_one_that_waits_says_for_whom_and_learns_of_each_change() -> None:
    slots = BuildSlots(2)
    first, second, woken = Asker(slots, "api"), Asker(slots, "worker"), list[str]()
    waiting = ServiceSlot(slots, "web", lambda: "web", lambda: woken.append("web"))
    assert first.take()
    assert second.take()
    assert not waiting.take()
    assert missing(waiting.describe_wait(), "slot", "api", "worker") == []
    slots.resize(1)
    slots.release("api")
    assert woken == ["web", "web"]
    assert not waiting.take()
    assert missing(waiting.describe_wait(), "slot", "worker") == []
    assert "api" not in waiting.describe_wait()
    slots.release("worker")
    assert waiting.take()
    assert list(slots.builders) == ["web"]
    waiting.release()
    assert list(slots.builders) == []


def test_one_behind_another_that_has_not_taken_its_free_slot_yet_waits_too() -> None:
    slots = BuildSlots(1)
    first, second = Asker(slots, "a"), Asker(slots, "b")
    assert first.take()
    assert not second.take()
    slots.release("a")
    third = ServiceSlot(slots, "c", lambda: "c", lambda: None)
    assert not third.take()
    assert missing(third.describe_wait(), "slot", "another service") == []


@given(
    st.integers(1, 3),
    st.lists(st.tuples(st.sampled_from(["take", "release", "leave"]), st.sampled_from("abcde")), max_size=60),
)
def test_no_history_takes_too_many_slots_or_leaves_one_free_for_ever(
    most: int, history: list[tuple[str, str]]
) -> None:
    images = dict(zip("abcde", "xxyzw", strict=True))
    slots = BuildSlots(most)
    owned = {
        name: ServiceSlot(slots, name, partial(images.__getitem__, name), lambda: None) for name in images
    }
    for action, name in history:
        act: dict[str, Callable[[], object]] = {
            "take": owned[name].take,
            "release": owned[name].release,
            "leave": owned[name].leave,
        }
        act[action]()
        assert len({images[each] for each in slots.builders}) <= most
    for name in images:
        owned[name].release()
        owned[name].leave()
    assert slots.builders == ()
    assert owned["a"].take()


# A build that gives way to that of another service.


async def test_a_slot_is_left_free_for_the_build_that_goes_first() -> None:
    """Two slots, three builds of one save: the one that is asked for last is among the first two."""
    slots = BuildSlots(2)
    api, migrate, worker = (Asker(slots, name) for name in ("api", "migrate", "worker"))
    assert api.take({"worker"})
    assert not migrate.take({"worker"})
    assert worker.take()
    assert not migrate.take({"worker"})
    slots.release("api")
    assert migrate.woken >= 1
    assert migrate.take({"worker"})


async def test_with_one_slot_the_build_that_goes_first_gets_it() -> None:
    slots = BuildSlots(1)
    api, worker, other = (Asker(slots, name) for name in ("api", "worker", "other"))
    assert not api.take({"worker"})
    assert worker.take()
    assert not other.take()
    slots.release("worker")
    assert not api.take({"worker"}), "a build that gives way to none is before it"
    assert other.take()
    slots.release("other")
    assert api.take({"worker"})


async def test_a_build_that_does_not_come_is_waited_for_only_for_a_moment() -> None:
    slots = BuildSlots(1)
    woken = asyncio.Event()
    assert not slots.take("api", "api", woken.set, {"worker"})
    async with asyncio.timeout(10):
        await woken.wait()
    assert slots.take("api", "api", woken.set, {"worker"})


async def test_a_build_that_runs_already_is_not_waited_for() -> None:
    slots = BuildSlots(2)
    worker, api = Asker(slots, "worker"), Asker(slots, "api")
    assert worker.take()
    assert api.take({"worker"})


async def test_enough_slots_let_no_build_wait() -> None:
    slots = BuildSlots(3)
    assert all(Asker(slots, name).take({"worker"}) for name in ("api", "migrate"))
    assert Asker(slots, "worker").take()
