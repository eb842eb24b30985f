"""Store the ids of the cache mounts that builds of a project have used: the engine does not list them."""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

_LARGEST = 1 << 20  # maximum size of the file in bytes
_MOST = 300  # maximum number of ids: the engine refuses a step with too many mounts


@dataclass(frozen=True, slots=True)
class NamedCache:
    """A cache mount: its target, and when a build last used its id (Unix seconds).

    `services` are those whose current Dockerfile mounts it.
    """

    target: str
    last_named: float
    modules: bool = False  # whether it is a module cache
    services: frozenset[str] = frozenset()


class CacheNames:
    """The ids of cache mounts in a file of the project's state folder; only in memory without a folder.

    If the file cannot be read or written, its mounts are not removed. One object is for all services of a
    project, and for all threads: each write replaces the whole file.
    """

    def __init__(self, folder: Path | None) -> None:
        self._path = folder / "go_caches.json" if folder else None
        self._names: dict[str, NamedCache] | None = None
        self._lock = threading.Lock()

    def known(self) -> Mapping[str, NamedCache]:
        """Return all known cache mounts."""
        with self._lock:
            return dict(self._load_names())

    def note(self, service: str, named: Mapping[str, NamedCache], current: Collection[str]) -> None:
        """Record the cache mounts that builds of a service used; its Dockerfile has `current` now."""
        with self._lock:
            before = self._load_names()
            known = {}
            for name, found in (before | dict(named)).items():
                others = (before[name].services if name in before else frozenset()) - {service}
                known[name] = replace(found, services=others | ({service} if name in current else set()))
            newest = sorted(known.items(), key=lambda each: each[1].last_named, reverse=True)[:_MOST]
            if (kept := dict(newest)) != before:
                self._write_file(kept)

    def forget(self, names: Iterable[str]) -> None:
        """Remove the ids of mounts that were emptied."""
        gone = set(names)
        with self._lock:
            self._write_file({name: found for name, found in self._load_names().items() if name not in gone})

    def _load_names(self) -> dict[str, NamedCache]:
        if self._names is None:
            self._names = self._read_file()
        return self._names

    def _read_file(self) -> dict[str, NamedCache]:
        if self._path is None:
            return {}
        try:
            with self._path.open("rb") as file:
                found = json.loads(file.read(_LARGEST))
            return {
                str(name): NamedCache(str(target), float(named), bool(modules), frozenset(map(str, services)))
                for name, (target, named, modules, *services) in found.items()
            }
        except (OSError, ValueError, TypeError, AttributeError, LookupError):
            return {}

    def _write_file(self, names: dict[str, NamedCache]) -> None:
        self._names = names
        if self._path is None:
            return
        new = self._path.with_suffix(".new")
        found = {
            name: [each.target, each.last_named, each.modules, *sorted(each.services)]
            for name, each in names.items()
        }
        try:
            new.write_text(json.dumps(found), encoding="utf-8")
            new.replace(self._path)
        except OSError:
            pass
