"""Name the Go caches that all projects of this user share.

The name is a random number in the state folder, next to the projects that this user has watched. So whoever
knows the name also knows all projects that use these caches, and a prune can tell what others need. Another
user of the same engine has another state folder, and other caches.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from watcher import regex
from watcher.system.state_dir import state_folder

_FILE = "cache_scope"
_SCOPE = regex.compile(r"watcher-[0-9a-f]{12}")


def shared_cache_scope(home: Path | None = None) -> str:
    """Return the scope of the shared caches, which is made at the first call; "" if it cannot be stored."""
    try:
        file = (state_folder() if home is None else home) / _FILE
        return _read_scope(file) or _make_scope(file)
    except (OSError, RuntimeError):  # a state folder that cannot be used, or no home
        return ""


def _read_scope(file: Path) -> str:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return ""
    with os.fdopen(descriptor, "rb") as opened:
        text = opened.read(100).decode(errors="replace").strip()
    return text if _SCOPE.fullmatch(text) else ""


def _make_scope(file: Path) -> str:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    scope = f"watcher-{secrets.token_hex(6)}"
    new = file.with_name(f".{_FILE}.{secrets.token_hex(4)}")
    try:
        new.write_text(f"{scope}\n")
        with contextlib.suppress(FileExistsError):  # another process was first
            os.link(new, file)
    finally:
        new.unlink(missing_ok=True)
    if found := _read_scope(file):
        return found
    file.write_text(f"{scope}\n")  # it was damaged
    return _read_scope(file)
