"""The journal of builds: what was written is read again, whatever happened in between."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import ClassVar

import pytest

from tests.facts import missing
from watcher.backoff import Backoff
from watcher.builder import BuildEntry, BuildJournal, StepRun, build_cache_of, open_journal
from watcher.builder.journal_file import append_lines, take_snapshot
from watcher.buildkit import StepFinished, parse_step


def ended(
    name: str, at: float, *, seconds: float = 1.0, cached: bool = False, error: str = ""
) -> StepFinished:
    return StepFinished(parse_step("sha256:1", name), at, seconds, cached, error)


def entries_of(journal: BuildJournal) -> list[BuildEntry]:
    """What the journal says, oldest first."""
    return journal.update(lambda entries: entries)


def test_steps_that_ran_are_remembered_with_the_span_of_all(tmp_path: Path) -> None:
    journal = BuildJournal(tmp_path, clock=lambda: 0.0)
    with journal.build("web", "rev", final=True, show=lambda _: "RUN IN SHORT") as write_down:
        write_down(ended("[builder 1/3] FROM golang", 10.0, seconds=0.5, cached=True))
        write_down(ended("[builder 2/3] RUN go build", 20.0, seconds=4.0))
        write_down(ended("[internal] load build context", 21.0))
        write_down(ended("[builder 3/3] RUN false", 22.0, error="exit code 1"))
        assert journal.running == {entries_of(journal)[0].id}
    assert journal.flush()
    (entry,) = entries_of(BuildJournal(tmp_path))
    assert (entry.service, entry.revision, entry.final, entry.ended) == ("web", "rev", True, "ok")
    assert entry.steps == [StepRun("[builder 2/3] RUN go build", 16.0, 20.0, "RUN IN SHORT")]
    assert (entry.started, entry.finished) == (9.5, 22.0)
    assert not journal.running


def test_a_build_lasts_until_buildkit_has_answered(tmp_path: Path) -> None:
    """Then it has released the records that the build used, seconds after the last step if it is busy."""
    now = [100.0]
    journal = BuildJournal(tmp_path, clock=lambda: now[0])
    with journal.build("web", "rev", final=True) as write_down:
        write_down(ended("[builder 2/3] RUN go build", 20.0))
        now[0] += 30.0  # between two events of one build
        write_down(ended("exporting to image", 22.0))
        now[0] += 4.5
    with journal.build("web", "next", final=True):
        now[0] += 7.0  # a build without a step
    assert [entry.finished for entry in entries_of(journal)] == [26.5, 0.0]


def test_a_build_that_fails_or_is_cancelled_says_so(tmp_path: Path) -> None:
    journal = BuildJournal(tmp_path)
    with pytest.raises(KeyboardInterrupt), journal.build("web", "rev", final=True):
        raise KeyboardInterrupt
    assert entries_of(journal)[0].ended == "failed"


def test_a_build_of_a_killed_daemon_has_its_steps_and_no_end(tmp_path: Path) -> None:
    journal = BuildJournal(tmp_path)
    build = journal.build("web", "rev", final=True)
    build.__enter__()(ended("[builder 2/3] RUN go build", 20.0))
    assert journal.flush()
    (entry,) = entries_of(BuildJournal(tmp_path))
    assert entry.ended == ""
    assert len(entry.steps) == 1


def test_damaged_lines_are_left_out(tmp_path: Path) -> None:
    journal = BuildJournal(tmp_path)
    with journal.build("web", "rev", final=True) as write_down:
        write_down(ended("[2/3] COPY . .", 20.0))
    assert journal.flush()
    file = tmp_path / "builds.jsonl"
    damaged = [
        '{"step": "unknown", "from": 1, "to": 2}',
        "null",
        "{",
        "[]",
        '{"build": 1}',
        '"x"',
        "[" * 100_000,
        "\x00\xff",
    ]
    file.write_text("\n".join([*damaged, file.read_text(), '{"build": "cut off", "serv']))
    (entry,) = entries_of(journal)
    assert entry.steps == [StepRun("[2/3] COPY . .", 19.0, 20.0, "[2/3] COPY . .")]


def test_an_update_replaces_the_journal_and_keeps_what_was_proven(tmp_path: Path) -> None:
    journal = BuildJournal(tmp_path)
    for revision in ("one", "two"):
        with journal.build("web", revision, final=True) as write_down:
            write_down(ended("[2/3] COPY . .", 20.0))

    def change(entries: list[BuildEntry]) -> list[BuildEntry]:
        entries[1].records, entries[1].unfinished = frozenset({"a", "b"}), frozenset({"b"})
        return entries[1:]

    journal.update(change)
    (entry,) = entries_of(journal)
    assert (entry.revision, entry.records, entry.unfinished) == ("two", frozenset("ab"), frozenset("b"))
    with journal.build("web", "three", final=False):
        pass
    assert [entry.revision for entry in entries_of(journal)] == ["two", "three"]


class Disk:
    """Makes every write to a journal fail while `full`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        self._write = os.write
        monkeypatch.setattr(os, "write", self.write)

    def write(self, descriptor: int, text: bytes) -> int:
        if self.full:
            self._write(descriptor, bytes(text[:5]))  # what still fits
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._write(descriptor, text)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def test_a_full_disk_is_reported_at_once_and_the_lines_are_written_when_there_is_room(
    tmp_path: Path, disk: Disk
) -> None:
    told: SimpleQueue[str] = SimpleQueue()
    journal = BuildJournal(tmp_path, notify=told.put, retry=Backoff(0.01, 60.0))
    with journal.build("web", "rev", final=True) as write_down:
        write_down(ended("[2/3] COPY . .", 20.0))
        assert journal.flush()
        disk.full = True
        write_down(ended("[3/3] RUN go build", 30.0))
        assert missing(told.get(timeout=20), "No space left") == []
        assert journal.problem
        assert not journal.flush()
    assert journal.running, "a build whose end is not written has not ended"
    assert [len(entry.steps) for entry in entries_of(journal)] == [1]
    disk.full = False
    assert told.get(timeout=20) == ""
    assert (journal.problem, journal.running) == ("", frozenset())
    (entry,) = entries_of(journal)
    assert [step.name for step in entry.steps] == ["[2/3] COPY . .", "[3/3] RUN go build"]
    assert entry.ended == "ok"
    assert told.empty()


