"""What the service manager is told, and the priorities of lines in its journal."""

from __future__ import annotations

import asyncio
import io
import os
import socket
import tempfile
from pathlib import Path

import pytest

from tests.unit.observers.story import Story
from watcher.daemon.supervision import Supervision, describe_status
from watcher.observers.console import Console
from watcher.observers.events import DaemonStopping, EngineDown, Notice
from watcher.observers.json_log import JsonLog, priority_of
from watcher.observers.status_board import StatusBoard
from watcher.system.notify_socket import notify_manager, watchdog_interval, writes_to_journal


class Manager:
    """Collects what the service manager is sent."""

    def __init__(self) -> None:
        self.sent: list[dict[str, object]] = []

    def __call__(self, **values: object) -> bool:
        self.sent.append(values)
        return True


def board_of(story: Story) -> StatusBoard:
    board = StatusBoard()
    for event in story.events:
        board.notify(event)
    return board


def test_the_state_is_one_line_and_sent_when_it_changes() -> None:
    send = Manager()
    sent = send.sent
    story, board = Story().start(), StatusBoard()
    supervision = Supervision(board, send)
    for event in story.cycle(1).events:
        board.notify(event)
        supervision.notify(event)
    texts = [values["STATUS"] for values in sent]
    assert texts == list(dict.fromkeys(texts))
    assert str(texts[-1]).startswith("go-server: live ")
    supervision.announce_ready()
    assert sent[-1] == {"READY": 1}
    supervision.notify(DaemonStopping(reason="SIGTERM"))
    assert sent[-1] == {"STOPPING": 1, "STATUS": "stopping: SIGTERM"}


def test_an_upgrade_is_no_end() -> None:
    """systemd would end the unit, and the successor with it."""
    send = Manager()
    sent = send.sent
    Supervision(StatusBoard(), send).notify(DaemonStopping(reason="upgrade"))
    assert "STOPPING" not in sent[0]
    assert sent[0]["RELOADING"] == 1


def test_an_engine_that_is_away_is_the_state() -> None:
    board = board_of(Story().start())
    board.notify(EngineDown(reason="refused", retry_in=1.0))
    assert describe_status(board.status) == "the engine does not answer: refused"


@pytest.mark.parametrize("abstract", [False, True])
def test_values_arrive_as_lines(abstract: bool) -> None:
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        name = f"@{os.getpid()}-home" if abstract else f"{folder}/notify"
        manager.bind("\0" + name[1:] if abstract else name)
        assert notify_manager({"NOTIFY_SOCKET": name}, READY=1, STATUS="two\nREADY=0 lines")
        assert manager.recv(4096) == b"READY=1\nSTATUS=two READY=0 lines"


@pytest.mark.parametrize("address", ["", "relative", "/nowhere/at/all"])
def test_without_a_manager_nothing_happens(address: str) -> None:
    assert not notify_manager({"NOTIFY_SOCKET": address}, READY=1)


@pytest.mark.parametrize(
    ("usec", "pid", "seconds"),
    [
        ("4000000", "7", 2.0),
        ("4000000", "", 2.0),
        ("4000000", "8", None),
        ("", "", None),
        ("x", "", None),
        ("0", "", None),
    ],
)
def test_the_interval_is_half_of_what_is_allowed(usec: str, pid: str, seconds: float | None) -> None:
    assert watchdog_interval({"WATCHDOG_USEC": usec, "WATCHDOG_PID": pid}, 7) == seconds


async def test_signs_of_life_are_sent_by_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "2000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    alive = asyncio.Event()

    def send(**values: object) -> bool:
        if values == {"WATCHDOG": 1}:
            alive.set()
        return True

    task = asyncio.create_task(Supervision(StatusBoard(), send).keep_alive())
    await alive.wait()
    task.cancel()


def test_the_journal_is_known_by_its_stream(tmp_path: Path) -> None:
    with (tmp_path / "journal").open("w") as file:
        found = os.fstat(file.fileno())
        stream = f"{found.st_dev}:{found.st_ino}"
        assert writes_to_journal(file.fileno(), {"JOURNAL_STREAM": stream})
        assert not writes_to_journal(file.fileno(), {"JOURNAL_STREAM": "1:2"})
        assert not writes_to_journal(file.fileno(), {})


def test_lines_in_the_journal_have_their_priority() -> None:
    out = io.StringIO()
    console = Console(out, StatusBoard(), plain=True, environ={}, journal=True)
    console.notify(Notice(level="info", text="calm"))
    console.notify(Notice(level="warning", text="careful"))
    console.notify(Notice(level="error", text="bad"))
    console.close()
    # The journal has a time of its own.
    assert out.getvalue().splitlines() == ["<6>· calm", "<4>! careful", "<3>✗ bad"]
    out = io.StringIO()
    JsonLog(out, journal=True).notify(Notice(level="error", text="bad"))
    assert out.getvalue().startswith('<3>{"at"')
    assert priority_of(EngineDown(reason="", retry_in=0.0)) == 4
