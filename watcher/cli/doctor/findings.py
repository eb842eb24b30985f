"""Turn measurements into findings. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from watcher.dockerfile import Accelerated, LineNote
from watcher.engine import SystemInfo
from watcher.fswatch import SelfTest
from watcher.observers import humanize
from watcher.prune import LeftProject, doctor_text
from watcher.tree import Snapshot

LARGE_CONTEXT = 50_000_000  # bytes from which the largest places of a tree are named
LARGE_PLACE = 10_000_000  # bytes of one file or top-level folder worth naming
SLOW_SCAN = 1.0  # seconds
SLOW_ANSWER = 0.5  # seconds; an engine on this machine answers faster
LOW_DISK = 5_000_000_000  # bytes; a Go builder stage alone takes half a gigabyte
PLACES = 5


class Grade(StrEnum):
    """How bad a finding is."""

    GOOD = "good"
    TASTE = "taste"  # a matter of opinion
    ADVICE = "advice"  # it works, but could be better
    ERROR = "error"  # the daemon cannot work


@dataclass(frozen=True, slots=True)
class Repeated:
    """A build step that every save repeats. `line` is None if the Dockerfile has changed since."""

    line: int | None
    step: str
    seconds: float
    why: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured of an image: bytes; seconds to link its programs, and until it answers."""

    size: int
    link: float | None = None
    start: float | None = None

    def describe(self) -> str:
        """Return the figures in words."""
        parts = [humanize.size(self.size)]
        parts += [f"links in {humanize.seconds(self.link)}"] if self.link is not None else []
        parts += [f"answers after {humanize.seconds(self.start)}"] if self.start is not None else []
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Measured:
    """The figures of an image before and after a change."""

    before: Figures
    after: Figures

    @property
    def gain(self) -> int:
        """Return the bytes that the change saves."""
        return self.before.size - self.after.size

    def describe(self) -> str:
        """Return what the change gives."""
        before, after = self.before, self.after
        sizes = f"{humanize.size(before.size)} → {humanize.size(after.size)}"
        parts = [f"{sizes} ({humanize.size_change(-self.gain)})"]
        for verb, old, new in (("links", before.link, after.link), ("answers", before.start, after.start)):
            if old is not None and new is not None:
                when = "in" if verb == "links" else "after"
                parts.append(f"{verb} {when} {humanize.seconds(old)} → {humanize.seconds(new)}")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check, with advice if something can be done."""

    topic: str
    grade: Grade
    text: str
    advice: str = ""
    repeated: Repeated | None = None
    service: str = ""  # if the project has several
    measured: Measured | None = None
    patch: str = ""  # a unified diff that does what is advised


def worst_grade(findings: Iterable[Finding]) -> Grade:
    """Return the worst grade of the findings."""
    order = list(Grade)
    return max((finding.grade for finding in findings), key=order.index, default=Grade.GOOD)


def judge_engine(info: SystemInfo, seconds: float) -> Finding:
    """Judge the engine and the time of its answer."""
    answer = humanize.seconds(seconds)
    product = "" if info.product == "Docker" else f"{info.product} "
    text = f"{product}{info.version}, image store {info.store}, at {info.endpoint}, answers in {answer}"
    if seconds > SLOW_ANSWER:
        advice = "every build and deploy asks it several times: find out what keeps it busy"
        return Finding("engine", Grade.ADVICE, text, advice)
    return Finding("engine", Grade.GOOD, text)


def judge_dockerfile(name: str, accelerated: Accelerated, advice: Sequence[LineNote]) -> list[Finding]:
    """Describe how the Dockerfile is accelerated, and what its author can improve."""
    changed = humanize.count(len(accelerated.changes), "line")
    found = [
        Finding(name, Grade.GOOD, f"{changed} accelerated; `watcher dockerfile` shows them")
        if accelerated.changes
        else Finding(name, Grade.GOOD, "built as it is")
    ]
    found += [
        Finding(name, Grade.ADVICE, f"line {note.line} is not accelerated: {note.reason}")
        for note in accelerated.left_alone
    ]
    changed_lines = {change.line for change in accelerated.changes}
    found += [
        Finding(name, Grade.ADVICE, f"line {note.line}, with or without the watcher: {note.reason}")
        for note in advice
        if note.line not in changed_lines
    ]
    found += [
        Finding(name, Grade.TASTE, f"line {note.line}, in a plain docker build: {note.reason}")
        for note in advice
        if note.line in changed_lines
    ]
    return found


def judge_tree(snapshot: Snapshot, seconds: float) -> list[Finding]:
    """Judge the tree: its size, its largest places, unreadable files."""
    size = snapshot.total_bytes
    paths = humanize.count(snapshot.count, "path")
    text = f"{paths}, {humanize.size(size)}, scanned in {humanize.seconds(seconds)}"
    places: Counter[str] = Counter()
    for entry in snapshot.entries():
        first, slash, _ = entry.path.partition("/")
        places[f"{first}/" if slash else first] += entry.size
    large = [
        f"{place} {humanize.size(taken)}"
        for place, taken in places.most_common(PLACES)
        if taken >= LARGE_PLACE
    ]
    found = [Finding("tree", Grade.GOOD, text)]
    if size >= LARGE_CONTEXT or seconds >= SLOW_SCAN:
        advice = (
            f"leave out what the image does not need, in .dockerignore or watch.ignore: {', '.join(large)}"
        )
        found = [Finding("tree", Grade.ADVICE, text, advice if large else "")]
    return found + [Finding("tree", Grade.ADVICE, problem.text) for problem in snapshot.problems]


def judge_events(directories: int, test: SelfTest) -> Finding:
    """Judge whether file system events arrive."""
    if test.trouble or test.seconds is None:
        why = test.trouble or "an event caused on purpose did not arrive"
        return Finding("events", Grade.ADVICE, f"changes will be found by polling: {why}")
    text = f"an event arrives in {humanize.seconds(test.seconds)}; directories to watch: {directories}"
    if test.limit is not None:
        text += f" of the {test.limit} that this user can watch"
    if test.foreign:
        advice = f"another machine can change files on {test.foreign} without an event: they are polled"
        return Finding("events", Grade.ADVICE, text, advice)
    return Finding("events", Grade.GOOD, text)


def judge_disk(root: str, free: int) -> Finding:
    """Judge the free space of the engine's disk."""
    text = f"{humanize.size(free)} free below {root}"
    if free < LOW_DISK:
        return Finding(
            "disk", Grade.ADVICE, text, "`watcher prune --dry-run` and `docker system df` show what uses it"
        )
    return Finding("disk", Grade.GOOD, text)


def judge_gone(projects: Sequence[LeftProject]) -> Finding:
    """Describe what projects with a deleted folder left."""
    advice = "`watcher prune --gone` lists it, asks, and removes it"
    return Finding("gone projects", Grade.ADVICE, doctor_text(projects), advice)
