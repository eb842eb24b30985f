"""Looks that somebody asks for: what they wait for, and what they say."""

from __future__ import annotations

import asyncio
import os
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.reconcile.test_reconciler import Builds, Deploys, Idle, Recorder
from watcher.buildkit import ContextChanged
from watcher.errors import Superseded
from watcher.fswatch import Notification, NotificationSource
from watcher.observers.events import (
    DesiredChanged,
    Fanout,
    InternalError,
    Notice,
    SourceGone,
    SourceScanned,
    SourceScanning,
)
from watcher.reconcile import state_machine
from watcher.reconcile import tree_watcher as watch_module
from watcher.reconcile.debounce import Debouncer
from watcher.reconcile.git_state import Git
from watcher.reconcile.ports import Built, Scan
from watcher.reconcile.reconciler import Reconciler
from watcher.reconcile.tree_notifications import TreeNotifications
from watcher.reconcile.tree_watcher import TreeWatcher
from watcher.tree import Snapshot, Tree, TreeGone, restless


class WrittenTo(Tree):
    """A tree of which a file is being written to at the first looks."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.unsettled = [("main.go",)] * 2
        self.scans = 0

    def scan(self, touched: Collection[str] | None = None) -> Snapshot:
        self.scans += 1
        found = super().scan(touched)
        return replace(found, unsettled=self.unsettled.pop() if self.unsettled else ())


class Sink:
    def __init__(self) -> None:
        self.told: list[DesiredChanged] = []
        self.scans: list[Scan[Snapshot]] = []

    def record_scan(self, scan: Scan[Snapshot], desired: DesiredChanged | None) -> None:
        self.scans.append(scan)
        if desired:
            self.told.append(desired)


class Rig:
    def __init__(self, root: Path) -> None:
        (root / "main.go").write_text("package main\n")
        self.root, self.sink = root, Sink()
        self.source = NotificationSource(root, observer=Fanout(), mode="polling")
        self.tree = Tree(root)
        self.notifications = TreeNotifications(self.tree, Debouncer(self.source, Git(root)))
        self.watch = self.make(self.tree)

    def make(self, tree: Tree) -> TreeWatcher:
        return TreeWatcher("app", tree, self.notifications, inputs={}, observer=Fanout())


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.watch.close()


async def test_who_asks_gets_no_revision_of_files_that_are_being_written(rig: Rig) -> None:
    await rig.source.start()
    before = await rig.watch.scan_now(rig.sink)
    tree = WrittenTo(rig.root)
    await rig.watch.reconfigure(tree, rig.notifications, inputs={})
    (rig.root / "main.go").write_text("package main // more\n")
    after = await rig.watch.scan_now(rig.sink)
    await rig.source.stop()
    assert tree.scans == 3
    assert after != before
    assert [event.revision for event in rig.sink.told] == [before, after]


async def test_a_file_that_is_written_all_the_time_holds_no_save_back(rig: Rig) -> None:
    told = Recorder()
    tree = WrittenTo(rig.root)
    tree.unsettled = [("app.log",)] * 1000
    watch = TreeWatcher("app", tree, rig.notifications, inputs={}, observer=told, unsettled_most=0.05)
    await rig.source.start()
    before = await watch.scan_now(rig.sink)
    (rig.root / "main.go").write_text("package main // saved\n")
    after = await watch.scan_now(rig.sink)
    await rig.source.stop()
    watch.close()
    assert before != after == rig.sink.told[-1].revision
    notices = [event.text for event in told.events if isinstance(event, Notice)]
    assert len([text for text in notices if text.startswith("app.log changes all the time")]) == 1


async def test_a_file_that_changes_with_every_scan_is_named_once(rig: Rig) -> None:
    told = Recorder()
    watch = TreeWatcher("app", rig.tree, rig.notifications, inputs={}, observer=told)
    await rig.source.start()
    for number in range(restless.TIMES + 2):
        (rig.root / "app.log").write_text("line\n" * number)
        await watch.scan_now(rig.sink)
    await rig.source.stop()
    watch.close()
    assert len([text for event in told.of(Notice) if (text := event.text).startswith("app.log")]) == 1
    assert all(0 <= event.seconds < 60 for event in told.of(SourceScanned)), "of the scan, not of the clock"


async def test_a_save_that_is_still_being_written_is_no_revision_yet(rig: Rig) -> None:
    tree = WrittenTo(rig.root)
    watch = TreeWatcher("app", tree, rig.notifications, inputs={}, observer=Fanout())
    await rig.source.start()
    before = await watch.scan_now(rig.sink)
    (rig.root / "main.go").write_text("package main // half of it")
    tree.unsettled = [("main.go",)]
    everything = Notification(None, "request", first_seen=0.0, last_seen=0.0)
    assert await watch.scan(rig.sink, everything) == before
    assert [told.revision for told in rig.sink.told] == [before]
    after = await watch.scan(rig.sink, everything)
    await rig.source.stop()
    watch.close()
    assert [told.revision for told in rig.sink.told] == [before, after]


async def test_a_problem_is_a_warning_once_and_again_when_it_comes_back(rig: Rig) -> None:
    told, ignore = Recorder(), rig.root / ".dockerignore"
    (rig.root / "Dockerfile").write_text("FROM scratch\n")
    watch = TreeWatcher("app", rig.tree, rig.notifications, inputs={}, observer=told)
    await rig.source.start()
    for text in ("[\n", "[\n", "", "[\n"):
        ignore.write_text(text)
        await watch.scan_now(rig.sink)
    await rig.source.stop()
    watch.close()
    warnings = [event.text for event in told.of(Notice) if event.level == "warning"]
    assert len(warnings) == 2
    assert all(".dockerignore" in text for text in warnings)
    assert [bool(event.problems) for event in told.of(SourceScanned)] == [True, True, False, True]


async def test_a_scan_is_emitted_with_its_facts(rig: Rig) -> None:
    told = Recorder()
    watch = TreeWatcher("app", rig.tree, rig.notifications, inputs={}, observer=told)
    await rig.source.start()
    await watch.scan_now(rig.sink)
    now = time.monotonic()
    await watch.scan(rig.sink, Notification(frozenset({""}), "event", now, now, frozenset({"main.go"})))
    await rig.source.stop()
    watch.close()
    first, second = told.of(SourceScanned)
    assert (first.service, first.reason, first.full, first.files) == ("app", "request", True, 1)
    assert (second.reason, second.full) == ("event", False)
    assert first.context_bytes == len("package main\n")


async def test_a_tree_that_is_gone_is_emitted_once_and_once_more_when_it_is_back(rig: Rig) -> None:
    told, away = Recorder(), rig.root.with_name("away")
    watch = TreeWatcher("app", rig.tree, rig.notifications, inputs={}, observer=told)
    await rig.source.start()
    rig.root.rename(away)
    for _ in range(2):
        with pytest.raises(TreeGone):
            await watch.scan_now(rig.sink)
    away.rename(rig.root)
    for _ in range(2):
        await watch.scan_now(rig.sink)
    await rig.source.stop()
    watch.close()
    assert [bool(event.reason) for event in told.of(SourceGone)] == [True, False]


async def test_a_root_that_goes_away_is_a_warning_and_its_return_is_scanned(tmp_path: Path) -> None:
    root, away, told, sink = tmp_path / "root", tmp_path / "away", Recorder(), Sink()
    root.mkdir()
    (root / "Dockerfile").write_text("FROM scratch\n")
    tree = Tree(root)
    source = NotificationSource(root, observer=Fanout(), mode="polling")
    watch = TreeWatcher(
        "app", tree, TreeNotifications(tree, Debouncer(source, Git(root))), inputs={}, observer=told
    )
    task = asyncio.create_task(watch.run(sink))
    async with asyncio.timeout(30):
        while not sink.told:
            await asyncio.sleep(0.01)
        root.rename(away)
        watch.request_scan()
        while not told.of(Notice):
            await asyncio.sleep(0.01)
        (away / "main.go").write_text("package main\n")
        away.rename(root)
        while len(sink.told) < 2:
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])
    watch.close()
    assert [(event.level, str(root) in event.text) for event in told.of(Notice)] == [("warning", True)]
    assert sink.told[-1].summary == "main.go added"


async def test_a_watch_that_ends_stops_listening(tmp_path: Path) -> None:
    tree, sink = Tree(tmp_path), Sink()
    source = NotificationSource(tmp_path, observer=Fanout(), mode="events")
    watch = TreeWatcher(
        "app", tree, TreeNotifications(tree, Debouncer(source, Git(tmp_path))), inputs={}, observer=Fanout()
    )
    before = set(threading.enumerate())
    task = asyncio.create_task(watch.run(sink))
    async with asyncio.timeout(30):
        while not sink.told:
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])
    watch.close()
    watch._thread.shutdown(wait=True)
    left = [thread.name for thread in set(threading.enumerate()) - before]
    assert [name for name in left if not name.startswith("asyncio_")] == []


def test_files_that_are_written_hold_a_revision_for_a_while_and_then_again(rig: Rig) -> None:
    """Seconds of the same clock: until the limit they hold, at the limit they count, and it starts again."""
    written = replace(rig.tree.scan(), unsettled=("app.log",))
    must_settle = rig.watch._must_settle
    limit = watch_module.UNSETTLED_MOST
    assert must_settle(written, 100.0)
    assert must_settle(written, 99.9 + limit)
    assert not must_settle(written, 100.0 + limit)
    assert must_settle(written, 200.0)
    assert not must_settle(rig.tree.scan(), 201.0)
    assert must_settle(written, 202.0), "a pause in between: it holds from here"
    assert must_settle(written, 201.9 + limit)


async def test_other_inputs_are_another_revision_of_the_same_tree(rig: Rig) -> None:
    await rig.source.start()
    await rig.watch.scan_now(rig.sink)
    await rig.watch.reconfigure(rig.tree, rig.notifications, inputs={"arg A": "1"})
    await rig.watch.scan_now(rig.sink)
    await rig.source.stop()
    first, second = rig.sink.told
    assert first.revision != second.revision
    assert second.summary == "configuration changed"


async def test_what_is_beside_the_tree_is_a_part_of_the_revision(rig: Rig) -> None:
    held = {"mounted app": "one"}

    async def beside(_: Snapshot) -> dict[str, str]:
        return dict(held)

    rig.watch.include_mounted(beside)
    await rig.source.start()
    first = await rig.watch.scan_now(rig.sink)
    assert await rig.watch.scan_now(rig.sink) == first
    held["mounted app"] = "two"
    assert await rig.watch.scan_now(rig.sink) != first
    await rig.source.stop()
    assert [told.summary for told in rig.sink.told] == ["first scan", "mounted sources changed"]


async def test_the_configuration_is_asked_before_each_look(rig: Rig) -> None:
    await rig.source.start()
    asked = asyncio.Event()

    async def first() -> None:
        asked.set()
        (rig.root / "main.go").write_text("package main // written by the first\n")

    rig.watch.run_before_scans(first)
    one = await rig.watch.scan_now(rig.sink)
    assert asked.is_set()
    assert one == await rig.watch.scan_now(rig.sink)
    await rig.source.stop()


def _rewrite(path: Path) -> None:
    path.write_bytes(path.read_bytes())


def _rename_over(path: Path) -> None:
    beside = path.with_name("main.go~")
    beside.write_bytes(path.read_bytes())
    beside.rename(path)


def _there_and_back(path: Path) -> None:
    mode = path.stat().st_mode
    path.chmod(0o600)
    path.chmod(mode)


def _link(path: Path) -> None:
    path.with_name("main.go~").hardlink_to(path)


@pytest.mark.parametrize("again", [_rewrite, Path.touch, _rename_over, _there_and_back, _link])
async def test_the_same_content_written_again_is_the_same_revision_with_a_newer_snapshot(
    rig: Rig, again: Callable[[Path], None]
) -> None:
    await rig.source.start()
    before = await rig.watch.scan_now(rig.sink)
    again(rig.root / "main.go")
    assert await rig.watch.scan_now(rig.sink) == before
    await rig.watch.scan_now(rig.sink)
    await rig.source.stop()
    first, second = rig.sink.scans
    assert len(rig.sink.told) == 1
    assert (first.revision, first.saved_at) == (second.revision, second.saved_at)
    assert first.saved is None, "the tree as it was found answers no save"
    stamps = [scan.snapshot.files["main.go"].stamp for scan in (first, second)]
    assert stamps[0] != stamps[1]
    for scan in (first, second):  # either will do for a build: the content is the same
        assert scan.snapshot.read("main.go") == b"package main\n"


async def test_a_build_that_finds_a_change_has_the_whole_tree_scanned(rig: Rig) -> None:
    await rig.source.start()
    await rig.notifications.next_notification()
    rig.watch.request_scan()
    notification = await rig.notifications.next_notification()
    await rig.source.stop()
    assert (notification.touched, notification.reason) == (None, "build")


async def test_a_change_of_what_the_dockerfile_links_to_is_noticed_by_an_event(tmp_path: Path) -> None:
    root, shared = tmp_path / "root", tmp_path / "shared"
    root.mkdir()
    shared.mkdir()
    (shared / "Dockerfile").write_text("FROM a\n")
    (root / "Dockerfile").symlink_to("../shared/Dockerfile")
    source = NotificationSource(root, observer=Fanout(), mode="events", full_scan=0.0)
    tree = Tree(root)
    notifications = TreeNotifications(tree, Debouncer(source, Git(root)))
    watch, sink = TreeWatcher("app", tree, notifications, inputs={}, observer=Fanout()), Sink()
    task = asyncio.create_task(watch.run(sink))
    async with asyncio.timeout(30):
        while not sink.told:
            await asyncio.sleep(0.01)
        await watch.scan_now(sink)
        (shared / "beside").write_text("FROM b\n")
        (shared / "beside").rename(shared / "Dockerfile")
        while len(sink.told) < 2:
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])
    watch.close()
    assert sink.told[1].summary == "Dockerfile changed"


class Slow(Tree):
    """A tree whose look waits until the test has seen its progress."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.go_on = threading.Event()

    @property
    def seen(self) -> int:
        return 12_400

    def scan(self, touched: Collection[str] | None = None) -> Snapshot:
        assert self.go_on.wait(30)
        return super().scan(touched)


