"""Run calls of docker-py in threads, and convert its exceptions to ours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, ParamSpec, TypeVar

import docker
import docker.errors
import requests.exceptions
import urllib3.exceptions

from watcher.engine import private_api
from watcher.engine.endpoint import describe_error
from watcher.engine.values import EngineError, Removal
from watcher.errors import EngineUnavailable
from watcher.system.blocking_call import in_own_thread

P = ParamSpec("P")
T = TypeVar("T")

CONNECTION_ERRORS = (
    requests.exceptions.ConnectionError,
    requests.exceptions.Timeout,
    urllib3.exceptions.HTTPError,
)


def error_text(error: docker.errors.APIError) -> str:
    """Return the engine's message."""
    return str(error.explanation or error).strip()


class EngineCalls:
    """Runs the blocking calls of one docker-py client in threads."""

    def __init__(self, client: docker.APIClient) -> None:
        self.client = client

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a call; raises docker-py's NotFound, EngineError or EngineUnavailable."""
        with _converted_errors():
            return await asyncio.to_thread(function, *args, **kwargs)

    async def call_apart(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a call that can take any time, in no thread of the pool; a cancelled one is left behind.

        Raises what `call` raises.
        """
        with _converted_errors():
            return await in_own_thread(partial(function, *args, **kwargs))

    async def try_remove(self, function: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> Removal:
        """Run a call that removes an object; return the result."""
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
        """Send a request that docker-py has no complete method for; raise EngineError."""
        try:
            await self.call(private_api.post_json, self.client, path, body)
        except docker.errors.NotFound as error:
            raise EngineError(error_text(error), 404) from error


@contextmanager
def _converted_errors() -> Iterator[None]:
    try:
        yield
    except docker.errors.NotFound:
        raise
    except docker.errors.APIError as error:
        raise EngineError(error_text(error), error.status_code) from error
    except (docker.errors.DockerException, *CONNECTION_ERRORS) as error:
        raise EngineUnavailable(f"the Docker engine does not answer: {describe_error(error)}") from error
