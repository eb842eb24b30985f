"""The connection to BuildKit, and what this BuildKit can do."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

from watcher import regex
from watcher.buildkit import Client, ConnectError, RpcError
from watcher.dockerfile import Platforms
from watcher.engine import Engine
from watcher.errors import ConfigError, EngineUnavailable

# `RUN --network` came with BuildKit 0.9, and that with Engine 23 (20.10 has 0.8).
_BUILDKIT = (0, 9)
# Builds share steps safely since BuildKit 0.14 (solver/jobs.go, `addJobs`), and that came with Engine 27.
_SHARING_BUILDKIT = (0, 14)
_VERSION = regex.compile(r"v?(\d+)\.(\d+)")
_ENGINE = (23, 0)
_SHARING_ENGINE = (27, 0)
_EXECUTOR = "org.mobyproject.buildkit.worker.executor"  # a label: oci or containerd


class BuildkitConnection:
    """The connection to BuildKit, opened on first use and again after it was lost.

    `standalone`: a buildkitd next to the engine builds, and its images have to be loaded into the engine.
    """

    def __init__(
        self,
        address: str,
        engine: Engine,
        tls: Callable[[], ssl.SSLContext | None] = lambda: None,
        *,
        standalone: bool = False,
    ) -> None:
        """`tls` returns a new context for each connection, or None for an unencrypted one."""
        self._address, self._engine, self._tls = address, engine, tls
        self.standalone = standalone
        self._client: Client | None = None
        self._lock = asyncio.Lock()
        self._networks: bool | None = None
        self._native = ""

    async def client(self) -> Client:
        """Return a connected client; raises EngineUnavailable."""
        async with self._lock:
            if self._client is None or self._client.closed:
                await self.close()
                try:
                    self._client = await Client.connect(self._address, tls=self._tls())
                except ConnectError as error:
                    raise EngineUnavailable(str(error)) from error
                if await self._is_at_least(self._client, _SHARING_BUILDKIT, _SHARING_ENGINE):
                    self._client.start_next_at_once()
            return self._client

    async def _is_at_least(
        self, client: Client, buildkit: tuple[int, int], engine: tuple[int, int]
    ) -> bool | None:
        """Return whether BuildKit, or the engine that has it, is that new; None if no version is known."""
        try:
            versions = [each.version for each in await client.workers()]
        except (ConnectError, RpcError) as error:
            raise EngineUnavailable(f"BuildKit does not say how it is set up: {error}") from error
        known = _at_least(versions[0], buildkit) if versions else None
        if known is None and not self.standalone:
            known = _at_least((await self._engine.info()).version, engine)
        return known

    async def supports_run_network(self) -> bool:
        """Return whether the built-in frontend knows `RUN --network`, by version; raises EngineUnavailable.

        True if the version is unknown: call `record_refused_network` if the frontend then refuses it.
        """
        client = await self.client()
        if self._networks is None:
            self._networks = await self._is_at_least(client, _BUILDKIT, _ENGINE) is not False
        return self._networks

    async def platforms(self, target: str) -> Platforms:
        """Return the platforms to build on and for (`target`, if not empty); raises EngineUnavailable."""
        client = await self.client()
        if not self._native:
            native = [each.platforms[0] for each in await client.workers() if each.platforms]
            self._native = native[0] if native else Platforms.of_this_machine("").build
        return Platforms.of(self._native, target)

    async def forgets_when_pruned(self) -> bool:
        """Return whether this BuildKit can forget build steps when one cache record is removed.

        After a removal it looks up the other records with a context that has ended (moby/buildkit,
        control/control.go, `Prune`, from 0.11 on). Only a BuildKit that asks containerd over a connection
        gets an error for this, and forgets the steps that depend on an image that the engine unpacked
        (cache/refs.go, `isLazy`): the engine's with the containerd store, and a buildkitd with a
        containerd worker. `prune/engine_bases.py` says which steps. Raises EngineUnavailable.
        """
        if self.standalone:
            workers = await (await self.client()).workers()
            return any(worker.labels.get(_EXECUTOR) != "oci" for worker in workers)
        return (await self._engine.info()).store == "containerd"

    async def image_tags(self) -> set[str]:
        """Return the names of all images of the engine. Raises EngineUnavailable."""
        return {tag for image in await self._engine.images() for tag in image.tags}

    async def cache_limit(self) -> int | None:
        """Return the bytes that BuildKit's own garbage collection leaves; None if there is none.

        It removes old records with a valid context, and so forgets nothing else (moby/buildkit,
        control/control.go, `gc`). Raises EngineUnavailable.
        """
        try:
            workers = await (await self.client()).workers()
        except (ConnectError, RpcError) as error:
            raise EngineUnavailable(f"BuildKit does not say how it is set up: {error}") from error
        return workers[0].cache_limit if workers else None

    def record_refused_network(self) -> None:
        """Record that the frontend does not know `RUN --network`."""
        self._networks = False

    async def close(self) -> None:
        """Close the connection."""
        self._networks = None  # the next connection can lead to another version, on another machine
        self._native = ""
        if self._client is not None:
            await self._client.close()
            self._client = None


def _at_least(version: str, wanted: tuple[int, int]) -> bool | None:
    """Return whether a version like `v0.12.5` or `20.10.24+dfsg1` is that new; None if it is no version."""
    match = _VERSION.match(version)
    if match is None or (found := (int(match[1]), int(match[2]))) == (0, 0):
        return None
    return found >= wanted


def certificates(folder: Path | None) -> ssl.SSLContext | None:
    """Return a TLS context with a folder's ca.pem, cert.pem and key.pem. Raises ConfigError."""
    if folder is None:
        return None
    try:
        context = ssl.create_default_context(cafile=folder / "ca.pem")
        context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    except OSError as error:
        rule = f"must hold ca.pem, cert.pem and key.pem that fit: {error}"
        raise ConfigError("build.buildkit_certs", str(folder), rule) from error
    return context
