"""Find positions in the user's files in the output of compilers, tests and panics. Pure: text in, values out.

A tool names files by its own paths: relative to its working directory, or as in the image. `Where` maps them
to files of the user. An unmapped position keeps the tool's path and is not `known`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from watcher import regex
from watcher.errors import Diagnostic

MOST_DIAGNOSTICS = 50
LONGEST_LINE = 4096  # characters of a line that are matched

Where: TypeAlias = Callable[[str, str, Sequence[str]], str | None]
"""(path in the output, package named before it or "", folders that make entered) -> file of the user."""

# The go command prints "path/file.go:LINE:COLUMN: message", relative to its working directory; vet and the
# linker can omit the column; errors in module files have the same form. Paths contain no colon or space.
_PLACE = regex.compile(
    r"^(?:vet: |go: )?(?P<file>[^\s:]+\.(?:go|mod|sum|work|s|c|h))"
    r":(?P<line>\d+)(?::(?P<column>\d+))?: (?P<text>.+)$"
)
_PACKAGE = regex.compile(r"^# ([^\s]+)(?: \[[^\]]*\])?$")
_ENTERING = regex.compile(r"^[\w./-]+(?:\[\d+\])?: Entering directory ['`]([^']+)'")
_IN_TEST = regex.compile(r"^\s+(?P<file>[^\s:/]+_test\.go):(?P<line>\d+): (?P<text>.*)$")
_TESTED = regex.compile(r"^(?:FAIL|ok|---|\?)\s*\t(\S+)")
_PANIC = regex.compile(r"^(?:panic|fatal error): (.+)$")
_FRAME = regex.compile(r"^\t(?P<file>[^\s:]+\.(?:go|s)):(?P<line>\d+)(?: \+0x[0-9a-f]+)?$")
_ANSI = regex.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def strip_colours(line: str) -> str:
    """Return a line without colour codes and trailing space."""
    return _ANSI.sub("", line).rstrip()


def as_said(path: str, _package: str, _entered: Sequence[str]) -> str:
    """Return the path of the tool: a `Where` without knowledge of the files."""
    return path


def find_nothing(_path: str, _package: str, _entered: Sequence[str]) -> None:
    """Return None: a `Where` for positions outside of the user's files."""
    return


def of_compiler(lines: Iterable[str], where: Where = as_said) -> tuple[Diagnostic, ...]:
    """Return the distinct positions in a Go compiler's output, in order."""
    found: dict[Diagnostic, None] = {}
    package, entered = "", dict[str, None]()
    for line in map(strip_colours, lines):
        line = line[:LONGEST_LINE]  # noqa: PLW2901
        if match := _PACKAGE.match(line):
            package = match[1]
        elif match := _ENTERING.match(line):
            entered[match[1]] = None
        elif (match := _PLACE.match(line)) and len(found) < MOST_DIAGNOSTICS:
            said = match["file"].removeprefix("./")
            file = where(said, package, tuple(entered))
            place = int(match["line"]), int(match["column"] or 0), match["text"]
            found[_make_diagnostic(said, file, *place)] = None
    return tuple(found)


def of_tests(lines: Iterable[str], where: Where = as_said) -> tuple[Diagnostic, ...]:
    """Return the positions of failed tests: relative to their package, which follows them in the output."""
    found: list[Diagnostic] = []
    waiting: list[tuple[str, int, str]] = []
    for line in map(strip_colours, lines):
        line = line[:LONGEST_LINE]  # noqa: PLW2901
        if match := _IN_TEST.match(line):
            waiting.append((match["file"], int(match["line"]), match["text"]))
        elif match := _TESTED.match(line):
            found += [
                _make_diagnostic(said, where(said, match[1], ()), number, 0, text)
                for said, number, text in waiting
                if line.startswith("FAIL")
            ]
            waiting.clear()
    return tuple(dict.fromkeys(found))[:MOST_DIAGNOSTICS]


def of_panic(lines: Iterable[str], where: Where = as_said) -> tuple[Diagnostic, ...]:
    """Return the calls of the last panic in files of the user, innermost first."""
    message, frames, ended = "", list[tuple[str, int]](), False
    for line in map(strip_colours, lines):
        line = line[:LONGEST_LINE]  # noqa: PLW2901
        if match := _PANIC.match(line):
            if not message or frames:  # a panic during a panic is printed below the first
                message, frames, ended = line, [], False
        elif message and (match := _FRAME.match(line)) and not ended:
            frames.append((match["file"], int(match["line"])))
        elif frames and not line:
            ended = True  # other goroutines follow
    places = [(said, where(said, "", ()), number) for said, number in frames if not _is_library(said)]
    known = [
        _make_diagnostic(said, file, number, 0, message) for said, file, number in places if file is not None
    ]
    unknown = [
        _make_diagnostic(said, None, number, 0, message) for said, file, number in places if file is None
    ]
    return tuple(dict.fromkeys(known or unknown[:1]))[:MOST_DIAGNOSTICS]


def _make_diagnostic(said: str, file: str | None, line: int, column: int, message: str) -> Diagnostic:
    return Diagnostic(file or said, line, column, message, said=said, known=file is not None)


def _is_library(path: str) -> bool:
    """Return whether a stack frame is in the standard library or in a downloaded module."""
    if path.startswith("/usr/local/go/") or "/pkg/mod/" in path or "@v" in path:
        return True
    first = path.split("/", 1)[0]
    return first in ("runtime", "net", "internal", "reflect", "sync", "encoding", "syscall", "testing", "os")
