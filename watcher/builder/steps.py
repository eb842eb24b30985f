"""Emit the steps of a build, named as in the user's Dockerfile."""

from __future__ import annotations

from watcher import regex
from watcher.builder.base_images import pulls_image
from watcher.buildkit import Progress, SolveFailed, Step, StepFinished, StepLog, StepStarted, StepStatus
from watcher.diagnosis.command_error import split_command_error
from watcher.dockerfile import Accelerated, Instruction, parse
from watcher.observers import events
from watcher.observers.events import Observer

PULL_EVERY = 0.5  # seconds between two events about one base image
_TRANSFER = "transferring context"  # how BuildKit names the status of the context's transfer


class OriginalStepNames:
    """Names the steps of a variant as the user's Dockerfile has them.

    The first line of its instruction identifies a step. Its name does not, because BuildKit expands variables
    in it.
    """

    def __init__(self, text: str, plan: Accelerated) -> None:
        """`text` is the user's Dockerfile, with the same instructions on the same lines as `plan`."""
        self._pins = (*plan.pins, *plan.contexts)
        changed = {change.line for change in plan.changes} | set(plan.no_network_lines)
        self._changed: dict[int, Instruction] = {}
        for one in parse(text).instructions() if changed else ():
            if not changed.isdisjoint(range(one.line, one.end_line + 1)):
                self._changed[one.line] = one

    def is_changed(self, step: Step) -> bool:
        """Return whether acceleration changed this step, or can have changed it if its line is not known."""
        if not self._changed or "[internal]" in step.name:
            return False
        return step.line in self._changed or (not step.line and " RUN " in step.name)

    def name_step(self, step: Step) -> str:
        """Return the name of a step; of a changed one, the instruction in the user's Dockerfile."""
        one = self._changed.get(step.line)
        if one is None:
            name = " ".join(step.name.split())
            for pin in self._pins:
                name = name.replace(_collapse_line(pin.after), _collapse_line(pin.before))
            return name
        head = _HEAD.match(step.name)
        return f"{head[0] if head else ''}{_one_line(one)}"

    def explain_error(self, step: Step, reason: str) -> str:
        """Return BuildKit's error for a step, with the command as it is in the user's Dockerfile."""
        one = self._changed.get(step.line)
        if one is None and step.name:
            return reason
        parts = split_command_error(reason)
        if parts is None:
            return reason
        before, behind, cause = parts
        if one is None:  # no step is known, and acceleration can have changed the command
            return f"a step failed, and its output is not known: {cause}"
        return f"{before}{_one_line(one)}{behind}{cause}"


# `[builder 5/5] ` of a step's name.
_HEAD = regex.compile(r"\[[^\]\n]{0,200}\] ")


def misses_output(error: SolveFailed) -> bool:
    """Return whether a command failed in a step of which the build got no progress.

    BuildKit runs a step once for all builds that need it at the same moment, and can report it to one only.
    """
    return not error.step and split_command_error(error.reason) is not None


def _one_line(one: Instruction) -> str:
    """Return an instruction in one line, as in BuildKit's names of steps."""
    flags = (f"--{flag.name}" + (f"={flag.value}" if flag.value is not None else "") for flag in one.flags)
    return " ".join(f"{one.keyword} {' '.join(flags)} {one.body.text}".split())


def _collapse_line(line: str) -> str:
    """Return lines as in BuildKit's names of steps: joined, without the continuation signs."""
    return " ".join(line.rstrip().rstrip("\\`").split())


class StepCounter:
    """Emits the steps of one build, and counts them.

    `touched`: a step has started that acceleration changed, in its text or in its network. `context_bytes` is
    how much of the context was sent.
    """

    def __init__(self, service: str, revision: str, observer: Observer) -> None:
        self._service, self._revision, self._observer = service, revision, observer
        self._names = OriginalStepNames("", Accelerated(""))
        self._cached: dict[str, bool] = {}
        self._layers: dict[str, dict[str, tuple[int, int]]] = {}  # step -> layer -> (bytes there, bytes)
        self._pull_emitted: dict[str, float] = {}
        self.context_bytes = 0
        self.touched = False

    def start(self, names: OriginalStepNames) -> None:
        """Start to count for a build with these step names; forget what was counted for another one."""
        self._names, self.touched = names, False
        self._cached.clear()

    @property
    def steps(self) -> int:
        """Steps of the Dockerfile that ended, without BuildKit's internal ones."""
        return len(self._cached)

    @property
    def cached(self) -> int:
        """Return those of the steps that were in the cache."""
        return sum(self._cached.values())

    def _count_layer(self, event: StepStatus, name: str) -> None:
        """Count a layer of a base image, and regularly emit the sum of all layers."""
        if event.total <= 0 or "sha256:" not in event.id or event.id.startswith("extracting"):
            return
        step = event.step
        layers = self._layers.setdefault(step.digest, {})
        new = event.id not in layers
        layers[event.id] = (event.current, event.total)
        if new or event.at - self._pull_emitted.get(step.digest, 0.0) >= PULL_EVERY:
            self._pull_emitted[step.digest] = event.at
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
        """Emit one event of BuildKit's."""
        step, service, revision = event.step, self._service, self._revision
        name = self._names.name_step(step)
        self.touched = self.touched or self._names.is_changed(step)
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
                        error=self._names.explain_error(step, event.error),
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
                self._count_layer(event, name)
            case StepStatus() if _TRANSFER in event.name:
                self.context_bytes = max(self.context_bytes, event.current)
