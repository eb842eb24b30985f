"""Names of build steps as the user's Dockerfile has them, without what acceleration added."""

from __future__ import annotations

from watcher import regex
from watcher.prune.go_cache_script import FOLDER
from watcher.prune.record_matching import EXEC

_OWN_STEP = "a step of the watcher that measures or trims the Go caches"
_OUR_MOUNT = regex.compile(r"--mount=type=cache,sharing=shared,id=[^ ,]*-go(?:mod)?cache[^ ]* ")
_SHELL = "/bin/sh -c "
_RUN = "RUN "
# Ends of the commands that acceleration puts in front of the user's.
_PREFIX_ENDS = ("; } >/dev/null 2>&1 && ", "; } 2>/dev/null && ")


def describe_step(name: str) -> str:
    """Return the name of a build step, or of the cache record that it made, in the user's words."""
    if FOLDER in name:
        return _OWN_STEP
    if name.startswith(EXEC):
        name = f"{_RUN}{name.removeprefix(EXEC).removeprefix(_SHELL)}"
    name = _OUR_MOUNT.sub("", name)
    for end in _PREFIX_ENDS:
        before, found, command = name.partition(end)
        start = before.find(f"{_RUN}{{ ")
        if found and start >= 0:
            name = f"{before[: start + len(_RUN)]}{command}"
    return name