async def test_the_progress_of_a_long_look_is_told(rig: Rig) -> None:
    await rig.source.start()
    tree, told = Slow(rig.root), Recorder()
    watch = TreeWatcher("app", tree, rig.notifications, inputs={}, observer=told, progress_every=0.01)
    scan = asyncio.create_task(watch.scan_now(rig.sink))
    async with asyncio.timeout(30):
        while not told.of(SourceScanning):
            await asyncio.sleep(0.01)
    tree.go_on.set()
    await scan
    await rig.source.stop()
    watch.close()
    assert told.of(SourceScanning)[0].files == 12_400


OPS = ("write", "rewrite", "touch", "rename over", "link", "scan", "build reads", "build ends")


class ReadsAll(Builds):
    """A builder that asks for every file of the snapshot, in the middle of the build."""

    scan: Scan[Snapshot] | None = None

    async def build(self, scan: Scan[Snapshot], *, forced: bool) -> Built:  # type: ignore[override]
        self.scan = scan
        await self.enter(scan.revision)
        return Built(f"image of {scan.revision}")

    def read(self) -> None:
        """As the transfer of the context does."""
        if self.scan and self.running and not self.calls[-1][1].done():
            try:
                with self.scan.snapshot.open("main.go") as file:
                    file.read()
            except ContextChanged as error:
                self.answer(Superseded(str(error)))


