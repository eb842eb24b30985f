"""What a project is configured by, and its files followed: a change of one is in force without a restart.

The compose file, what it includes and extends, `.env`, env files and `watcher.toml` may lie anywhere, and
some are only looked for. They are a dozen: their stat is compared twice a second, and before each look at the
tree, so that a save of both is one build. What cannot be used is refused with its reason, and what was in
force stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
import traceback
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from watcher import compose
from watcher.compose import ComposeProject
from watcher.daemon.compose_project import compose_project
from watcher.daemon.refusal import Configured, find_concerned
from watcher.daemon.reload_report import describe_reload
from watcher.errors import ConfigError, PartlyApplied, WatcherError
from watcher.observers.events import ConfigurationRefused, InternalError, Notice, Observer
from watcher.settings import Settings
from watcher.settings_sources import TOML_NAME
from watcher.system.blocking_call import in_thread


@dataclass(frozen=True, slots=True)
class ReloadTimes:
    """When the files of the configuration are looked at; seconds."""

    look_every: float = 0.5
    settled: float = 0.1  # a file is complete after this: several ticks of a file system's clock
    settled_most: float = 3.0  # a file that is written all the time is read as it is after this
    retry_every: float = 5.0  # between tries of what may be possible later, like a port that is taken


# Not changed at run time: where the watcher listens, its engine, and how containers are published.
FIXED: tuple[tuple[str, ...], ...] = (
    ("project",),
    ("engine",),
    ("build", "buildkit"),
    ("build", "buildkit_certs"),
    ("deploy", "strategy"),
    ("http",),
    ("plain",),
    ("log_format",),
)

Stamp = tuple[int, int, int, int]  # inode, size, times of content and of inode in nanoseconds
Stamps = Mapping[Path, Stamp | None]
_UNREAD: Stamp = (-1, -1, -1, -1)  # equal to no file's: it is read again
_TICK = 20_000_000  # nanoseconds; more than between two ticks of a file system's clock


@dataclass(frozen=True, slots=True)
class Configuration:
    """The settings and the compose file, as they were read, which began at `since` (Unix nanoseconds)."""

    settings: Settings
    compose: ComposeProject
    since: int = field(compare=False)


def read(settings: Settings, seen: dict[Path, None] | None = None) -> Configuration:
    """Return the configuration with these settings; raises ConfigError. See `compose.load` for `seen`."""
    since = time.time_ns()
    return Configuration(settings, compose_project(settings, seen), since)


def merge(old: Settings, new: Settings) -> tuple[Settings, tuple[str, ...]]:
    """`new` without what cannot change at run time, and the names of such settings that did."""
    late = []
    for path in FIXED:
        was, now = _value(old, path), _value(new, path)
        if was != now:
            late.append(".".join(path))
            new = _with(new, path, was)
    for name, own in new.per_service.items():
        strategy = old.for_service(name).deploy.strategy
        if new.for_service(name).deploy.strategy != strategy:
            late.append(f"service.{name}.deploy.strategy")
            kept = own.model_copy(update={"deploy": own.deploy.model_copy(update={"strategy": strategy})})
            new = new.model_copy(update={"per_service": {**new.per_service, name: kept}})
    return new, tuple(late)


def _value(settings: Settings, path: tuple[str, ...]) -> Any:
    value: Any = settings
    for name in path:
        value = getattr(value, name)
    return value


def _with(settings: Settings, path: tuple[str, ...], value: Any) -> Settings:
    name, *rest = path
    if rest:
        value = getattr(settings, name).model_copy(update={rest[0]: value})
    return settings.model_copy(update={name: value})


def files_of(settings: Settings, read: Iterable[Path]) -> tuple[Path, ...]:
    """Return the files that can change the configuration: those in `read`, and those that may appear."""
    names = (TOML_NAME,) if settings.compose_file else (TOML_NAME, *compose.FILE_NAMES)
    return tuple(dict.fromkeys((*(settings.root / name for name in names), *read)))


def stamps(files: Iterable[Path]) -> Stamps:
    """Return what tells a file's content from another one; None where there is no such file."""
    return {path: _stamp(path) for path in files}


def unchanged_since(found: Stamps, since: int) -> Stamps:
    """The stamps of what was read after `since` and stamped later; what changed between counts as unread."""
    return {path: _UNREAD if stamp and stamp[3] >= since - _TICK else stamp for path, stamp in found.items()}


