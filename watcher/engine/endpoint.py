"""Find the endpoint of the engine and its TLS settings, as the docker CLI does."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from typing import Any

import docker
import docker.errors
from docker.context import ContextAPI
from docker.utils import kwargs_from_env

from watcher.errors import ConfigError

DEFAULT = "unix:///var/run/docker.sock"
_SSH = (
    "an engine over ssh cannot be used, because the ports of its containers are on the other machine; "
    "run the watcher there, and forward the service's port with ssh -L"
)


def client_arguments(endpoint: str | None, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return docker-py's arguments for `endpoint`, DOCKER_HOST or the docker context. Raises ConfigError.

    TLS settings come from the context, or from DOCKER_TLS_VERIFY and DOCKER_CERT_PATH, for tcp only.
    """
    try:
        found: dict[str, Any] = {**kwargs_from_env(dict(environ))}
    except docker.errors.DockerException as error:
        raise ConfigError("DOCKER_CERT_PATH", environ.get("DOCKER_CERT_PATH"), str(error)) from error
    field = "engine" if endpoint else "DOCKER_HOST"
    if endpoint:
        found["base_url"] = endpoint
    elif "base_url" not in found:
        field, found = "docker context", {**_of_context(environ), **found}
    address = str(found.get("base_url") or DEFAULT)
    if address.startswith("ssh:"):
        raise ConfigError(field, address, _SSH)
    if not address.startswith(("tcp:", "http:", "https:")):
        found.pop("tls", None)
    return {**found, "base_url": address}


def _of_context(environ: Mapping[str, str]) -> dict[str, Any]:
    name = environ.get("DOCKER_CONTEXT") or None
    try:
        found: dict[str, Any] = {**ContextAPI.kwargs_from_context(environment=dict(environ))}
        known = name in (None, "default") or ContextAPI.get_context(name) is not None
    except Exception as error:
        raise ConfigError("docker context", name, f"cannot be read: {error}") from error
    if not known:
        raise ConfigError("DOCKER_CONTEXT", name, "there is no such context; `docker context ls` lists them")
    return found


def describe_error(error: BaseException) -> str:
    """Return the system's message inside exceptions of docker-py, requests and urllib3."""
    seen: list[object] = [error]
    for one in seen:  # grows
        if isinstance(one, OSError) and one.strerror and isinstance(one.errno, int):
            return one.strerror[:1].lower() + one.strerror[1:]
        if isinstance(one, BaseException):
            inner = (*one.args, getattr(one, "reason", None), one.__cause__, one.__context__)
            seen += [each for each in inner if isinstance(each, BaseException) and each not in seen]
    return str(error)


def tls_of(client: docker.APIClient) -> ssl.SSLContext | None:
    """Return a new TLS context with the settings of docker-py's client; None without TLS.

    Raises ConfigError for certificates that cannot be read.
    """
    if not str(client.base_url).startswith("https"):
        return None
    context = ssl.create_default_context()
    try:
        if isinstance(client.verify, str):
            context = ssl.create_default_context(cafile=client.verify)
        if not client.verify:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if isinstance(client.cert, tuple):
            context.load_cert_chain(*client.cert)
    except (OSError, ValueError) as error:
        raise ConfigError("DOCKER_CERT_PATH", None, f"its certificates cannot be used: {error}") from error
    return context


def address_of(client: docker.APIClient) -> str:
    """Return the address of a docker-py client: unix://…, tcp://…"""
    path = getattr(getattr(client, "_custom_adapter", None), "socket_path", None)
    if path:
        return f"unix://{path}"
    return f"tcp://{str(client.base_url).partition('://')[2]}"
