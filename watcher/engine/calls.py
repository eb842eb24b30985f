"""Calls of docker-py in threads, with its exceptions turned into ours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

import docker
import docker.errors
import requests.exceptions
import urllib3.exceptions

from watcher.engine import private_api
from watcher.engine.endpoint import describe_error
from watcher.engine.interface import EngineError, Removal
from watcher.errors import EngineUnavailable

P = ParamSpec("P")
T = TypeVar("T")

CONNECTION_ERRORS = (
    requests.exceptions.ConnectionError,
    requests.exceptions.Timeout,
    urllib3.exceptions.HTTPError,
)


def error_text(error: docker.errors.APIError) -> str:
    """The engine's own words."""
    return str(error.explanation or error).strip()


class EngineCalls:
    """The calls of one client of docker-py, which block and so run in threads."""

    def __init__(self, client: docker.APIClient) -> None:
        self.client = client

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call it; raises NotFound of docker-py, EngineError, EngineUnavailable."""
        try:
            return await asyncio.to_thread(function, *args, **kwargs)
        except docker.errors.NotFound:
            raise
        except docker.errors.APIError as error:
            raise EngineError(error_text(error), error.status_code) from error
        except (docker.errors.DockerException, *CONNECTION_ERRORS) as error:
            raise EngineUnavailable(f"the Docker engine does not answer: {describe_error(error)}") from error

    async def try_remove(self, function: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> Removal:
        """Call what removes something; what became of it."""
        try:
            await self.call(function, *args, **kwargs)
        except docker.errors.NotFound:
            return Removal.GONE
        except EngineError as error:
            if error.status == 409:
                return Removal.IN_USE
            raise
        return Removal.REMOVED

    async def post_json(self, path: str, body: Mapping[str, Any]) -> None:
        """A request that docker-py has no method with all fields for; raises EngineError."""
        try:
            await self.call(private_api.post_json, self.client, path, body)
        except docker.errors.NotFound as error:
            raise EngineError(error_text(error), 404) from error
