"""Stream an image's archive (`docker save`) through a function, in a thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

import docker.errors

from watcher.engine import private_api
from watcher.engine.archive import ByteReader, Unreadable
from watcher.engine.calls import EngineCalls

Result = TypeVar("Result")

_READ_TIMEOUT = 300.0  # seconds without a byte


async def read_image(calls: EngineCalls, image: str, visit: Callable[[ByteReader], Result]) -> Result | None:
    """Return what `visit` makes of the archive; None if the image does not exist.

    If cancelled, the next read of `visit` raises Unreadable. Raises what `EngineCalls.call` raises.
    """
    stop = threading.Event()

    def read() -> Result:
        client = calls.client
        with private_api.open_stream(client, "/images/{0}/get", image, timeout=_READ_TIMEOUT) as answer:
            return visit(_Stoppable(answer.raw, stop))

    try:
        return await calls.call_apart(read)
    except docker.errors.NotFound:
        return None
    finally:
        stop.set()


class _Stoppable:
    """The body of a response that ends when `stop` is set."""

    def __init__(self, body: Any, stop: threading.Event) -> None:
        self._body, self._stop = body, stop

    def read(self, size: int = -1, /) -> bytes:
        if self._stop.is_set():
            raise Unreadable("the archive is no longer read")
        return bytes(self._body.read(size))
