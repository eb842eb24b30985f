"""The labels by which the daemon knows its own objects again: there is no other memory of them.

Every image that is built and every container that is created carries `PROJECT` and `SERVICE`. What does not
carry them is somebody else's and is never touched.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

PROJECT = "watcher.project"  # project id
SERVICE = "watcher.service"  # service of the compose file
KIND = "watcher.kind"  # final | builder | app
REVISION = "watcher.revision"  # on containers only: on an image it would give equal images different ids
CONFIG = "watcher.config"  # digest over how the container was told to run

FINAL, BUILDER, APP = "final", "builder", "app"
SANDBOX = "sandbox"  # kind of a container that only holds a network
SANDBOX_NAME = "watcher-net-"  # what its name begins with


def project_id(root: Path) -> str:
    """The id of the project in this folder: its name for people, and a digest of its path."""
    digest = hashlib.sha256(str(root).encode("utf-8", "surrogateescape")).hexdigest()
    name = "".join(char if char.isalnum() and char.isascii() else "-" for char in root.name.lower())
    return f"{name.strip('-') or 'project'}-{digest[:10]}"


def image(project: str, service: str, kind: str) -> dict[str, str]:
    """Labels of an image; `kind` is FINAL or BUILDER."""
    return {PROJECT: project, SERVICE: service, KIND: kind}


def app(project: str, service: str, revision: str) -> dict[str, str]:
    """Labels of a container that runs the service."""
    return {PROJECT: project, SERVICE: service, KIND: APP, REVISION: revision}


def sandbox(project: str, service: str) -> dict[str, str]:
    """Labels of a container that only holds a network for one that runs the service."""
    return {PROJECT: project, SERVICE: service, KIND: SANDBOX}


def sandboxes(project: str, service: str) -> tuple[str, ...]:
    """Filter values that find the containers that only hold a network for the service."""
    return tuple(f"{key}={value}" for key, value in sandbox(project, service).items())


def selector(project: str, service: str) -> tuple[str, ...]:
    """Filter values that find the containers of a service."""
    return (f"{PROJECT}={project}", f"{SERVICE}={service}", f"{KIND}={APP}")


def is_app(found: Mapping[str, str], project: str, service: str) -> bool:
    """Whether these are labels of a container that runs the service."""
    return app(project, service, "").items() - {(REVISION, "")} <= found.items()
