"""The file by which Prometheus finds this watcher, in the state folder of the user.

Prometheus watches the folder and reads the files again when they change (`file_sd_configs`). A watcher that
was killed leaves its file on purpose: Prometheus then reports it as down. See docs/decisions/0034.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from watcher.errors import ConfigError
from watcher.observers.events import Notice, Observer
from watcher.observers.humanize import short_path
from watcher.system.blocking_call import in_thread
from watcher.system.lock import find_running
from watcher.system.state_dir import targets_folder

STALE_SECONDS = 86_400.0  # after which the file of a killed watcher is removed by another one


def render_targets(root: Path, url: str) -> str:
    """Return the file: one target with the project as a label, which every series of it gets."""
    labels = {"project": short_path(root)}
    return json.dumps([{"targets": [urlsplit(url).netloc], "labels": labels}], indent=1) + "\n"


class TargetFile:
    """The file of one watcher. A write that fails is a notice, and stops nothing."""

    def __init__(self, project: str, root: Path, url: str, observer: Observer) -> None:
        """`project` is the project's id, `url` that of the status page."""
        self._project, self._root, self._url, self._observer = project, root, url, observer

    @asynccontextmanager
    async def keep(self, stays: Callable[[], bool]) -> AsyncGenerator[None]:
        """Keep the file while the context lasts, and for a successor if `stays` returns true then."""
        path: Path | None = None
        try:
            path = await in_thread(self._write, "the state folder")
        except (OSError, RuntimeError, ConfigError) as error:
            text = f"Prometheus cannot find this watcher: its target file was not written: {error}"
            self._observer.notify(Notice(level="warning", text=text))
        try:
            yield
        finally:
            if path and not stays():
                with suppress(OSError):
                    path.unlink()

    def _write(self) -> Path:
        folder = targets_folder()
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)  # Prometheus may be another user, whatever the umask is
        remove_stale_files(folder)
        path = folder / f"{self._project}.json"
        new = folder / f".{self._project}.{secrets.token_hex(4)}"
        try:
            new.write_text(render_targets(self._root, self._url), "utf-8")
            new.chmod(0o644)
            new.replace(path)
        except BaseException:
            new.unlink(missing_ok=True)
            raise
        return path


def remove_stale_files(folder: Path, now: float | None = None) -> None:
    """Remove the files of watchers that were killed more than a day ago and were not started again."""
    for path in folder.glob("*.json"):
        with suppress(OSError):
            age = (time.time() if now is None else now) - path.stat().st_mtime
            if age > STALE_SECONDS and find_running(path.stem) is None:
                path.unlink()
