"""Read BuildKit's error for a command that failed. Pure: text in, values out.

The error contains the command, which acceleration can have changed. So it is neither shown nor searched.
"""

from __future__ import annotations

# The texts before and after the command: of BuildKit 0.8, and of newer ones.
_FORMATS = (("executor failed running [", "]: "), ('process "', '" did not complete'))


def split_command_error(reason: str) -> tuple[str, str, str] | None:
    """Return the text before the command, the text that ends it, and the cause; None without a command."""
    for before, behind in _FORMATS:
        start, stop = reason.find(before), reason.rfind(behind)
        if start >= 0 and start + len(before) <= stop:
            return reason[: start + len(before)], behind, reason[stop + len(behind) :]
    return None


def remove_command(reason: str) -> str:
    """Return the error without the command that failed."""
    parts = split_command_error(reason)
    return reason if parts is None else parts[2]
