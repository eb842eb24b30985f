"""Read the disk usage of images, build cache, containers and volumes from the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import docker.errors

from watcher.engine import convert, private_api
from watcher.engine.calls import EngineCalls, error_text
from watcher.engine.values import EngineError, Usage

_TIMEOUT = 300.0  # seconds: the engine measures every new cache record
_ATTEMPTS = 3
_PAUSE = 0.2  # seconds


async def read_usage(calls: EngineCalls, *, whole: bool, pause: float = _PAUSE) -> Usage:
    """Return the disk usage; see `Engine.usage`."""
    for attempt in range(_ATTEMPTS):
        try:
            return convert.parse_usage(await calls.call(_ask_engine, calls.client, whole))
        except docker.errors.NotFound as error:  # a snapshot was removed while the engine measured it
            if attempt == _ATTEMPTS - 1:
                raise EngineError(error_text(error), 404) from error
            await asyncio.sleep(pause)
    raise AssertionError


def _ask_engine(client: Any, whole: bool) -> Mapping[str, Any]:
    # docker-py's df() cannot select object types, and the engine would measure all volumes too.
    typed = convert.version_key(client.api_version) >= (1, 42)
    kinds = ["image", "build-cache", *(("container", "volume") if whole else ())]
    params = {"type": kinds} if typed else {}
    answer: Mapping[str, Any] = private_api.get_json(client, "/system/df", params=params, timeout=_TIMEOUT)
    return answer
