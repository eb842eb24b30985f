"""Output that is redirected into the watched project."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.facts import missing
from watcher.cli.output_file import find_output_in, warn_of_output_in

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the kernel shows no names")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("app/out/events.jsonl", Path("out/events.jsonl")), ("events.jsonl", None), ("app2/events.jsonl", None)],
)
def test_only_a_file_below_the_project_is_found(tmp_path: Path, name: str, expected: Path | None) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    with (tmp_path / name).open("w") as file:
        assert find_output_in(tmp_path / "app", file.fileno()) == expected


def test_a_project_behind_a_symbolic_link_is_the_same_folder(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "link").symlink_to("app")
    with (tmp_path / "app" / "log").open("w") as file:
        assert find_output_in(tmp_path / "link", file.fileno()) == Path("log")


def test_pipes_and_closed_descriptors_are_no_files(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    assert find_output_in(tmp_path, writing) is None
    os.close(reading)
    os.close(writing)
    assert find_output_in(tmp_path, writing) is None


def test_the_warning_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with (tmp_path / "events.jsonl").open("w") as file:
        monkeypatch.setattr(sys, "stdout", file)
        warn_of_output_in(tmp_path)
        warn_of_output_in(tmp_path / "other")
    (line,) = capsys.readouterr().err.splitlines()
    assert missing(line, "standard output", "events.jsonl", "project") == []
