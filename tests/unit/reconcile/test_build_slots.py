"""At most so many builds run at once, in the order in which they were asked for."""

from __future__ import annotations

from watcher.reconcile.build_slots import BuildSlots


class Asker:
    def __init__(self, slots: BuildSlots, name: str) -> None:
        self.slots, self.name, self.woken = slots, name, 0

    def wake(self) -> None:
        self.woken += 1

    def take(self) -> bool:
        return self.slots.take(self.name, self.wake)


def test_a_build_that_finds_no_slot_is_woken_when_one_is_free() -> None:
    slots = BuildSlots(1)
    first, second = Asker(slots, "a"), Asker(slots, "b")
    assert first.take()
    assert not second.take()
    assert second.woken == 0
    slots.release()
    assert second.woken == 1
    assert second.take()


def test_the_one_that_waits_longest_is_the_next() -> None:
    slots = BuildSlots(1)
    first, second, third = (Asker(slots, name) for name in "abc")
    assert [each.take() for each in (first, second, third)] == [True, False, False]
    slots.release()
    assert not first.take()  # behind those that wait already
    assert not third.take()
    assert second.take()


def test_one_that_no_longer_wants_a_slot_lets_the_next_have_it() -> None:
    slots = BuildSlots(1)
    first, second, third = (Asker(slots, name) for name in "abc")
    for each in (first, second, third):
        each.take()
    slots.release()
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
