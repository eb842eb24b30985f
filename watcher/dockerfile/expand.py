"""Variable expansion in a Dockerfile's words: `$X`, `${X}`, `${X:-d}` and their kin.

After moby/buildkit `frontend/dockerfile/shell/lex.go`. Three states are told apart: a variable has a value,
it is not set, or nobody can say (`UNKNOWN`: its image was never looked at). A word that depends on one of
the last kind raises `Unresolved` instead of pretending that it were empty.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from watcher import regex

_NAME = regex.token(r"[A-Za-z_][A-Za-z0-9_]*+|[0-9]++|[@*#?$!-]")
_OPERATOR = regex.token(r":?+[-+?]")


class Unresolved(ValueError):
    """A word cannot be expanded from the text alone; the message says why."""


class _Unknown:
    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = _Unknown()
Value = str | None | _Unknown
Lookup = Callable[[str], Value]


def lookup_in(values: Mapping[str, str]) -> Lookup:
    """A lookup for which every other name is not set."""
    return values.get


def expand(word: str, lookup: Lookup, escape: str = "\\") -> str:
    """`word` with quotes removed and variables put in. Raises Unresolved."""
    text, pos = _until("", word, 0, lookup, escape)
    if pos < len(word):
        raise Unresolved(f"{word!r} has a closing sign too many")
    return text


def _until(stop: str, word: str, pos: int, lookup: Lookup, escape: str) -> tuple[str, int]:
    out: list[str] = []
    while pos < len(word):
        char = word[pos]
        if stop and char == stop:
            return "".join(out), pos
        if char == "'":
            end = word.find("'", pos + 1)
            if end < 0:
                raise Unresolved(f"{word!r} has a single quote without its end")
            out.append(word[pos + 1 : end])
            pos = end + 1
        elif char == '"':
            part, pos = _double(word, pos + 1, lookup, escape)
            out.append(part)
        elif char == "$":
            part, pos = _dollar(word, pos + 1, lookup, escape)
            out.append(part)
        elif char == escape:
            out.append(word[pos + 1 : pos + 2])
            pos += 2
        else:
            out.append(char)
            pos += 1
    if stop:
        raise Unresolved(f"{word!r} lacks {stop!r}")
    return "".join(out), pos


def _double(word: str, pos: int, lookup: Lookup, escape: str) -> tuple[str, int]:
    out: list[str] = []
    while pos < len(word):
        char = word[pos]
        if char == '"':
            return "".join(out), pos + 1
        if char == "$":
            part, pos = _dollar(word, pos + 1, lookup, escape)
            out.append(part)
            continue
        if char == escape and word[pos + 1 : pos + 2] in ('"', "$", escape):
            pos += 1
            char = word[pos]
        out.append(char)
        pos += 1
    raise Unresolved(f"{word!r} has a double quote without its end")


def _dollar(word: str, pos: int, lookup: Lookup, escape: str) -> tuple[str, int]:
    braced = word.startswith("{", pos)
    match = _NAME.match(word, pos + 1 if braced else pos)
    if match is None:
        if braced:
            raise Unresolved(f"{word!r}: bad substitution")
        return "$", pos
    name, pos = match[0], match.end()
    if not braced:
        return _known(lookup(name), name) or "", pos
    if word.startswith("}", pos):
        return _known(lookup(name), name) or "", pos + 1
    operator = _OPERATOR.match(word, pos)
    if operator is None:  # ${X#p} ${X%p} ${X/a/b}: rare, and newer than the engine's own frontend
        raise Unresolved(f"{word!r}: this kind of substitution is not followed")
    argument, pos = _until("}", word, operator.end(), lookup, escape)
    value = _known(lookup(name), name)
    there = bool(value) if operator[0].startswith(":") else value is not None
    match operator[0][-1]:
        case "-":
            return (value or "") if there else argument, pos + 1
        case "+":
            return argument if there else "", pos + 1
        case _:
            if not there:
                raise Unresolved(f"{name}: {argument or 'must be set'}")
            return value or "", pos + 1


def _known(value: Value, name: str) -> str | None:
    if isinstance(value, _Unknown):
        raise Unresolved(f"the value of {name} is not known")
    return value
