"""A build's steps, told in the words of the user's file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from watcher import observe
from watcher.build.bases import pulls
from watcher.buildkit import Progress, StepFinished, StepLog, StepStarted, StepStatus
from watcher.dockerfile import Accelerated, LineChange, parse
from watcher.observe import Observer

PULL_EVERY = 0.5  # seconds between two words about one base image
_TRANSFER = "transferring context"  # how BuildKit names the status of the context's transfer


def own_words(name: str, changes: Iterable[LineChange]) -> str:
    """A step's name as the user's file has it, without what acceleration put in; blanks are made one."""
    name = _plain(name)
    for change in changes:
        name = name.replace(_plain(change.after), _plain(change.before))
    return name


def _plain(line: str) -> str:
    """A line as BuildKit's step names hold it: continued lines are one, without the sign at their ends."""
    return " ".join(line.rstrip().rstrip("\\`").split())


def _cut_off(plan: Accelerated) -> list[str]:
    """How BuildKit names the steps that lost their network without a word of it in the text."""
    names: list[str] = []
    for one in parse(plan.text).instructions() if plan.cut_off else ():
        if one.line in plan.cut_off:
            lines = f"{one.keyword}{plan.text[one.keyword_stop : one.stop]}".split("\n")
            said = (_plain(line) for line in lines if not line.lstrip().startswith("#"))
            names.append(_plain(" ".join(said)))
    return names


class StepCounter:
    """Tells of the steps of one build, and counts them.

    `touched` is whether a step that acceleration changed, in the text or in what it may reach, has begun;
    `context_bytes` have travelled.
    """

    def __init__(self, service: str, revision: str, observer: Observer) -> None:
        self._service, self._revision, self._observer = service, revision, observer
        self._changes: Sequence[LineChange] = ()
        self._pins: Sequence[LineChange] = ()
        self._cut_off: Sequence[str] = ()  # names of steps that lost only their network
        self._cached: dict[str, bool] = {}
        self._layers: dict[str, dict[str, tuple[int, int]]] = {}  # step -> layer -> (bytes there, bytes)
        self._pull_told: dict[str, float] = {}
        self.context_bytes = 0
        self.touched = False

    def begin(self, plan: Accelerated) -> None:
        """Begin to listen to a build of this text; what was counted is of another one."""
        self._changes, self._pins, self.touched = plan.changes, plan.pins, False
        self._cut_off = _cut_off(plan)
        self._cached.clear()

    @property
    def steps(self) -> int:
        """Steps of the Dockerfile that ended, without BuildKit's internal ones."""
        return len(self._cached)

    @property
    def cached(self) -> int:
        """Those of them that were in the cache."""
        return sum(self._cached.values())

    def _pulled(self, event: StepStatus, name: str) -> None:
        """Add a layer of a base image up, and tell of all of them now and then."""
        if event.total <= 0 or "sha256:" not in event.id or event.id.startswith("extracting"):
            return
        step = event.step
        layers = self._layers.setdefault(step.digest, {})
        new = event.id not in layers
        layers[event.id] = (event.current, event.total)
        if new or event.at - self._pull_told.get(step.digest, 0.0) >= PULL_EVERY:
            self._pull_told[step.digest] = event.at
            self._observer.notify(
                observe.StepProgress(
                    service=self._service,
                    revision=self._revision,
                    step=step.digest,
                    name=name,
                    stage=step.stage,
                    done=sum(done for done, _ in layers.values()),
                    total=sum(total for _, total in layers.values()),
                )
            )

    def __call__(self, event: Progress) -> None:
        """Take one event of BuildKit's."""
        step, service, revision = event.step, self._service, self._revision
        name = own_words(step.name, self._changes)
        if not self.touched:
            told = _plain(step.name)
            self.touched = name != told or any(line in told for line in self._cut_off)
        name = own_words(name, self._pins)
        match event:
            case StepStarted():
                self._observer.notify(
                    observe.StepStarted(
                        service=service, revision=revision, step=step.digest, name=name, stage=step.stage
                    )
                )
            case StepFinished():
                if step.total:
                    self._cached[step.digest] = event.cached
                self._observer.notify(
                    observe.StepFinished(
                        service=service,
                        revision=revision,
                        step=step.digest,
                        name=name,
                        stage=step.stage,
                        seconds=event.seconds,
                        cached=event.cached,
                        error=event.error,
                    )
                )
            case StepLog():
                self._observer.notify(
                    observe.StepOutput(
                        service=service,
                        revision=revision,
                        step=step.digest,
                        text=event.text,
                        stage=step.stage,
                    )
                )
            case StepStatus() if pulls(event.step.name):
                self._pulled(event, name)
            case StepStatus() if _TRANSFER in event.name:
                self.context_bytes = max(self.context_bytes, event.current)
