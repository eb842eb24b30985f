"""Find the build cache records of a step: those that match it and were created while it ran."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence

from watcher.builder import StepRun
from watcher.buildkit import UsageInfo

# BuildKit's descriptions of records (moby/buildkit, solver/llbsolver/ops/exec.go and file.go). On old engines
# every file operation is "fileop target"; newer ones use the name of the step.
EXEC = "mount / from exec "
FILE = "fileop target"
_FILE_STEPS = ("COPY", "ADD", "WORKDIR")

RELEASE = 2.0  # seconds after its last step within which a build releases the records that it used
CLOCK = 0.005  # seconds by which the creation of a record can differ from the time of its step
_COMPARED = 3000  # maximum characters of a command that are compared …
_LEAST = 4  # … and the minimum that must be equal
_QUOTES = str.maketrans("", "", "\"'\\")


class RecordIndex:
    """Finds the records that a step can have made, by description and time of creation.

    Only records of the time of the step are compared, so the work grows with the matching records, not with
    the product of steps and records.
    """

    def __init__(self, records: Sequence[UsageInfo]) -> None:
        self._records = records
        self._numbers: dict[str, list[int]] = defaultdict(list)
        for number in sorted(range(len(records)), key=lambda number: records[number].created):
            self._numbers[_description_key(records[number])].append(number)
        self._created = {
            described: [records[number].created for number in numbers]
            for described, numbers in self._numbers.items()
        }
        self._compared: dict[tuple[str, str], bool] = {}

    def find_matching(self, step: StepRun) -> set[int]:
        """Return the indexes of the records that the step can have made."""
        found = set[int]()
        for described in {EXEC, FILE, step.name}:
            if described not in self._numbers:
                continue
            created, numbers = self._created[described], self._numbers[described]
            first = bisect_left(created, step.started - CLOCK)
            last = bisect_right(created, step.finished + CLOCK)
            found.update(number for number in numbers[first:last] if self._is_described(step, number))
        return found

    def _is_described(self, step: StepRun, number: int) -> bool:
        key = step.name, self._records[number].description
        if key not in self._compared:
            self._compared[key] = matches_description(*key)
        return self._compared[key]


def _description_key(record: UsageInfo) -> str:
    return EXEC if record.description.startswith(EXEC) else record.description


def matches_step(step: StepRun, record: UsageInfo) -> bool:
    """Return whether this run of the step can have made the record."""
    if not step.started - CLOCK <= record.created <= step.finished + CLOCK:
        return False
    return matches_description(step.name, record.description)


def matches_description(name: str, description: str) -> bool:
    """Return whether a step of this name can have made a record with this description."""
    command = name.partition("] ")[2] if name.startswith("[") else name
    keyword = command.split(" ", 1)[0].upper()
    if description.startswith(EXEC):
        return keyword == "RUN" and _same_command(command, description[len(EXEC) :])
    if description == FILE:
        return keyword in _FILE_STEPS
    return description == name


def _same_command(command: str, arguments: str) -> bool:
    """Return whether the name of a `RUN` step can belong to these arguments.

    The name has variables expanded, quotes removed and flags in front; the arguments do not. So each piece of
    text between variables must occur in the name, in order. A command that consists only of variables does
    not match.
    """
    name, at, said = _strip_quotes(command[:_COMPARED]), 0, 0
    text = arguments.partition(" -c ")[2] or arguments
    for piece in _between_variables(text[:_COMPARED]):
        bare = _strip_quotes(piece)
        at = name.find(bare, at)
        if at < 0:
            return False
        at += len(bare)
        said += len(bare)
    return said >= _LEAST


def _strip_quotes(text: str) -> str:
    return "".join(text.translate(_QUOTES).split())


def _between_variables(text: str) -> Iterator[str]:
    """Yield the text between `$NAME` and `${NAME…}`; text after an unclosed brace is dropped."""
    while text:
        piece, sign, text = text.partition("$")
        yield piece
        if text.startswith("{"):
            text = text.partition("}")[2]
        elif sign:
            text = text[next((at for at, char in enumerate(text) if not _in_name(char)), len(text)) :]


def _in_name(char: str) -> bool:
    return char.isalnum() or char == "_"
