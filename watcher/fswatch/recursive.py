"""Events where the system watches whole trees at no cost for each directory: FSEvents on macOS."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from pathlib import Path

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirModifiedEvent,
    DirMovedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers.api import BaseObserver, ObservedWatch

from watcher.fswatch.backend import EventsUnavailable
from watcher.fswatch.inbox import Act, Inbox
from watcher.tree import is_outside

# By type, never everything: watchdog also reports files that are only opened and read.
_WANTED: list[type[FileSystemEvent]] = [
    DirCreatedEvent,
    DirDeletedEvent,
    DirModifiedEvent,
    DirMovedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
]
_ACTS = {
    FileCreatedEvent: Act.CLOSED,  # these systems do not report closing
    FileModifiedEvent: Act.CLOSED,
    FileDeletedEvent: Act.REMOVED,
    DirCreatedEvent: Act.CLOSED,
    DirDeletedEvent: Act.REMOVED,
    DirModifiedEvent: Act.CHANGED,
}


class Recursive:
    """One recursive watch of the root by a watchdog observer, and one for each directory outside of it."""

    def __init__(self, base: str, inbox: Inbox, observer: Callable[[], BaseObserver]) -> None:
        self._base = base
        self._make = observer
        self._observer: BaseObserver | None = None
        self._handler = _Handler(os.path.realpath(base), inbox)
        self._watches: dict[str, ObservedWatch] = {}

    def start(self) -> None:
        """Start the observer's thread. Raises EventsUnavailable."""
        self._observer = self._make()
        try:
            self._observer.start()
        except OSError as error:
            raise EventsUnavailable(f"watchdog cannot start: {error}") from error

    def stop(self) -> None:
        """End the thread."""
        observer, self._observer = self._observer, None
        self._watches.clear()
        if observer is not None and observer.is_alive():
            observer.stop()
            observer.join()

    def watch(self, directories: Collection[str]) -> frozenset[str]:
        """Watch the root once, and what is outside; returns what was not watched before."""
        if self._observer is None or not self._observer.is_alive():
            raise EventsUnavailable("watchdog's thread has ended")
        wanted = {path for path in directories if not path or is_outside(path)}
        for path in self._watches.keys() - wanted:
            self._observer.unschedule(self._watches.pop(path))
        added = wanted - self._watches.keys()
        for path in added:
            place = os.path.realpath(Path(self._base, path))
            try:
                self._watches[path] = self._observer.schedule(
                    self._handler, place, recursive=not path, event_filter=_WANTED
                )
            except OSError as error:
                raise EventsUnavailable(f"watchdog cannot watch {place}: {error}") from error
        return frozenset(added)

    def forget(self) -> None:
        """Watch nothing."""
        if self._observer is not None:
            self._observer.unschedule_all()
        self._watches.clear()

    def probe(self, timeout: float) -> bool:  # noqa: ARG002 - there is nothing to wait for
        """Return whether the observer is alive: these systems have no event that leaves no trace."""
        return self._observer is not None and self._observer.is_alive()


class _Handler(FileSystemEventHandler):
    def __init__(self, base: str, inbox: Inbox) -> None:
        self._base = base
        self._inbox = inbox

    def dispatch(self, event: FileSystemEvent) -> None:
        """Hand an event on to the inbox; called from watchdog's thread."""
        if isinstance(event, FileMovedEvent | DirMovedEvent):
            self._put_event(event.src_path, Act.REMOVED, is_dir=event.is_directory)
            self._put_event(event.dest_path, Act.CLOSED, is_dir=event.is_directory)
            return
        act = _ACTS.get(type(event))
        if act is not None:
            self._put_event(event.src_path, act, is_dir=event.is_directory)

    def _put_event(self, path: bytes | str, act: Act, *, is_dir: bool) -> None:
        relative = os.path.relpath(os.fsdecode(path), self._base)
        if relative == ".":
            if act is Act.REMOVED:
                self._inbox.record_root_lost()
            return
        directory, _, name = relative.rpartition("/")
        self._inbox.record_event(directory, name, act, is_dir=is_dir)
