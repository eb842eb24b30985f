"""Signs of life in output without a live view: a long step prints how long it has been running."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from watcher.observers import humanize
from watcher.observers.events import Event, short
from watcher.observers.progress_view import step_words
from watcher.observers.status_board import StatusBoard
from watcher.observers.status_schema import ServiceStatus


@dataclass(frozen=True, slots=True)
class Beats:
    """When a running step prints: after each of `first` seconds, then every `then` seconds."""

    first: tuple[float, ...] = (10.0, 30.0, 60.0)
    then: float = 60.0

    def next_after(self, seconds: float) -> float:
        """Return the first moment after `seconds` at which a line is due."""
        for beat in self.first:
            if beat > seconds:
                return beat
        last = self.first[-1] if self.first else 0.0
        return last + self.then * ((seconds - last) // self.then + 1)


class Activity(NamedTuple):
    """Something that is running: a build, one of its steps, or a deploy."""

    service: str
    id: str
    text: str
    part_of: str = ""  # id of the build, for a step


class Heartbeat:
    """Print a line for each long step. Call `follow` after each event."""

    def __init__(
        self, board: StatusBoard, print_detail: Callable[[Event, str, str], None], beats: Beats | None = None
    ) -> None:
        self._board, self._print, self._beats = board, print_detail, beats or Beats()
        self._started: dict[Activity, float] = {}  # on the loop's clock
        self._printed: dict[Activity, float] = {}  # seconds of the last line
        self._timer: asyncio.TimerHandle | None = None

    def follow(self) -> None:
        """Take note of what is running. Without a running event loop nothing is printed."""
        running = set(_list_running(self._board))
        if running == self._started.keys():
            return
        try:
            now = asyncio.get_running_loop().time()
        except RuntimeError:
            return
        for gone in self._started.keys() - running:
            del self._started[gone], self._printed[gone]
        if not running:
            self._stop_timer()
            return
        for new in running - self._started.keys():
            self._started[new], self._printed[new] = now, 0.0
        self._set_timer()

    def close(self) -> None:
        """Print nothing any more."""
        self._stop_timer()
        self._started.clear()

    def _set_timer(self) -> None:
        self._stop_timer()
        due = min(self._started[each] + self._next(each) for each in self._started)
        self._timer = asyncio.get_running_loop().call_at(due, self._print_due)

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _next(self, activity: Activity) -> float:
        return self._beats.next_after(self._printed[activity])

    def _print_due(self) -> None:
        now = asyncio.get_running_loop().time()
        named_by_step = {(each.service, each.part_of) for each in self._started if each.part_of}
        for activity, started in self._started.items():
            seconds = now - started
            if seconds >= self._next(activity):
                self._printed[activity] = seconds
                if (activity.service, activity.id) in named_by_step:
                    continue
                line = f"{humanize.seconds(seconds):>7}  {activity.text}  (running)"
                self._print(Event(service=activity.service), line, "dim")
        self._set_timer()


def _list_running(board: StatusBoard) -> Iterator[Activity]:
    for service in board.status.services:
        yield from _list_of_service(service)


def _list_of_service(service: ServiceStatus) -> Iterator[Activity]:
    if build := service.building:
        id_ = f"build {build.revision}"
        yield Activity(service.name, id_, f"build of {short(build.revision)}")
        for step in build.steps:
            if step.seconds is None:
                yield Activity(service.name, step.id, "  ".join(filter(None, step_words(step.name))), id_)
    if service.deploying:
        revision = service.deploying.revision
        yield Activity(service.name, f"deploy {revision}", f"deploy of {short(revision)}")
