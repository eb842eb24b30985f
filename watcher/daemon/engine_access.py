"""Open a project's engine, its BuildKit connection and its base images: the one place that does."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from watcher.builder import Bases, BuildkitLink, build_cache_of, certificates, credentials_of
from watcher.buildkit import Credentials
from watcher.engine import DockerEngine, EngineError, find_login
from watcher.settings import Settings


@dataclass(frozen=True, slots=True)
class EngineAccess:
    """An engine that answers, the connection to BuildKit, and lookups of base images."""

    engine: DockerEngine
    link: BuildkitLink
    bases: Bases
    build_cache: str = ""  # tells the build cache that is built in from others (`build_cache_of`)


@asynccontextmanager
async def open_engine(settings: Settings) -> AsyncGenerator[EngineAccess]:
    """Open the engine that the settings name, and close everything at the end.

    Raises EngineUnavailable, and ConfigError for certificates that cannot be used.
    """
    engine = await DockerEngine.open(settings.engine)
    try:
        link = buildkit_link(settings, engine)
        try:
            cache = build_cache_of((await engine.info()).identity, settings.build.buildkit)
            yield EngineAccess(engine, link, base_images(engine, link), cache)
        finally:
            await link.close()
    finally:
        await engine.close()


def buildkit_link(settings: Settings, engine: DockerEngine) -> BuildkitLink:
    """Return the connection to the BuildKit that the settings name, else to the engine's own."""
    address, folder = settings.build.buildkit, settings.build.buildkit_certs
    if address is None:
        return BuildkitLink(engine.endpoint, engine, engine.tls)
    certificates(folder)  # report unusable ones now
    return BuildkitLink(address, engine, partial(certificates, folder), standalone=True)


def base_images(engine: DockerEngine, link: BuildkitLink) -> Bases:
    """Return lookups of base images with the logins that can be read."""
    return Bases(engine, link, lambda: _find_credentials)


def _find_credentials(host: str) -> Credentials | None:
    """Return the user's login at a registry; None where it cannot be read."""
    try:
        return credentials_of(find_login(host))
    except EngineError:
        return None
