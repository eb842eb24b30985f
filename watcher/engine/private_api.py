"""The parts of docker-py that are private, in one place: requests that it has no method for.

pyproject.toml bounds docker-py from above for their sake, and `tests/unit/engine/test_private_api.py` says
what they are. They block: call them in a thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def set_version(client: Any, version: str) -> None:
    """Speak this version of the API from now on."""
    client._version = version


def get_json(client: Any, path: str, *, params: Mapping[str, Any], timeout: float) -> Any:
    """Return the answer to a GET as plain data. Raises docker's errors."""
    return client._result(client._get(client._url(path), params=params, timeout=timeout), json=True)


def open_stream(
    client: Any,
    path: str,
    name: str,
    *,
    params: Mapping[str, Any] | None = None,
    timeout: float | None = None,
) -> Any:
    """Return the open answer to a GET of `path` with `name` for its `{0}`; close it. Raises docker's errors.

    Without `timeout`, that of the client holds.
    """
    limit = {} if timeout is None else {"timeout": timeout}
    answer = client._get(client._url(path, name), params=params, stream=True, **limit)
    try:
        client._raise_for_status(answer)
    except BaseException:
        answer.close()
        raise
    return answer


def post_json(client: Any, path: str, body: Mapping[str, Any]) -> None:
    """POST `body`. Raises docker's errors."""
    client._raise_for_status(client._post_json(client._url(path), data=dict(body)))
