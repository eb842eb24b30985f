"""Output that is held, full or closed: it stops nobody, and what was lost is told."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.observers import json_log
from watcher.system.output import Output


def until(condition: Callable[[], object]) -> None:
    """The test's own time limit ends a wait in vain."""
    while not condition():
        time.sleep(0.001)


@pytest.fixture
def pipe(request: pytest.FixtureRequest) -> Iterator[tuple[int, Output]]:
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    with os.fdopen(writer, "w") as file:
        made = Output(file, **getattr(request, "param", {}))
        yield reader, made
        os.set_blocking(writer, False)  # a thread that still waits is let go
        made.close()


def test_what_is_written_arrives_in_order(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as file:
        made = Output(file)
        for number in range(1000):
            print(number, file=made)
        made.close()
    assert (tmp_path / "log").read_text().split() == [str(number) for number in range(1000)]


@given(st.lists(st.text(max_size=50), max_size=20))
def test_any_text_can_be_written(texts: list[str]) -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w", encoding="ascii") as file:
        made = Output(file)
        for text in texts:
            assert made.write(text) == len(text)
        made.close()
    with os.fdopen(reader, "rb") as found:
        assert found.read() == "".join(texts).encode("ascii", "replace")


@pytest.mark.parametrize("pipe", [{"most_bytes": 20_000}], indirect=True)
def test_a_pipe_that_nobody_reads_stops_nobody(pipe: tuple[int, Output]) -> None:
    reader, made = pipe
    line = "x" * 99 + "\n"
    for _ in range(1000):
        made.write(line)  # returns at once, although the pipe takes 4,096 bytes
    text = ""
    while "lines could not be written" not in text:
        made.write("again\n")
        text += os.read(reader, 65536).decode()
    written = text.partition("…")[0].count("x\n")
    lost = int(text.partition("… ")[2].split()[0])
    assert 200 <= written < 300
    assert written + lost >= 1000
    assert text.endswith("\n")
    assert "nobody reads it" in text


@pytest.mark.parametrize("why", [errno.ENOSPC, errno.EIO, errno.EPIPE])
def test_lines_that_fail_are_counted_and_told_when_writing_works_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: int
) -> None:
    """A full disk, a closed terminal, a pipe without a reader."""
    broken = True
    tried: list[bytes] = []
    write = os.write

    def failing(descriptor: int, data: bytes) -> int:
        if not broken:
            return write(descriptor, data)
        tried.append(data)
        if len(tried) == 1:
            return write(descriptor, data[:3])  # the last that the disk takes: in the middle of a line
        raise OSError(why, "")

    monkeypatch.setattr(os, "write", failing)
    path = tmp_path / "log"
    with path.open("w") as file:
        made = Output(file, json_log.report_lost)
        made.write("one\ntwo\n")
        until(lambda: len(tried) >= 2)
        made.write("three\n")
        until(lambda: len(tried) >= 3)
        broken = False
        made.write("four\n")
        made.close()
    first, *_, told, last = path.read_text().splitlines()
    assert (first, last) == ("one", "four")
    record = json.loads(told)
    assert (record["event"], record["reason"]) == ("lines_lost", os.strerror(why))
    assert record["lines"] == 3


def test_a_full_device_stops_nobody() -> None:
    with open("/dev/full", "w") as file:
        made = Output(file)
        for _ in range(100):
            print("x", file=made, flush=True)
        made.close()


@pytest.mark.parametrize("pipe", [{"close_seconds": 0.05}], indirect=True)
def test_closing_waits_for_a_reader_only_for_a_moment(pipe: tuple[int, Output]) -> None:
    _, made = pipe
    made.write("x" * 100_000)
    made.close()
    assert made.closed