class Loop:
    """The real tree, watch and reconciler, with a builder that reads what it was given."""

    def __init__(self, root: Path) -> None:
        self.now, self.number = 1000.0, 0
        self.file = root / "main.go"
        self.file.write_text("package main\n")
        self.builds, self.deploys, self.told = ReadsAll(), Deploys(), Recorder()
        source = NotificationSource(root, observer=Fanout(), mode="polling")
        tree = Tree(root)
        notifications = TreeNotifications(tree, Debouncer(source, Git(root)))
        self.watch = TreeWatcher("app", tree, notifications, inputs={}, observer=Fanout())
        self.source = source
        self.reconciler: Reconciler[Snapshot] = Reconciler(
            "app",
            builder=self.builds,
            deployer=self.deploys,
            chores=Idle(),  # type: ignore[arg-type]
            observer=self.told,
            limits=state_machine.BuildLimits(),
            request_scan=lambda: None,
            clock=lambda: self.now,
        )

    async def turn(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    async def do(self, op: str) -> None:
        match op:
            case "write":
                self.number += 1
                self.file.write_text(f"package main // {self.number}\n")
            case "rewrite":
                _rewrite(self.file)
            case "touch":
                os.utime(self.file, ns=(0, time.time_ns()))
            case "rename over":
                _rename_over(self.file)
            case "link":
                self.file.with_name("main.go~").unlink(missing_ok=True)
                _link(self.file)
            case "scan":
                await self.watch.scan_now(self.reconciler)
            case "build reads":
                self.builds.read()
            case "build ends" if self.builds.running and not self.builds.calls[-1][1].done():
                self.builds.answer()
        await self.turn()
        if self.deploys.running and not self.deploys.calls[-1][1].done():
            self.deploys.answer()
            await self.turn()

    async def run(self, ops: list[str]) -> None:
        await self.source.start()
        task = asyncio.create_task(self.reconciler.run())
        try:
            for op in ops:
                await self.do(op)
            revision = await self.watch.scan_now(self.reconciler)
            before = len(self.builds.calls)
            for _ in range(6):
                self.now = max(self.now, self.reconciler.state.retry_at)
                self.reconciler.hold("")  # look at the clock
                await self.turn()
                await self.do("build reads")
                await self.do("build ends")
            assert self.reconciler.state.live == revision, self.reconciler.state
            assert len(self.builds.calls) - before <= 2
            assert self.told.of(InternalError) == []
        finally:
            task.cancel()
            await asyncio.wait([task])
            await self.source.stop()
            self.watch.close()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(OPS), max_size=14))
def test_after_any_history_of_writes_and_scans_the_tree_goes_live(ops: list[str]) -> None:
    with tempfile.TemporaryDirectory() as root:
        asyncio.run(Loop(Path(root)).run(ops))


async def test_a_scan_that_is_requested_before_the_notifications_start_has_its_revision(
    tmp_path: Path,
) -> None:
    (tmp_path / "main.go").write_text("package main\n")
    tree = Tree(tmp_path)
    source = NotificationSource(tmp_path, observer=Fanout(), mode="polling")
    notifications = TreeNotifications(tree, Debouncer(source, Git(tmp_path)))
    watch, sink = TreeWatcher("app", tree, notifications, inputs={}, observer=Fanout()), Sink()
    early = await watch.scan_now(sink)
    task = asyncio.create_task(watch.run(sink))
    async with asyncio.timeout(30):
        while not watch._listening:
            await asyncio.sleep(0.01)
    assert await watch.scan_now(sink) == early
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await watch.scan_now(sink) == early  # while its configuration changes
