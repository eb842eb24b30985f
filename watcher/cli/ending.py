"""How a command ends: every expected failure is one line on stderr and an exit status of its own."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from watcher.errors import EXIT_FAILED, EXIT_STOPPED, WatcherError
from watcher.observers.printable import PrintableStream, printable


def make_printable() -> None:
    """Let nothing that is printed act on the terminal."""
    for name in ("stdout", "stderr"):
        setattr(sys, name, PrintableStream(getattr(sys, name)))


@contextmanager
def ending(*, as_json: bool) -> Iterator[None]:
    """Run a command in this context; a failure ends the process with its exit status."""
    try:
        yield
    except WatcherError as error:
        fail(error, as_json=as_json)
    except BrokenPipeError:  # `watcher logs | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_FAILED)
    except KeyboardInterrupt:
        sys.exit(EXIT_STOPPED)


def fail(error: WatcherError, *, as_json: bool) -> NoReturn:
    """End with the error's status: a sentence on stderr, with --json a document on stdout too."""
    if as_json:
        document = {"outcome": error.outcome, "exit_status": error.exit_status, "error": str(error)}
        print(json.dumps({"schema_version": 1, **document}, indent=2))
    print(f"watcher: {printable(str(error))}", file=sys.stderr)
    sys.exit(error.exit_status)
