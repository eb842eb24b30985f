"""A tree that several services share is scanned once for a save, and never answers with what is old."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Collection
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watcher.errors import ConfigError
from watcher.fswatch import NativeBackends, Notification, NotificationSource
from watcher.observers.events import DesiredChanged, Fanout
from watcher.reconcile.debounce import Debouncer
from watcher.reconcile.git_state import Git
from watcher.reconcile.ports import Scan
from watcher.reconcile.tree_notifications import TreeNotifications
from watcher.reconcile.tree_watcher import TreeWatcher
from watcher.tree import SharedTree, Snapshot, Tree, TreeGone, TreePool

SERVICES = 20


class Counted(SharedTree):
    """Counts the scans that are made."""

    made = 0

    def _scan(self, touched: Collection[str] | None) -> Snapshot:
        self.made += 1
        return super()._scan(touched)


class Sink:
    def __init__(self) -> None:
        self.revisions: list[str] = []

    def record_scan(self, scan: Scan[Snapshot], desired: DesiredChanged | None) -> None:
        if desired:
            self.revisions.append(scan.revision)


class Rig:
    """Twenty services with one tree, each with its own notifications."""

    def __init__(self, root: Path) -> None:
        self.root, self.tree, backends = root, Counted(root), NativeBackends()
        self.notifications = list[TreeNotifications]()
        self.sinks = [Sink() for _ in range(SERVICES)]
        self.watches = [self.make(backends) for _ in range(SERVICES)]

    def make(self, backends: NativeBackends) -> TreeWatcher:
        source = NotificationSource(self.root, observer=Fanout(), mode="events", backend=backends)
        notifications = TreeNotifications(self.tree, Debouncer(source, Git(self.root)))
        self.notifications.append(notifications)
        return TreeWatcher("app", self.tree, notifications, inputs={}, observer=Fanout())

    async def until_all_have(self, count: int) -> None:
        async with asyncio.timeout(60):
            while not all(len(sink.revisions) >= count for sink in self.sinks):
                await asyncio.sleep(0.01)


async def test_a_save_of_twenty_services_is_scanned_about_once(tmp_path: Path) -> None:
    (tmp_path / "cmd").mkdir()
    (tmp_path / "cmd/main.go").write_text("package main\n")
    rig = Rig(tmp_path)
    tasks = [asyncio.create_task(each.run(sink)) for each, sink in zip(rig.watches, rig.sinks, strict=True)]
    try:
        await rig.until_all_have(1)
        async with asyncio.timeout(60):  # until the subscriptions are made and nothing is young any more
            before = -1
            while before != rig.tree.made:
                before = rig.tree.made
                await asyncio.sleep(0.5)
        (tmp_path / "cmd/main.go").write_text("package main // saved\n")
        await rig.until_all_have(2)
        assert rig.tree.made - before <= 4
        assert len({tuple(sink.revisions[-1:]) for sink in rig.sinks}) == 1
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for watch in rig.watches:
            watch.close()


async def test_requests_of_all_services_at_once_are_two_scans_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "main.go").write_text("package main\n")
    rig, first, scan = Rig(tmp_path), threading.Event(), SharedTree._scan

    def wait_first(tree: SharedTree, touched: Collection[str] | None) -> Snapshot:
        assert first.wait(10)
        return scan(tree, touched)

    monkeypatch.setattr(SharedTree, "_scan", wait_first)
    for each in rig.notifications:
        await each.start()
    try:
        asyncio.get_running_loop().call_later(0.1, first.set)
        asked = (watch.scan_now(sink) for watch, sink in zip(rig.watches, rig.sinks, strict=True))
        assert len({*await asyncio.gather(*asked)}) == 1
        assert rig.tree.made <= 2
    finally:
        for each in rig.notifications:
            await each.stop()
        for watch in rig.watches:
            watch.close()


def test_a_scan_that_began_before_the_change_or_elsewhere_is_no_answer(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    tree = Counted(tmp_path)
    tree.scan()
    begun = time.monotonic()
    tree.scan_since({"a"}, begun)
    assert tree.made == 2
    tree.scan_since({"a"}, begun)
    assert tree.made == 2
    tree.scan_since({"b"}, begun)
    assert tree.made == 3
    tree.scan_since({"a", "b"}, begun)
    assert tree.made == 3
    tree.scan_since(None, begun)
    assert tree.made == 4
    tree.scan_since(None, begun)
    tree.scan_since({"new"}, begun)
    assert tree.made == 4
    tree.scan_since(None, time.monotonic())
    assert tree.made == 5


def test_a_tree_that_is_gone_is_looked_for_each_time(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    tree, begun = Counted(root), time.monotonic()
    tree.scan_since(None, begun)
    root.rmdir()
    for _ in range(2):
        with pytest.raises(TreeGone):
            tree.scan_since(None, time.monotonic())
    root.mkdir()
    (root / "main.go").write_text("package main\n")
    assert tree.scan_since({""}, begun).count == 1


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_whatever_was_noticed_is_in_the_answer(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Writes are noticed at once or later, by several services; each answer holds all that was noticed."""
    root = tmp_path_factory.mktemp("tree")
    folders = ["x", "y", ""]
    for folder in folders:
        (root / folder).mkdir(exist_ok=True)
    tree, noticed = SharedTree(root), dict[str, set[str]]()
    for number in range(data.draw(st.integers(1, 12))):
        folder = data.draw(st.sampled_from(folders))
        (root / folder / "f.go").write_text(f"package p // {number}\n")
        for service in data.draw(st.sets(st.sampled_from("abc"))):
            noticed.setdefault(service, set()).add(folder)
        if data.draw(st.booleans()) and noticed:
            service = data.draw(st.sampled_from(sorted(noticed)))
            seen = time.monotonic()
            touched = noticed.pop(service)
            found = tree.scan_since(touched, seen)
            fresh = Tree(root).scan()
            for each in touched:
                path = f"{each}/f.go".lstrip("/")
                assert found.files[path].digest == fresh.files[path].digest


def test_the_pool_gives_one_tree_for_the_same_folder_and_rules(tmp_path: Path) -> None:
    pool = TreePool()

    def make(dockerfile: str = "Dockerfile", ignore: tuple[str, ...] = ()) -> SharedTree:
        return pool.make_tree(tmp_path, ignore=ignore, env_dirs=("_envs",), dockerfile=dockerfile)

    first, second = make(), make()
    assert first is second
    assert make("other/Dockerfile") is not first
    assert make(ignore=("*.txt",)) is not first
    with pytest.raises(ConfigError):
        make(ignore=("[",))


def test_a_request_within_a_burst_wants_a_scan_after_it() -> None:
    save = Notification(frozenset({"a"}), "event", 1.0, 2.0, frozenset({"a/f"}))
    request = Notification(None, "build", 5.0, 5.0)
    assert save.latest == 2.0
    assert save.then(request).latest == 5.0
    assert save.then(request).last_seen == 2.0, "the quiet time counts from the save"
    assert request.then(save).latest == 5.0
