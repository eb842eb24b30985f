"""Implement the functions of Go's `path/filepath` that BuildKit's patterns use.

BuildKit passes patterns and paths through `filepath.Clean`, `filepath.Join` and `filepath.Match`; Python's
`posixpath` and `fnmatch` differ from them in details (`//`, `[!a]`, `*` over slashes), so they are here once.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator


class BadPattern(ValueError):
    """`filepath.ErrBadPattern`: the text is no glob pattern. The message names the place."""


def clean(path: str) -> str:
    """Return the shortest equal path, like `filepath.Clean`: no `//`, `.` or inner `..`; `.` if empty."""
    cleaned = posixpath.normpath(path)
    return cleaned[1:] if cleaned.startswith("//") else cleaned


def join(*parts: str) -> str:
    """Join the non-empty parts with slashes and clean them, like `filepath.Join`; empty if all are."""
    text = "/".join(part for part in parts if part)
    return clean(text) if text else ""


def has_wildcard(name: str) -> bool:
    """Return whether a name has an unescaped `*`, `?` or `[` (fsutil, followlinks.go)."""
    escaped = False
    for char in name:
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
        elif char in "*?[":
            return True
    return False


_Class = tuple[bool, tuple[tuple[str, str], ...]]  # whether it is negated, and its ranges
_Chunk = tuple[str | _Class, ...]
_ANY: _Class = (True, (("/", "/"),))  # the meaning of `?`


class Glob:
    """What `filepath.Match` does with one pattern.

    Go's own algorithm: the text between two stars is searched for once, and the first match is taken. The
    time grows with the product of both lengths at most.
    """

    __slots__ = ("_chunks",)

    def __init__(self, pattern: str) -> None:
        """Raise `BadPattern` when it is none."""
        self._chunks = tuple(_split_chunks(pattern))

    def matches(self, name: str) -> bool:
        """Return whether the pattern matches the whole name."""
        return _match_chunks(self._chunks, name)


def check_glob(pattern: str) -> None:
    """Raise `BadPattern` where `filepath.Match(pattern, ".")` does: it reads up to what cannot match."""
    _match_chunks(_split_chunks(pattern), ".")


def _match_chunks(chunks: Iterable[tuple[bool, _Chunk, bool]], name: str) -> bool:
    at = 0
    for star, chunk, more in chunks:
        if star and not chunk:
            return "/" not in name[at:]
        # A star skips anything but a slash.
        slash = name.find("/", at)
        stop = at if not star else slash if slash >= 0 else len(name)
        for start in range(at, stop + 1):
            if _match_chunk_at(chunk, name, start) and (more or start + len(chunk) == len(name)):
                at = start + len(chunk)
                break
        else:
            return False
    return at == len(name)


def _match_chunk_at(chunk: _Chunk, name: str, start: int) -> bool:
    if start + len(chunk) > len(name):
        return False
    for offset, one in enumerate(chunk):
        char = name[start + offset]
        if isinstance(one, str):
            if one != char:
                return False
        elif any(low <= char <= high for low, high in one[1]) is one[0]:
            return False
    return True


def _split_chunks(pattern: str) -> Iterator[tuple[bool, _Chunk, bool]]:
    """Yield the parts of a glob: whether a star precedes, the characters, whether more parts follow."""
    at = 0
    while at < len(pattern):
        star = pattern[at] == "*"
        while pattern.startswith("*", at):
            at += 1
        chunk: list[str | _Class] = []
        while at < len(pattern) and pattern[at] != "*":
            one, at = _parse_element(pattern, at)
            chunk.append(one)
        yield star, tuple(chunk), at < len(pattern)


def _parse_element(pattern: str, at: int) -> tuple[str | _Class, int]:
    """Return the element of the glob at `at`, and the place after it."""
    char = pattern[at]
    if char == "[":
        return _parse_class(pattern, at + 1)
    if char == "?":
        return _ANY, at + 1
    if char == "\\":
        at += 1
        if at == len(pattern):
            raise BadPattern("a backslash at the end escapes nothing")
    return pattern[at], at + 1


def _parse_class(pattern: str, at: int) -> tuple[_Class, int]:
    """Return the class that opens before `at`, and the place after it."""
    negated = pattern.startswith("^", at)
    at += negated
    ranges: list[tuple[str, str]] = []
    while not (ranges and pattern.startswith("]", at)):
        low, at = _class_char(pattern, at)
        high = low
        if pattern.startswith("-", at):
            high, at = _class_char(pattern, at + 1)
        ranges.append((low, high))
    return (negated, tuple(ranges)), at + 1


def _class_char(pattern: str, at: int) -> tuple[str, int]:
    if pattern.startswith(("-", "]"), at):
        raise BadPattern(f"{pattern[at]!r} must be escaped with a backslash inside of [ ]")
    at += pattern.startswith("\\", at)
    if at + 1 >= len(pattern):
        raise BadPattern("[ is not closed by ]")
    return pattern[at], at + 1
