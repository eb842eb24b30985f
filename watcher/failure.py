"""Why something of the user's failed, as a value that errors carry and observers show."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One line of a compiler: where (1-based; 0 when unknown) and what."""

    file: str
    line: int
    column: int
    message: str


@dataclass(frozen=True, slots=True)
class Failure:
    """Why something of the user's failed: a sentence, the tool's own lines, places in files, a hint."""

    kind: str  # compile | build | container | config | engine | tree | bug
    summary: str
    lines: tuple[str, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()
    hint: str = ""
