"""Read the user's registry logins from docker's configuration and credential helpers."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field

import docker.auth
import docker.errors

from watcher.engine.values import EngineError

# BuildKit names Docker Hub by its host, docker's configuration by its old index
# (docker/cli, cli/config/credentials; buildx does the same).
_HUB_HOSTS = frozenset({"registry-1.docker.io", "docker.io", "index.docker.io"})


@dataclass(frozen=True, slots=True)
class Login:
    """A login at a registry. An identity token has an empty `username`."""

    username: str
    secret: str = field(repr=False)


def find_login(host: str) -> Login | None:
    """Return the login for a registry host; None without one. Blocking: a helper can prompt the user.

    Raises EngineError if the configuration or a credential helper fails.
    """
    registry = docker.auth.INDEX_NAME if host in _HUB_HOSTS else host
    try:
        config = docker.auth.load_config()
        if helper := config.get_credential_store(registry):
            program = f"docker-credential-{helper}"
            if shutil.which(program) is None:
                raise EngineError(f"docker's configuration names {program}, which is not installed")
        found = config.resolve_authconfig(registry)
    except (docker.errors.DockerException, OSError, ValueError, KeyError) as error:
        raise EngineError(f"docker's configuration cannot be used: {error}") from error
    if not found:
        return None
    if token := found.get("IdentityToken"):
        return Login("", token)
    username = found.get("Username") or found.get("username") or ""
    secret = found.get("Password") or found.get("password") or ""
    return Login(username, secret) if username or secret else None
