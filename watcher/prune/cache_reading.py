"""Read the records of a build cache, and share one reading among many projects."""

from __future__ import annotations

from collections.abc import Sequence

from watcher.builder import BuildkitConnection
from watcher.buildkit import ConnectError, RpcError, UsageInfo
from watcher.errors import EngineUnavailable


async def read_records(connection: BuildkitConnection) -> list[UsageInfo]:
    """Return all records of a build cache. Raises EngineUnavailable."""
    try:
        return await (await connection.client()).disk_usage()
    except (ConnectError, RpcError) as error:
        raise EngineUnavailable(f"the build cache could not be read: {error}") from error


class SharedReadings:
    """One reading of each build cache. The engine needs seconds for a large one, and hundreds can be gone."""

    def __init__(self) -> None:
        self._found: dict[str, Sequence[UsageInfo] | EngineUnavailable] = {}

    async def read(self, connection: BuildkitConnection, cache: str) -> Sequence[UsageInfo]:
        """Return the records of the build cache with the id `cache`. Raises EngineUnavailable, each time."""
        if cache not in self._found:
            try:
                self._found[cache] = await read_records(connection)
            except EngineUnavailable as error:
                self._found[cache] = error
        found = self._found[cache]
        if isinstance(found, EngineUnavailable):
            raise found
        return found
