"""At most so many builds run at once, in the order in which they were asked for."""

from __future__ import annotations

from watcher.reconcile.build_slots import BuildSlots


class Asker:
    def __init__(self, slots: BuildSlots, name: str, image: str = "") -> None:
        self.slots, self.name, self.image, self.woken = slots, name, image or name, 0

    def wake(self) -> None:
        self.woken += 1

    def take(self) -> bool:
        return self.slots.take(self.name, self.image, self.wake)


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
    assert third.woken == 1
    assert third.take()


def test_more_slots_wake_all_for_whom_there_is_one() -> None:
    slots = BuildSlots(1)
    askers = [Asker(slots, name) for name in "abc"]
    assert [each.take() for each in askers] == [True, False, False]
    slots.resize(3)
    assert askers[1].woken == 1
    assert askers[1].take()
    assert askers[2].woken == 1
    assert askers[2].take()


def test_builds_of_one_image_take_one_slot_together() -> None:
    slots = BuildSlots(2)
    first, second, other, last = (
        Asker(slots, *each) for each in (("a", "x"), ("b", "x"), ("c", "c"), ("d", "d"))
    )
    assert [each.take() for each in (first, second, other, last)] == [True, True, True, False]
    slots.release("x")
    assert not last.take()
    slots.release("x")
    assert last.woken >= 1
    assert last.take()


def test_one_that_waits_is_woken_when_a_build_of_its_image_begins() -> None:
    slots = BuildSlots(1)
    first, second, third = (Asker(slots, *each) for each in (("a", "a"), ("b", "x"), ("c", "x")))
    assert [each.take() for each in (first, second, third)] == [True, False, False]
    slots.release("a")
    assert second.take()
    assert third.woken == 1
    assert third.take()
