"""What was measured becomes findings. Pure: values in, sentences out."""

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

LARGE_CONTEXT = 50_000_000  # bytes from which it is worth saying what makes a tree large
LARGE_PLACE = 10_000_000  # bytes of one file or top-level folder worth naming
SLOW_LOOK = 1.0  # seconds
SLOW_ANSWER = 0.5  # seconds an engine on this machine should never need
LOW_DISK = 5_000_000_000  # bytes; a Go builder stage alone takes half a gigabyte
PLACES = 5


class Grade(StrEnum):
    """How bad a finding is."""

    GOOD = "good"
    ADVICE = "advice"  # it works, and could be better
    TROUBLE = "trouble"  # the daemon would not do its job


@dataclass(frozen=True, slots=True)
class Repeated:
    """A step of the build that each save repeats, as values. `line` is None for a step of an older file."""

    line: int | None
    step: str
    seconds: float
    why: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: what was found, and what to do about it (empty when nothing)."""

    topic: str
    grade: Grade
    text: str
    advice: str = ""
    repeated: Repeated | None = None


def worst(findings: Iterable[Finding]) -> Grade:
    """The worst grade among them."""
    order = list(Grade)
    return max((finding.grade for finding in findings), key=order.index, default=Grade.GOOD)


def engine(info: SystemInfo, seconds: float) -> Finding:
    """The engine, and how long it took to answer."""
    answer = humanize.seconds(seconds)
    text = f"{info.version}, image store {info.store}, at {info.endpoint}, answers in {answer}"
    if seconds > SLOW_ANSWER:
        advice = "every build and deploy asks it several times: look what keeps it busy"
        return Finding("engine", Grade.ADVICE, text, advice)
    return Finding("engine", Grade.GOOD, text)


def dockerfile(name: str, accelerated: Accelerated, advice: Sequence[LineNote]) -> list[Finding]:
    """What acceleration makes of the Dockerfile, and what its author could do."""
    changed = humanize.count(len(accelerated.changes), "line")
    found = [
        Finding(name, Grade.GOOD, f"{changed} accelerated; `watcher dockerfile` shows them")
        if accelerated.changes
        else Finding(name, Grade.GOOD, "built as it is")
    ]
    found += [
        Finding(name, Grade.ADVICE, f"line {note.line} is left as it is: {note.reason}")
        for note in accelerated.left_alone
    ]
    changed_lines = {change.line for change in accelerated.changes}
    found += [
        Finding(name, Grade.ADVICE, f"line {note.line}, with or without the watcher: {note.reason}")
        for note in advice
        if note.line not in changed_lines
    ]
    return found


def tree(snapshot: Snapshot, seconds: float) -> list[Finding]:
    """The tree: how large it is, what makes it so, what could not be read."""
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
    if size >= LARGE_CONTEXT or seconds >= SLOW_LOOK:
        advice = (
            f"leave out what the image does not need, in .dockerignore or watch.ignore: {', '.join(large)}"
        )
        found = [Finding("tree", Grade.ADVICE, text, advice if large else "")]
    return found + [Finding("tree", Grade.ADVICE, problem.text) for problem in snapshot.problems]


def events(directories: int, test: SelfTest) -> Finding:
    """Whether changes are noticed at once."""
    if test.trouble or test.seconds is None:
        why = test.trouble or "an event caused on purpose did not arrive"
        return Finding("events", Grade.ADVICE, f"changes will be found by polling: {why}")
    text = f"one takes {humanize.seconds(test.seconds)} to arrive; directories to watch: {directories}"
    if test.limit is not None:
        text += f" of {test.limit} that this user may"
    if test.foreign:
        advice = (
            f"files on {test.foreign} may be changed by another machine, unnoticed: polling is used there"
        )
        return Finding("events", Grade.ADVICE, text, advice)
    return Finding("events", Grade.GOOD, text)


def disk(root: str, free: int) -> Finding:
    """Room for images."""
    text = f"{humanize.size(free)} free below {root}"
    if free < LOW_DISK:
        return Finding(
            "disk", Grade.ADVICE, text, "`watcher prune --dry-run` and `docker system df` show what fills it"
        )
    return Finding("disk", Grade.GOOD, text)


def gone(projects: Sequence[LeftProject]) -> Finding:
    """What projects left whose folder was deleted."""
    advice = "`watcher prune --gone` lists it, asks, and removes it"
    return Finding("gone projects", Grade.ADVICE, doctor_text(projects), advice)
