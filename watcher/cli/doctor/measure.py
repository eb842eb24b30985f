"""Build what would make the image smaller, one change after the other, and measure what each gives."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace

from watcher.builder import Recipe
from watcher.cli.doctor.findings import Figures, Finding, Grade, Measured
from watcher.cli.doctor.idle_turn import IdleTurn
from watcher.cli.doctor.image_facts import find_extra_files, read_facts
from watcher.cli.doctor.trial import TrialRun, Trials, find_difference
from watcher.cli.doctor.variants import VariantBuilds
from watcher.dockerfile import SHRINK_RULES, DockerfileError, ImageFacts, Level, ShrinkInput, ShrinkRule
from watcher.dockerfile.shrink import find_build_lines, insert_measurement
from watcher.engine import Engine, EngineError, Unreadable
from watcher.errors import EngineUnavailable, WatcherError
from watcher.image.read import ImageReader
from watcher.observers import humanize
from watcher.tree import Snapshot

TOPIC = "size"
LEAST_GAIN = 10_000  # bytes that a change for the size must save
LEAST_SHARE = 0.05  # of the time of a link that level fast must save
_FAST = 'build.accelerate = "fast"'
_FAST_ADVICE = (
    f"set {_FAST} for shorter saves unless you attach a debugger: it leaves out the debugger's tables "
    "(DWARF); stack traces stay as they are"
)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """The Dockerfile with all changes that gave something and still work, and what was measured."""

    text: str
    before: Figures
    after: Figures
    names: tuple[str, ...] = ()
    answers: str = ""  # what was asked, and answered alike


@dataclass(frozen=True, slots=True)
class _Variant:
    figures: Figures
    facts: ImageFacts
    runs: tuple[TrialRun, TrialRun] | None
    extra: tuple[str, ...]


@dataclass(slots=True)
class SizeMeasurement:
    """Measures one service. `suggestion` is set once the Dockerfile as it is was built and run."""

    recipe: Recipe
    snapshot: Snapshot
    given: ShrinkInput
    engine: Engine
    builds: VariantBuilds
    trials: Trials
    turn: IdleTurn
    suggestion: Suggestion | None = None
    _before: _Variant | None = None
    _reader: ImageReader = field(init=False)

    def __post_init__(self) -> None:
        self._reader = ImageReader(self.engine)

    async def measure(self, text: str) -> AsyncIterator[Finding]:
        """Yield what is found for the Dockerfile `text`; raises EngineUnavailable."""
        before = await self._attempt(text, self.snapshot)
        if isinstance(before, str):
            yield Finding(TOPIC, Grade.ADVICE, f"the Dockerfile as it is cannot be measured: {before}")
            return
        yield Finding(TOPIC, Grade.GOOD, f"the final image has {before.figures.describe()}")
        for extra in before.extra:
            yield Finding(TOPIC, Grade.ADVICE, extra, "copy only what the program reads")
        if before.runs is None:
            reason = f"no variant can be tried: {self.trials.obstacle}"
            yield Finding(TOPIC, Grade.ADVICE, f"nothing is suggested, because {reason}")
            return
        for line in self._judge_builds(text):
            yield line
        if self.recipe.level is Level.EXACT:
            yield await self._try_fast(text, before.figures)
        self._before, now, names = before, before, list[str]()
        for rule in SHRINK_RULES:
            finding, changed, new = await self._try_rule(rule, text, now)
            if finding:
                yield finding
            if new:
                text, now = changed, new
                names.append(rule.name)
        answers = describe_answers(*before.runs)
        self.suggestion = Suggestion(text, before.figures, now.figures, tuple(names), answers)

    async def find_failure(self, text: str, snapshot: Snapshot) -> str:
        """Build and run a text in another tree; return how it fails or differs, else an empty string."""
        found = await self._attempt(text, snapshot)
        return found if isinstance(found, str) else self._compare(found)

    def _judge_builds(self, text: str) -> Iterator[Finding]:
        builds, others = find_build_lines(text, self.given)
        if others and not builds:
            lines = ", ".join(map(str, sorted(others)))
            advice = "call go build in the Dockerfile, or set -ldflags and -tags in the program that calls it"
            yield Finding(TOPIC, Grade.TASTE, f"line {lines}: flags were not tried, go is not called", advice)

    async def _try_fast(self, text: str, before: Figures) -> Finding:
        """Measure what level fast gives for the Dockerfile as it is."""
        try:
            figures = await self.turn.run(lambda: self._make_fast(text))
        except EngineUnavailable:
            raise
        except (WatcherError, DockerfileError) as error:
            return Finding(TOPIC, Grade.ADVICE, f"{_FAST} was not tried: {error}")
        measured = Measured(before, figures)
        faster = before.link and figures.link and before.link - figures.link >= LEAST_SHARE * before.link
        if measured.gain < LEAST_GAIN and not faster:
            return Finding(TOPIC, Grade.GOOD, f"{_FAST} gives nothing here", measured=measured)
        return Finding(
            TOPIC, Grade.TASTE, f"{_FAST} gives {measured.describe()}", _FAST_ADVICE, measured=measured
        )

    async def _make_fast(self, text: str) -> Figures:
        built = await self.builds.build(text, self.snapshot, level=Level.FAST)
        again = insert_measurement(text, self.given, secrets.token_hex(4))
        linked = await self.builds.build(again, self.snapshot, level=Level.FAST)
        return Figures(built.size, linked.seconds)

    async def _try_rule(
        self, rule: ShrinkRule, text: str, now: _Variant
    ) -> tuple[Finding | None, str, _Variant | None]:
        """Return what is found for a rule; if it is worth it, also the new text and what was measured."""
        try:
            shrink = rule.propose(text, replace(self.given, facts=now.facts))
        except DockerfileError as error:
            return Finding(TOPIC, Grade.ADVICE, f"{rule.name} was not tried: {error}"), "", None
        if shrink is None:
            return None, "", None
        if shrink.obstacle:
            return Finding(TOPIC, Grade.TASTE, f"{rule.name} was not tried: {shrink.obstacle}"), "", None
        new = await self._attempt(shrink.text, self.snapshot)
        problem = new if isinstance(new, str) else self._compare(new)
        if isinstance(new, str) or problem:
            told = f"{rule.name} was tried and is not suggested: {problem}"
            return Finding(TOPIC, Grade.TASTE, told), "", None
        measured = Measured(now.figures, new.figures)
        if rule.makes_static and not new.facts.needs.static:
            told = f"{rule.name} was tried and is not suggested: a program still needs a C library"
            return Finding(TOPIC, Grade.GOOD, told, measured=measured), "", None
        if measured.gain < LEAST_GAIN and not (rule.taste or rule.makes_static):
            change = humanize.size_change(-measured.gain)
            told = f"{rule.name} was tried and is not suggested: it changes the size by {change}"
            return Finding(TOPIC, Grade.GOOD, told, measured=measured), "", None
        grade = Grade.TASTE if rule.taste else Grade.ADVICE
        told = f"{rule.name} gives {measured.describe()}"
        return Finding(TOPIC, grade, told, shrink.reason, measured=measured), shrink.text, new

    async def _attempt(self, text: str, snapshot: Snapshot) -> _Variant | str:
        """Build and run a text while no save is built; return why that failed if it did."""
        try:
            return await self.turn.run(lambda: self._make(text, snapshot))
        except EngineUnavailable:
            raise
        except (WatcherError, DockerfileError) as error:
            return str(error)

    async def _make(self, text: str, snapshot: Snapshot) -> _Variant:
        built = await self.builds.build(text, snapshot)
        try:
            content = await self._reader.read(built.image)
        except Unreadable as error:
            raise EngineError(f"the image cannot be read: {error}") from error
        if content is None:
            raise EngineError("the image was removed while it was measured")
        runs = None
        if not self.trials.obstacle:
            runs = await self.trials.run(built.image), await self.trials.run(built.image)
        again = insert_measurement(text, self.given, secrets.token_hex(4))
        linked = await self.builds.build(again, snapshot)
        start = min(run.seconds for run in runs) if runs else None
        figures = Figures(built.size, linked.seconds, start)
        return _Variant(
            figures, read_facts(content, self.recipe.runs), runs, tuple(find_extra_files(content))
        )

    def _compare(self, new: _Variant) -> str:
        """Return how a variant behaves otherwise than the image of the Dockerfile as it is."""
        before = self._before
        if before is None or before.runs is None or new.runs is None:
            return "it could not be run"
        return next(filter(None, (find_difference(*before.runs, run) for run in new.runs)), "")


def describe_answers(first: TrialRun, second: TrialRun) -> str:
    """Return which paths were asked, with their status; empty if there was no port to ask."""
    alike = [
        one for one, other in zip(first.answers, second.answers, strict=False) if one.status == other.status
    ]
    return ", ".join(f"{answer.path} {answer.status}" for answer in alike if answer.status)
