"""Events of one service folded into its part of the status document."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Literal

from watcher.observers.events import (
    BuildFinished,
    BuildStarted,
    BuildStepFinished,
    BuildStepProgress,
    BuildStepStarted,
    ContainerLost,
    ContainerPaused,
    DeployFinished,
    DeployStarted,
    DesiredChanged,
    DiskMeasured,
    Event,
    Failure,
    FrontExchange,
    FrontHeld,
    FrontOld,
    FrontRefused,
    Held,
    ImageExplained,
    ImageSized,
    Paused,
    Pruned,
    ServiceStarted,
    SourceEvents,
    SourceGone,
    SourceMode,
    SourceScanned,
    SourceScanning,
    SuggestionMeasured,
)
from watcher.observers.revision_state import GOOD_DEPLOYS, RevisionState
from watcher.observers.status_schema import (
    BuildInfo,
    ChangeInfo,
    DeployInfo,
    DeployingInfo,
    DesiredInfo,
    DiskInfo,
    ErrorReport,
    FailureInfo,
    ImageInfo,
    Phase,
    PrunedItemInfo,
    PruneInfo,
    ServiceStatus,
    StepInfo,
    SuggestionInfo,
)

BUILDS_KEPT = 100
CHANGES_SHOWN = 50


def code_class(code: int) -> str:
    """`2xx` for 204 and so on; `raw` for what is no HTTP answer."""
    return f"{code // 100}xx" if 100 <= code < 600 else "raw"


class ServiceView:
    """What the board keeps about one service: its part of the document and the last builds, oldest first."""

    def __init__(self, name: str, build_ids: Iterator[int]) -> None:
        """`build_ids` counts the builds of all services."""
        self.status = ServiceStatus(name=name)
        self.revisions = RevisionState()
        self.builds: deque[BuildInfo] = deque(maxlen=BUILDS_KEPT)
        self.explained: deque[ImageExplained] = deque(maxlen=BUILDS_KEPT)  # images, oldest first
        self._build_ids = build_ids
        self._old: dict[int, int] = {}  # connections with versions before the live one, by listening port

    def apply_event(self, event: Event, engine_up: bool | None) -> None:
        """Take `event` into account."""
        self.revisions.apply_event(event)
        self._apply_work(event)
        self._apply_rest(event)
        self._apply_source(event)
        status, revisions = self.status, self.revisions
        status.live, status.failed = revisions.live, revisions.failed
        status.last_good = revisions.last_good
        status.stale, status.stale_since = revisions.stale, revisions.stale_since
        status.refused, status.source.gone = revisions.refused, revisions.gone
        if status.suggestion:
            live = status.live.revision if status.live else None
            status.suggestion.current = live == status.suggestion.revision
        status.phase = self._choose_phase(engine_up)
        error = status.last_error
        if error and error.resolved_at is None and status.stale is False and status.failed is None:
            error.resolved_at = event.at

    def _apply_work(self, event: Event) -> None:
        status = self.status
        match event:
            case DesiredChanged():
                shown = [ChangeInfo.model_validate(change) for change in event.changes[:CHANGES_SHOWN]]
                status.desired = DesiredInfo(
                    revision=event.revision,
                    at=event.at,
                    saved_at=event.saved_at,
                    summary=event.summary,
                    changes=shown,
                    change_count=len(event.changes),
                )
            case BuildStarted():
                status.building = self._new_build(event.revision, event.at)
            case BuildStepStarted() | BuildStepFinished() | BuildStepProgress() if status.building:
                _update_step(status.building, event)
            case BuildFinished():
                self._finish_build(event)
            case DeployStarted():
                status.deploying = DeployingInfo(
                    revision=event.revision, image=event.image, started_at=event.at
                )
            case DeployFinished():
                self._finish_deploy(event)
            case ContainerPaused():
                status.container_paused = event.paused
            case ContainerLost():
                status.container_paused = False
                self._set_error(event.at, event.revision, "container", event.failure)
            case ImageSized():
                self._set_image_size(event)

    def _apply_rest(self, event: Event) -> None:
        status = self.status
        match event:
            case ImageExplained():
                self.explained.append(event)
            case SuggestionMeasured():
                status.suggestion = SuggestionInfo(
                    revision=event.revision,
                    measured_at=event.measured_at,
                    before=event.before,
                    after=event.after,
                    names=list(event.names),
                )
            case ServiceStarted():
                status.urls, status.compose_file = list(event.urls), event.compose_file
                status.image, status.container = event.image, event.container
            case Held():
                status.held = event.reason
            case Paused():
                status.paused = event.paused
            case Pruned():
                items = [PrunedItemInfo.model_validate(item) for item in event.items]
                status.last_prune = PruneInfo(
                    at=event.at,
                    seconds=event.seconds,
                    freed=event.freed,
                    removed=sum(item.removed for item in items),
                    items=items,
                )
            case DiskMeasured():
                status.disk = DiskInfo.model_validate(event)
            case FrontExchange():
                front = status.front
                name = code_class(event.code)
                front.requests[name] = front.requests.get(name, 0) + 1
                if event.held:
                    front.held_total += 1
                    front.longest_hold = max(front.longest_hold, event.held)
            case FrontHeld():
                status.front.held = event.held
            case FrontOld():
                self._old[event.port] = event.connections
                status.front.old_connections = sum(self._old.values())
            case FrontRefused():
                refused = status.front.refused
                refused[event.reason] = refused.get(event.reason, 0) + 1

    def _apply_source(self, event: Event) -> None:
        source = self.status.source
        match event:
            case SourceMode():
                source.mode = "polling" if event.mode == "polling" else "events"
                source.mode_reason = event.reason
            case SourceEvents():
                source.events += event.count
            case SourceScanning():
                source.scanning = event.files
            case SourceGone():
                source.scanning = None
            case SourceScanned():
                source.scanning = None
                source.rescans += 1
                source.files, source.context_bytes = event.files, event.context_bytes
                source.scanned_at, source.scan_seconds = event.at, event.seconds
                source.scan_reason, source.problems = event.reason, list(event.problems)

    def _new_build(self, revision: str, at: float) -> BuildInfo:
        desired = self.status.desired
        summary = desired.summary if desired and desired.revision == revision else ""
        return BuildInfo(
            id=next(self._build_ids),
            service=self.status.name,
            revision=revision,
            summary=summary,
            started_at=at,
        )

    def _finish_build(self, event: BuildFinished) -> None:
        status = self.status
        build, status.building = status.building, None
        if build is None or build.revision != event.revision:
            build = self._new_build(event.revision, event.at - event.seconds)
        build.finished_at, build.seconds, build.outcome = event.at, event.seconds, event.outcome
        build.image, build.context_bytes = event.image, event.context_bytes
        if event.steps:  # without BuildKit's own steps, which are not in the user's file
            build.step_count, build.cached_steps = event.steps, event.cached_steps
        if event.failure:
            build.failure = FailureInfo.model_validate(event.failure)
            self._set_error(event.at, event.revision, "build", event.failure)
        status.last_build = build
        self.builds.append(build)

    def _finish_deploy(self, event: DeployFinished) -> None:
        status = self.status
        status.deploying = None
        if event.outcome in GOOD_DEPLOYS:
            status.container_paused = False
        if event.outcome in GOOD_DEPLOYS and event.save_to_live is not None:
            status.save_to_live = event.save_to_live
        if event.failure:
            self._set_error(event.at, event.revision, "deploy", event.failure)
        build = self._build_of(event.revision)
        if build:
            build.deploy = DeployInfo(
                outcome=event.outcome,
                at=event.at,
                seconds=event.seconds,
                save_to_live=event.save_to_live,
                phases=dict(event.phases),
            )

    def _set_image_size(self, event: ImageSized) -> None:
        before = self.status.images.get(event.stage)
        if before and before.image == event.image:
            before.revision = event.revision
        else:
            previous = before.size if before else None
            self.status.images[event.stage] = ImageInfo(
                image=event.image,
                revision=event.revision,
                at=event.at,
                size=event.size,
                previous_size=previous,
                change=None if previous is None else event.size - previous,
            )
        if event.stage == "final":
            for build in (self.status.building, self._build_of(event.revision)):
                if build and build.revision == event.revision:
                    build.image_size = event.size

    def _build_of(self, revision: str) -> BuildInfo | None:
        return next((build for build in reversed(self.builds) if build.revision == revision), None)

    def _set_error(
        self, at: float, revision: str, stage: Literal["build", "deploy", "container"], failure: Failure
    ) -> None:
        self.status.last_error = ErrorReport(
            at=at, revision=revision, stage=stage, failure=FailureInfo.model_validate(failure)
        )

    def _choose_phase(self, engine_up: bool | None) -> Phase:
        status = self.status
        phases: tuple[tuple[object, Phase], ...] = (
            (status.building, "building"),
            (status.deploying, "deploying"),
            (engine_up is False, "down"),
            (status.refused, "failed"),
            (status.source.gone, "held"),
            (status.paused, "paused"),
            (status.failed, "failed"),
            (status.container_paused, "held"),
            (status.stale is False, "live"),
            (status.held, "held"),
            (status.desired is None, "starting"),
        )
        return next((phase for applies, phase in phases if applies), "waiting")


def _update_step(build: BuildInfo, event: BuildStepStarted | BuildStepFinished | BuildStepProgress) -> None:
    step = next((step for step in build.steps if step.id == event.step), None)
    if step is None:
        ran = event.seconds if isinstance(event, BuildStepFinished) else 0.0
        step = StepInfo(id=event.step, name=event.name, stage=event.stage, started_at=event.at - ran)
        build.steps.append(step)
    if isinstance(event, BuildStepProgress):
        step.done, step.total = event.done, event.total
    if isinstance(event, BuildStepFinished):
        step.seconds, step.cached, step.error = event.seconds, event.cached, event.error
        build.step_count = len(build.steps)
        build.cached_steps = sum(step.cached for step in build.steps)
