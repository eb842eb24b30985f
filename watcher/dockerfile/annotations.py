"""Annotations of a Dockerfile's lines."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from watcher.dockerfile.spans import Edit, line_of


@dataclass(frozen=True, slots=True)
class LineChange:
    """One line (from 1) that differs, and why: a reason per change made in it."""

    line: int
    before: str
    after: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LineNote:
    """A note on a line (from 1) of the file; `text` is that line."""

    line: int
    text: str
    reason: str


def line_changes(before: str, after: str, edits: Iterable[Edit]) -> tuple[LineChange, ...]:
    """Return the lines in which `edits` turned `before` into `after`; there are as many lines in both."""
    old, new = before.split("\n"), after.split("\n")
    reasons: dict[int, list[str]] = {}
    for edit in sorted(edits, key=lambda one: one.start):
        reasons.setdefault(line_of(before, edit.start), []).append(edit.reason)
    return tuple(
        LineChange(line, old[line - 1].rstrip("\r"), new[line - 1].rstrip("\r"), tuple(why))
        for line, why in reasons.items()
    )
