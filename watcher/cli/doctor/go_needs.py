"""Find what the Go files of a tree need at run time: time zones, certificates. Reads files, within bounds."""

from __future__ import annotations

from watcher import regex
from watcher.buildkit.errors import ContextChanged
from watcher.tree import Snapshot

_MOST_FILES, _MOST_BYTES = 3_000, 32_000_000
_LOADS_ZONES = regex.compile(r"\btime\.LoadLocation\(")
_HAS_ZONES = regex.compile(r"(?m)^\s*(?:import\s+)?_\s+\"time/tzdata\"")
_IS_CLIENT = regex.compile(
    r"\bhttp\.(?:Get|Post|PostForm|Head|NewRequest|NewRequestWithContext|Client|DefaultClient)\b"
)
_HTTPS = '"https://'


def find_needs(snapshot: Snapshot) -> tuple[str, str]:
    """Return a Go file that loads time zones, and one that asks HTTPS servers; empty without one. Blocks."""
    zones = client = ""
    has_zones, files, size = False, 0, 0
    for path, entry in snapshot.files.items():
        if (
            not path.endswith(".go")
            or path.endswith("_test.go")
            or path.startswith("vendor/")
            or "/testdata/" in path
        ):
            continue
        files, size = files + 1, size + entry.size
        if files > _MOST_FILES or size > _MOST_BYTES:
            break
        try:
            text = snapshot.read(path).decode("utf-8", "replace")
        except (ContextChanged, OSError):
            continue
        has_zones = has_zones or _HAS_ZONES.found(text)
        if not zones and _LOADS_ZONES.found(text):
            zones = path
        if not client and _HTTPS in text and _IS_CLIENT.found(text):
            client = path
    return ("" if has_zones else zones), client
