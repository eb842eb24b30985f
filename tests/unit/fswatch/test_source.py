"""When a source notifications, why, and in which mode it is."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.facts import missing
from watcher.fswatch import EventsUnavailable, Notification, NotificationSource, ScanReport
from watcher.fswatch import source as source_module
from watcher.fswatch.inbox import Act, Inbox
from watcher.fswatch.mounts import MountTable, mounts_below
from watcher.observers.events import Event, SourceEvents, SourceMode
from watcher.tree import Rules


class Clock:
    """Stands still unless it is told otherwise."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Seen:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def notify(self, event: Event) -> None:
        self.events.append(event)

    @property
    def modes(self) -> list[tuple[str, str]]:
        return [(event.mode, event.reason) for event in self.events if isinstance(event, SourceMode)]


class Scripted:
    """A backend that does what the test says."""

    def __init__(self) -> None:
        self.inbox: Inbox | None = None
        self.watched: set[str] = set()
        self.trouble = ""
        self.echoes = True
        self.probes = 0
        self.made = 0
        self.stopped = 0

    def __call__(self, base: str, inbox: Inbox) -> Scripted:
        self.inbox = inbox
        self.made += 1
        return self

    def start(self) -> None:
        self._check()

    def stop(self) -> None:
        self.stopped += 1
        self.watched.clear()

    def watch(self, directories: Collection[str]) -> frozenset[str]:
        self._check()
        added = set(directories) - self.watched
        self.watched = set(directories)
        return frozenset(added)

    def forget(self) -> None:
        self.watched.clear()

    def probe(self, timeout: float) -> bool:
        self._check()
        self.probes += 1
        return self.echoes

    def _check(self) -> None:
        if self.trouble:
            raise EventsUnavailable(self.trouble)

    def event(self, directory: str, name: str) -> None:
        assert self.inbox is not None
        self.inbox.record_event(directory, name, Act.CLOSED, is_dir=False)


class Bench:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock, self.wall, self.seen, self.backend = Clock(), Clock(), Seen(), Scripted()

    @asynccontextmanager
    async def source(
        self, *, mode: str = "auto", full_scan: float = 60.0, probe_every: float = 3600.0
    ) -> AsyncIterator[NotificationSource]:
        source = NotificationSource(
            self.root,
            observer=self.seen,
            service="app",
            mode=mode,
            full_scan=full_scan,
            probe_every=probe_every,
            backend=self.backend,
            clock=self.clock,
            wall=self.wall,
        )
        await source.start()
        first = await source.wait(0)
        assert first is not None
        assert (first.touched, first.reason) == (None, "start")
        try:
            yield source
        finally:
            await source.stop()

    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds
        self.wall.now += seconds


@pytest.fixture
def bench(root: Path) -> Bench:
    return Bench(root)


def everything(reason: str = "timer") -> Notification:
    return Notification(None, reason, 0.0, 0.0)


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10.0):
        while not condition():
            await asyncio.sleep(0.001)


async def wait(source: NotificationSource, timeout: float = 0.0) -> Notification:
    notification = await source.wait(timeout)
    assert notification is not None
    return notification


async def test_events_become_one_hint_with_their_directories(bench: Bench) -> None:
    async with bench.source() as source:
        assert (source.mode, source.mode_reason) == ("events", "events arrive")
        assert bench.seen.modes == [("events", "events arrive")]
        assert await source.wait(0) is None
        bench.backend.event("pkg", "a.go")
        bench.backend.event("", "main.go")
        notification = await wait(source)
        assert (notification.touched, notification.reason, notification.first_seen) == (
            frozenset({"", "pkg"}),
            "event",
            bench.clock.now,
        )
        counts = [event.count for event in bench.seen.events if isinstance(event, SourceEvents)]
        assert counts == [2]
        assert await source.wait(0) is None


async def test_an_event_ends_a_wait_at_once(bench: Bench) -> None:
    async with bench.source() as source:
        waiting = asyncio.create_task(source.wait())
        await asyncio.sleep(0)
        await asyncio.to_thread(bench.backend.event, "pkg", "a.go")
        async with asyncio.timeout(10.0):
            notification = await waiting
        assert notification is not None
        assert notification.touched == frozenset({"pkg"})


