"""The labels by which the daemon knows its own objects again: there is no other memory of them.

Every image that is built and every container that is created carries `PROJECT` and `SERVICE`. What does not
carry them is somebody else's and is never touched. But labels are inherited: an image hands its labels down
to its containers and to the images built from it, and `docker commit` puts a container's labels into an
image. So a label says what an object claims to be, and is no proof:

- A container proves itself by `IMAGE`, the id of the image that it was created from. An id is a digest over
  the image's labels too, so no image can carry its own id: a container that inherited the label was created
  from another image than the label names. Of two containers with the same `CREATION` the later one is a copy.
- An image proves itself by a name that only the daemon gives (`prune.ServiceScope`): names are not inherited.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from pathlib import Path

from watcher import regex

PROJECT = "watcher.project"  # project id
SERVICE = "watcher.service"  # service of the compose file
KIND = "watcher.kind"  # final | builder | app
REVISION = "watcher.revision"  # on containers only: on an image it would give equal images different ids
CONFIG = "watcher.config"  # digest over how the container was told to run
IMAGE = "watcher.image"  # on containers only: id of the image that it was created from
MOUNTED = "watcher.mounted"  # on containers only: digest over the sources that were mounted into it
CREATION = "watcher.creation"  # on containers only: a number used once
DEPENDENCY = "watcher.dependency"  # on containers of dependencies only: project id
NETWORK = "watcher.network"  # on networks only: the network's own name, which no copy of the labels has

FINAL, BUILDER, APP = "final", "builder", "app"
PAUSE = "sandbox"  # kind of a pause container; the value is that of earlier versions, which are adopted
NETWORK_KIND = "network"
PAUSE_NAME = "watcher-net-"  # what its name begins with
_PROJECT_ID = regex.compile(r"[a-z0-9-]{1,255}-[0-9a-f]{10}")
_OLD_PAUSE = regex.compile(rf"{PAUSE_NAME}[0-9a-f]{{12}}")


def project_id(root: Path) -> str:
    """The id of the project in this folder: its name for people, and a digest of its path."""
    digest = hashlib.sha256(str(root).encode("utf-8", "surrogateescape")).hexdigest()
    name = "".join(char if char.isalnum() and char.isascii() else "-" for char in root.name.lower())
    return f"{name.strip('-') or 'project'}-{digest[:10]}"


def is_project_id(text: str) -> bool:
    """Whether a text has the form of a project's id."""
    return _PROJECT_ID.fullmatch(text) is not None


def image(project: str, service: str, kind: str) -> dict[str, str]:
    """Labels of an image; `kind` is FINAL or BUILDER."""
    return {PROJECT: project, SERVICE: service, KIND: kind}


def app(project: str, service: str, revision: str) -> dict[str, str]:
    """Labels of a container that runs the service."""
    return {PROJECT: project, SERVICE: service, KIND: APP, REVISION: revision}


def pause_labels(project: str, service: str) -> dict[str, str]:
    """Labels of a container that only holds a network for one that runs the service."""
    return {PROJECT: project, SERVICE: service, KIND: PAUSE}


def network(project: str, name: str) -> dict[str, str]:
    """Labels of a network that the watcher creates under that name."""
    return {PROJECT: project, KIND: NETWORK_KIND, NETWORK: name}


def is_own_network(found: Mapping[str, str], name: str) -> bool:
    """Whether labels and name of a network prove that a watcher created it.

    Nothing inherits a network's labels, and whoever copied them gave the copy another name.
    """
    return PROJECT in found and found.get(KIND) == NETWORK_KIND and found.get(NETWORK) == name


def proof(image: str) -> dict[str, str]:
    """Labels that prove that a container of the image with this id was created here; never the same twice."""
    return {IMAGE: image, CREATION: secrets.token_hex(16)}


def is_proven(found: Mapping[str, str], name: str, image: str) -> bool:
    """Whether labels, name and image id of a container prove that the watcher created it.

    Earlier versions wrote no proof. Their containers that run the service carry compose's labels with the
    image's id, and a configuration digest that is compose's hash too; compose itself would overwrite both.
    """
    if IMAGE in found:
        return _same_id(found[IMAGE], image)
    if found.get(KIND) == PAUSE:
        return _OLD_PAUSE.fullmatch(name) is not None
    config = found.get(CONFIG)
    return (
        config is not None
        and config == found.get("com.docker.compose.config-hash")
        and _same_id(found.get("com.docker.compose.image", ""), image)
    )


def _same_id(one: str, other: str) -> bool:
    return bool(one) and one.removeprefix("sha256:") == other.removeprefix("sha256:")


def pause_filter(project: str, service: str) -> tuple[str, ...]:
    """Filter values that find the containers that only hold a network for the service."""
    return tuple(f"{key}={value}" for key, value in pause_labels(project, service).items())


def selector(project: str, service: str) -> tuple[str, ...]:
    """Filter values that find the containers of a service."""
    return (f"{PROJECT}={project}", f"{SERVICE}={service}", f"{KIND}={APP}")


def is_app(found: Mapping[str, str], project: str, service: str) -> bool:
    """Whether these are labels of a container that runs the service: what it claims, not yet a proof."""
    return app(project, service, "").items() - {(REVISION, "")} <= found.items()
