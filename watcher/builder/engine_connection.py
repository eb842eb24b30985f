"""Open an engine and the connection to its BuildKit: the one way of daemon, commands and prune."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from watcher.builder.connection import BuildkitConnection, certificates
from watcher.engine import DockerEngine, Engine


@dataclass(frozen=True, slots=True)
class EngineConnection:
    """An engine, and the BuildKit that is built into it, which is connected to when it is needed.

    As a context manager it closes both.
    """

    engine: Engine
    built_in: BuildkitConnection

    @classmethod
    def over(cls, engine: DockerEngine) -> Self:
        """Return the connection of an engine that was opened."""
        return cls(engine, BuildkitConnection(engine.endpoint, engine, engine.tls))

    async def close(self) -> None:
        """Close both connections."""
        try:
            await self.built_in.close()
        finally:
            await self.engine.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


async def connect_engine(endpoint: str | None) -> EngineConnection:
    """Connect to the engine at `endpoint` (default: as the docker CLI would).

    Raises EngineUnavailable, and ConfigError for an address or certificates that cannot be used.
    """
    return EngineConnection.over(await DockerEngine.open(endpoint))


def connect_buildkitd(address: str, engine: Engine, folder: Path | None) -> BuildkitConnection:
    """Return the connection to a buildkitd, beside the engine's own BuildKit.

    The certificates in `folder` are read whenever it connects.
    """
    return BuildkitConnection(address, engine, partial(certificates, folder), standalone=True)
