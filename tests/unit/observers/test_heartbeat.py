"""Signs of life of a long step."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import pytest

from tests.unit.observers.conftest import Screen
from tests.unit.observers.story import STEPS, Story, revision
from watcher.observers.events import BuildStepFinished, BuildStepStarted, Event
from watcher.observers.heartbeat import Beats, Heartbeat
from watcher.observers.status_board import StatusBoard

pytestmark = pytest.mark.libraries


def test_lines_come_at_ten_and_thirty_seconds_and_then_each_minute() -> None:
    beats, at, found = Beats(), 0.0, list[float]()
    while len(found) < 6:
        at = beats.next_after(at)
        found.append(at)
    assert found == [10.0, 30.0, 60.0, 120.0, 180.0, 240.0]
    assert Beats((), 5.0).next_after(12.0) == 15.0


class Printer:
    """A board and a heartbeat that collects its lines."""

    def __init__(self) -> None:
        self.board = StatusBoard()
        self.lines: list[tuple[str, str]] = []
        self.more = asyncio.Event()
        self.heartbeat = Heartbeat(self.board, self.print_detail, Beats((0.01, 0.02), 0.01))

    def print_detail(self, event: Event, line: str, _: str) -> None:
        self.lines.append((event.service, line.strip()))
        self.more.set()

    def tell(self, story: Story) -> None:
        for event in story.events:
            self.board.notify(event)
            self.heartbeat.follow()
        story.events.clear()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.lines) < count:
                self.more.clear()
                await self.more.wait()


async def test_a_long_step_is_named_with_its_time_until_it_ends(story: Story) -> None:
    printer = Printer()
    story.save(1).begin(1).steps(1, 4)
    story.tell(BuildStepStarted, revision=revision(1), step="b5", name=STEPS[4][1], stage="builder")
    printer.tell(story)
    await printer.until(4)
    service, line = printer.lines[0]
    assert service == "go-server"
    assert "  builder 5/5  RUN CGO_ENABLED=0" in line
    assert line.endswith("(running)")
    printer.tell(story.steps(1).built(1).deploy(1))
    assert not printer.heartbeat._started


async def test_a_long_deploy_and_a_build_without_a_step_are_named(story: Story) -> None:
    printer = Printer()
    printer.tell(story.save(1).begin(1))
    await printer.until(1)
    assert f"build of {revision(1)[:12]}" in printer.lines[0][1]
    printer.heartbeat.close()


async def test_a_build_between_two_steps_is_named_with_the_time_since_it_started(story: Story) -> None:
    printer = Printer()
    printer.tell(story.save(1).begin(1))
    await printer.until(1)
    step: dict[str, Any] = {"revision": revision(1), "step": "b5", "name": STEPS[4][1], "stage": "builder"}
    printer.tell(story.tell(BuildStepStarted, **step))
    before = len(printer.lines)
    await printer.until(before + 2)
    assert all("builder 5/5" in line for _, line in printer.lines[before:]), "the step stands for its build"
    started = dict(printer.heartbeat._started)
    printer.tell(story.tell(BuildStepFinished, **step, seconds=1.0, cached=False))
    before = len(printer.lines)
    await printer.until(before + 1)
    assert f"build of {revision(1)[:12]}" in printer.lines[-1][1]
    assert printer.heartbeat._started.items() <= started.items(), "its time goes on"
    printer.heartbeat.close()


async def test_plain_output_prints_them_and_a_stop_ends_them(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Beats, "next_after", lambda _, seconds: seconds + 0.01)
    file = io.StringIO()
    console = Screen(file, plain=True, environ={})
    for event in story.save(1).begin(1).events:
        console.notify(event)
    async with asyncio.timeout(10):
        while "(running)" not in file.getvalue():
            await asyncio.sleep(0.01)
    console.close()
    assert console._activity is None