def test_a_wait_ends_when_the_disk_turns_out_to_be_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, written = threading.Event(), list[bool]()

    def fail(descriptor: int, text: bytes) -> int:
        assert release.wait(60)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", fail)
    journal = BuildJournal(tmp_path)
    with journal.build("web", "rev", final=True):
        pass
    waiting = threading.Thread(target=lambda: written.append(journal.flush(3600)), daemon=True)
    waiting.start()
    while not vars(journal._changed)["_waiters"]:  # the writer is busy: this is `flush`
        time.sleep(0.001)
    release.set()
    waiting.join(60)
    assert written == [False]


class Pauses(Backoff):
    """A back-off that notes after how many failures it was asked, and is always short."""

    asked: ClassVar[list[int]] = []

    def pause(self, failures: int) -> float:
        self.asked.append(failures)
        return 0.001


def test_writing_is_retried_less_and_less_often_until_it_succeeds(tmp_path: Path, disk: Disk) -> None:
    Pauses.asked.clear()
    told: SimpleQueue[str] = SimpleQueue()
    journal = BuildJournal(tmp_path, notify=told.put, retry=Pauses(0.0, 0.0))
    for _ in range(2):
        disk.full, before = True, len(Pauses.asked)
        with journal.build("web", "rev", final=True):
            assert "No space left" in told.get(timeout=20)
        while len(Pauses.asked) < before + 3:
            time.sleep(0.001)
        disk.full = False
        assert told.get(timeout=20) == ""
        assert journal.flush()
        assert Pauses.asked[before : before + 3] == [0, 1, 2]
    journal.close()


