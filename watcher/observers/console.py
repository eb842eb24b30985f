"""What a person reads in the terminal.

One line per thing that happened, errors in full. On a terminal the build that runs is shown live beneath, and
goes away when it is done; elsewhere (`plain`, a pipe, CI) its steps become lines. `NO_COLOR` is honoured.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from rich.text import Text

from watcher.observers import humanize
from watcher.observers.console_lines import ConsoleLines
from watcher.observers.console_texts import describe_pruned
from watcher.observers.events import (
    BuildCachePruned,
    BuildFinished,
    BuildOutcome,
    BuildStarted,
    BuildStepFinished,
    BuildStepProgress,
    ContainerLost,
    ContainerPaused,
    DaemonStarted,
    DaemonStopping,
    DeployFinished,
    DeployOutcome,
    DesiredChanged,
    EngineDown,
    EngineUp,
    Event,
    Failure,
    FrontRefused,
    GoCacheTrimmed,
    Held,
    ImageSized,
    InternalError,
    Notice,
    Paused,
    Pruned,
    ServiceStarted,
    SourceMode,
    SourceScanned,
    SourceScanning,
    short,
)
from watcher.observers.progress_view import ENGINE_STAGES, ProgressView, step_words
from watcher.observers.revision_state import GOOD_DEPLOYS
from watcher.observers.status_board import StatusBoard
from watcher.observers.status_schema import BuildInfo

BUILDER_CHANGE = 1_000_000  # bytes by which a builder image must change to be worth a line
REFUSALS_EVERY = 5.0  # seconds between two lines about refused requests
FETCHED_EVERY = 5.0  # seconds between two lines about a base image on its way
SLOW_STEP = 0.5  # seconds from which a step of the engine's own is worth a line
_ENDS = {DeployOutcome.ROLLED_BACK: "rolled back", DeployOutcome.CANCELLED: "deploy cancelled"}


class Console:
    """An observer that prints, with what the status board knows."""

    def __init__(
        self,
        file: TextIO | None,
        board: StatusBoard,
        *,
        plain: bool = False,
        bell: bool = False,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        """`plain`: lines only, no colour; `bell`: ring when the build breaks and when it is mended.

        `board` gets each event before this does.
        """
        self._board = board
        self._lines = ConsoleLines(file or sys.stdout, self._board, plain=plain, bell=bell, environ=environ)
        self._print, self._print_detail = self._lines.print_event, self._lines.print_detail
        self.live = self._lines.live
        self._view = ProgressView(self._lines.terminal, self._board) if self.live else None
        self._broken: set[str] = set()
        self._down = False
        self._refused = 0
        self._refused_told = 0.0
        self._fetched_told: dict[str, float] = {}  # by step
        self._scanning_told: dict[str, float] = {}  # by service
        self._sizes_told: dict[tuple[str, str], str] = {}
        self._handlers: dict[type[Event], Callable[[Any], None]] = {
            DaemonStarted: self._daemon_started,
            DaemonStopping: self._daemon_stopping,
            ServiceStarted: self._service_started,
            Notice: self._print_notice,
            EngineUp: self._engine_up,
            EngineDown: self._engine_down,
            SourceMode: self._source_mode,
            SourceScanning: self._source_scanning,
            SourceScanned: self._source_scanned,
            DesiredChanged: self._print_wanted,
            Held: self._print_hold,
            Paused: self._print_pause,
            BuildStarted: self._build_started,
            BuildStepFinished: self._step_finished,
            BuildStepProgress: self._step_progress,
            BuildFinished: self._build_finished,
            ImageSized: self._image_sized,
            DeployFinished: self._deploy_finished,
            ContainerLost: self._container_lost,
            ContainerPaused: self._container_paused,
            Pruned: self._print_pruned,
            BuildCachePruned: self._print_pruned,
            GoCacheTrimmed: self._print_pruned,
            FrontRefused: self._front_refused,
            InternalError: self._internal_error,
        }

    def notify(self, event: Event) -> None:
        """Print the lines for `event`, if it has any."""
        handle = self._handlers.get(type(event))
        if handle:
            handle(event)
        if self._view:
            self._view.follow()

    def close(self) -> None:
        """Remove the live view for good: the shell's prompt then starts on a clean line."""
        if self._view:
            self._view.close()
            self._view = None

    # The daemon and the engine.

    def _daemon_started(self, event: DaemonStarted) -> None:
        self._print(event, "·", f"watcher {event.version} keeps {event.project}", "bold")
        self._print(event, "·", f"status page and metrics: {event.url}")

    def _daemon_stopping(self, event: DaemonStopping) -> None:
        self.close()
        self._print(event, "·", f"stopping ({event.reason}); a second Ctrl-C exits at once")

    def _service_started(self, event: ServiceStarted) -> None:
        where = " ".join(event.urls) or "no published port"
        self._print(event, "·", Text.assemble("managing ", (event.service, "bold"), f" at {where}"))
        self._print_detail(f"{event.compose_file} → image {event.image}, container {event.container}", "dim")

    def _print_notice(self, event: Notice) -> None:
        mark, style = {"warning": ("!", "yellow"), "error": ("✗", "red")}.get(event.level, ("·", ""))
        self._print(event, mark, event.text, style)

    def _engine_up(self, event: EngineUp) -> None:
        again = " again" if self._down else ""
        self._down = False
        self._print(event, "·", f"engine {event.version} answers{again} ({event.store}, {event.endpoint})")

    def _engine_down(self, event: EngineDown) -> None:
        if not self._down:
            self._print(event, "!", f"the engine does not answer: {event.reason}", "yellow")
        self._down = True

    def _source_mode(self, event: SourceMode) -> None:
        if event.mode == "polling":
            self._print(event, "!", f"changes are found by polling: {event.reason}", "yellow")

    def _source_scanning(self, event: SourceScanning) -> None:
        """Print the first line immediately, then at most one per FETCHED_EVERY."""
        if _is_due(event.at, self._scanning_told.get(event.service, 0.0), FETCHED_EVERY):
            self._scanning_told[event.service] = event.at
            self._print(event, "·", f"reading a large change: {event.files} files so far", "dim")

    def _source_scanned(self, event: SourceScanned) -> None:
        if self._scanning_told.pop(event.service, None):
            took = humanize.seconds(event.seconds)
            self._print(event, "·", f"read {humanize.count(event.files, 'file')} in {took}", "dim")

    def _internal_error(self, event: InternalError) -> None:
        self._print(event, "✗", f"an error of the watcher itself in {event.where}; it goes on", "red")
        self._lines.print_block(event.traceback.splitlines())

    # From a save to the new version.

    def _print_wanted(self, event: DesiredChanged) -> None:
        line = Text.assemble(event.summary, ("  → ", "dim"), (short(event.revision), "cyan"))
        self._print(event, "→", line)
        service = self._board.service(event.service)
        if service and service.stale is False:
            text = Text.assemble(("live ", "bold green"), (short(event.revision), "cyan"), " already")
            self._print(event, "✓", text, "green")
            self._clear_failure(event.service)

    def _print_hold(self, event: Held) -> None:
        if event.reason:
            self._print(event, "·", f"waiting: {event.reason}", "dim")

    def _print_pause(self, event: Paused) -> None:
        self._print(event, "·", "paused: saves are not built" if event.paused else "resumed")

    def _container_paused(self, event: ContainerPaused) -> None:
        if event.paused:
            text = f"the live container was paused: requests wait until `docker unpause {event.name}`"
            self._print(event, "!", text)
        else:
            self._print(event, "·", "the live container goes on")

    def _build_started(self, event: BuildStarted) -> None:
        if not self.live:
            self._print(event, "·", f"building {short(event.revision)}")

    def _step_finished(self, event: BuildStepFinished) -> None:
        place, what = step_words(event.name)
        # A local base image takes no time, and BuildKit reports it twice.
        of_engine = event.stage in ENGINE_STAGES or what.startswith("FROM ")
        if self.live or (of_engine and event.seconds < SLOW_STEP):
            return
        took = "cached" if event.cached else humanize.seconds(event.seconds)
        failed = "  failed" if event.error else ""
        self._print_detail(f"{took:>7}  {f'{place}  ' if place else ''}{what}{failed}", "")

    def _step_progress(self, event: BuildStepProgress) -> None:
        """Print the first line immediately, then at most one per FETCHED_EVERY and step."""
        if self.live or not _is_due(event.at, self._fetched_told.get(event.step, 0.0), FETCHED_EVERY):
            return
        self._fetched_told[event.step] = event.at
        place, what = step_words(event.name)
        shown = f"{place}  {what}" if place else what
        self._print_detail(f"{shown}: {humanize.part(event.done, event.total)} fetched", "dim")

    def _build_finished(self, event: BuildFinished) -> None:
        took = humanize.seconds(event.seconds)
        match event.outcome:
            case BuildOutcome.BUILT if not self.live:
                self._print(
                    event, "·", f"built in {took}{self._cached_steps(self._last_build(event.service))}"
                )
            case BuildOutcome.CANCELLED if event.failure:
                self._print_failure(event, f"build cancelled after {took}", event.failure)
            case BuildOutcome.CANCELLED:
                self._print(event, "·", f"build of {short(event.revision)} dropped after {took}", "dim")
            case BuildOutcome.FAILED | BuildOutcome.ERROR if event.failure:
                self._print_failure(event, f"build failed after {took}", event.failure)

    def _deploy_finished(self, event: DeployFinished) -> None:
        match event.outcome:
            case DeployOutcome.LIVE:
                self._went_live(event)
            case DeployOutcome.UNCHANGED:
                self._print(
                    event, "✓", f"same image as the live one: {short(event.revision)} is live", "green"
                )
            case DeployOutcome.ADOPTED:
                self._print(event, "✓", f"live {short(event.revision)}, running already", "green")
            case _ if event.failure:
                what = _ENDS.get(event.outcome, "deploy failed")
                self._print_failure(event, f"{what} after {humanize.seconds(event.seconds)}", event.failure)
            case DeployOutcome.CANCELLED:
                took = humanize.seconds(event.seconds)
                self._print(event, "·", f"deploy of {short(event.revision)} dropped after {took}", "dim")
        if event.outcome in GOOD_DEPLOYS:
            self._clear_failure(event.service)

    def _clear_failure(self, service: str) -> None:
        if service in self._broken:
            self._broken.discard(service)
            self._lines.ring_bell()

    def _went_live(self, event: DeployFinished) -> None:
        line = Text.assemble(("live ", "bold green"), (short(event.revision), "cyan"))
        if event.save_to_live is not None:
            line.append(f" {humanize.seconds(event.save_to_live)} after the save", "bold")
        build = self._last_build(event.service)
        parts = []
        if build and build.revision == event.revision and build.seconds is not None:
            reused = build.outcome is BuildOutcome.REUSED
            took = "image was there" if reused else f"build {humanize.seconds(build.seconds)}"
            parts.append(f"{took}{self._cached_steps(build)}")
        parts.append(f"deploy {humanize.seconds(event.seconds)}")
        service = self._board.service(event.service)
        image = service.images.get("final") if service else None
        if image and image.image == event.image:
            parts.append(humanize.size_since(image.previous_size, image.size))
            self._sizes_told[event.service, "final"] = image.image
        self._print(event, "✓", line.append(f"  {' · '.join(parts)}", "dim"), "green")

    def _image_sized(self, event: ImageSized) -> None:
        """Print a size that the line of the deploy could not include."""
        service = self._board.service(event.service)
        image = service.images.get(event.stage) if service else None
        if (
            service is None
            or image is None
            or self._sizes_told.get((event.service, event.stage)) == event.image
        ):
            return
        serves = service.live is not None and service.live.image == event.image
        grown = image.change is None or abs(image.change) >= BUILDER_CHANGE
        if (event.stage == "final" and serves) or (event.stage == "builder" and grown):
            self._sizes_told[event.service, event.stage] = event.image
            text = f"{event.stage} image {humanize.size_since(image.previous_size, image.size)}"
            self._print(event, "·", text, "dim")

    def _container_lost(self, event: ContainerLost) -> None:
        self._print_failure(event, "the live container is gone", event.failure)

    def _print_pruned(self, event: Pruned | BuildCachePruned | GoCacheTrimmed) -> None:
        if text := describe_pruned(event):
            self._print(event, "·", text, "dim")

    def _front_refused(self, event: FrontRefused) -> None:
        """Print the first line immediately, then at most one per REFUSALS_EVERY."""
        self._refused += 1
        if _is_due(event.at, self._refused_told, REFUSALS_EVERY):
            what = humanize.count(self._refused, "request")
            answer = f"answered {event.code}" if event.code else "closed"
            self._print(event, "!", f"{what} {answer} by the front: {event.reason}", "yellow")
            self._refused, self._refused_told = 0, event.at

    # How it is put.

    def _print_failure(self, event: Event, what: str, failure: Failure) -> None:
        self._print(event, "✗", Text.assemble((what, "bold red"), f": {failure.summary}"), "red")
        places = [f"{d.file}:{d.line}:{d.column}: {d.message}" for d in failure.diagnostics]
        self._lines.print_block(failure.lines or places)
        if failure.hint:
            self._print_detail(f"hint: {failure.hint}", "yellow")
        until = "the next good save"
        if failure.kind in ("engine", "bug"):
            until = "that goes well; it is tried again"
        elif failure.kind not in ("compile", "config"):
            until += ", or `watcher rebuild`"
        service = self._board.service(event.service)
        if service and service.live and service.stale:
            self._print_detail(
                f"stale: {short(service.live.revision)} keeps answering until {until}",
                "yellow",
            )
        elif service and not service.live:
            what = "it is started again" if isinstance(event, ContainerLost) else until
            self._print_detail(f"nothing answers until {what}", "yellow")
        if event.service not in self._broken:
            self._broken.add(event.service)
            self._lines.ring_bell()

    def _last_build(self, service: str) -> BuildInfo | None:
        found = self._board.service(service)
        return found.last_build if found else None

    @staticmethod
    def _cached_steps(build: BuildInfo | None) -> str:
        return f" ({build.cached_steps} of {build.step_count} cached)" if build and build.step_count else ""


def _is_due(at: float, told: float, every: float) -> bool:
    """Whether the next line is due; also after the clock was set back."""
    return not 0.0 <= at - told < every
