"""Store the projects that this user has watched: one file per project in the state folder.

A daemon or `watcher once` writes the file when it opens a project; `watcher prune --gone` removes it. A file
is replaced atomically under a lock, so a killed process leaves the old one. A damaged file is an unknown
project, never a deleted one.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from watcher import labels
from watcher.builder import build_cache_of
from watcher.engine import SystemInfo
from watcher.errors import ConfigError, WatcherError
from watcher.prune.location import FolderId, Location, Mount
from watcher.system.state_dir import state_folder

_NAME = "project.json"
_SCHEMA = 1
_LARGEST = 1 << 20  # bytes
_MOST_NAMES = 50  # maximum number of images and engines per project


@dataclass(frozen=True, slots=True)
class EngineUse:
    """An engine on which a project was watched. `id` is empty if the engine has none.

    `buildkit` is the address of a BuildKit outside of the engine, `certificates` the folder of its client
    certificates.
    """

    id: str
    endpoint: str
    host: str = ""
    buildkit: str = ""
    certificates: str = ""
    last_seen: float = 0.0

    @property
    def identity(self) -> str:
        """Return the same identity as `SystemInfo.identity`."""
        return self.id or self.endpoint

    @property
    def build_cache(self) -> str:
        """Return the id of its build cache."""
        return build_cache_of(self.identity, self.buildkit)

    def is_same(self, other: EngineUse) -> bool:
        """Return whether both are the same engine with the same BuildKit, at any endpoint."""
        return self.build_cache == other.build_cache

    @classmethod
    def of(cls, info: SystemInfo, buildkit: str = "", certificates: str = "") -> EngineUse:
        """Return the engine with this system information."""
        return cls(info.id, info.endpoint, info.host, buildkit, certificates, time.time())


@dataclass(frozen=True, slots=True)
class ServiceUse:
    """The names of a service's objects: the image reference and the name of the live container."""

    service: str
    image: str
    container: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectRecord:
    """A project that was watched. Times are Unix seconds."""

    id: str
    location: Location
    compose_project: str = ""
    services: tuple[ServiceUse, ...] = ()
    engines: tuple[EngineUse, ...] = ()
    user: int = field(default_factory=os.getuid)
    first_seen: float = 0.0
    last_seen: float = 0.0

    def merge_older(self, older: ProjectRecord | None) -> ProjectRecord:
        """Return this record with the names and engines that only the older one has."""
        if older is None:
            return self
        engines = [each for each in older.engines if not any(each.is_same(own) for own in self.engines)]
        services = [each for each in older.services if each not in self.services]
        return replace(
            self,
            services=(*self.services, *services)[:_MOST_NAMES],
            engines=(*self.engines, *engines)[:_MOST_NAMES],
            first_seen=older.first_seen or self.first_seen,
        )


@dataclass(frozen=True, slots=True)
class RegistryEntry:
    """A project's folder in the state folder. `record` is None if it cannot be read, because of `problem`."""

    id: str
    record: ProjectRecord | None
    problem: str = ""


