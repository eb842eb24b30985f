"""Listen on the ports before the rest of the program is imported: the first thing that `watcher run` does.

After a daemon was killed, connections are refused until its successor listens again. Importing the program
takes too long for that, so the addresses that the last daemon announced are opened immediately.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from watcher.system import inherited_sockets

COMMAND = "run"


def listen_early(arguments: Sequence[str], environ: Mapping[str, str] | None = None) -> None:
    """Have what was passed to this process, and what the daemon before it lost when it was killed."""
    if arguments[:1] != [COMMAND] or {"-h", "--help", "--help-settings"} & set(arguments):
        return
    inherited_sockets.receive_sockets()
    from watcher import labels  # noqa: PLC0415 - only for this command
    from watcher.system import lock  # noqa: PLC0415 - only for this command

    try:
        root = _find_project(arguments, os.environ if environ is None else environ).expanduser().resolve()
    except (OSError, RuntimeError):
        return  # the settings report the error
    if last := lock.find_last(labels.project_id(root)):
        inherited_sockets.reopen_sockets(last.listening)


def _find_project(arguments: Sequence[str], environ: Mapping[str, str]) -> Path:
    """Return the project folder, as the settings will find it."""
    given = environ.get("WATCHER_PROJECT", "")
    for place, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name == "--project":
            given = value if equals else "".join(arguments[place + 1 : place + 2])
    return Path(given or ".")
