"""Why something of the user's failed, as a value that errors carry and observers show."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One place in a file: where (1-based; 0 when unknown) and what.

    `file` is relative to the project's folder if it is `known` to be one of the user's; if not, it is as the
    tool said it. `said` is what the tool said in any case.
    """

    file: str
    line: int
    column: int
    message: str
    said: str = ""
    known: bool = True


@dataclass(frozen=True, slots=True)
class Failure:
    """Why something of the user's failed: a sentence, the tool's own lines, places in files, a hint."""

    kind: str  # compile | build | container | config | engine | tree | bug
    summary: str
    lines: tuple[str, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()
    hint: str = ""
