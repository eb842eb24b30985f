"""A build's steps, told in the words of the user's file."""

from __future__ import annotations

from watcher import regex
from watcher.builder.base_images import pulls_image
from watcher.buildkit import Progress, Step, StepFinished, StepLog, StepStarted, StepStatus
from watcher.dockerfile import Accelerated, Instruction, parse
from watcher.observers import events
from watcher.observers.events import Observer

PULL_EVERY = 0.5  # seconds between two words about one base image
_TRANSFER = "transferring context"  # how BuildKit names the status of the context's transfer


class OriginalStepNames:
    """Shows the steps of a build in the words of the user's Dockerfile, whatever was changed in it.

    A step is known by the line where its instruction begins: its name does not do, because BuildKit puts the
    values of variables into it.
    """

    def __init__(self, text: str, plan: Accelerated) -> None:
        """`text` is the user's; it has as many lines as that of `plan`, and the same instructions."""
        self._pins = (*plan.pins, *plan.contexts)
        changed = {change.line for change in plan.changes} | set(plan.no_network_lines)
        self._changed: dict[int, Instruction] = {}
        for one in parse(text).instructions() if changed else ():
            if not changed.isdisjoint(range(one.line, one.end_line + 1)):
                self._changed[one.line] = one

    def changed(self, step: Step) -> bool:
        """Whether acceleration changed this step; one that cannot be told apart may be, if any was."""
        if not self._changed or "[internal]" in step.name:
            return False
        return step.line in self._changed or (not step.line and " RUN " in step.name)

    def name_step(self, step: Step) -> str:
        """The step's name: its instruction as the file has it where that was changed, blanks made one."""
        one = self._changed.get(step.line)
        if one is None:
            name = " ".join(step.name.split())
            for pin in self._pins:
                name = name.replace(_plain(pin.after), _plain(pin.before))
            return name
        head = _HEAD.match(step.name)
        return f"{head[0] if head else ''}{_shown(one)}"

    def explain_error(self, step: Step, reason: str) -> str:
        """What BuildKit says of a step's failure, the command in it as the file has it."""
        one = self._changed.get(step.line)
        if one is None:
            return reason
        for before, behind in _COMMAND:
            start, stop = reason.find(before), reason.rfind(behind)
            if 0 <= start < stop:
                return f"{reason[: start + len(before)]}{_shown(one)}{reason[stop:]}"
        return reason


# `[builder 5/5] ` of a step's name.
_HEAD = regex.compile(r"\[[^\]\n]{0,200}\] ")
# What stands around the command in BuildKit's word on a failure: in 0.8's, and in that of newer ones.
_COMMAND = (("executor failed running [", "]: "), ('process "', '" did not complete'))


def _shown(one: Instruction) -> str:
    """An instruction in one line, as BuildKit's names of steps have it."""
    flags = (f"--{flag.name}" + (f"={flag.value}" if flag.value is not None else "") for flag in one.flags)
    return " ".join(f"{one.keyword} {' '.join(flags)} {one.body.text}".split())


def _plain(line: str) -> str:
    """A line as BuildKit's step names hold it: continued lines are one, without the sign at their ends."""
    return " ".join(line.rstrip().rstrip("\\`").split())


class StepCounter:
    """Tells of the steps of one build, and counts them.

    `touched` is whether a step that acceleration changed, in the text or in what it may reach, has begun;
    `context_bytes` have travelled.
    """

    def __init__(self, service: str, revision: str, observer: Observer) -> None:
        self._service, self._revision, self._observer = service, revision, observer
        self._words = OriginalStepNames("", Accelerated(""))
        self._cached: dict[str, bool] = {}
        self._layers: dict[str, dict[str, tuple[int, int]]] = {}  # step -> layer -> (bytes there, bytes)
        self._pull_told: dict[str, float] = {}
        self.context_bytes = 0
        self.touched = False

    def start(self, words: OriginalStepNames) -> None:
        """Begin to listen to a build that these words are for; what was counted is of another one."""
        self._words, self.touched = words, False
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
                events.BuildStepProgress(
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
        name = self._words.name_step(step)
        self.touched = self.touched or self._words.changed(step)
        match event:
            case StepStarted():
                self._observer.notify(
                    events.BuildStepStarted(
                        service=service, revision=revision, step=step.digest, name=name, stage=step.stage
                    )
                )
            case StepFinished():
                if step.total:
                    self._cached[step.digest] = event.cached
                self._observer.notify(
                    events.BuildStepFinished(
                        service=service,
                        revision=revision,
                        step=step.digest,
                        name=name,
                        stage=step.stage,
                        seconds=event.seconds,
                        cached=event.cached,
                        error=self._words.explain_error(step, event.error),
                    )
                )
            case StepLog():
                self._observer.notify(
                    events.BuildStepOutput(
                        service=service,
                        revision=revision,
                        step=step.digest,
                        text=event.text,
                        stage=step.stage,
                    )
                )
            case StepStatus() if pulls_image(event.step.name):
                self._pulled(event, name)
            case StepStatus() if _TRANSFER in event.name:
                self.context_bytes = max(self.context_bytes, event.current)
