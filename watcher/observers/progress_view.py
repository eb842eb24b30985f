"""The live view of the terminal: the steps of running builds. It disappears when nothing is running."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.table import Table
from rich.text import Text

from watcher import regex
from watcher.observers import humanize
from watcher.observers.events import short
from watcher.observers.service_colours import service_colour
from watcher.observers.status_board import StatusBoard
from watcher.observers.status_schema import BuildInfo, ServiceStatus, StepInfo

TICK = 0.2  # seconds between two frames while something runs
MOST_STEPS = 10
FREE = 3  # columns that stay free at the right: the terminal shows ^C there, which must not add a line
ENGINE_STAGES = ("internal", "")  # steps that no stage of the Dockerfile asked for
_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_NUMBERED = regex.compile(r"(?s)^\[(?P<place>[^]]+)\]\s*(?P<what>.*)$")


def step_words(name: str) -> tuple[str, str]:
    """Split BuildKit's name of a step into place and instruction: `[builder 5/5] RUN go build`."""
    match = _NUMBERED.match(name)
    if not match:
        return "", " ".join(name.split())
    return match["place"], " ".join(match["what"].split())


class ProgressView:
    """Show the running builds and deploys of `board`. Call `follow` after each event."""

    def __init__(self, out: Console, board: StatusBoard, clock: Callable[[], float] = time.time) -> None:
        self._out, self._board, self._clock = out, board, clock
        self._live: Live | None = None
        self._timer: asyncio.TimerHandle | None = None

    def follow(self) -> None:
        """Start, update or end the view to match the running work. Needs a running event loop."""
        if not self._active():
            self.close()
            return
        if self._live is None:
            self._live = Live(
                self,
                console=self._out,
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(TICK, self._tick)

    def close(self) -> None:
        """Remove the view from the terminal."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._live:
            self._live.stop()
            self._live = None

    def _active(self) -> list[ServiceStatus]:
        return [service for service in self._board.status.services if service.building or service.deploying]

    def _tick(self) -> None:
        self._timer = None
        if self._live:
            self._live.refresh()
        self.follow()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        now = self._clock()
        frame = _FRAMES[int(now / TICK) % len(_FRAMES)]
        shown: list[Text | Table] = []
        active = self._active()
        room = max(2, min(MOST_STEPS, options.max_height // max(1, len(active)) - 4))
        for service in active:
            if build := service.building:
                shown.append(self._head(frame, service.name, "building", build.revision, build.started_at))
                shown.append(_steps(build, now, room=room))
            elif deploying := service.deploying:
                shown.append(
                    self._head(frame, service.name, "deploying", deploying.revision, deploying.started_at)
                )
        return console.render(Group(*shown), options.update_width(max(1, options.max_width - FREE)))

    def _head(self, frame: str, service: str, what: str, revision: str, since: float) -> Text:
        head = Text(no_wrap=True, overflow="ellipsis")
        head.append(f"{frame} ", "cyan")
        if len(self._board.status.services) > 1:
            head.append(f"{service}  ", service_colour(service))
        head.append(what, "bold").append(f" {short(revision)}  ", "dim")
        return head.append(humanize.seconds(max(0.0, self._clock() - since)), "cyan")


def _steps(build: BuildInfo, now: float, room: int) -> Table:
    """Return the newest steps; those of the engine only while they are running."""
    shown = [step for step in build.steps if step.stage not in ENGINE_STAGES or step.seconds is None][-room:]
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(width=1)
    table.add_column(no_wrap=True, overflow="ellipsis", style="dim", max_width=18)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    table.add_column(no_wrap=True, justify="right")
    for step in shown:
        mark, time_text = _marks(step, now)
        place, what = step_words(step.name)
        table.add_row(mark, Text(place), Text(what), time_text)
    return table


def _marks(step: StepInfo, now: float) -> tuple[Text, Text]:
    if step.seconds is None:
        took = humanize.seconds(max(0.0, now - step.started_at))
        fetched = f"{humanize.part(step.done, step.total)}  " if step.total else ""
        return Text("▸", "cyan"), Text(f"{fetched}{took}", "cyan")
    if step.error:
        return Text("✗", "red"), Text(humanize.seconds(step.seconds), "red")
    if step.cached:
        return Text("=", "green dim"), Text("cached", "green dim")
    return Text("✓", "green"), Text(humanize.seconds(step.seconds))
