"""Turn the endless streams of docker-py, a container's log and the engine's events, into async iterators."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import docker.errors

from watcher.engine import convert
from watcher.engine.calls import CONNECTION_ERRORS
from watcher.engine.stream_reader import BatchReader
from watcher.engine.values import EngineEvent, Printed

T = TypeVar("T")

MOST_LINES = 200  # buffered lines of a container; the rest stays in the engine


async def batch_log(stream: Any) -> AsyncGenerator[Sequence[Printed]]:
    """Yield the lines of a log in batches until it ends; close the stream afterwards."""
    reader = BatchReader(convert.parse_log(_until_closed(stream)), most=MOST_LINES, name="engine-logs")
    try:
        async for batch in reader.batches():
            yield batch
    finally:
        reader.close()
        stream.close()


async def read_events(stream: Any) -> AsyncGenerator[EngineEvent]:
    """Yield the events of containers until the engine disconnects; close the stream afterwards."""
    loop, inbox = asyncio.get_running_loop(), asyncio.Queue[EngineEvent | None]()

    def read_stream() -> None:
        for event in _container_events(stream):
            loop.call_soon_threadsafe(inbox.put_nowait, event)
        with contextlib.suppress(RuntimeError):  # the loop can be closed when the daemon ends
            loop.call_soon_threadsafe(inbox.put_nowait, None)

    threading.Thread(target=read_stream, name="engine-events", daemon=True).start()
    try:
        while (event := await inbox.get()) is not None:
            yield event
    finally:
        stream.close()


def _until_closed(stream: Iterator[T]) -> Iterator[T]:
    """Yield from the stream until it ends, is closed, or the engine disconnects."""
    with contextlib.suppress(
        docker.errors.DockerException, *CONNECTION_ERRORS, OSError, ValueError, AttributeError
    ):
        yield from stream


def _container_events(stream: Iterator[Mapping[str, Any]]) -> Iterator[EngineEvent]:
    for raw in _until_closed(stream):
        actor = raw.get("Actor") or {}
        yield EngineEvent(raw.get("Action", ""), actor.get("ID", ""), actor.get("Attributes") or {})
