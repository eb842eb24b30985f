"""Merging notifications, and what an inbox makes of single events."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from watcher.fswatch import Notification
from watcher.fswatch.inbox import Act, Inbox
from watcher.fswatch.notification import MANY
from watcher.tree import Rules

DIRS = st.none() | st.frozensets(st.sampled_from(["", "a", "b"]), min_size=1)


@st.composite
def notifications(draw: st.DrawFn) -> list[Notification]:
    """In the order of their times."""
    times = sorted(draw(st.lists(st.floats(0, 100), min_size=2, max_size=8)))
    found = []
    for first, last in zip(times[::2], times[1::2], strict=False):
        if draw(st.booleans()):
            paths = draw(st.frozensets(st.sampled_from(["x", "a/y", "b/z"]), min_size=1))
            touched = frozenset(path.rpartition("/")[0] for path in paths)
            found.append(Notification(touched, "event", first, last, paths, removal=draw(st.booleans())))
        else:
            found.append(
                Notification(draw(DIRS), draw(st.sampled_from(["timer", "subscribed"])), first, first)
            )
    return found


@given(notifications())
def test_a_merged_hint_looks_everywhere_that_one_of_them_does(many: list[Notification]) -> None:
    merged = many[0]
    for notification in many[1:]:
        merged = merged.then(notification)
    if any(notification.touched is None for notification in many):
        assert merged.touched is None
        assert merged.reason == next(
            notification.reason for notification in many if notification.touched is None
        )
    else:
        assert merged.touched == frozenset().union(*(notification.touched or () for notification in many))
    events = [notification for notification in many if notification.by_events]
    assert merged.by_events is bool(events)
    if events:
        assert (merged.first_seen, merged.last_seen) == (events[0].first_seen, events[-1].last_seen)
        assert merged.paths == frozenset().union(*(notification.paths for notification in events))
        assert merged.removal is events[-1].removal
        if merged.touched is not None:
            assert merged.reason == "event"


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def make() -> tuple[Inbox, list[int], Clock]:
    calls: list[int] = []
    clock = Clock()
    return Inbox(lambda: calls.append(1), clock), calls, clock


def test_nobody_is_woken_twice_for_one_mail_and_not_at_all_for_what_is_ignored() -> None:
    inbox, calls, _ = make()
    inbox.record_event("", "main.go~", Act.WRITTEN, is_dir=False)
    assert calls == []
    for name in ("a.go", "b.go", "b.go"):
        inbox.record_event("pkg", name, Act.WRITTEN, is_dir=False)
    assert calls == [1]
    mail = inbox.take_all()
    assert mail.count == 4
    assert mail.notification is not None
    assert mail.notification.paths == {"pkg/a.go", "pkg/b.go"}
    inbox.record_event("pkg", "b.go", Act.WRITTEN, is_dir=False)
    assert calls == [1, 1]


def test_what_is_kept_does_not_grow_with_the_number_of_events() -> None:
    inbox, calls, _ = make()
    for number in range(5 * MANY):
        inbox.record_event("pkg", f"{number}.go", Act.CLOSED, is_dir=False)
    mail = inbox.take_all()
    assert mail.count == 5 * MANY
    assert mail.notification is not None
    assert len(mail.notification.paths) == MANY
    assert mail.notification.touched == frozenset({"pkg"})
    assert calls == [1]


def test_times_are_those_of_the_first_and_last_event_that_counts() -> None:
    inbox, _, clock = make()
    clock.now = 1.0
    inbox.record_event("", "x~", Act.WRITTEN, is_dir=False)
    clock.now = 2.0
    inbox.record_event("", "x.go", Act.WRITTEN, is_dir=False)
    clock.now = 3.0
    inbox.record_event("", "x.go", Act.WRITTEN, is_dir=False)
    notification = inbox.take_all().notification
    assert notification is not None
    assert (notification.first_seen, notification.last_seen) == (2.0, 3.0)


def test_a_file_is_being_written_until_it_is_closed_moved_or_left_alone() -> None:
    inbox, _, clock = make()

    def writing(name: str, act: Act) -> frozenset[str]:
        inbox.record_event("", name, act, is_dir=False)
        notification = inbox.take_all().notification
        assert notification is not None
        return notification.writing

    assert writing("a", Act.WRITTEN) == {"a"}
    assert writing("b", Act.WRITTEN) == {"a", "b"}
    assert writing("a", Act.CHANGED) == {"a", "b"}
    assert writing("a", Act.CLOSED) == {"b"}
    assert writing("c", Act.CLOSED) == {"b"}
    assert writing("b", Act.REMOVED) == set()
    assert writing("log", Act.WRITTEN) == {"log"}
    clock.now += 2.0
    assert writing("a", Act.CLOSED) == set()


def test_a_new_directory_is_not_a_file_being_written() -> None:
    inbox, _, _ = make()
    inbox.record_event("", "new", Act.WRITTEN, is_dir=True)
    notification = inbox.take_all().notification
    assert notification is not None
    assert notification.writing == set()


def test_paths_that_are_asked_for_count_whatever_the_rules_say() -> None:
    inbox, calls, _ = make()
    inbox.listen_for(Rules(docker=["*.yml"]), ["docker-compose.yml"])
    inbox.record_event("", "other.yml", Act.CLOSED, is_dir=False)
    assert calls == []
    inbox.record_event("", "docker-compose.yml", Act.CLOSED, is_dir=False)
    assert calls == [1]


def test_overflow_and_a_lost_root_are_mail_too() -> None:
    inbox, calls, _ = make()
    inbox.record_overflow()
    inbox.record_overflow()
    inbox.record_root_lost()
    assert calls == [1]
    mail = inbox.take_all()
    assert (mail.overflowed, mail.root_lost, mail.notification) == (True, True, None)
    assert not inbox.take_all().overflowed
