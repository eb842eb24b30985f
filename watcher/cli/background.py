"""`watcher up`, and the first half of `watcher down`: a daemon without a terminal.

It imports nothing of the daemon. `up` starts `watcher run` in a session of its own, with a log file in the
state folder, and follows it until the first result.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from watcher import labels
from watcher.cli import remote_commands
from watcher.cli.remote import POLL, ProjectSelection
from watcher.cli.service_files import has_service, log_file
from watcher.cli.service_manager import ServiceManager
from watcher.errors import EXIT_STOPPED, EXIT_TIMEOUT, ConfigError, NotRunning, WatcherError
from watcher.observers.humanize import short_path
from watcher.system import lock

START_SECONDS = 120.0  # until a started daemon must answer
END_SECONDS = 10.0  # until one that does not answer any more must have ended
STOP_SECONDS = 120.0  # until one that is to stop must have stopped
_LAST_LINES = 20  # of the log, shown when it ends early
_LONGEST_TAIL = 65_536  # bytes


_SWITCHES = frozenset({"--detach", "--json", "--no-detach", "--no-json"})
_VALUES = frozenset({"--timeout", "--project"})  # the project is passed on as an absolute path


def split_arguments(arguments: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Return the own options of `watcher up` with their values, and the arguments for `watcher run`."""
    rest, own, passed = list(arguments), dict[str, str](), list[str]()
    while rest:
        argument = rest.pop(0)
        name, equals, value = argument.partition("=")
        if name in _VALUES:
            own[name] = value if equals else rest.pop(0) if rest else ""
        elif argument in _SWITCHES:
            own[argument] = ""
        else:
            passed.append(argument)
    return own, passed


class DidNotStart(WatcherError):
    """The daemon ended before it answered, or before its first result. Its own exit status is passed on."""

    def __init__(self, status: int, log: Path, lines: Sequence[str], *, answered: bool = False) -> None:
        what = "ended before its first result" if answered else "did not start"
        super().__init__(f"the watcher {what} (exit status {status}, log {short_path(log)}); its last lines:")
        self.exit_status, self.details = status, tuple(lines)
        self.outcome = "not-started"


def up(
    place: ProjectSelection,
    arguments: Sequence[str],
    *,
    detach: bool,
    timeout: float | None,
    as_json: bool,
) -> int:
    """`watcher up`: `arguments` are those of `watcher run`. Return the exit status."""
    root = place.root
    if not root.is_dir():
        raise ConfigError("project", str(place.project), "there is no such folder")
    log = log_file(labels.project_id(root))
    running = lock.find_running(labels.project_id(root))
    process: subprocess.Popen[bytes] | None = None
    by_service = running is None and _start_service(root, arguments)
    if running is None and not by_service:
        process = _start(root, arguments, log)
    answering, started = _wait_for_answer(root, process, log), running is None
    if not as_json:
        _print_place(root, answering, by_service or f"log: {short_path(log)}", started=started)
        if arguments and not started:
            print("it keeps the options with which it was started: `watcher down` first to change them")
        sys.stdout.flush()
    if detach:
        if as_json:
            print(json.dumps(_as_document(root, answering, log, started=started), indent=2))
        return 0
    try:
        status = remote_commands.wait(place, timeout=timeout, start_timeout=START_SECONDS, as_json=as_json)
    except NotRunning:
        if process and (ended := _wait_for_end(process)) is not None:
            lines = _read_tail(log)
            raise DidNotStart(_exit_status(ended), log, lines, answered=True) from None
        raise
    except KeyboardInterrupt:
        print(f"\nit goes on in the background: {_hint(root)}", file=sys.stderr)
        return EXIT_STOPPED
    if status == EXIT_TIMEOUT and not as_json:
        print(f"it goes on in the background: {_hint(root)}", file=sys.stderr)
    return status


def _hint(root: Path) -> str:
    here = "" if root == Path.cwd() else f" --project {short_path(root)}"
    return f"`watcher wait{here}` waits, `watcher logs -f{here}` follows it, `watcher down{here}` ends it"


def _as_document(root: Path, running: lock.Running, log: Path, *, started: bool) -> dict[str, object]:
    return {
        "schema_version": 1,
        "project": str(root),
        "pid": running.pid,
        "url": running.url,
        "log": str(log),
        "started": started,
    }


def _print_place(root: Path, running: lock.Running, log: str, *, started: bool) -> None:
    """Print what runs where."""
    verb = "started" if started else "already running"
    print(f"{verb} for {short_path(root)} (process {running.pid}), status page {running.url}")
    if started:
        print(log)


def _start_service(root: Path, arguments: Sequence[str]) -> str:
    """Start the project's service if one is installed; return where its log is, "" without a service.

    A second watcher beside the service would keep it from starting at the next login.
    """
    if not has_service(root):
        return ""
    if arguments:
        text = "the installed service is not started: its options are its own"
        print(f"watcher: {text}: `watcher service install OPTIONS` changes them", file=sys.stderr)
        return ""
    return f"by its service; log: {ServiceManager(root).start()}"


def _start(root: Path, arguments: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """Start the daemon in a session of its own: no terminal, no signal of this one."""
    try:
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if log.exists():
            log.replace(log.with_suffix(".log.1"))
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise ConfigError("state folder", str(log.parent), f"cannot be written: {error.strerror}") from error
    # The project last: it overrides one of the arguments, which can be relative.
    command = [sys.executable, "-P", "-m", "watcher", "run", "--plain", *arguments, "--project", str(root)]
    try:
        return subprocess.Popen(  # noqa: S603 - this program itself
            command,
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    finally:
        os.close(descriptor)


def _wait_for_answer(root: Path, process: subprocess.Popen[bytes] | None, log: Path) -> lock.Running:
    """Wait until the daemon has announced its address; raise DidNotStart or NotRunning."""
    project, until = labels.project_id(root), time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        running = lock.find_running(project)
        if running and running.url:
            return running
        if process and (status := process.poll()) is not None:
            raise DidNotStart(_exit_status(status), log, _read_tail(log))
        time.sleep(POLL)
    raise NotRunning(f"the watcher has not answered within {START_SECONDS:g} s; its log is {short_path(log)}")


def _wait_for_end(process: subprocess.Popen[bytes]) -> int | None:
    """Return the exit status of a daemon that has stopped to answer; None if it goes on."""
    try:
        return process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        return None


def _exit_status(status: int) -> int:
    """Return an exit status as a shell shows it; one that ended early is never a success."""
    return 128 - status if status < 0 else status or 1


def _read_tail(log: Path) -> list[str]:
    """Return the last lines of the log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _LONGEST_TAIL))
            return file.read().decode("utf-8", "replace").splitlines()[-_LAST_LINES:]
    except OSError:
        return []


def stop_daemon(root: Path) -> int | None:
    """Stop the project's daemon in order and wait for its end; return its process id, None if none runs."""
    project, until = labels.project_id(root), time.monotonic() + STOP_SECONDS
    stopped: int | None = None
    while (running := lock.find_running(project)) is not None:
        if running.pid > 0 and running.pid != stopped:
            try:
                os.kill(running.pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
            except PermissionError as error:
                raise NotRunning(f"process {running.pid} cannot be stopped: {error.strerror}") from error
            stopped = running.pid
        if time.monotonic() >= until:
            raise NotRunning(f"the watcher (process {running.pid}) has not stopped within {STOP_SECONDS:g} s")
        time.sleep(POLL)
    return stopped
