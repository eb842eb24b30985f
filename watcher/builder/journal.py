"""The journal of a project's builds: which steps ran when, by the engine's clock.

BuildKit's cache records carry no owner (moby/buildkit, api/services/control/control.proto, `UsageRecord`).
`watcher.prune` proves which records a build made by the times at which its steps ran, and needs only this
journal to do so. A thread writes each step when it ends: the event loop never waits for a disk, and a daemon
that is killed loses at most the step that is cancelled with it.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from watcher.backoff import Backoff
from watcher.builder.journal_entries import BuildEntry, parse_lines, to_line
from watcher.builder.journal_file import append_lines, take_snapshot
from watcher.buildkit import Progress, Step, StepFinished
from watcher.system.state_dir import state_folder

_LONGEST_NAME = 4096  # characters of a step's name that are stored
_MOST_PENDING = 20_000  # lines that wait for a disk; later ones are dropped
_PATIENCE = 5.0  # seconds to wait until everything is written
_RETRY = Backoff(first=1.0, most=60.0)  # seconds until a write that failed is tried again
_REPLACE_ATTEMPTS = 5  # another process can replace the file in between


class BuildJournal:
    """The journal of one project and build cache, in a file that all processes of this user share.

    `folder` is the project's state folder; without one (`None`) nothing is stored. `cache` identifies the
    build cache (`build_cache_of`): a record that one engine does not have, another one can have. While the
    file cannot be written, `problem` is the reason, the lines wait, and writing is retried. `notify` is
    called, in any thread, with each change of `problem`.
    """

    def __init__(
        self,
        folder: Path | None,
        problem: str = "",
        *,
        cache: str = "",
        notify: Callable[[str], None] = lambda _: None,
        retry: Backoff = _RETRY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder = folder
        self._path = self._earlier = folder / "builds.jsonl" if folder else None
        if folder and cache:
            self._path = folder / f"builds-{hashlib.sha256(cache.encode()).hexdigest()[:10]}.jsonl"
        self._notify, self._retry, self._clock = notify, retry, clock
        self._problems = {"folder": problem}
        self._running: set[str] = set()
        self._pending: deque[dict[str, Any]] = deque()
        self._changed = threading.Condition()  # of `_pending`, `_running`, `_problems` or `_closed`
        self._closed = False
        self._thread: threading.Thread | None = None

    @property
    def problem(self) -> str:
        """Why builds are not stored at the moment; empty while they are."""
        return next(filter(None, list(self._problems.values())), "")

    @property
    def running(self) -> frozenset[str]:
        """Return the builds of this process that are running, or that ended and are not fully written yet."""
        with self._changed:
            return frozenset(self._running)

    @contextmanager
    def build(
        self,
        service: str,
        revision: str,
        *,
        final: bool,
        show: Callable[[Step], str] = lambda step: step.name,
    ) -> Iterator[Callable[[Progress], None]]:
        """Write down one build: call the result with every event. `show` names steps for people."""
        entry = secrets.token_hex(8)
        self._put({"build": entry, "service": service, "revision": revision, "final": final})
        ended, heard = "failed", self._clock()

        def hear(event: Progress) -> None:
            nonlocal heard
            heard = self._clock()
            self._hear(entry, event, show)

        try:
            yield hear
            ended = "ok"
        finally:
            self._put({"end": entry, "ended": ended, "after": self._clock() - heard})

    def _hear(self, entry: str, event: Progress, show: Callable[[Step], str]) -> None:
        if not isinstance(event, StepFinished):
            return
        line: dict[str, Any] = {"step": entry, "from": event.at - event.seconds, "to": event.at}
        if not event.cached and not event.error and event.step.total:
            line["name"] = event.step.name[:_LONGEST_NAME]
            line["shown"] = show(event.step)[:_LONGEST_NAME]
        self._put(line)

    def _put(self, line: dict[str, Any]) -> None:
        """Pass a line to the thread that writes, without waiting."""
        if self._path is None:
            return
        with self._changed:
            if "build" in line:
                self._running.add(line["build"])
            if len(self._pending) < _MOST_PENDING:
                self._pending.append(line)
            else:
                self._running.discard(line.get("end", ""))
            if self._thread is None:
                self._closed = False
                self._thread = threading.Thread(target=self._write_pending, name="journal", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def _write_pending(self) -> None:
        """Write what is pending until the journal is closed; after failures try less and less often."""
        failures = 0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pending or self._closed)
                batch = list(self._pending)
                if not batch:
                    self._thread = None
                    return
            error = self._append(batch)
            if not error and self._problems.get("write"):  # the file can be replaced again, too
                self._report(replace="")
            self._report(write=error, wait="")
            with self._changed:
                if error:
                    if self._closed:
                        self._thread = None
                        return
                    self._changed.wait_for(lambda: self._closed, self._retry.pause(failures))
                    failures += 1
                    continue
                failures = 0
                for line in batch:
                    self._pending.popleft()
                    self._running.discard(line.get("end", ""))
                self._changed.notify_all()

    def _append(self, batch: Iterable[dict[str, Any]]) -> str:
        """Append the lines to the file; return why that failed, or an empty string."""
        assert self._path is not None  # noqa: S101 - nothing is pending without a file
        self._adopt_earlier()
        try:
            append_lines(self._path, map(json.dumps, batch))
        except OSError as error:
            return self._explain(error)
        return ""

    def _adopt_earlier(self) -> None:
        """Rename the one file that earlier versions had for all engines. Blocks."""
        path, earlier = self._path, self._earlier
        if path and earlier and path != earlier:
            with suppress(OSError):  # what follows says why a folder cannot be read
                if not path.exists():
                    earlier.rename(path)

    def _explain(self, error: OSError) -> str:
        return f"{self._path}: {error.strerror or error}"

    def _report(self, **problems: str) -> None:
        with self._changed:
            before = self.problem
            self._problems |= problems
            after = self.problem
            self._changed.notify_all()  # `flush` waits no longer for a disk that is full
        if after != before:
            self._notify(after)

    def check(self) -> None:
        """Notify now if nothing can be written. Blocks."""
        if self._path is not None:
            self._report(write=self._append(()))
        elif self.problem:
            self._notify(self.problem)

    def flush(self, patience: float = _PATIENCE) -> bool:
        """Wait in a thread until all is written; return whether it is. A delay becomes the `problem`."""
        with self._changed:
            done = self._changed.wait_for(lambda: not self._pending or self._problems.get("write"), patience)
            written = not self._pending
        if not done:
            self._report(wait=f"{self._path}: the file system does not answer")
        return written

    def close(self, patience: float = 2.0) -> None:
        """Write what is pending, for `patience` seconds at most. A later line opens the journal again."""
        with self._changed:
            thread, self._closed = self._thread, True
            self._changed.notify_all()
        if thread is not None:
            thread.join(patience)

    def entries(self) -> list[BuildEntry]:
        """Return the builds on the disk, oldest first. Blocks; raises OSError."""
        if self._path is None:
            return []
        self._adopt_earlier()
        with take_snapshot(self._path) as snapshot:
            return parse_lines(snapshot.lines)

    def update(self, change: Callable[[list[BuildEntry]], Iterable[BuildEntry]]) -> list[BuildEntry]:
        """Replace the journal by the result of `change`, and return what is on the disk then. Blocks.

        `change` is called without a lock, so steps can be written at the same time. It is called again if
        another process replaced the file. If the result cannot be stored the old entries are returned.
        """
        if self._path is None:
            return []
        self.flush()
        self._adopt_earlier()
        before: list[str] = []
        problem = f"{self._path}: other processes keep replacing it"
        try:
            for _ in range(_REPLACE_ATTEMPTS):
                with take_snapshot(self._path) as snapshot:
                    before = snapshot.lines
                    kept = list(change(parse_lines(before)))
                    lines = list(map(to_line, kept))
                    if lines == before or snapshot.replace(lines):
                        self._report(replace="")
                        return kept
        except OSError as error:
            problem = self._explain(error)
        self._report(replace=problem)
        return parse_lines(before)


def build_cache_of(engine: str, buildkit: str | None = None) -> str:
    """Return what identifies a build cache: `SystemInfo.identity`, and the address of a buildkitd."""
    return f"{engine} {buildkit or ''}".strip()


def open_journal(
    project: str, notify: Callable[[str], None] = lambda _: None, *, cache: str = ""
) -> BuildJournal:
    """Return the journal of the project with this id, in the user's state folder (XDG_STATE_HOME)."""
    try:
        folder = state_folder() / project
    except RuntimeError as error:  # no home
        return BuildJournal(None, str(error))
    return BuildJournal(folder, notify=notify, cache=cache)
