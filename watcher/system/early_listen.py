"""The first thing that `watcher run` does: have the ports, before the rest of the program is imported.

After a daemon was killed, connections are refused until its successor listens again. Importing everything
takes longer than that should be, so the addresses that the last one announced are listened on at once.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from watcher.system import inherited_sockets

COMMAND = "run"


def listen(arguments: Sequence[str], environ: Mapping[str, str] | None = None) -> None:
    """Have what was passed to this process, and what the daemon before it lost when it was killed."""
    if arguments[:1] != [COMMAND] or {"-h", "--help", "--help-settings"} & set(arguments):
        return
    inherited_sockets.receive()
    from watcher import labels  # noqa: PLC0415 - only for this command
    from watcher.system import lock  # noqa: PLC0415 - only for this command

    try:
        root = _project(arguments, os.environ if environ is None else environ).expanduser().resolve()
    except (OSError, RuntimeError):
        return  # the settings say what is wrong
    if last := lock.last(labels.project_id(root)):
        inherited_sockets.reopen(last.listening)


def _project(arguments: Sequence[str], environ: Mapping[str, str]) -> Path:
    """The project folder, as the settings will find it."""
    given = environ.get("WATCHER_PROJECT", "")
    for place, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name == "--project":
            given = value if equals else "".join(arguments[place + 1 : place + 2])
    return Path(given or ".")
