"""What shows that a watcher accelerated a command, in the command itself.

The engine keeps a command with what it left in the build cache and in an image's history. The name of the
saved binary stands in it, and that name holds the project: so a record or an image shows whose it is.
"""

from __future__ import annotations

from watcher import regex
from watcher.dockerfile.cache_mounts import plain_scope

_DIGEST = regex.compile(r"[0-9a-f]{12}[^0-9A-Za-z_-]")
_UNCLAIMED = regex.compile(r"-newer /[^ ]*/watcher-[0-9a-f]{12} -print -quit")


def binary_name(scope: str, digest: str) -> str:
    """Return the file name of a saved binary; `scope` in characters that a shell takes as they are."""
    return f"watcher-{scope}-{digest[:12]}"


def is_own_command(command: str, cache_scope: str) -> bool:
    """Return whether the command is proven to be accelerated for this scope: only that names the scope."""
    rest = command.partition(f"/watcher-{plain_scope(cache_scope)}-")[2]
    return _DIGEST.match(rest) is not None


def is_unclaimed_command(command: str) -> bool:
    """Return whether an earlier version of the watcher wrote the command, without the id of its project."""
    return _UNCLAIMED.search(command) is not None
