"""The commands that watch or deploy: `watcher run` and `watcher once`.

This module imports what the first line of `watcher run` needs. The daemon and its libraries are imported
after that line was printed.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TextIO, TypeVar, cast

from watcher import __version__
from watcher.cli.output_file import warn_of_output_in
from watcher.errors import EXIT_FAILED
from watcher.observers import json_log
from watcher.observers.console import Console
from watcher.observers.events import DaemonStarting, Observer
from watcher.observers.printable import PrintableStream
from watcher.observers.status_board import StatusBoard
from watcher.settings import Settings
from watcher.system.memory import return_memory_early
from watcher.system.notify_socket import writes_to_journal
from watcher.system.output import Output, report_lost
from watcher.system.signals import dump_on_quit, hold_signals

Result = TypeVar("Result")


@contextmanager
def _open_observer(settings: Settings, board: StatusBoard) -> Iterator[Observer]:
    """Open the observer that writes to the terminal. The terminal is left clean however the command ends."""
    as_json = settings.log_format == "json"
    report = json_log.report_lost if as_json else report_lost
    outputs = [Output(file, report) for file in (sys.stdout, sys.stderr)]
    out, err = (cast(TextIO, output) for output in outputs)
    json_log.configure_logging(as_json=as_json, file=cast(TextIO, PrintableStream(err)))
    dump_on_quit()
    warn_of_output_in(settings.root)
    journal = writes_to_journal(sys.stdout.fileno())
    console = None
    if not as_json:
        console = Console(out, board, plain=settings.plain, bell=settings.bell, journal=journal)
    try:
        yield console or json_log.JsonLog(out, journal=journal)
    finally:
        if console:
            console.close()
        json_log.configure_logging(as_json=as_json)
        for output in outputs:
            output.close()


def run_loop(main: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    """Run a coroutine in an event loop of its own."""
    import uvloop  # noqa: PLC0415 - commands without a loop start in half the time

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


def run(settings: Settings) -> int:
    """`watcher run`. Does not return if another program replaces this one."""

    async def main() -> int:
        await daemon.run()
        return 0

    return_memory_early()
    board = StatusBoard()
    with _open_observer(settings, board) as observer:
        observer.notify(DaemonStarting(version=__version__, project=str(settings.root)))
        from watcher.daemon.daemon import Daemon  # noqa: PLC0415 - after the first line

        daemon = Daemon(settings, observer, board=board)
        status = run_loop(main)
    if daemon.handover:
        hold_signals(daemon.interrupted)
        daemon.handover.start()
    return status


def once(settings: Settings) -> int:
    """`watcher once`."""
    from watcher.daemon.once import deploy_once  # noqa: PLC0415 - `watcher run` does not need it

    async def main() -> int:
        return 0 if await deploy_once(settings, board, observer) else EXIT_FAILED

    board = StatusBoard()
    with _open_observer(settings, board) as observer:
        return run_loop(main)