def test_a_folder_that_cannot_be_made_is_reported_and_used_once_it_can(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")
    told: SimpleQueue[str] = SimpleQueue()
    journal = BuildJournal(tmp_path / "state" / "shop-1", notify=told.put, retry=Backoff(0.01, 60.0))
    journal.check()
    assert str(tmp_path) in told.get(timeout=20)
    with journal.build("web", "rev", final=True) as write_down:
        write_down(ended("[2/3] COPY . .", 20.0))
    assert entries_of(journal) == []
    (tmp_path / "state").unlink()
    assert told.get(timeout=20) == ""
    assert [entry.ended for entry in entries_of(journal)] == ["ok"]


def test_a_journal_that_was_deleted_since_it_was_read_is_not_written_back(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    append_lines(path, ["one"])
    with take_snapshot(path) as snapshot:
        path.unlink()
        assert snapshot.replace(["one"]) is False
    assert not path.exists()


def test_what_could_not_be_stored_does_not_count(tmp_path: Path, disk: Disk) -> None:
    journal = BuildJournal(tmp_path)
    with journal.build("web", "rev", final=True) as write_down:
        write_down(ended("[2/3] COPY . .", 20.0))
    assert journal.flush()
    disk.full = True

    def change(entries: list[BuildEntry]) -> list[BuildEntry]:
        entries[0].records = frozenset({"a"})
        return entries

    assert [entry.records for entry in journal.update(change)] == [None]
    assert "No space left" in journal.problem
    disk.full = False
    assert [entry.records for entry in journal.update(change)] == [frozenset("a")]
    assert journal.problem == ""


def test_a_build_never_waits_for_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither while the disk hangs nor while the records of a large cache are looked through."""
    release, entered = threading.Event(), threading.Event()
    written = os.write

    def hang(descriptor: int, text: bytes) -> int:
        entered.set()
        assert release.wait(60)
        return written(descriptor, text)

    monkeypatch.setattr(os, "write", hang)
    journal = BuildJournal(tmp_path)
    with journal.build("web", "rev", final=True) as write_down:
        assert entered.wait(60)
        for at in range(1000):
            write_down(ended("[2/3] COPY . .", at))
    assert not journal.flush(patience=0.01)
    assert "does not answer" in journal.problem
    release.set()
    assert journal.flush(60)
    assert journal.problem == ""
    assert [len(entry.steps) for entry in entries_of(journal)] == [1000]


def test_steps_are_written_while_an_update_computes(tmp_path: Path) -> None:
    journal = BuildJournal(tmp_path)
    with journal.build("web", "one", final=True):
        pass

    def change(entries: list[BuildEntry]) -> list[BuildEntry]:
        with journal.build("web", "two", final=True) as write_down:
            write_down(ended("[2/3] COPY . .", 20.0))
        assert journal.flush()
        return [replace(entry, records=frozenset("a")) for entry in entries]

    journal.update(change)
    assert [(each.revision, each.ended, each.records) for each in entries_of(journal)] == [
        ("one", "ok", {"a"}),
        ("two", "ok", None),
    ]


def test_an_update_starts_over_when_another_process_updated_in_between(tmp_path: Path) -> None:
    journal, other = BuildJournal(tmp_path), BuildJournal(tmp_path)
    for revision in ("one", "two"):
        with journal.build("web", revision, final=True):
            pass
    seen: list[list[str]] = []

    def change(entries: list[BuildEntry]) -> list[BuildEntry]:
        seen.append([entry.revision for entry in entries])
        if len(seen) == 1:
            other.update(lambda found: found[1:])
        return [replace(entry, records=frozenset("a")) for entry in entries]

    assert [entry.revision for entry in journal.update(change)] == ["two"]
    assert seen == [["one", "two"], ["two"]]
    assert [(entry.revision, entry.records) for entry in entries_of(journal)] == [("two", frozenset("a"))]


def test_a_journal_that_is_always_replaced_is_left_and_that_is_said(tmp_path: Path) -> None:
    journal, other = BuildJournal(tmp_path), BuildJournal(tmp_path)
    with journal.build("web", "one", final=True):
        pass
    numbers = iter(range(100))

    def change(entries: list[BuildEntry]) -> list[BuildEntry]:
        number = str(next(numbers))
        other.update(lambda found: [replace(entry, records=frozenset({number})) for entry in found])
        return []

    assert [entry.revision for entry in journal.update(change)] == ["one"]
    assert missing(journal.problem, "processes", "replacing") == []


def test_a_lock_that_another_process_keeps_is_said(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "builds.lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline()
        with pytest.raises(OSError, match=r"another process has held .*builds\.lock"):
            append_lines(tmp_path / "builds.jsonl", ["{}"], patience=0.05)
        holder.communicate(timeout=20)
    append_lines(tmp_path / "builds.jsonl", ["{}"])


HOLD = """
import fcntl, os, sys
fcntl.flock(os.open(sys.argv[1], os.O_RDWR | os.O_CREAT), fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_lines_of_several_processes_are_all_there(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", APPEND, str(tmp_path / "builds.jsonl"), name])
        for name in ("a", "b", "c")
    ]
    kept: set[str] = set()
    while any(process.poll() is None for process in processes):
        with take_snapshot(tmp_path / "builds.jsonl") as snapshot:
            kept.update(snapshot.lines)
            assert snapshot.replace(snapshot.lines)
    assert [process.returncode for process in processes] == [0, 0, 0]
    with take_snapshot(tmp_path / "builds.jsonl") as snapshot:
        assert sorted(snapshot.lines) == sorted(f"{name}{n}" for name in "abc" for n in range(200))
    assert kept <= set(snapshot.lines)


APPEND = """
import sys
from pathlib import Path
from watcher.builder.journal_file import append_lines
for number in range(200):
    append_lines(Path(sys.argv[1]), [f"{sys.argv[2]}{number}"], patience=60)
"""


def test_a_line_that_a_killed_process_left_without_an_end_harms_no_other(tmp_path: Path) -> None:
    journal = BuildJournal(tmp_path)
    (tmp_path / "builds.jsonl").write_text('{"build": "cut off')
    with journal.build("web", "rev", final=True):
        pass
    assert [entry.revision for entry in entries_of(journal)] == ["rev"]


def test_what_is_pending_when_the_journal_is_closed_is_written(tmp_path: Path) -> None:
    journal = BuildJournal(tmp_path)
    with journal.build("web", "rev", final=True) as write_down:
        for at in range(1000):
            write_down(ended("[2/3] COPY . .", at))
    journal.close(60)
    with take_snapshot(tmp_path / "builds.jsonl") as snapshot:
        assert len(snapshot.lines) == 1002
    with journal.build("web", "again", final=True):
        pass
    assert [entry.revision for entry in entries_of(journal)] == ["rev", "again"]


def test_a_journal_on_a_full_disk_can_be_closed(tmp_path: Path, disk: Disk) -> None:
    told: SimpleQueue[str] = SimpleQueue()
    journal = BuildJournal(tmp_path, notify=told.put, retry=Backoff(3600, 3600))
    disk.full = True
    with journal.build("web", "rev", final=True):
        assert told.get(timeout=20)
    journal.close(60)
    assert journal.running


def test_a_folder_that_cannot_be_entered_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even to ask whether the file is there is refused then."""

    def closed(path: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    (tmp_path / "file").write_text("")
    monkeypatch.setattr(Path, "exists", closed)
    journal = BuildJournal(tmp_path / "file", cache="engine")
    assert entries_of(journal) == []
    assert not missing(journal.problem, tmp_path / "file")


def test_without_a_folder_nothing_is_remembered() -> None:
    journal = BuildJournal(None, "no home")
    with journal.build("web", "rev", final=True) as write_down:
        write_down(ended("[2/3] COPY . .", 20.0))
    journal.update(lambda entries: entries)
    assert (entries_of(journal), journal.problem) == ([], "no home")


def test_the_journal_lies_in_the_users_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    journal = open_journal("shop-1")
    with journal.build("web", "rev", final=True):
        pass
    assert journal.flush()
    lines = (tmp_path / "watcher" / "shop-1" / "builds.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["revision"] == "rev"
    assert (tmp_path / "watcher" / "shop-1").stat().st_mode & 0o777 == 0o700
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    journal = open_journal("shop-1")
    journal.check()
    assert str(tmp_path) in journal.problem


def test_each_build_cache_has_a_journal_of_its_own(tmp_path: Path) -> None:
    """What one engine does not have may be at another: it must not be dropped there."""
    caches = [
        build_cache_of("engine-1"),
        build_cache_of("engine-1", "tcp://buildkitd"),
        build_cache_of("engine-2"),
    ]
    for cache in caches:
        journal = BuildJournal(tmp_path, cache=cache)
        with journal.build(cache, "rev", final=True):
            pass
        assert journal.flush()
    for cache in caches:
        assert [entry.service for entry in BuildJournal(tmp_path, cache=cache).entries()] == [cache]
    BuildJournal(tmp_path, cache=caches[0]).update(lambda _: [])
    assert len(BuildJournal(tmp_path, cache=caches[1]).entries()) == 1


@pytest.mark.parametrize("first", ["read", "update", "append"])
def test_the_journal_of_earlier_versions_is_taken_over(tmp_path: Path, first: str) -> None:
    earlier = BuildJournal(tmp_path)
    with earlier.build("web", "rev", final=True):
        pass
    assert earlier.flush()
    journal = BuildJournal(tmp_path, cache="engine-1")
    if first == "append":
        with journal.build("web", "next", final=True):
            pass
        assert journal.flush()
    elif first == "update":
        journal.update(lambda entries: entries)
    assert journal.entries()[0].revision == "rev"
    assert BuildJournal(tmp_path).entries() == []
