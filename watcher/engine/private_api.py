"""The parts of docker-py that are private, in one place: requests that it has no method for.

pyproject.toml bounds docker-py from above for their sake, and `tests/unit/engine/test_private_api.py` says
what they are. They block: call them in a thread.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import docker.auth
import docker.types
import docker.utils


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


def close_output(output: Any) -> None:
    """Close the output of a command in a container; its own `close` leaves the file of the socket open."""
    output.close()
    output._response.close()


def open_pull(client: Any, ref: str, platform: str, *, timeout: float) -> Any:
    """Return the open answer to the request to pull `ref`; close it. Raises docker's errors.

    docker-py's own `pull` waits without end for a registry that does not answer. `timeout` is the longest
    pause, in seconds, before the answer and between two lines of it.
    """
    repository, tag = docker.utils.parse_repository_tag(ref)
    registry, _ = docker.auth.resolve_repository_name(repository)
    login = docker.auth.get_config_header(client, registry)
    answer = client._post(
        client._url("/images/create"),
        params={
            "fromImage": repository,
            "tag": tag or "latest",
            **({"platform": platform} if platform else {}),
        },
        headers={"X-Registry-Auth": login} if login else {},
        stream=True,
        timeout=timeout,
    )
    try:
        client._raise_for_status(answer)
    except BaseException:
        answer.close()
        raise
    return answer


def read_json_lines(client: Any, answer: Any) -> Iterator[Mapping[str, Any]]:
    """Read the lines of an open answer, each a JSON object."""
    lines: Iterator[Mapping[str, Any]] = client._stream_helper(answer, decode=True)
    return lines


def shut_down(answer: Any) -> None:
    """End an open answer, also while another thread waits for its next line."""
    with contextlib.suppress(Exception):  # it has ended, or goes over SSH, which has no socket of its own
        docker.types.CancellableStream(iter(()), answer).close()