async def test_directories_that_become_watched_are_looked_at_once_more(bench: Bench) -> None:
    async with bench.source() as source:
        await source.watch(["", "pkg", "new"], Rules())
        notification = await wait(source)
        assert (notification.touched, notification.reason) == (frozenset({"pkg", "new"}), "subscribed")
        await source.watch(["", "pkg", "new"], Rules())
        assert await source.wait(0) is None
        await source.watch(["", "pkg"], Rules(), also=["deploy/compose.yml"])
        assert bench.backend.watched == {"", "pkg", "deploy"}


async def test_only_what_concerns_the_tree_is_a_hint(bench: Bench) -> None:
    async with bench.source() as source:
        await source.watch([""], Rules(docker=["*.log"]))
        bench.backend.event("", "app.log")
        assert await source.wait(0) is None


async def test_everything_is_looked_at_when_the_clock_says_so(bench: Bench) -> None:
    async with bench.source(full_scan=60.0) as source:
        bench.pass_time(59.0)
        assert await source.wait(0) is None
        bench.pass_time(1.0)
        assert await wait(source) == Notification(None, "timer", bench.clock.now, bench.clock.now)
        assert await source.wait(0) is None
        bench.pass_time(30.0)
        source.report_scan(ScanReport(everything(), seconds=0.2))
        bench.pass_time(99.0)  # a look of 0.2 s may be taken every 100 s
        assert await source.wait(0) is None
        bench.pass_time(1.0)
        assert (await wait(source)).reason == "timer"


async def test_the_clock_can_be_left_out(bench: Bench) -> None:
    async with bench.source(full_scan=0.0) as source:
        bench.pass_time(1e6)
        assert await source.wait(0) is None


async def test_an_overflow_is_counted_and_everything_is_watched_and_looked_at_anew(bench: Bench) -> None:
    async with bench.source() as source:
        await source.watch(["", "pkg"], Rules())
        await wait(source)
        assert bench.backend.inbox is not None
        bench.backend.inbox.record_overflow()
        notification = await wait(source)
        assert (notification.touched, notification.reason) == (None, "overflow")
        assert bench.backend.watched == set()
        await source.watch(["", "pkg"], Rules())
        assert (await wait(source)).touched == frozenset({"", "pkg"})


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
async def test_after_a_sleep_of_the_machine_everything_is_looked_at(bench: Bench, jump: float) -> None:
    async with bench.source() as source:
        bench.wall.now += jump
        assert (await wait(source)).reason == "resume"
        assert await source.wait(0) is None


async def test_a_wall_clock_that_is_slowed_or_hastened_is_no_sleep(bench: Bench) -> None:
    async with bench.source(full_scan=0.0) as source:
        for _ in range(100):
            bench.pass_time(5.0)
            bench.wall.now += 0.1
            assert await source.wait(0) is None


async def test_a_root_that_is_lost_is_hinted_at_and_again_when_it_is_back(bench: Bench) -> None:
    async with bench.source() as source:
        await source.watch([""], Rules())
        bench.root.rename(bench.root.with_name("away"))
        assert bench.backend.inbox is not None
        bench.backend.inbox.record_root_lost()
        assert (await wait(source)).reason == "root"
        assert bench.backend.watched == set()
        bench.pass_time(1e5)
        assert await source.wait(0) is None  # there is nothing to look at
        bench.root.with_name("away").rename(bench.root)
        bench.pass_time(1.0)
        assert (await wait(source)).reason == "root"
        source.report_scan(ScanReport(everything("root"), seconds=0.0))
        await source.watch([""], Rules())
        assert (await wait(source)).touched == frozenset({""})


async def test_a_look_that_found_no_root_makes_the_source_wait_for_it(bench: Bench) -> None:
    async with bench.source() as source:
        bench.root.rename(bench.root.with_name("away"))
        await source.report_gone()
        assert await source.wait(0) is None
        bench.root.mkdir()
        bench.pass_time(1.0)
        assert (await wait(source)).reason == "root"


async def test_files_that_were_being_written_are_looked_at_again_soon(bench: Bench) -> None:
    async with bench.source() as source:
        source.report_scan(ScanReport(everything(), seconds=0.0, unsettled=["pkg/big.bin", "top.bin"]))
        assert await source.wait(0) is None
        bench.pass_time(0.1)
        notification = await wait(source)
        assert (notification.touched, notification.reason) == (frozenset({"pkg", ""}), "unsettled")


