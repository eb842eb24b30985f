"""How a command ends: an expected failure is one line on standard error and an exit status of its own."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from watcher.errors import EXIT_FAILED, EXIT_STOPPED, WatcherError
from watcher.observers.printable import PrintableStream, printable
from watcher.system.notify_socket import writes_to_journal

ERROR = "<3>"  # sd-daemon(3): the priority of a line in the journal


def make_printable() -> None:
    """Wrap standard output and standard error so that printed text cannot control the terminal."""
    for name in ("stdout", "stderr"):
        setattr(sys, name, PrintableStream(getattr(sys, name)))


@contextmanager
def exit_on_failure(*, as_json: bool) -> Iterator[None]:
    """Run a command in this context; exit with its status if it fails."""
    try:
        yield
    except WatcherError as error:
        exit_with_error(error, as_json=as_json)
    except BrokenPipeError:  # `watcher logs | head`: the reader has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_FAILED)
    except KeyboardInterrupt:
        if sys.stderr.isatty():  # the terminal shows ^C: the shell's prompt starts on a line of its own
            print(file=sys.stderr)
        sys.exit(EXIT_STOPPED)


def exit_with_error(error: WatcherError, *, as_json: bool) -> NoReturn:
    """Print the error, with `as_json` also as a document on standard output, and exit with its status."""
    if as_json:
        text = "\n".join((str(error), *error.details))
        document = {"outcome": error.outcome, "exit_status": error.exit_status, "error": text}
        print(json.dumps({"schema_version": 1, **document}, indent=2))
    lines = [printable(line) for line in (f"watcher: {error}", *error.details)]
    priority = ERROR if _is_journal() else ""
    print("\n".join(priority + line for line in lines), file=sys.stderr)
    sys.exit(error.exit_status)


def _is_journal() -> bool:
    """Return whether standard error is systemd's journal."""
    try:
        return writes_to_journal(sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):  # it is closed, or no file
        return False
