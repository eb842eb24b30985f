"""Open a project's engine, its BuildKit connection and its base images: the one place that does."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from watcher.builder import (
    BaseImages,
    BuildkitConnection,
    EngineConnection,
    build_cache_of,
    certificates,
    connect_buildkitd,
    connect_engine,
    credentials_of,
)
from watcher.buildkit import Credentials
from watcher.engine import Engine, EngineError, SystemInfo, find_login
from watcher.errors import ConfigError
from watcher.settings import Settings


@dataclass(frozen=True, slots=True)
class EngineAccess:
    """An engine that answers, the connection to the BuildKit that builds, and lookups of base images."""

    own: EngineConnection
    connection: BuildkitConnection
    bases: BaseImages
    build_cache: str = ""  # tells the build cache that is built in from others (`build_cache_of`)

    @property
    def engine(self) -> Engine:
        """Return the engine."""
        return self.own.engine


class NoBuildKit(ConfigError):
    """The engine is of a kind that cannot build for this program."""


def check_product(info: SystemInfo, settings: Settings) -> None:
    """Raise NoBuildKit for Podman, which builds with Buildah, without a buildkitd."""
    if info.product == "Podman" and settings.build.buildkit is None:
        remedy = "set build.buildkit to a buildkitd, or choose a Docker engine"
        rule = f"is Podman {info.version}, which has no BuildKit: {remedy}"
        raise NoBuildKit("engine", info.endpoint, rule)


@asynccontextmanager
async def open_engine(settings: Settings) -> AsyncGenerator[EngineAccess]:
    """Open the engine that the settings name, and close everything at the end.

    Raises EngineUnavailable, NoBuildKit, and ConfigError for certificates that cannot be used.
    """
    async with await connect_engine(settings.engine) as own:
        connection = connect_buildkit(settings, own)
        try:
            info = await own.engine.info()
            check_product(info, settings)
            cache = build_cache_of(info.identity, settings.build.buildkit)
            yield EngineAccess(own, connection, base_images(own.engine, connection), cache)
        finally:
            await connection.close()


def connect_buildkit(settings: Settings, own: EngineConnection) -> BuildkitConnection:
    """Return the connection to the BuildKit that the settings name, else to the engine's own."""
    address, folder = settings.build.buildkit, settings.build.buildkit_certs
    if address is None:
        return own.built_in
    certificates(folder)  # report unusable ones now
    return connect_buildkitd(address, own.engine, folder)


def base_images(engine: Engine, connection: BuildkitConnection) -> BaseImages:
    """Return an object that looks up base images, with the user's registry logins where they can be read."""
    return BaseImages(engine, connection, lambda: _find_credentials)


def _find_credentials(host: str) -> Credentials | None:
    """Return the user's login at a registry; None where it cannot be read."""
    try:
        return credentials_of(find_login(host))
    except EngineError:
        return None
