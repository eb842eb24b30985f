"""One daemon per project: a lock file that the kernel releases when the process ends, however it ends."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from watcher.errors import WatcherError


@dataclass(frozen=True, slots=True)
class Running:
    """A daemon that runs: its process id, and where its API is (empty while it starts)."""

    pid: int
    url: str = ""
    token: str = ""


class AlreadyRunning(WatcherError):
    """Another daemon has the project."""

    def __init__(self, project: Path, running: Running | None) -> None:
        who = f" (process {running.pid}, {running.url})" if running else ""
        super().__init__(f"a watcher already keeps {project}{who}; stop it first")
        self.running = running


def _path(project_id: str) -> Path:
    base = os.environ.get("XDG_RUNTIME_DIR")
    folder = Path(base) / "watcher" if base else Path(tempfile.gettempdir()) / f"watcher-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder / f"{project_id}.lock"


class ProjectLock:
    """Held by the process that keeps a project. Made by `take`, given back by `release`."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    @classmethod
    def take(cls, project: Path, project_id: str) -> ProjectLock:
        """The lock of this project; raises AlreadyRunning."""
        path = _path(project_id)
        file = path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            running = _read(file)
            file.close()
            raise AlreadyRunning(project, running) from None
        lock = cls(file)
        lock.announce("")
        return lock

    def announce(self, url: str, token: str = "") -> None:
        """Let `find` say where this daemon's API is."""
        self._file.seek(0)
        self._file.truncate()
        json.dump(asdict(Running(os.getpid(), url, token)), self._file)
        self._file.flush()

    def release(self) -> None:
        """Let the next one have it. The file stays: removing it would race with the next one."""
        self._file.seek(0)
        self._file.truncate()
        self._file.close()


def find(project_id: str) -> Running | None:
    """The daemon that keeps this project, None when there is none."""
    path = _path(project_id)
    if not path.exists():
        return None
    with path.open("r", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _read(file)
    return None


def _read(file: IO[str]) -> Running | None:
    file.seek(0)
    try:
        return Running(**json.load(file))
    except (ValueError, TypeError):
        return None
