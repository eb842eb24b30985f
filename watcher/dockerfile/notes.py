"""Values that say something about a line of a Dockerfile."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LineChange:
    """One line (from 1) that differs, and why: a reason per change made in it."""

    line: int
    before: str
    after: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LineNote:
    """Something to say about a line (from 1) of the file, whose text is `text`."""

    line: int
    text: str
    reason: str