async def test_without_events_it_polls_and_says_why(bench: Bench) -> None:
    bench.backend.trouble = "inotify's limit of 8192 watches for this user is reached"
    async with bench.source() as source:
        assert (source.mode, source.mode_reason) == ("polling", bench.backend.trouble)
        assert bench.seen.modes == [("polling", bench.backend.trouble)]
        assert bench.backend.stopped == 1
        source.report_scan(ScanReport(everything("start"), seconds=0.1))
        bench.pass_time(1.9)
        assert await source.wait(0) is None
        bench.pass_time(0.1)
        assert (await wait(source)).reason == "poll"
        await source.watch(["", "pkg"], Rules())  # still not to be had, and not asked for at every look
        assert bench.backend.made == 1


async def test_events_that_can_be_had_again_end_the_polling(bench: Bench) -> None:
    bench.backend.trouble = "no"
    async with bench.source(probe_every=0.001) as source:
        await source.watch(["", "pkg"], Rules())
        assert source.mode == "polling"
        bench.backend.trouble = ""
        await eventually(lambda: source.mode == "events")
        assert bench.seen.modes[-1] == ("events", "events arrive")
        assert bench.backend.watched == {"", "pkg"}
        assert (await wait(source)).reason == "subscribed"


async def test_an_event_that_does_not_come_back_means_polling_until_one_does(bench: Bench) -> None:
    async with bench.source(probe_every=0.001) as source:
        bench.backend.echoes = False
        await eventually(lambda: source.mode == "polling")
        assert missing(source.mode_reason, "event", "did not arrive", "2 s") == []
        bench.backend.echoes = True
        await eventually(lambda: source.mode == "events")


async def test_losing_the_events_while_running_means_polling(bench: Bench) -> None:
    async with bench.source() as source:
        bench.backend.trouble = "the limit is reached"
        await source.watch(["", "pkg"], Rules())
        assert (source.mode, source.mode_reason) == ("polling", "the limit is reached")


async def test_a_change_that_no_event_announced_means_polling_until_events_announce_again(
    bench: Bench,
) -> None:
    async with bench.source() as source:
        bench.pass_time(60.0)
        notification = await wait(source)
        source.report_scan(ScanReport(notification, seconds=0.0, changed=["pkg/a.go"]))
        assert source.mode == "events"  # the event may still come
        bench.pass_time(2.5)
        await source.wait(0)
        assert source.mode == "polling"
        assert source.mode_reason == "pkg/a.go changed and no event reported it"
        assert bench.backend.watched == set()  # what is watched may not be what is there
        for _ in range(6):
            bench.backend.event("pkg", "a.go")
            bench.pass_time(0.01)
            source.report_scan(ScanReport(await wait(source), seconds=0.0, changed=["pkg/a.go"]))
        assert source.mode == "events"


