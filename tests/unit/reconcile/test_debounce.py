"""When a burst is over: decided on a timeline, without waiting."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.fswatch import Notification, NotificationSource
from watcher.observers import humanize
from watcher.reconcile.debounce import (
    GIT_LONGEST,
    GIT_MOST,
    LONGEST,
    DebouncePolicy,
    Debouncer,
    Ready,
    WaitUntil,
)
from watcher.reconcile.git_state import GitState

START = 1000.0
NO_GIT = GitState()
CHECKOUT = GitState("git is writing files", 0.0)


@dataclass(frozen=True)
class Save:
    """An event at `at` seconds; `open`: the writer has not closed the file."""

    at: float
    path: str = "main.go"
    open: bool = False
    removal: bool = False


def notification(save: Save) -> Notification:
    at = START + save.at
    paths = frozenset({save.path})
    return Notification(
        frozenset({""}),
        "event",
        at,
        at,
        paths,
        writing=paths if save.open else frozenset(),
        removal=save.removal,
    )


def scans(saves: Sequence[Save], git: Sequence[tuple[float, float]] = ()) -> list[float]:
    """When looks happen if these events arrive, in seconds of the timeline; git is at work in these spans."""
    policy = DebouncePolicy()
    waiting = sorted(saves, key=lambda save: save.at)
    found: list[float] = []
    now = START
    while True:
        while waiting and START + waiting[0].at <= now:
            policy.add_notification(notification(waiting.pop(0)))
        working = any(begin <= now - START < end for begin, end in git)
        decision = policy.decide(now, CHECKOUT if working else NO_GIT)
        following = START + waiting[0].at if waiting else math.inf
        if isinstance(decision, WaitUntil):
            assert decision.at > now
            now = min(decision.at, following)
            continue
        if policy.take_burst(now):
            found.append(now - START)
        if not waiting:
            return found
        now = following


def test_one_save_is_over_within_thirty_milliseconds() -> None:
    atomic = [Save(0.0, "main.go.tmp"), Save(0.004, "main.go")]
    in_place = [Save(0.0, open=True), Save(0.002, open=True), Save(0.003)]
    for saves in (atomic, in_place, [Save(0.0)]):
        (over,) = scans(saves)
        assert over <= 0.030


def test_a_checkout_of_two_thousand_files_is_one_look_even_without_its_lock() -> None:
    files = [
        Save(number * 0.0007 + (0.026 if number > 900 else 0.0), f"f{number}.go") for number in range(2000)
    ]
    (over,) = scans(files)
    assert over <= files[-1].at + 0.26


def test_a_formatter_that_takes_thirty_milliseconds_a_file_causes_two_looks_not_forty() -> None:
    found = scans([Save(number * 0.030, f"f{number}.go") for number in range(40)])
    assert len(found) <= 2
    assert found[-1] <= 39 * 0.030 + 0.26


def test_a_second_write_by_a_formatter_on_save_is_seen() -> None:
    found = scans([Save(0.0), Save(0.08)])
    assert len(found) == 2
    assert found[-1] <= 0.08 + 0.05


def test_saves_of_a_person_are_each_as_quick_as_the_first() -> None:
    found = scans([Save(number * 1.5) for number in range(10)])
    assert len(found) == 10
    assert all(over - number * 1.5 <= 0.030 for number, over in enumerate(found))


def test_somebody_who_writes_all_the_time_is_looked_at_every_few_seconds() -> None:
    found = scans([Save(number * 0.01, "app.log") for number in range(1000)])
    assert [round(over) for over in found[:3]] == [3, 6, 9]
    assert found[0] == pytest.approx(LONGEST)


def test_a_file_that_is_still_open_is_waited_for() -> None:
    (over,) = scans([Save(number * 0.1, open=True) for number in range(10)] + [Save(0.95)])
    assert 0.95 < over <= 0.98


def test_a_file_that_stays_open_does_not_hold_for_ever() -> None:
    (over,) = scans([Save(0.0, open=True)])
    assert over <= 0.21


def test_a_removal_may_be_half_of_a_replacement() -> None:
    (over,) = scans([Save(0.0, removal=True), Save(0.03)])
    assert 0.03 < over <= 0.06


def test_nothing_is_looked_at_while_git_is_at_work() -> None:
    files = [Save(number * 0.05, f"f{number}.go") for number in range(20)]
    (over,) = scans(files, git=[(0.0, 5.0)])
    assert 5.0 <= over <= 5.3


@pytest.mark.parametrize("every", [0.5, 2.5, 7.0])
def test_saves_do_not_prolong_the_hold_of_an_operation_that_is_not_going_on(every: float) -> None:
    policy, now = DebouncePolicy(), 0.0
    while now < GIT_LONGEST:
        policy.add_notification(notification(Save(now)))
        assert policy.decide(START + now, GitState("git is rebasing", now)) == WaitUntil(
            START + now + 0.025, "git is rebasing"
        )
        now += every
    policy.add_notification(notification(Save(now)))
    decision = policy.decide(START + now + 0.02, GitState("git is rebasing", now))
    assert isinstance(decision, Ready)


def test_the_progress_of_git_itself_prolongs_the_hold_up_to_a_bound() -> None:
    policy = DebouncePolicy()
    policy.add_notification(notification(Save(0.0)))
    for second in range(60):
        assert isinstance(policy.decide(START + second, GitState("git is rebasing", 1.0)), WaitUntil)
    assert isinstance(policy.decide(START + GIT_MOST, GitState("git is rebasing", 1.0)), Ready)
    policy.take_burst(START + GIT_MOST)
    policy.add_notification(notification(Save(GIT_MOST + 1)))
    assert isinstance(policy.decide(START + GIT_MOST + 1, GitState("git is rebasing", 1.0)), WaitUntil)


def test_somebody_who_writes_all_the_time_is_looked_at_soon_after_a_hold_too() -> None:
    policy = DebouncePolicy()
    for tick in range(500):
        policy.add_notification(notification(Save(tick * 0.01)))
        assert isinstance(policy.decide(START + tick * 0.01, CHECKOUT), WaitUntil)
    now = 5.0
    while not isinstance(policy.decide(START + now), Ready):
        now += 0.01
        policy.add_notification(notification(Save(now)))
        assert now < 5.0 + LONGEST + 0.02


def test_a_lock_that_a_crashed_git_left_behind_holds_nothing() -> None:
    policy = DebouncePolicy()
    policy.add_notification(notification(Save(0.0)))
    stale = GitState("git is writing files", 3600.0)
    assert isinstance(policy.decide(START + 0.02, stale), Ready)


def test_hints_without_events_are_not_waited_with() -> None:
    policy = DebouncePolicy()
    policy.add_notification(Notification(None, "timer", START, START))
    assert isinstance(policy.decide(START), Ready)
    assert policy.decide(START, CHECKOUT) == WaitUntil(START + 0.025, "git is writing files")


@given(
    st.lists(
        st.tuples(st.floats(0, 0.5), st.sampled_from("abcdef"), st.booleans(), st.booleans()), max_size=60
    )
)
def test_every_event_is_looked_at_and_soon(steps: list[tuple[float, str, bool, bool]]) -> None:
    at = 0.0
    saves = []
    for gap, path, is_open, removal in steps:
        at += gap
        saves.append(Save(at, path, is_open, removal))
    found = scans(saves)
    assert len(found) <= len(saves)
    for save in saves:
        over = next(look for look in found if look >= save.at)
        assert over - save.at <= LONGEST + 0.001
    if saves:
        assert found[-1] - saves[-1].at <= 0.2501


class Scripted:
    """Gives notifications at their time on a clock that only moves when somebody waits."""

    def __init__(self, notifications: Sequence[tuple[float, Notification]]) -> None:
        self.now = START
        self._pending = list(notifications)

    async def wait(self, timeout: float | None = None) -> Notification | None:
        await asyncio.sleep(0)
        until = math.inf if timeout is None else self.now + timeout
        if self._pending and self._pending[0][0] <= until:
            at, found = self._pending.pop(0)
            self.now = max(self.now, at)
            return found
        assert until < math.inf, "nothing would ever come"
        self.now = until
        return None


async def test_a_debouncer_returns_one_merged_notification_when_the_burst_is_over() -> None:
    source = Scripted(
        [(START + save.at, notification(save)) for save in (Save(0.0, "a.go"), Save(0.01, "b.go"))]
    )
    holds: list[str] = []
    debouncer = Debouncer(
        cast(NotificationSource, source), lambda: NO_GIT, hold=holds.append, clock=lambda: source.now
    )
    found = await debouncer.next_notification()
    assert found.paths == {"a.go", "b.go"}
    assert found.first_seen == START
    assert holds == []


async def test_a_debouncer_reports_what_delays_a_burst_and_when_that_is_over() -> None:
    source = Scripted([(START, notification(Save(0.0)))])
    holds: list[str] = []
    warnings: list[str] = []
    debouncer = Debouncer(
        cast(NotificationSource, source),
        lambda: CHECKOUT if source.now < START + 2.0 else NO_GIT,
        hold=holds.append,
        warn=warnings.append,
        clock=lambda: source.now,
    )
    await debouncer.next_notification()
    assert holds == [f"git is writing files since {humanize.clock(0.0)}", ""]
    assert START + 2.0 <= source.now <= START + 2.1
    assert warnings == []


async def test_a_debouncer_warns_once_of_an_operation_that_does_not_end() -> None:
    source = Scripted([(START + at, notification(Save(at))) for at in (0.0, 2.5, 5.0, 12.0, 14.0)])
    warnings: list[str] = []
    holds: list[str] = []
    debouncer = Debouncer(
        cast(NotificationSource, source),
        lambda: GitState("hg is writing files", source.now - START, 5.0, "remove .hg/wlock"),
        hold=holds.append,
        warn=warnings.append,
        clock=lambda: source.now,
    )
    await debouncer.next_notification()
    assert START + GIT_LONGEST <= source.now <= START + GIT_LONGEST + 0.1
    await debouncer.next_notification()
    await debouncer.next_notification()
    assert source.now < START + 14.1, "not held a second time"
    assert len(holds) == 2
    (warning,) = warnings
    assert warning.startswith(f"hg is writing files since {humanize.clock(5.0)} and is not waited for")
    assert warning.endswith("(if no hg runs, it was interrupted: remove .hg/wlock)")
