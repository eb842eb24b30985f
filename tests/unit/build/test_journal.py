"""The journal of builds: what was written is read again, whatever happened in between."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from watcher.build import BuildEntry, BuildJournal, StepRun, open_journal
from watcher.buildkit import StepFinished, parse_step


def ended(
    name: str, at: float, *, seconds: float = 1.0, cached: bool = False, error: str = ""
) -> StepFinished:
    return StepFinished(parse_step("sha256:1", name), at, seconds, cached, error)


def test_steps_that_ran_are_remembered_with_the_span_of_all(tmp_path: Path) -> None:
    journal = BuildJournal(tmp_path)
    with journal.build("web", "rev", final=True, show=lambda _: "RUN IN SHORT") as write_down:
        write_down(ended("[builder 1/3] FROM golang", 10.0, seconds=0.5, cached=True))
        write_down(ended("[builder 2/3] RUN go build", 20.0, seconds=4.0))
        write_down(ended("[internal] load build context", 21.0))
        write_down(ended("[builder 3/3] RUN false", 22.0, error="exit code 1"))
        assert journal.running == {journal.entries()[0].id}
    (entry,) = BuildJournal(tmp_path).entries()
    assert (entry.service, entry.revision, entry.final, entry.ended) == ("web", "rev", True, "ok")
    assert entry.steps == [StepRun("[builder 2/3] RUN go build", 16.0, 20.0, "RUN IN SHORT")]
    assert (entry.started, entry.finished) == (9.5, 22.0)
    assert not journal.running


def test_a_build_that_fails_or_is_cancelled_says_so(tmp_path: Path) -> None:
    journal = BuildJournal(tmp_path)
    with pytest.raises(KeyboardInterrupt), journal.build("web", "rev", final=True):
        raise KeyboardInterrupt
    assert journal.entries()[0].ended == "failed"


def test_a_build_of_a_killed_daemon_has_its_steps_and_no_end(tmp_path: Path) -> None:
    journal = BuildJournal(tmp_path)
    build = journal.build("web", "rev", final=True)
    build.__enter__()(ended("[builder 2/3] RUN go build", 20.0))
    (entry,) = BuildJournal(tmp_path).entries()
    assert entry.ended == ""
    assert len(entry.steps) == 1


def test_damaged_lines_are_left_out(tmp_path: Path) -> None:
    journal = BuildJournal(tmp_path)
    with journal.build("web", "rev", final=True) as write_down:
        write_down(ended("[2/3] COPY . .", 20.0))
    file = tmp_path / "builds.jsonl"
    damaged = [
        '{"step": "unknown", "from": 1, "to": 2}',
        "null",
        "{",
        "[]",
        '{"build": 1}',
        '"x"',
        "\x00\xff",
    ]
    file.write_text("\n".join([*damaged, file.read_text(), '{"build": "cut off", "serv']))
    (entry,) = journal.entries()
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
    (entry,) = journal.entries()
    assert (entry.revision, entry.records, entry.unfinished) == ("two", {"a", "b"}, {"b"})
    with journal.build("web", "three", final=False):
        pass
    assert [entry.revision for entry in journal.entries()] == ["two", "three"]


def test_where_nothing_can_be_written_builds_go_on_and_the_reason_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    journal = BuildJournal(folder)
    with journal.build("web", "rev", final=True) as write_down:
        write_down(ended("[2/3] COPY . .", 20.0))
    assert str(folder) in journal.problem
    assert journal.entries() == []


def test_without_a_folder_nothing_is_remembered() -> None:
    journal = BuildJournal(None, "no home")
    with journal.build("web", "rev", final=True) as write_down:
        write_down(ended("[2/3] COPY . .", 20.0))
    journal.update(lambda entries: entries)
    assert (journal.entries(), journal.problem) == ([], "no home")


def test_the_journal_lies_in_the_users_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    journal = open_journal("shop-1")
    with journal.build("web", "rev", final=True):
        pass
    lines = (tmp_path / "watcher" / "shop-1" / "builds.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["revision"] == "rev"
    assert (tmp_path / "watcher" / "shop-1").stat().st_mode & 0o777 == 0o700
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert open_journal("shop-1").problem