def _stamp(path: Path) -> Stamp | None:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _gone(file: Path) -> str:
    """Return what to say of a compose file that is none any more, and what can be done about it."""
    if os.path.lexists(file):
        return "it is a link that leads nowhere" if not file.exists() else "it is not a regular file any more"
    others = [name for name in compose.FILE_NAMES if name != file.name and (file.parent / name).is_file()]
    hint = f"; start the watcher again to use {others[0]}" if others else ""
    return f"there is no such file any more{hint}"


class ConfigurationWatch:
    """Follows the files of a configuration. `apply` puts a new one in force, or raises WatcherError."""

    def __init__(
        self,
        configuration: Configuration,
        *,
        observer: Observer,
        apply: Callable[[Configuration], Awaitable[None]],
        times: ReloadTimes = ReloadTimes(),
    ) -> None:
        self._times = times
        self.configuration = configuration  # what is in force
        self._observer, self._apply = observer, apply
        self._files = files_of(configuration.settings, configuration.compose.files)
        self._seen = unchanged_since(stamps(self._files), configuration.since)
        self._refused = ""  # why, while what the files say is not in force
        self._concerned: tuple[str, ...] | None = None  # the services for which it is not; None: all
        self._changed = ""  # the names of the files that said so
        self._is_partly_applied = False  # then what runs is neither `configuration` nor what the files say
        self._partly: tuple[Configuration, tuple[str, ...]] | None = None  # what, and for which services not
        self._root = str(configuration.settings.root)
        self._moved_to = ""  # where the project's path leads now, when it is another folder than at the start
        self._retry_at: float | None = None  # when to try again, although no file changes
        self._late: tuple[str, ...] = ()
        self._warned = frozenset(configuration.compose.warnings)
        self._wake = asyncio.Event()
        self._waiting: list[asyncio.Future[None]] = []
        self._ended = False

    async def run(self) -> None:
        """Follow until cancelled."""
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._times.look_every):
                        await self._wake.wait()
                self._wake.clear()
                waiting, self._waiting = self._waiting, []
                try:
                    await self._follow()
                except Exception:
                    self._observer.notify(
                        InternalError(where="configuration", traceback=traceback.format_exc())
                    )
                finally:
                    _release(waiting)
        finally:
            self._ended = True
            _release(self._waiting)

    async def current(self) -> None:
        """Return when what the files say at this moment is in force or refused; at once, as a rule."""
        if self._waiting or self._elsewhere() != self._moved_to or await self._stamps() != self._seen:
            if self._ended:
                return
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            self._wake.set()
            await waiter

    async def _follow(self) -> None:
        """See whether a file changed; if so, wait until it is complete and use it."""
        if await self._has_moved():
            return
        found, begun = await self._stamps(), time.monotonic()
        if found == self._seen:
            if self._retry_at is not None and begun >= self._retry_at:
                await self._use(self._changed, found)
            return
        while True:
            await asyncio.sleep(self._times.settled)
            later = await self._stamps()
            if later == found or time.monotonic() > begun + self._times.settled_most:
                break
            found = later
        self._changed = ", ".join(path.name for path in found if found[path] != self._seen.get(path))
        await self._use(self._changed, found)

    def _elsewhere(self) -> str:
        """Return where the project's path leads, when that is not the folder that is watched."""
        try:
            root = str(self.configuration.settings.root)
        except ConfigError:
            return ""
        return "" if root == self._root else root

    async def _has_moved(self) -> bool:
        """Return whether the project's path leads to another folder than the one that is watched."""
        before, self._moved_to = self._moved_to, self._elsewhere()
        if self._moved_to and self._moved_to != before:
            text = f"project leads to {self._moved_to} now, not to {self._root}: start the watcher again"
            self._tell("error", text)
            self._refuse(text)
        elif before and not self._moved_to:
            await self._use("project", await self._stamps())
        return bool(self._moved_to)

    async def _use(self, names: str, found: Stamps) -> None:
        """Put in force what the files say, or say why not. `names` changed; `found` are the stamps."""
        since, seen, new = time.time_ns(), dict[Path, None](), None
        try:
            new, late = await in_thread(lambda: self._read(seen), names)
            self._tell_late(late)
            if new != self.configuration or self._is_partly_applied:
                await self._apply(new)
                self._tell("info", describe_reload(names, self.configuration.compose, new.compose))
            elif self._refused:
                self._tell("info", f"{names} says again what is in force")
            self.configuration, self._retry_at, self._is_partly_applied = new, None, False
            self._partly = None
            self._refuse("")
            self._tell_warnings(new.compose.warnings)
        except WatcherError as error:
            if self._refused != str(error):
                text = f"is refused: {error}; what was in force stays"
                if isinstance(error, PartlyApplied):
                    text = f"is in force, but not all of it: {error}"
                self._tell("error", f"{names} changed and {text}")
            if isinstance(error, PartlyApplied) and new:
                self._is_partly_applied, self._partly = True, (new, error.services)
                self._refuse(str(error), error.services)
            else:
                self._refuse(str(error), await self._find_concerned())
            self._retry_at = (
                None if isinstance(error, ConfigError) else time.monotonic() + self._times.retry_every
            )
        except Exception as error:
            self._is_partly_applied, self._partly = True, None  # nothing is known of how far it got
            self._refuse(f"an error of the watcher itself: {error!r}")
            raise
        finally:
            force = self.configuration
            self._files = files_of(force.settings, (*force.compose.files, *seen))
            first = await self._stamps(path for path in self._files if path not in found)
            known = {path: found[path] for path in self._files if path in found}
            self._seen = {**known, **unchanged_since(first, since)}

    async def _stamps(self, files: Iterable[Path] | None = None) -> Stamps:
        """Return the stamps of the files; those that are known, when a file system does not answer."""
        wanted = self._files if files is None else tuple(files)
        try:
            return await in_thread(lambda: stamps(wanted), "the files of the configuration")
        except ConfigError as error:
            self._refuse(str(error))
            return {path: self._seen.get(path) for path in wanted}

    def _refuse(self, reason: str, services: tuple[str, ...] | None = None) -> None:
        """What the files say is not in force for `services`, because of `reason`; empty: it is."""
        if (reason, services) != (self._refused, self._concerned):
            self._refused, self._concerned = reason, services
            self._observer.notify(ConfigurationRefused(reason=reason, services=services))

    async def _find_concerned(self) -> tuple[str, ...] | None:
        """Return the managed services for which the files are not in force; None if that is not known."""
        if self._is_partly_applied and self._partly is None:
            return None
        try:
            return await in_thread(self._read_concerned, "the files of the configuration")
        except WatcherError:
            return None

    def _read_concerned(self) -> tuple[str, ...]:
        """Read each service by itself; raises ConfigError for settings that cannot be read."""
        settings, _ = merge(self.configuration.settings, self.configuration.settings.reload())
        path = compose.find_compose_file(settings.root, settings.compose_file)

        def load(name: str) -> ComposeProject:
            return compose.load(path, services=(name,), profiles=settings.profile, env=dict(os.environ))

        def force(name: str) -> Configured:
            found, missing = self._partly or (self.configuration, ())
            found = self.configuration if name in missing else found
            return found.settings, found.compose

        managed = self._partly[0].compose.managed if self._partly else self.configuration.compose.managed
        return find_concerned(force, settings, load, managed)

    def _read(self, seen: dict[Path, None]) -> tuple[Configuration, tuple[str, ...]]:
        """Return the files as they are, and settings that wait for the next start; raises ConfigError."""
        force = self.configuration
        settings, late = merge(force.settings, force.settings.reload())
        file = force.compose.file
        if settings.compose_file == force.settings.compose_file and not file.is_file():
            raise ConfigError(file.name, None, _gone(file))
        return read(settings, seen), late

    def _tell_warnings(self, warnings: tuple[str, ...]) -> None:
        for text in warnings:
            if text not in self._warned:
                self._tell("warning", text)
        self._warned = frozenset(warnings)

    def _tell_late(self, late: tuple[str, ...]) -> None:
        if late != self._late and late:
            verb = "takes" if len(late) == 1 else "take"
            self._tell("warning", f"{', '.join(late)} changed: {verb} effect at the next start")
        self._late = late

    def _tell(self, level: str, text: str) -> None:
        self._observer.notify(Notice(level=level, text=text))


def _release(waiting: Iterable[asyncio.Future[None]]) -> None:
    for waiter in waiting:
        if not waiter.done():
            waiter.set_result(None)
