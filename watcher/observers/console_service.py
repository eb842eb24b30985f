"""Console lines about one service's way from a save to the new version."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rich.text import Text

from watcher.observers import humanize
from watcher.observers.console_lines import ConsoleLines, is_due
from watcher.observers.events import (
    BuildFinished,
    BuildOutcome,
    BuildStarted,
    BuildStepFinished,
    BuildStepProgress,
    ContainerLost,
    ContainerPaused,
    DeployFinished,
    DeployOutcome,
    DesiredChanged,
    Event,
    Failure,
    Held,
    ImageSized,
    Paused,
    short,
)
from watcher.observers.progress_view import ENGINE_STAGES, step_words
from watcher.observers.revision_state import GOOD_DEPLOYS
from watcher.observers.status_board import StatusBoard
from watcher.observers.status_schema import BuildInfo

BUILDER_CHANGE = 1_000_000  # bytes by which a builder image must change to be worth a line
FETCHED_EVERY = 5.0  # seconds between two lines about the pull of a base image
SLOW_STEP = 0.5  # seconds from which a step of the engine's own is worth a line
_ENDS = {DeployOutcome.ROLLED_BACK: "rolled back", DeployOutcome.CANCELLED: "deploy cancelled"}


class ServicePrinter:
    """Print what happens to services: changes, builds, deploys, lost containers."""

    def __init__(self, lines: ConsoleLines, board: StatusBoard) -> None:
        self._lines, self._board = lines, board
        self._print, self._print_detail = lines.print_event, lines.print_detail
        self._live = lines.live
        self._broken: set[str] = set()
        self._fetched_at: dict[tuple[str, str], float] = {}  # by service and step
        self._printed_sizes: dict[tuple[str, str], str] = {}
        self.handlers: Mapping[type[Event], Callable[[Any], None]] = {
            DesiredChanged: self._print_desired,
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
        }

    def _print_desired(self, event: DesiredChanged) -> None:
        line = Text.assemble(event.summary, ("  → ", "dim"), (short(event.revision), "cyan"))
        self._print(event, "→", line)
        service = self._board.service(event.service)
        if service and service.stale is False:
            text = Text.assemble(("live ", "bold green"), (short(event.revision), "cyan"), " already")
            self._print(event, "✓", text, "green")
            self._clear_failure(event.service)

    def _print_hold(self, event: Held) -> None:
        if event.reason:
            self._print(event, "·", humanize.hold(event.reason), "dim")

    def _print_pause(self, event: Paused) -> None:
        self._print(event, "·", "paused: saves are not built" if event.paused else "resumed")

    def _container_paused(self, event: ContainerPaused) -> None:
        if event.paused:
            text = f"the live container was paused: requests wait until `docker unpause {event.name}`"
            self._print(event, "!", text)
        else:
            self._print(event, "·", "the live container was unpaused")

    def _build_started(self, event: BuildStarted) -> None:
        if not self._live:
            self._print(event, "·", f"building {short(event.revision)}")

    def _step_finished(self, event: BuildStepFinished) -> None:
        place, what = step_words(event.name)
        # A local base image takes no time, and BuildKit reports it twice.
        of_engine = event.stage in ENGINE_STAGES or what.startswith("FROM ")
        if self._live or (of_engine and event.seconds < SLOW_STEP):
            return
        took = "cached" if event.cached else humanize.seconds(event.seconds)
        failed = "  failed" if event.error else ""
        self._print_detail(event, f"{took:>7}  {f'{place}  ' if place else ''}{what}{failed}", "")

    def _step_progress(self, event: BuildStepProgress) -> None:
        """Print the first line immediately, then at most one per FETCHED_EVERY and step."""
        if self._live or not is_due(
            event.at, self._fetched_at.get((event.service, event.step), 0.0), FETCHED_EVERY
        ):
            return
        self._fetched_at[event.service, event.step] = event.at
        place, what = step_words(event.name)
        shown = f"{place}  {what}" if place else what
        self._print_detail(event, f"{shown}: {humanize.part(event.done, event.total)} fetched", "dim")

    def _build_finished(self, event: BuildFinished) -> None:
        took = humanize.seconds(event.seconds)
        match event.outcome:
            case BuildOutcome.BUILT if not self._live:
                self._print(
                    event, "·", f"built in {took}{self._cached_steps(self._last_build(event.service))}"
                )
            case BuildOutcome.CANCELLED if event.failure:
                self._print_failure(event, f"build cancelled after {took}", event.failure)
            case BuildOutcome.CANCELLED:
                self._print(event, "·", f"build of {short(event.revision)} cancelled after {took}", "dim")
            case BuildOutcome.FAILED | BuildOutcome.ERROR if event.failure:
                self._print_failure(event, f"build failed after {took}", event.failure)

    def _deploy_finished(self, event: DeployFinished) -> None:
        match event.outcome:
            case DeployOutcome.LIVE:
                self._went_live(event)
            case DeployOutcome.UNCHANGED:
                self._print(event, "✓", f"live {short(event.revision)}, same image as before", "green")
            case DeployOutcome.ADOPTED:
                self._print(event, "✓", f"live {short(event.revision)}, was already running", "green")
            case _ if event.failure:
                what = _ENDS.get(event.outcome, "deploy failed")
                self._print_failure(event, f"{what} after {humanize.seconds(event.seconds)}", event.failure)
            case DeployOutcome.CANCELLED:
                took = humanize.seconds(event.seconds)
                self._print(event, "·", f"deploy of {short(event.revision)} cancelled after {took}", "dim")
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
            took = "image existed" if reused else f"build {humanize.seconds(build.seconds)}"
            parts.append(f"{took}{self._cached_steps(build)}")
        parts.append(f"deploy {humanize.seconds(event.seconds)}")
        service = self._board.service(event.service)
        image = service.images.get("final") if service else None
        if image and image.image == event.image:
            parts.append(humanize.size_since(image.previous_size, image.size))
            self._printed_sizes[event.service, "final"] = image.image
        self._print(event, "✓", line.append(f"  {' · '.join(parts)}", "dim"), "green")

    def _image_sized(self, event: ImageSized) -> None:
        """Print a size that the line of the deploy could not include."""
        service = self._board.service(event.service)
        image = service.images.get(event.stage) if service else None
        if (
            service is None
            or image is None
            or self._printed_sizes.get((event.service, event.stage)) == event.image
        ):
            return
        serves = service.live is not None and service.live.image == event.image
        grown = image.change is None or abs(image.change) >= BUILDER_CHANGE
        if (event.stage == "final" and serves) or (event.stage == "builder" and grown):
            self._printed_sizes[event.service, event.stage] = event.image
            text = f"{event.stage} image {humanize.size_since(image.previous_size, image.size)}"
            self._print(event, "·", text, "dim")

    def _container_lost(self, event: ContainerLost) -> None:
        self._print_failure(event, "the live container is gone", event.failure)

    def _print_failure(self, event: Event, what: str, failure: Failure) -> None:
        self._print(event, "✗", Text.assemble((what, "bold red"), f": {failure.summary}"), "red")
        places = [f"{d.file}:{d.line}:{d.column}: {d.message}" for d in failure.diagnostics]
        self._lines.print_block(failure.lines or places)
        if failure.hint:
            self._print_detail(event, f"hint: {failure.hint}", "yellow")
        until = "the next good save"
        if failure.kind in ("engine", "bug"):
            until = "a retry succeeds"
        elif failure.kind not in ("compile", "config"):
            until += ", or `watcher rebuild`"
        service = self._board.service(event.service)
        if service and service.live and service.stale:
            stays = "keeps answering" if service.urls else "stays live"  # a job answers nobody
            self._print_detail(
                event,
                f"stale: {short(service.live.revision)} {stays} until {until}",
                "yellow",
            )
        elif service and service.last_good and not service.live:
            text = f"{short(service.last_good)}, which was live last, serves until {until}"
            self._print_detail(event, text, "yellow")
        elif service and not service.live:
            what = "it is started again" if isinstance(event, ContainerLost) else until
            self._print_detail(event, f"nothing answers until {what}", "yellow")
        if event.service not in self._broken:
            self._broken.add(event.service)
            self._lines.ring_bell()

    def _last_build(self, service: str) -> BuildInfo | None:
        found = self._board.service(service)
        return found.last_build if found else None

    @staticmethod
    def _cached_steps(build: BuildInfo | None) -> str:
        return f" ({build.cached_steps} of {build.step_count} cached)" if build and build.step_count else ""
