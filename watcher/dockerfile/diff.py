"""An acceleration shown as a unified diff, with the reasons."""

from __future__ import annotations

import difflib

from watcher.dockerfile.accelerate import Accelerated


def diff(original: str, accelerated: Accelerated, name: str = "Dockerfile") -> str:
    """Return a unified diff from the file to what is built, one hunk per stretch of changed lines.

    A `# line N: reason` line precedes the hunk for each change in it; one for each line that was left alone
    follows at the end. "" when there is nothing to show.
    """
    old, new = original.splitlines(), accelerated.text.splitlines()
    hunks = difflib.unified_diff(old, new, name, f"{name} (accelerated)", n=2, lineterm="")
    reasons = [(change.line, reason) for change in accelerated.every_change for reason in change.reasons]
    out: list[str] = []
    for line in hunks:
        if line.startswith("@@"):
            start, stop = _old_lines(line)
            out += [f"# line {number}: {reason}" for number, reason in reasons if start <= number < stop]
        out.append(line)
    out += [f"# line {note.line} is left as it is: {note.reason}" for note in accelerated.left_alone]
    return "\n".join([*out, ""]) if out else ""


def _old_lines(header: str) -> tuple[int, int]:
    start, _, count = header.split()[1].removeprefix("-").partition(",")
    return int(start), int(start) + int(count or 1)
