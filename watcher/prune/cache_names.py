"""Store the ids of the cache mounts that builds of a project have used: the engine does not list them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

_LARGEST = 1 << 20  # maximum size of the file in bytes
_MOST = 300  # maximum number of ids: the engine refuses a step with too many mounts


@dataclass(frozen=True, slots=True)
class NamedCache:
    """A cache mount: its target, and when a build last used its id (Unix seconds)."""

    target: str
    last_named: float
    modules: bool = False  # whether it is a module cache


class CacheNames:
    """The ids of cache mounts in a file of the project's state folder; only in memory without a folder.

    If the file cannot be read or written, its mounts are not removed.
    """

    def __init__(self, folder: Path | None) -> None:
        self._path = folder / "go_caches.json" if folder else None
        self._names: dict[str, NamedCache] | None = None

    def former(self, current: Iterable[str]) -> Mapping[str, NamedCache]:
        """Return all known cache mounts except `current`."""
        known, now = self._load_names(), set(current)
        return {name: found for name, found in known.items() if name not in now}

    def note(self, named: Mapping[str, NamedCache]) -> None:
        """Record the cache mounts that a build used."""
        known = self._load_names() | dict(named)
        newest = sorted(known.items(), key=lambda each: each[1].last_named, reverse=True)[:_MOST]
        self._write_file(dict(newest))

    def forget(self, names: Iterable[str]) -> None:
        """Remove the ids of mounts that were emptied."""
        gone = set(names)
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
                str(name): NamedCache(str(target), float(named), bool(modules))
                for name, (target, named, modules) in found.items()
            }
        except (OSError, ValueError, TypeError, AttributeError, LookupError):
            return {}

    def _write_file(self, names: dict[str, NamedCache]) -> None:
        self._names = names
        if self._path is None:
            return
        new = self._path.with_suffix(".new")
        found = {name: [each.target, each.last_named, each.modules] for name, each in names.items()}
        try:
            new.write_text(json.dumps(found), encoding="utf-8")
            new.replace(self._path)
        except OSError:
            pass
