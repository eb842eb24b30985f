"""Several folders notify as one, and each scan is reported to the folders that caused it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from pathlib import Path
from typing import Any, cast

import pytest

from watcher.fswatch import Notification, ScanReport
from watcher.reconcile.debounce import Debouncer
from watcher.reconcile.tree_notifications import TreeNotifications
from watcher.tree import Rules, Tree, TreeWithContexts


class Listening:
    """A debouncer, and its source, whose notifications come from the test."""

    def __init__(self) -> None:
        self.notifications: asyncio.Queue[Notification] = asyncio.Queue()
        self.reported: list[tuple[Notification, list[str]]] = []
        self.watched: list[Collection[str]] = []
        self.requests: list[str] = []
        self.source = self
        self.times_gone = 0
        self.running = False

    async def start(self) -> None:
        self.running = True

    async def stop(self) -> None:
        self.running = False

    async def next_notification(self) -> Notification:
        return await self.notifications.get()

    async def watch(self, directories: Collection[str], rules: Rules, *, also: Collection[str]) -> None:
        self.watched.append(directories)

    def report_scan(self, report: ScanReport) -> None:
        self.reported.append((report.notification, sorted(report.changed)))

    async def report_gone(self) -> None:
        self.times_gone += 1

    def request_scan(self, reason: str) -> None:
        self.requests.append(reason)


def notification(*touched: str) -> Notification:
    return Notification(frozenset(touched), "event", 1.0, 2.0, paths=frozenset(touched))


class Rig:
    def __init__(self, root: Path) -> None:
        self.main, self.shared = Listening(), Listening()
        for name in ("svc", "shared"):
            (root / name).mkdir()
        self.tree = TreeWithContexts(root / "svc", contexts={"shared": Tree(root / "shared")})
        self.touched: list[tuple[str, Collection[str] | None]] = []
        cast(Any, self.tree).touch = lambda name, touched: self.touched.append((name, touched))
        contexts = {"shared": cast(Debouncer, self.shared)}
        self.both = TreeNotifications(self.tree, cast(Debouncer, self.main), contexts)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


async def test_a_notification_of_another_folder_touches_nothing_in_the_main_one(rig: Rig) -> None:
    given = notification("x")
    rig.shared.notifications.put_nowait(given)
    found = await rig.both.next_notification()
    assert (found.touched, found.reason) == (frozenset(), "event")
    assert rig.touched == [("shared", frozenset({"x"}))]
    await rig.both.report_scan(ScanReport(found, 0.1, ("../shared/x/a.go", "b.go")))
    assert rig.shared.reported == [(given, ["x/a.go"])]
    assert rig.main.reported == []


async def test_notifications_of_both_are_one_scan(rig: Rig) -> None:
    first, second = notification("a"), notification("b")
    waiting = asyncio.create_task(rig.both.next_notification())
    await asyncio.sleep(0)
    rig.main.notifications.put_nowait(first)
    rig.shared.notifications.put_nowait(second)
    found = await waiting
    assert found.touched == frozenset({"a"})
    if not rig.touched:  # the other one came a moment later
        await rig.both.report_scan(ScanReport(found, 0.1))
        found = await rig.both.next_notification()
    await rig.both.report_scan(ScanReport(found, 0.1, ("a/x", "../shared/b/y")))
    assert rig.touched == [("shared", frozenset({"b"}))]
    assert [each for each, _ in rig.main.reported] == [first]
    assert rig.shared.reported == [(second, ["b/y"])]


async def test_a_scan_without_a_notification_is_reported_to_all(rig: Rig) -> None:
    asked = Notification(None, "request", 1.0, 1.0)
    await rig.both.report_scan(ScanReport(asked, 0.1, ("../shared/a", "b")))
    assert rig.main.reported == [(asked, ["b"])]
    assert rig.shared.reported == [(asked, ["a"])]


async def test_only_the_folder_that_is_gone_gets_the_report(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "shared").rmdir()
    await rig.both.report_gone()
    assert (rig.main.times_gone, rig.shared.times_gone) == (0, 1)


async def test_cancelling_leaves_nothing_running(rig: Rig) -> None:
    await rig.both.start()
    waiting = asyncio.create_task(rig.both.next_notification())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert len(asyncio.all_tasks()) == 1
    await rig.both.stop()
    assert not rig.main.running
    assert not rig.shared.running


async def test_a_folder_that_cannot_be_read_now_is_tried_again(rig: Rig) -> None:
    """TreeGone although every folder exists: without a report no folder would notify again."""
    await rig.both.report_gone()
    assert (rig.main.times_gone, rig.shared.times_gone) == (1, 1)


async def test_a_requested_scan_is_requested_everywhere(rig: Rig) -> None:
    rig.both.request_scan("build")
    assert rig.main.requests == rig.shared.requests == ["build"]


async def test_a_single_folder_gets_its_notifications_and_reports_unchanged(tmp_path: Path) -> None:
    (tmp_path / "pkg").mkdir()
    only, tree = Listening(), Tree(tmp_path)
    tree.scan()
    single = TreeNotifications(tree, cast(Debouncer, only))
    given = notification("pkg")
    only.notifications.put_nowait(given)
    assert await single.next_notification() is given
    await single.report_scan(ScanReport(given, 0.1, ("../Dockerfile", "pkg/a.go")))
    assert only.reported == [(given, ["../Dockerfile", "pkg/a.go"])]
    assert only.watched == [tree.watch_dirs]
    assert "pkg" in tree.watch_dirs