async def test_where_another_machine_may_write_it_starts_with_polling(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("watcher.fswatch.source.remote_type", lambda root: "nfs4")
    async with bench.source() as source:
        assert source.mode == "polling"
        assert "nfs4" in source.mode_reason
        bench.backend.event("pkg", "a.go")  # and yet an event is a notification at once
        assert (await wait(source)).by_events


async def test_polling_can_be_demanded(bench: Bench) -> None:
    async with bench.source(mode="polling") as source:
        assert (source.mode, source.mode_reason) == ("polling", "the setting watch.mode says so")
        assert bench.backend.made == 0
        await source.watch(["", "pkg"], Rules())
        bench.pass_time(0.5)
        assert (await wait(source)).reason == "poll"


async def test_events_can_be_demanded_and_trouble_is_still_said(bench: Bench) -> None:
    bench.backend.trouble = "no inotify here"
    async with bench.source(mode="events") as source:
        assert (source.mode, source.mode_reason) == ("events", "no inotify here")
        bench.pass_time(10.0)
        assert await source.wait(0) is None


async def test_stopping_gives_everything_back(bench: Bench) -> None:
    before = asyncio.all_tasks()
    async with bench.source(probe_every=0.001):
        await eventually(lambda: bench.backend.probes > 3)
    assert asyncio.all_tasks() == before
    assert bench.backend.stopped == 1


async def test_a_cancelled_wait_loses_no_hint(bench: Bench) -> None:
    async with bench.source() as source:
        waiting: Awaitable[Notification | None] = asyncio.create_task(source.wait())
        await asyncio.sleep(0)
        assert isinstance(waiting, asyncio.Task)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        bench.backend.event("pkg", "a.go")
        assert (await wait(source)).touched == frozenset({"pkg"})


async def test_a_root_that_is_a_link_and_leads_elsewhere_is_looked_at(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    bench.root = tmp_path / "link"
    bench.root.symlink_to(tmp_path)
    async with bench.source() as source:
        bench.pass_time(2.0)
        assert await source.wait(0) is None
        bench.root.unlink()
        bench.root.symlink_to("other")
        bench.pass_time(2.0)
        notification = await source.wait(0)
        assert notification is not None
        assert (notification.touched, notification.reason) == (None, "root")


async def test_a_folder_above_that_is_renamed_is_noticed(bench: Bench, tmp_path: Path) -> None:
    above = tmp_path / "above"
    (above / "root").mkdir(parents=True)
    bench.root = above / "root"
    async with bench.source() as source:
        above.rename(tmp_path / "elsewhere")
        bench.pass_time(2.0)
        notification = await source.wait(0)
        assert notification is not None
        assert notification.reason == "root"


async def test_a_mount_in_the_tree_is_noticed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    there: frozenset[str] = frozenset()
    monkeypatch.setattr(source_module, "mounted_at", lambda _path: there)
    async with bench.source() as source:
        await source.watch(["", "data"], Rules())
        await source.wait(0)
        there = frozenset({"a line"})
        bench.pass_time(2.0)
        notification = await source.wait(0)
        assert notification is not None
        assert (notification.touched, notification.reason) == (None, "mount")
        assert not bench.backend.watched, "everything is listened to anew"
        bench.pass_time(2.0)
        assert await source.wait(0) is None


def test_mounts_are_those_at_a_folder_and_below() -> None:
    def line(point: str) -> str:
        return f"36 35 98:0 / {point} rw,noatime - ext4 /dev/root rw"

    points = ["/", "/src", "/src/shop", "/src/shop/data", "/src/shop\\040two", "/src/shopping"]
    lines = [line(point) for point in points]
    text = "\n".join([*lines, "no mount"])
    assert mounts_below("/src/shop", text) == {lines[2], lines[3]}
    assert mounts_below("/src/shop two", text) == {lines[4]}
    assert mounts_below("/", text) == set(lines)


class CountedTable(MountTable):
    """Counts how often the list is read."""

    reads = 0

    broken = False

    def _read(self, file: int) -> None:
        self.reads += 1
        if self.broken:
            raise OSError(errno.EIO, "Input/output error")
        super()._read(file)


@pytest.fixture
def table() -> Iterator[CountedTable]:
    made = CountedTable()
    yield made
    if made._file >= 0:
        os.close(made._file)


@pytest.mark.skipif(not Path("/proc/self/mountinfo").exists(), reason="only Linux lists mounts there")
def test_a_list_of_mounts_that_could_not_be_read_is_no_empty_list(table: CountedTable) -> None:
    table.broken = True
    for _ in range(2):
        with pytest.raises(OSError, match="Input/output"):
            table.find_below("/")
    table.broken = False
    assert table.find_below("/") == mounts_below("/", Path("/proc/self/mountinfo").read_text())


@pytest.mark.skipif(not Path("/proc/self/mountinfo").exists(), reason="only Linux lists mounts there")
def test_the_list_of_mounts_is_read_once_for_all_roots(table: CountedTable) -> None:
    text = Path("/proc/self/mountinfo").read_text()
    for path in ("/", "/proc", "/nowhere", "/"):
        assert table.find_below(path) == mounts_below(path, text)
    assert table.reads <= 2, "another program mounts something meanwhile, at most"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
def test_a_mount_and_its_end_are_noticed(table: CountedTable, tmp_path: Path) -> None:
    assert table.find_below(str(tmp_path)) == frozenset()
    if subprocess.run(["mount", "-t", "tmpfs", "none", tmp_path], check=False).returncode:
        pytest.skip("this container may not mount")
    try:
        assert len(table.find_below(str(tmp_path))) == 1
    finally:
        subprocess.run(["umount", tmp_path], check=True)
    assert table.find_below(str(tmp_path)) == frozenset()