class Registry:
    """The records in one state folder, by default that of this user."""

    def __init__(self, home: Path | None = None) -> None:
        """Open the registry; raise ConfigError if there is no home folder."""
        try:
            self.home = state_folder() if home is None else home
        except RuntimeError as error:
            raise ConfigError(
                "XDG_STATE_HOME", None, f"must be set where there is no home: {error}"
            ) from error

    def entries(self) -> list[RegistryEntry]:
        """Return all projects, sorted by id. Raises WatcherError if the folder cannot be read.

        Otherwise all projects would seem to belong to others.
        """
        try:
            names = sorted(each.name for each in self.home.iterdir() if labels.is_project_id(each.name))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise WatcherError(
                f"the registry of your projects, {self.home}, cannot be read: {error.strerror or error}"
            ) from error
        return [self.entry(name) for name in names]

    def entry(self, project: str) -> RegistryEntry:
        """Return the entry of a project."""
        try:
            record = _parse_record(project, _read_json(self.home / project))
        except FileNotFoundError:
            return RegistryEntry(
                project,
                None,
                "it has no record: watched by an earlier version, or only by doctor or prune",
            )
        except OSError as error:
            return RegistryEntry(project, None, f"its record cannot be read: {error.strerror or error}")
        except (ValueError, KeyError, TypeError, AttributeError):
            return RegistryEntry(project, None, "its record is damaged")
        if record.user != os.getuid():
            return RegistryEntry(project, None, f"it belongs to another user (uid {record.user})")
        return RegistryEntry(project, record)

    def write(self, record: ProjectRecord) -> None:
        """Store a project, merged with its older record. Raises OSError."""
        folder = self.home / record.id
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._replace_record(folder, lambda: record.merge_older(self.entry(record.id).record))

    def touch(self, project: str) -> None:
        """Update the time of a registered project. Raises OSError."""

        def touched() -> ProjectRecord | None:
            record = self.entry(project).record
            return record and replace(record, last_seen=time.time())

        if (self.home / project / _NAME).exists():
            self._replace_record(self.home / project, touched)

    def forget(self, project: str) -> None:
        """Remove the folder of a project, including its build journal. Raises OSError."""
        folder = self.home / project
        if not labels.is_project_id(project) or folder.is_symlink():
            raise PermissionError(f"{folder} is not the folder of a project")
        shutil.rmtree(folder)

    @staticmethod
    def _replace_record(folder: Path, make: Callable[[], ProjectRecord | None]) -> None:
        with _lock_folder(folder):
            if (record := make()) is None:
                return
            new = folder / f".{_NAME}.{secrets.token_hex(4)}"
            try:
                with new.open("x", encoding="utf-8", errors="surrogateescape") as file:
                    file.write(json.dumps({"schema": _SCHEMA, **asdict(record)}, indent=1))
                    file.flush()
                    os.fsync(file.fileno())
                new.replace(folder / _NAME)
            except BaseException:
                new.unlink(missing_ok=True)
                raise


@contextmanager
def _lock_folder(folder: Path) -> Iterator[None]:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(folder / "project.lock", flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _read_json(folder: Path) -> dict[str, Any]:
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(folder / _NAME, flags)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST:
            raise ValueError("no record")
        if found.st_uid != os.getuid():
            raise PermissionError(0, "it belongs to another user")
        values = json.loads(file.read(_LARGEST + 1).decode("utf-8", "surrogateescape"))
    if not isinstance(values, dict):
        raise TypeError("no record")
    return values


def _parse_record(project: str, values: Mapping[str, Any]) -> ProjectRecord:
    """Return the record; raise ValueError, KeyError, TypeError or AttributeError if it is invalid."""
    found = values["location"]
    location = Location(
        str(found["path"]),
        _parse_folder_id(found["folder"]),
        tuple(_parse_folder_id(each) for each in found["above"]),
        None if found["mount"] is None else Mount(**_to_strings(found["mount"])),
        str(found["machine"]),
    )
    if values["schema"] != _SCHEMA or labels.project_id(Path(location.path)) != project != "":
        raise ValueError("not of this project")
    return ProjectRecord(
        id=project,
        location=location,
        compose_project=str(values["compose_project"]),
        services=tuple(ServiceUse(**_to_strings(each)) for each in _list_mappings(values["services"])),
        engines=tuple(
            EngineUse(
                **_to_strings({name: value for name, value in each.items() if name != "last_seen"}),
                last_seen=float(each["last_seen"]),
            )
            for each in _list_mappings(values["engines"])
        ),
        user=int(values["user"]),
        first_seen=float(values["first_seen"]),
        last_seen=float(values["last_seen"]),
    )


def _list_mappings(values: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return list(values)[:_MOST_NAMES]


def _to_strings(values: Mapping[str, Any]) -> dict[str, str]:
    return {str(name): str(value) for name, value in values.items()}


def _parse_folder_id(values: Mapping[str, Any]) -> FolderId:
    return FolderId(int(values["device"]), int(values["inode"]), str(values["handle"]))
