"""A day of the example service, told in events; times are fixed, so that every observer's output is too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from watcher.observers.events import (
    BuildFinished,
    BuildOutcome,
    BuildStarted,
    BuildStepFinished,
    BuildStepOutput,
    BuildStepStarted,
    Change,
    ContainerLost,
    ContainerOutput,
    DaemonStarted,
    DaemonStarting,
    DeployFinished,
    DeployOutcome,
    DeployStarted,
    DesiredChanged,
    Diagnostic,
    DiskMeasured,
    EngineUp,
    Event,
    Failure,
    FrontExchange,
    ImageSized,
    Pruned,
    PrunedItem,
    RevisionStateChanged,
    ServiceStarted,
    SourceMode,
    SourceScanned,
)
from watcher.reconcile import state_machine as machine
from watcher.reconcile import transition_events as inputs
from watcher.reconcile.transition import transition

SERVICE = "go-server"
START = 1_790_000_000.0

COMPILE_ERROR = Failure(
    "compile",
    "internal/handler/health.go:17:21: undefined: versoin (and 1 more)",
    (
        "# example.com/go-server/internal/handler",
        "internal/handler/health.go:17:21: undefined: versoin",
        'internal/handler/health.go:9:2: "net/http" imported and not used',
    ),
    (
        Diagnostic("internal/handler/health.go", 17, 21, "undefined: versoin"),
        Diagnostic("internal/handler/health.go", 9, 2, '"net/http" imported and not used'),
    ),
)
CRASH = Failure(
    "container",
    "the container ended before it answered with exit status 1",
    ("open ./_envs/env_dev.yaml: no such file or directory",),
    hint="an environment file is missing or invalid: check _envs/env_<ENV>.yaml and the build argument ENV",
)

STEPS = (
    ("load", "[internal] load build definition from Dockerfile", "internal", 0.01, False),
    ("b1", "[builder 1/5] FROM golang:alpine", "builder", 0.0, True),
    ("b2", "[builder 2/5] RUN apk add --no-cache gcc libc-dev", "builder", 0.0, True),
    ("b4", "[builder 4/5] COPY . .", "builder", 0.03, False),
    ("b5", "[builder 5/5] RUN CGO_ENABLED=0 GOOS=linux go build -o mygoexecutable .", "builder", 1.24, False),
    ("f2", "[final 2/3] COPY --from=builder /workspace/mygoexecutable .", "final", 0.05, False),
    ("x", "exporting to image", "", 0.11, False),
)


def revision(number: int) -> str:
    """A revision: 64 hex digits that differ for each number."""
    return f"{(number * 2654435761) % 2**32:08x}" * 8


def transitions(  # noqa: PLR0912 - one case per event
    event: Event, state: machine.State, previous: str | None
) -> Iterator[inputs.TransitionEvent]:
    """What the reconciler folds when it emits `event`."""
    match event:
        case DesiredChanged(revision=revision):
            yield inputs.TreeScanned(revision)
        case BuildStarted(revision=revision):
            if revision == state.failed:
                yield inputs.RebuildRequested()
            yield inputs.BuildBegun(revision)
        case BuildFinished(revision=revision, outcome=BuildOutcome.BUILT | BuildOutcome.REUSED):
            yield inputs.BuildEnded(revision, event.image)
        case BuildFinished(revision=revision, outcome=BuildOutcome.ERROR):
            yield inputs.BuildInfraFailed(revision)
        case BuildFinished(revision=revision):
            yield inputs.BuildFailed(revision) if event.failure else inputs.BuildCancelled(revision)
        case DeployStarted(revision=revision):
            yield inputs.DeployBegun(revision)
        case DeployFinished(revision=revision, outcome=DeployOutcome.ADOPTED):
            yield inputs.LiveChanged(revision)
        case DeployFinished(revision=revision, outcome=DeployOutcome.LIVE | DeployOutcome.UNCHANGED):
            yield inputs.DeployEnded(revision)
        case DeployFinished(revision=revision, outcome=DeployOutcome.ROLLED_BACK):
            yield inputs.RolledBack(revision, previous)
        case DeployFinished(revision=revision, outcome=DeployOutcome.ERROR):
            yield inputs.DeployInfraFailed(revision)
        case DeployFinished(revision=revision):
            cancelled = inputs.DeployCancelled(revision)
            yield inputs.DeployFailed(revision) if event.failure else cancelled
        case ContainerLost(revision=revision):
            yield inputs.ContainerExited(revision, event.image)


def image(number: int) -> str:
    return f"sha256:{revision(number + 1000)}"


class Story:
    """Makes events one after the other; `now` moves on with what they take."""

    def __init__(self, service: str = SERVICE, now: float = START) -> None:
        self.service, self.now = service, now
        self.events: list[Event] = []
        self.state, self._saved_at = machine.State(), now
        self._container = ""
        self._previous: str | None = None  # the revision that was live before the live one

    def tell(self, kind: type[Event], after: float = 0.0, **fields: Any) -> Story:
        self.now += after
        event = kind(service=self.service, at=self.now, **fields)
        self._advance(event)
        self.events.append(event)
        return self

    def _advance(self, event: Event) -> None:
        """Let the real state machine say what follows for the revisions, as the reconciler does."""
        before = self.state
        for happened in transitions(event, before, self._previous):
            self.state = transition(self.state, happened, self.now)
        if self.state.live != before.live and self.state.live:
            self._previous = before.live
        if isinstance(event, DesiredChanged):
            self._saved_at = event.saved_at
        self._tell_revisions(before)

    def _tell_revisions(self, before: machine.State) -> None:
        old, new = self._revisions_of(before), self._revisions_of(self.state)
        if old != new:
            event = RevisionStateChanged(service=self.service, at=self.now, saved_at=self._saved_at, **new)
            self.events.append(event)

    @staticmethod
    def _revisions_of(state: machine.State) -> dict[str, str | None]:
        last_good = state.last_good[0] if state.last_good else None
        return {
            "desired": state.desired,
            "live": state.live,
            "failed": state.failed,
            "last_good": last_good,
        }

    def find_last_good(self, number: int) -> Story:
        """The image of this revision was live last under an earlier daemon."""
        before = self.state
        found = inputs.LastGoodFound(revision(number), image(number))
        self.state = transition(before, found, self.now)
        self._tell_revisions(before)
        return self

    def start(self) -> Story:
        self.events.append(DaemonStarting(at=self.now, version="0.1.0", project="/src/go-server"))
        self.events.append(
            DaemonStarted(
                at=self.now, version="0.1.0", project="/src/go-server", url="http://127.0.0.1:9001/"
            )
        )
        self.events.append(
            EngineUp(
                at=self.now, version="20.10.24", store="overlay2", endpoint="unix:///var/run/docker.sock"
            )
        )
        self.tell(
            ServiceStarted,
            urls=("http://localhost:9000",),
            compose_file="docker-compose-dev.yml",
            image="go-server-dev",
            container="go-server-box-dev",
        )
        self.tell(SourceMode, mode="events", reason="")
        return self.tell(
            SourceScanned, 0.02, reason="start", full=True, seconds=0.02, files=31, context_bytes=48_211
        )

    def save(self, number: int, path: str = "internal/version/version.go") -> Story:
        self.tell(
            SourceScanned, 0.1, reason="event", full=False, seconds=0.004, files=31, context_bytes=48_213
        )
        return self.tell(
            DesiredChanged,
            revision=revision(number),
            changes=(Change(path, "changed", "go"),),
            summary=f"{path} changed",
            saved_at=self.now - 0.1,
        )

    def begin(self, number: int) -> Story:
        return self.tell(BuildStarted, 0.01, revision=revision(number))

    def steps(self, number: int, upto: int = len(STEPS), error: str = "") -> Story:
        """The first `upto` steps; with `error`, the last of them fails."""
        for index, (digest, name, stage, seconds, cached) in enumerate(STEPS[:upto], 1):
            who: dict[str, Any] = {"revision": revision(number), "step": digest, "stage": stage}
            self.tell(BuildStepStarted, name=name, **who)
            failed = error if index == upto else ""
            for line in COMPILE_ERROR.lines if failed else ():
                self.tell(BuildStepOutput, text=line + "\n", **who)
            self.tell(
                BuildStepFinished, seconds, name=name, seconds=seconds, cached=cached, error=failed, **who
            )
        return self

    def built(self, number: int) -> Story:
        return self.tell(
            BuildFinished,
            revision=revision(number),
            outcome=BuildOutcome.BUILT,
            seconds=1.45,
            image=image(number),
            context_bytes=312,
            steps=7,
            cached_steps=2,
        )

    def broken(self, number: int) -> Story:
        return self.tell(
            BuildFinished,
            revision=revision(number),
            outcome=BuildOutcome.FAILED,
            seconds=0.92,
            failure=COMPILE_ERROR,
        )

    def cancelled(self, number: int) -> Story:
        return self.tell(
            BuildFinished, 0.3, revision=revision(number), outcome=BuildOutcome.CANCELLED, seconds=0.3
        )

    def deploy(
        self, number: int, outcome: DeployOutcome = DeployOutcome.LIVE, seconds: float = 0.31
    ) -> Story:
        self.tell(DeployStarted, revision=revision(number), image=image(number))
        good = outcome in (DeployOutcome.LIVE, DeployOutcome.UNCHANGED, DeployOutcome.ADOPTED)
        return self.tell(
            DeployFinished,
            seconds,
            revision=revision(number),
            image=image(number),
            outcome=outcome,
            seconds=seconds,
            container=self._container_of(number, outcome) if good else "",
            save_to_live=1.86 if good else None,
            phases=(("create", 0.02), ("start", 0.21), ("ready", 0.08)) if good else (),
            failure=None if good else CRASH,
        )

    def _container_of(self, number: int, outcome: DeployOutcome) -> str:
        """An unchanged image stays in its container."""
        if outcome is not DeployOutcome.UNCHANGED:
            self._container = f"c{number}"
        return self._container

    def sized(self, number: int, size: int = 23_300_000, stage: str = "final") -> Story:
        return self.tell(
            ImageSized, stage=stage, revision=revision(number), image=image(number) + stage[0], size=size
        )

    def cycle(self, number: int, size: int = 23_300_000) -> Story:
        """A save that goes live."""
        self.save(number).begin(number).steps(number).built(number)
        self.tell(ImageSized, stage="final", revision=revision(number), image=image(number), size=size)
        return self.deploy(number)

    def failing(self, number: int) -> Story:
        """A save that does not compile."""
        return (
            self.save(number, "internal/handler/health.go")
            .begin(number)
            .steps(number, 5, "exit 1")
            .broken(number)
        )

    def pruned(self) -> Story:
        return self.tell(
            Pruned,
            1.0,
            items=(
                PrunedItem("final", image(1), "go-server-dev:rev-1", 23_300_000, False, "is live", "live"),
                PrunedItem(
                    "final", image(0), "go-server-dev:rev-0", 23_200_000, True, "superseded", "superseded"
                ),
                PrunedItem(
                    "builder",
                    image(900),
                    "<none>",
                    602_000_000,
                    True,
                    "stale stage=builder image",
                    "untagged",
                ),
            ),
            freed=600_000_000,
            seconds=0.4,
        )

    def disk(self, go_cache: int | None = 412_000_000, steps_stay: str = "") -> Story:
        return self.tell(
            DiskMeasured,
            1.0,
            images=31_000_000,
            steps=132_000_000,
            go_cache=go_cache,
            module_cache=None if go_cache is None else 96_000_000,
            others=21_400_000_000,
            go_cache_max=10_000_000_000,
            steps_stay=steps_stay,
        )

    def traffic(self, *codes: int) -> Story:
        for code in codes:
            self.tell(FrontExchange, 0.01, code=code, seconds=0.004)
        return self

    def said(self, text: str) -> Story:
        return self.tell(ContainerOutput, 0.01, container="c1", text=text)
