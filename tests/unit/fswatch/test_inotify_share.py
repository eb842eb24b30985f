"""Several sources of a process share a descriptor: one thread, one watch for a directory, no cross-talk."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.fswatch.conftest import Listener
from watcher.fswatch.inotify import Inotify
from watcher.fswatch.inotify_share import InotifyShare

pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="inotify is Linux's"),
    pytest.mark.libraries,
]


def count_watches() -> list[int]:
    """The watches of each inotify descriptor of this process, as the kernel counts them."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{name}") == "anon_inode:inotify":
                found.append(Path(f"/proc/self/fdinfo/{name}").read_text().count("inotify wd:"))
        except OSError:
            continue
    return found


@pytest.fixture
def pair(root: Path) -> Iterator[tuple[Inotify, Listener, Inotify, Listener]]:
    share, first, second = InotifyShare(), Listener(), Listener()
    one = Inotify(str(root), first.inbox, share)
    other = Inotify(str(root), second.inbox, share)
    for backend in (one, other):
        backend.start()
        backend.watch(["", "pkg"])
    yield one, first, other, second
    one.stop()
    other.stop()


Pair = tuple[Inotify, Listener, Inotify, Listener]


def test_a_directory_that_two_sources_watch_is_watched_once(pair: Pair) -> None:
    assert count_watches() == [2]
    threads = [thread for thread in threading.enumerate() if type(thread).__name__ == "InotifyFD"]
    assert len(threads) == 1


def test_each_source_has_each_event(root: Path, pair: Pair) -> None:
    _, first, _, second = pair
    (root / "pkg/a.go").write_text("new")
    first.until(lambda seen: seen.paths == {"pkg/a.go"})
    second.until(lambda seen: seen.paths == {"pkg/a.go"})


def test_what_one_no_longer_watches_the_other_still_hears(root: Path, pair: Pair) -> None:
    one, first, _, second = pair
    one.watch([""])
    (root / "pkg/a.go").write_text("new")
    second.until(lambda seen: seen.paths == {"pkg/a.go"})
    assert first.paths == set()
    one.stop()
    (root / "main.go").write_text("new")
    second.until(lambda seen: "main.go" in seen.paths)
    assert count_watches() == [2]


def test_probes_at_the_same_time_are_all_heard_and_leave_the_mask_as_it_was(root: Path, pair: Pair) -> None:
    one, first, other, second = pair
    heard: list[bool] = []
    probes = [
        threading.Thread(target=lambda backend=backend: heard.append(backend.probe(20.0)))
        for backend in (one, other) * 8
    ]
    for thread in probes:
        thread.start()
    for thread in probes:
        thread.join()
    assert heard == [True] * 16
    os.listdir(root)
    (root / "main.go").write_text("new")
    for listener in (first, second):
        listener.until(lambda seen: seen.paths == {"main.go"})
    assert count_watches() == [2]


def test_a_watch_that_another_adds_during_a_probe_does_not_end_it(
    root: Path, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _, other, _ = pair
    other.forget()
    opened = os.open

    def add_watch_then_open(*arguments: Any) -> int:
        other.watch([""])
        return opened(*arguments)

    monkeypatch.setattr(os, "open", add_watch_then_open)
    assert one.probe(20.0)


def test_the_end_of_a_probe_does_not_end_that_of_the_same_root_by_another_name(
    root: Path, pair: Pair, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    one, first, _, _ = pair
    link = tmp_path / "link"
    link.symlink_to(root)
    linked = Inotify(str(link), Listener().inbox, one._share)
    linked.start()
    linked.watch([""])
    opened, end_probe, heard = os.open, linked._end_probe, list[bool]()

    def probe_the_other_across_the_end(*ending: Any) -> None:
        def end_then_open(*arguments: Any) -> int:
            end_probe(*ending)
            return opened(*arguments)

        monkeypatch.setattr(os, "open", end_then_open)
        heard.append(one.probe(20.0))

    monkeypatch.setattr(linked, "_end_probe", probe_the_other_across_the_end)
    assert linked.probe(20.0)
    assert heard == [True]
    linked.stop()
    os.listdir(root)
    (root / "main.go").write_text("new")
    first.until(lambda seen: seen.paths == {"main.go"})


def test_the_last_one_closes_the_descriptor_and_a_new_one_can_be_had(root: Path, pair: Pair) -> None:
    one, first, other, _ = pair
    one.stop()
    other.stop()
    assert count_watches() == []
    one.start()
    one.watch([""])
    (root / "main.go").write_text("new")
    first.until(lambda seen: "main.go" in seen.paths)
