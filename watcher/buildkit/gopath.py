"""The functions of Go's `path/filepath` that the meaning of BuildKit's patterns rests on.

BuildKit passes patterns and paths through `filepath.Clean`, `filepath.Join` and `filepath.Match`; Python's
`posixpath` and `fnmatch` differ from them in details (`//`, `[!a]`, `*` over slashes), so they are here once.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator


class BadPattern(ValueError):
    """`filepath.ErrBadPattern`: the text is no glob pattern. The message says where it goes wrong."""


def clean(path: str) -> str:
    """The shortest equal path, as `filepath.Clean` gives it: no `//`, `.` or inner `..`; `.` if empty."""
    cleaned = posixpath.normpath(path)
    return cleaned[1:] if cleaned.startswith("//") else cleaned


def join(*parts: str) -> str:
    """The non-empty parts with slashes between them, cleaned, as `filepath.Join` does; empty if all are."""
    text = "/".join(part for part in parts if part)
    return clean(text) if text else ""


def has_wildcard(name: str) -> bool:
    """Whether a name holds an unescaped `*`, `?` or `[` (`containsWildcards` of fsutil, followlinks.go)."""
    escaped = False
    for char in name:
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
        elif char in "*?[":
            return True
    return False


def char_class(ranges: Iterable[tuple[str, str]], *, negated: bool) -> str:
    """A Python regular expression for one character in (or outside of) the ranges."""
    items = "".join(
        re.escape(low) if low == high else f"{re.escape(low)}-{re.escape(high)}"
        for low, high in ranges
        if low <= high
    )
    if not items:
        return r"[\s\S]" if negated else r"(?!)"
    return f"[{'^' if negated else ''}{items}]"


def compile_glob(pattern: str) -> re.Pattern[str]:
    """A pattern that fully matches what `filepath.Match(pattern, …)` matches. Raises `BadPattern`."""
    chunks = [("[^/]*" if star else "") + chunk for star, chunk, _ in _chunks(pattern)]
    return re.compile("".join(chunks) + r"\Z", re.DOTALL)


def check_glob(pattern: str) -> None:
    """Raise `BadPattern` where `filepath.Match(pattern, ".")` does: up to the part that cannot match."""
    rest = "."
    for star, chunk, more in _chunks(pattern):
        for start in range(len(rest) + 1 if star else 1):
            found = re.compile(chunk, re.DOTALL).match(rest, start)
            if found is not None and (more or found.end() == len(rest)):
                rest = rest[found.end() :]
                break
        else:
            return


def _chunks(pattern: str) -> Iterator[tuple[bool, str, bool]]:
    """The parts of a glob between its stars: whether a star precedes, the regular expression, whether more
    follow.
    """
    at = 0
    while at < len(pattern):
        star = pattern[at] == "*"
        while pattern.startswith("*", at):
            at += 1
        out: list[str] = []
        while at < len(pattern) and pattern[at] != "*":
            text, at = _one(pattern, at)
            out.append(text)
        yield star, "".join(out), at < len(pattern)


def _one(pattern: str, at: int) -> tuple[str, int]:
    """The regular expression for the one character that the glob asks for at `at`, and where it goes on."""
    char = pattern[at]
    if char == "[":
        return _class(pattern, at + 1)
    if char == "?":
        return "[^/]", at + 1
    if char == "\\":
        at += 1
        if at == len(pattern):
            raise BadPattern("a backslash at the end escapes nothing")
    return re.escape(pattern[at]), at + 1


def _class(pattern: str, at: int) -> tuple[str, int]:
    """The class that opens before `at`: its regular expression and where the pattern goes on."""
    negated = pattern.startswith("^", at)
    at += negated
    ranges: list[tuple[str, str]] = []
    while not (ranges and pattern.startswith("]", at)):
        low, at = _class_char(pattern, at)
        high = low
        if pattern.startswith("-", at):
            high, at = _class_char(pattern, at + 1)
        ranges.append((low, high))
    return char_class(ranges, negated=negated), at + 1


def _class_char(pattern: str, at: int) -> tuple[str, int]:
    if pattern.startswith(("-", "]"), at):
        raise BadPattern(f"{pattern[at]!r} must be escaped with a backslash inside of [ ]")
    at += pattern.startswith("\\", at)
    if at + 1 >= len(pattern):
        raise BadPattern("[ is not closed by ]")
    return pattern[at], at + 1
