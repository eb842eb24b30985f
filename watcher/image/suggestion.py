"""What the suggestions of `watcher doctor --measure` gave, kept in the state folder for a running daemon."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from watcher.system.regular_file import read_regular
from watcher.system.state_dir import state_folder

_LARGEST = 1 << 16  # bytes


@dataclass(frozen=True, slots=True)
class SizeSuggestion:
    """The size of the final image of `revision` as it was, and with the changes in `names`.

    `measured_at` is Unix seconds.
    """

    revision: str
    measured_at: float
    before: int
    after: int
    names: tuple[str, ...]


def suggestion_file(project: str, service: str) -> Path:
    """Return the file of one service. Raises RuntimeError without a home."""
    return state_folder() / project / f"suggestion-{service}.json"


def write_suggestion(path: Path, found: SizeSuggestion) -> None:
    """Replace the file in one step. Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        new.write_text(json.dumps(asdict(found)), "utf-8")
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def read_suggestion(path: Path) -> SizeSuggestion | None:
    """Return what the file says; None if there is none, or if it is damaged."""
    try:
        found = json.loads(read_regular(path, _LARGEST))
        return SizeSuggestion(
            str(found["revision"]),
            float(found["measured_at"]),
            int(found["before"]),
            int(found["after"]),
            tuple(map(str, found["names"])),
        )
    except (OSError, ValueError, LookupError, TypeError, OverflowError):
        return None
