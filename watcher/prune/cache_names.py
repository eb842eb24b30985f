"""Store the ids of the cache mounts that builds of a project have used: the engine does not list them.

Projects share some caches (`dockerfile.is_shared_cache`). Each project has its own file. The files of the
others, and the journals of their builds, show which projects use a shared cache.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from watcher import labels
from watcher.dockerfile import ROOT, Owner
from watcher.prune.go_cache_select import UNUSED

_FILE = "go_caches.json"
_LARGEST = 1 << 20  # maximum size of the file in bytes
_LARGEST_JOURNAL = 64 << 20
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
    owner: Owner = ROOT  # another owner is another cache, also with the same id


class CacheNames:
    """The ids of cache mounts in a file of the project's state folder; only in memory without a folder.

    If the file cannot be read or written, its mounts are not removed. One object is for all services of a
    project, and for all threads: each write replaces the whole file.
    """

    def __init__(self, folder: Path | None) -> None:
        self._path = folder / _FILE if folder else None
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

    def find_users(self, names: Collection[str], now: float) -> Mapping[str, tuple[str, ...]]:
        """Return, for each of these shared caches, the other projects whose builds lately used it.

        `now` is in Unix seconds. Without a folder, or if the others cannot be listed, that is not known, and
        all of them count as used by "other projects".
        """
        if not names:
            return {}
        found: dict[str, list[str]] = {name: [] for name in names}
        try:
            if self._path is None:
                raise FileNotFoundError
            own = self._path.parent
            others = sorted(each for each in own.parent.iterdir() if each.name != own.name)
        except OSError:
            return dict.fromkeys(names, ("other projects",))
        for folder in others:
            if labels.is_project_id(folder.name):
                for name in _find_used(folder, names, now - UNUSED):
                    found[name].append(folder.name)
        return {name: tuple(users) for name, users in found.items() if users}

    def _load_names(self) -> dict[str, NamedCache]:
        if self._names is None:
            self._names = self._read_file()
        return self._names

    def _read_file(self) -> dict[str, NamedCache]:
        return _read_names(self._path) if self._path else {}

    def _write_file(self, names: dict[str, NamedCache]) -> None:
        self._names = names
        if self._path is None:
            return
        new = self._path.with_suffix(".new")
        found = {
            name: {
                "target": each.target,
                "last_named": each.last_named,
                "modules": each.modules,
                "services": sorted(each.services),
                "uid": each.owner.uid,
                "gid": each.owner.gid,
            }
            for name, each in names.items()
        }
        try:
            new.write_text(json.dumps(found), encoding="utf-8")
            new.replace(self._path)
        except OSError:
            pass


def _read_names(file: Path) -> dict[str, NamedCache]:
    """Return the caches in a file; none if it cannot be read."""
    try:
        with file.open("rb") as opened:
            found = json.loads(opened.read(_LARGEST))
        return {str(name): _parse_cache(values) for name, values in found.items()}
    except (OSError, ValueError, TypeError, AttributeError, LookupError):
        return {}


def _parse_cache(values: Any) -> NamedCache:
    if isinstance(values, list):  # of an earlier version
        target, named, modules, *services = values
        return NamedCache(str(target), float(named), bool(modules), frozenset(map(str, services)))
    return NamedCache(
        str(values["target"]),
        float(values["last_named"]),
        bool(values["modules"]),
        frozenset(map(str, values["services"])),
        Owner(str(values["uid"]), str(values["gid"])),
    )


def _find_used(folder: Path, names: Collection[str], since: float) -> set[str]:
    """Return which caches the builds of the project with this folder used after `since` (Unix seconds)."""
    known = _read_names(folder / _FILE)
    found = {name for name in names if name in known and known[name].last_named >= since}
    # Names are noted in idle time: a project that was just built for the first time has only its journal.
    try:
        journals = [each for each in folder.glob("builds*.jsonl") if each.stat().st_mtime >= since]
        for journal in journals:
            with journal.open("rb") as opened:
                text = opened.read(_LARGEST_JOURNAL)
            found |= {name for name in names if f"id={name},".encode() in text}
    except OSError:
        pass
    return found
