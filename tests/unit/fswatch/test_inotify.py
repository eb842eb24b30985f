"""The kernel's own events, for real."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import resource
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from watchdog.observers.inotify_c import InotifyFD

from tests.facts import missing
from tests.process import open_files
from tests.unit.fswatch.conftest import Listener
from watcher.fswatch import EventsUnavailable
from watcher.fswatch.inbox import Inbox
from watcher.fswatch.inotify import Inotify
from watcher.tree import Rules

pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="inotify is Linux's"),
    pytest.mark.libraries,
]


@pytest.fixture
def inotify(root: Path, listener: Listener) -> Iterator[Inotify]:
    backend = Inotify(str(root), listener.inbox)
    backend.start()
    backend.watch(["", "pkg"])
    yield backend
    backend.stop()


@pytest.mark.usefixtures("inotify")
def test_a_save_names_its_directory_and_is_complete_when_closed(root: Path, listener: Listener) -> None:
    with (root / "pkg/a.go").open("w") as file:
        file.write("half")
        file.flush()
        listener.until(lambda seen: seen.touched == {"pkg"})
        notification = listener.mails[-1].notification
        assert notification is not None
        assert notification.writing == {"pkg/a.go"}
    listener.until(lambda seen: bool(seen.mails[-1].notification and not seen.mails[-1].notification.writing))
    assert listener.paths == {"pkg/a.go"}


@pytest.mark.usefixtures("inotify")
def test_an_atomic_save_names_what_it_saved(root: Path, listener: Listener) -> None:
    (root / "pkg/new.tmp").write_text("b")
    (root / "pkg/new.tmp").rename(root / "pkg/a.go")
    listener.until(lambda seen: "pkg/a.go" in seen.paths)
    notification = listener.mails[-1].notification
    assert notification is not None
    assert not notification.writing
    assert not notification.removal


@pytest.mark.usefixtures("inotify")
def test_modes_times_moves_and_removals_are_told(root: Path, listener: Listener) -> None:
    (root / "main.go").chmod(0o600)
    listener.until(lambda seen: seen.paths == {"main.go"})
    os.utime(root / "pkg/a.go", (1, 1))
    listener.until(lambda seen: seen.paths == {"main.go", "pkg/a.go"})
    listener.forget()
    (root / "pkg/a.go").rename(root / "moved.go")
    listener.until(lambda seen: seen.touched == {"", "pkg"})
    (root / "moved.go").unlink()
    listener.until(lambda seen: bool(seen.mails[-1].notification and seen.mails[-1].notification.removal))


@pytest.mark.usefixtures("inotify")
def test_reading_the_tree_is_no_event(root: Path, listener: Listener) -> None:
    for path in root.rglob("*"):
        if path.is_file():
            path.read_bytes()
    (root / "main.go").write_text("at last")
    listener.until(lambda seen: "main.go" in seen.paths)
    assert listener.paths == {"main.go"}


def test_nothing_is_heard_of_directories_that_are_not_watched(
    root: Path, inotify: Inotify, listener: Listener
) -> None:
    (root / "node_modules").mkdir()
    listener.until(lambda seen: "node_modules" in seen.paths)
    listener.forget()
    (root / "node_modules/x.js").write_text("x")
    assert inotify.watch([""]) == frozenset()
    (root / "pkg/a.go").write_text("x")
    (root / "main.go").write_text("x")
    listener.until(lambda seen: "main.go" in seen.paths)
    assert listener.paths == {"main.go"}


def test_directories_are_added_and_named_once(root: Path, inotify: Inotify, listener: Listener) -> None:
    (root / "new/deep").mkdir(parents=True)
    wanted = ["", "pkg", "new", "new/deep", "gone"]
    assert inotify.watch(wanted) == {"new", "new/deep"}
    assert inotify.watch(wanted) == set()
    (root / "new/deep/x.go").write_text("x")
    listener.until(lambda seen: "new/deep/x.go" in seen.paths)


def test_a_directory_that_was_replaced_is_watched_anew(
    root: Path, inotify: Inotify, listener: Listener
) -> None:
    (root / "pkg/sub").mkdir()
    inotify.watch(["", "pkg", "pkg/sub"])
    (root / "pkg").rename(root / "old")
    (root / "pkg/sub").mkdir(parents=True)
    listener.until(lambda seen: {"old", "pkg"} <= seen.paths)
    assert inotify.watch(["", "pkg", "pkg/sub"]) == {"pkg", "pkg/sub"}
    listener.forget()
    (root / "pkg/sub/x.go").write_text("x")
    listener.until(lambda seen: "pkg/sub/x.go" in seen.paths)


def test_a_directory_that_was_moved_is_known_by_its_new_name(
    root: Path, inotify: Inotify, listener: Listener
) -> None:
    (root / "pkg").rename(root / "lib")
    listener.until(lambda seen: {"pkg", "lib"} <= seen.paths)
    assert inotify.watch(["", "lib"]) == {"lib"}
    listener.forget()
    (root / "lib/a.go").write_text("x")
    listener.until(lambda seen: "lib/a.go" in seen.paths)
    assert listener.touched == {"lib"}


@pytest.mark.usefixtures("inotify")
@pytest.mark.parametrize("how", ["moved", "removed"])
def test_losing_the_root_is_told(root: Path, listener: Listener, how: str) -> None:
    if how == "moved":
        root.rename(root.with_name("away"))
    else:
        shutil.rmtree(root)
    listener.until(lambda seen: any(mail.root_lost for mail in seen.mails))


def test_what_lies_outside_is_heard_only_if_it_is_asked_for(
    root: Path, inotify: Inotify, listener: Listener
) -> None:
    outside = root.parent / "docker"
    outside.mkdir()
    listener.inbox.listen_for(Rules(always=frozenset({"../docker/Dockerfile"})), [])
    inotify.watch(["", "../docker"])
    (outside / "other").write_text("x")
    (outside / "Dockerfile").write_text("x")
    listener.until(lambda seen: "../docker/Dockerfile" in seen.paths)
    assert listener.paths == {"../docker/Dockerfile"}
    assert listener.touched == {"../docker"}


def test_a_probe_comes_back_and_leaves_no_trace(root: Path, inotify: Inotify, listener: Listener) -> None:
    before = {path: path.stat() for path in (root, *root.rglob("*"))}
    for _ in range(3):
        assert inotify.probe(10.0)
    after = {path: path.stat() for path in (root, *root.rglob("*"))}
    assert {p: (s.st_mtime_ns, s.st_ctime_ns, s.st_mode) for p, s in before.items()} == {
        p: (s.st_mtime_ns, s.st_ctime_ns, s.st_mode) for p, s in after.items()
    }
    os.listdir(root)  # the root's watch asks no more for what is only opened
    (root / "main.go").write_text("still heard")
    listener.until(lambda seen: "main.go" in seen.paths)
    assert listener.paths == {"main.go"}
    assert sum(mail.count for mail in listener.mails) <= 2 + 1  # truncated, written, closed


def test_a_probe_notices_that_the_root_is_another_directory(
    root: Path, inotify: Inotify, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    inotify.watch([])
    inotify.watch([""])
    listener.forget()
    # A parent is moved: of that the root's own watch says nothing.
    root.parent.rename(root.parent.with_name("away"))
    root.mkdir(parents=True)
    inotify.probe(10.0)
    listener.until(lambda seen: any(mail.root_lost for mail in seen.mails))
    listener.forget()
    inotify.forget()
    assert inotify.watch([""]) == {""}
    (root / "x.go").write_text("x")
    listener.until(lambda seen: "x.go" in seen.paths)


def test_a_probe_of_a_root_that_is_gone_says_so(root: Path, inotify: Inotify, listener: Listener) -> None:
    root.parent.rename(root.parent.with_name("away"))
    assert not inotify.probe(10.0)
    listener.until(lambda seen: any(mail.root_lost for mail in seen.mails))


def test_a_probe_that_nobody_answers_fails(
    root: Path, inotify: Inotify, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(InotifyFD, "handle_event", lambda self, event: None)
    assert not inotify.probe(0.05)


def test_an_overflow_of_the_kernels_queue_is_told(root: Path) -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    blocked = threading.Event()

    def hold() -> None:
        blocked.wait()  # the first event holds the thread

    inbox = Inbox(hold)
    backend = Inotify(str(root), inbox)
    backend.start()
    try:
        backend.watch([""])
        for _ in range(limit):
            for name in ("main.go", "Dockerfile"):  # taking turns, because equal neighbours are one event
                os.utime(root / name)
        blocked.set()
        called = threading.Event()
        while not (mail := inbox.take_all()).overflowed:
            called.wait(0.01)
        assert mail.overflowed
    finally:
        blocked.set()
        backend.stop()


def test_stopping_gives_thread_and_descriptor_back(root: Path, listener: Listener) -> None:
    threads, files = set(threading.enumerate()), open_files()
    backend = Inotify(str(root), listener.inbox)
    backend.start()
    backend.watch(["", "pkg"])
    assert set(threading.enumerate()) != threads
    backend.stop()
    assert set(threading.enumerate()) == threads
    assert open_files() <= files
    with pytest.raises(EventsUnavailable, match="has ended"):
        backend.watch([""])


def test_the_watch_limit_is_explained_and_all_watches_are_given_back(
    root: Path, inotify: Inotify, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "new").mkdir()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "inotify watch limit reached")

    with monkeypatch.context() as patch:
        patch.setattr(InotifyFD, "add_callback", full)
        with pytest.raises(EventsUnavailable, match="max_user_watches=524288") as caught:
            inotify.watch(["", "pkg", "new"])
    limit = Path("/proc/sys/fs/inotify/max_user_watches").read_text().strip()
    assert missing(str(caught.value), f"{limit} watches", "user", "3 directories") == []
    listener.forget()
    assert inotify.watch(["", "pkg", "new"]) == {"", "pkg", "new"}


def test_the_instance_limit_is_explained(root: Path, listener: Listener) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(number) for number in os.listdir("/proc/self/fd"))
    holes = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
        with contextlib.suppress(OSError):
            while True:
                holes.append(os.open("/dev/null", os.O_RDONLY))
        with pytest.raises(EventsUnavailable, match="max_user_instances"):
            Inotify(str(root), listener.inbox).start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in holes:
            os.close(fd)


def test_a_directory_that_may_not_be_read_is_left_out(
    root: Path, inotify: Inotify, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "locked").mkdir()

    def refuse(fd: int, path: bytes, mask: int) -> int:
        if path.endswith(b"locked"):
            ctypes.set_errno(errno.EACCES)
            return -1
        return int(real(fd, path, mask))

    real = sys.modules["watchdog.observers.inotify_c"].inotify_add_watch
    monkeypatch.setattr("watchdog.observers.inotify_c.inotify_add_watch", refuse)
    assert inotify.watch(["", "pkg", "locked"]) == set()


def test_an_error_while_an_event_is_handled_asks_for_a_full_look_and_ends_nothing(
    root: Path, inotify: Inotify, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Rules, "concerns", lambda self, path, *, is_dir: 1 / 0)
        (root / "main.go").write_text("x")
        listener.until(lambda seen: any(mail.overflowed for mail in seen.mails))
    (root / "pkg/a.go").write_text("x")
    listener.until(lambda seen: "pkg/a.go" in seen.paths)
