"""One daemon per project: a lock file that the kernel releases when the process ends, however it ends."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from watcher.errors import ConfigError, WatcherError
from watcher.system import inherited_sockets as listening
from watcher.system import runtime_dir
from watcher.system.inherited_sockets import Handover, ListenAddress

ASKING_SECONDS = 0.5  # a client that asks who runs holds the lock for a moment: that is not another daemon
ASKING_PAUSE = 0.01
MOST_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Running:
    """A daemon that runs: its process id, and where its API is (empty while it starts)."""

    pid: int
    url: str = ""
    token: str = ""
    listening: tuple[ListenAddress, ...] = ()  # addresses for its successor, if it is killed
    paused: tuple[str, ...] = ()  # services that its successor pauses too, however it ended
    upgrading: bool = False  # it makes way for its successor, which has the same process id
    project: str = ""  # its folder; empty if an earlier version wrote this
    since: float = 0.0  # Unix seconds of the start


class AlreadyRunning(WatcherError):
    """Another daemon has the project."""

    def __init__(self, project: Path, running: Running | None) -> None:
        who = f" (process {running.pid}, {running.url or 'starting'})" if running else ""
        super().__init__(f"a watcher is already running for {project}{who}; stop it first")
        self.running = running


class ProjectLock:
    """The lock of the process that manages a project. Made by `take`, released by `release`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._passed_on = False
        self.running = Running(os.getpid())
        self.before: Running | None = (
            None  # what the daemon before had announced, unless it ended in good order
        )

    @classmethod
    def take(cls, project: Path, project_id: str, *, patience: float = ASKING_SECONDS) -> ProjectLock:
        """Take the project's lock; raises AlreadyRunning, or ConfigError without a private directory."""
        first, *others = runtime_dir.list_candidates()
        for other in others:  # started from a session with other variables
            if running := _read_held(other, project_id):
                raise AlreadyRunning(project, running)
        with runtime_dir.open_directory(first, create=True) as folder:
            if folder is None:
                raise ConfigError("run directory", str(first), "was removed while it was being opened")
            try:
                descriptor = runtime_dir.open_file(folder, _file_name(project_id), create=True)
            except OSError as error:
                why = error.strerror or str(error)
                raise ConfigError("run directory", str(first), f"cannot hold the lock: {why}") from error
        passed = listening.take_file(os.fstat(descriptor))  # locked already, by the program before this one
        if passed is not None:
            os.close(descriptor)
            descriptor = passed
        elif not _is_locked(descriptor, patience):
            running = _read_running(descriptor)
            os.close(descriptor)
            raise AlreadyRunning(project, running)
        lock = cls(descriptor)
        lock.before = before = _read_running(descriptor)
        after = replace(before, url="", token="", upgrading=False) if before else lock.running
        lock.announce(replace(after, pid=os.getpid(), project=str(project), since=time.time()))
        return lock

    def announce(self, running: Running) -> None:
        """Publish the address of this daemon's API for `find_running`, and its ports for `find_last`."""
        self.running = running
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, json.dumps(asdict(running)).encode(), 0)

    def pass_on(self, handover: Handover) -> None:
        """Leave the lock to the successor: `release` does not give it back."""
        self.announce(replace(self.running, upgrading=True))
        handover.keep(self._descriptor)
        self._passed_on = True

    def release(self) -> None:
        """Let the next one have it. The file stays: removing it would race with the next one."""
        if not self._passed_on:
            os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)


def _file_name(project_id: str) -> str:
    return f"{project_id}.lock"


def _is_locked(descriptor: int, patience: float) -> bool:
    """Lock exclusively within `patience` seconds; return whether that worked."""
    until = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(ASKING_PAUSE)
        else:
            return True


def find_running(project_id: str) -> Running | None:
    """Return the daemon that watches this project, or None. Only files of this user count."""
    found = (_read_held(folder, project_id) for folder in runtime_dir.list_candidates())
    return next((running for running in found if running), None)


def list_running() -> dict[str, Running]:
    """Return the running daemons of this user by project id."""
    found: dict[str, Running] = {}
    for folder in runtime_dir.list_candidates():
        try:
            names = sorted(item.name for item in folder.iterdir())
        except OSError:
            continue
        for name in names:
            project_id, dot, ending = name.rpartition(".")
            running = _read_held(folder, project_id) if dot and ending == "lock" else None
            if running:
                found.setdefault(project_id, running)
    return found


def watcher_at(port: int) -> str:
    """Describe the watcher of this user that announced a port; empty if there is none."""
    for running in list_running().values():
        if any(address.port == port for address in running.listening):
            if running.pid == os.getpid():
                return "this watcher itself"
            project = running.project or "another project"
            return f"the watcher of {project} (process {running.pid}, {running.url or 'starting'})"
    return ""


def find_last(project_id: str) -> Running | None:
    """Return what a daemon that was killed had announced; None when it ended in good order, or one runs."""
    for folder in runtime_dir.list_candidates():
        with _open_lock(folder, project_id) as descriptor:
            if descriptor is None:
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return None
            if found := _read_running(descriptor):
                return found
    return None


def _read_held(path: Path, project_id: str) -> Running | None:
    with _open_lock(path, project_id) as descriptor:
        if descriptor is None:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _read_running(descriptor) or Running(pid=0)  # it is writing this very moment
    return None


@contextmanager
def _open_lock(path: Path, project_id: str) -> Iterator[int | None]:
    """The project's lock file in that directory, None when there is none that can be trusted."""
    descriptor = None
    try:
        with runtime_dir.open_directory(path, create=False) as folder:
            if folder is not None:
                descriptor = runtime_dir.open_file(folder, _file_name(project_id), create=False)
    except (ConfigError, OSError):
        descriptor = None
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _read_running(descriptor: int) -> Running | None:
    try:
        values = json.loads(os.pread(descriptor, MOST_BYTES, 0))
        addresses = tuple(ListenAddress(**item) for item in values.pop("listening", ()))
        known = {each.name for each in fields(Running)}  # a newer version may announce more
        values = {name: value for name, value in values.items() if name in known}
        return Running(**values | {"paused": tuple(values.get("paused", ()))}, listening=addresses)
    except (ValueError, TypeError, AttributeError):
        return None
