"""The build cache that a run of the tests adds to the engine: some 600 records of 5 GB together.

BuildKit's records carry no owner, so what tests made is told from what was there before them. A build that
somebody else ran meanwhile loses its cache too, which costs it time and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from watcher.builder.connection import BuildkitConnection
from watcher.buildkit import Client
from watcher.engine import DockerEngine


@dataclass(frozen=True)
class Removed:
    """How many records went, and their bytes."""

    records: int
    size: int


async def records(client: Client) -> frozenset[str]:
    """The ids of everything in the build cache."""
    return frozenset(each.id for each in await client.disk_usage())


async def remove_since(client: Client, before: frozenset[str]) -> Removed:
    """Remove what was not there `before`; records in use and those that an image shares stay."""
    mine = sorted(await records(client) - before)
    gone = []
    while found := await client.remove_records(mine):
        gone += found
        mine = sorted(set(mine) - {each.id for each in found})
    return Removed(len(gone), sum(each.size for each in gone))


def records_now() -> frozenset[str]:
    """`records` of the engine that the tests use. Raises WatcherError or BuildkitError."""

    async def ask() -> frozenset[str]:
        async with _client() as client:
            return await records(client)

    return asyncio.run(ask())


def remove_all_since(before: frozenset[str]) -> Removed:
    """`remove_since` at the engine that the tests use. Raises WatcherError or BuildkitError."""

    async def remove() -> Removed:
        async with _client() as client:
            return await remove_since(client, before)

    return asyncio.run(remove())


@asynccontextmanager
async def _client() -> AsyncIterator[Client]:
    engine = await DockerEngine.open(None)
    connection = BuildkitConnection(engine.endpoint, engine, engine.tls)
    try:
        yield await connection.client()
    finally:
        await connection.close()
        await engine.close()
