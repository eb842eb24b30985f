"""Define the labels by which the daemon recognises its own objects: it stores no other list of them.

Every image that is built and every container that is created has `PROJECT` and `SERVICE`. Objects without
them are never touched. But labels are inherited: an image passes its labels to its containers and to images
built from it, and `docker commit` copies a container's labels into an image. So a label is a claim, not a
proof:

- A container proves itself by `IMAGE`, the id of the image that it was created from. An id is a digest that
  covers the image's labels, so no image can contain its own id: a container with an inherited label was
  created from another image. Of several containers with the same `CREATION`, only the first is original.
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
CONFIG = "watcher.config"  # digest of the container's configuration
IMAGE = "watcher.image"  # on containers only: id of the image that it was created from
MOUNTED = "watcher.mounted"  # on containers only: digest of the mounted sources
CREATION = "watcher.creation"  # on containers only: a number used once
DEPENDENCY = "watcher.dependency"  # on containers of dependencies only: project id
NETWORK = "watcher.network"  # on networks only: the network's own name, which no copy of the labels has

FINAL, BUILDER, APP = "final", "builder", "app"
PAUSE = "sandbox"  # kind of a pause container; the value of earlier versions, whose containers are adopted
NETWORK_KIND = "network"
PAUSE_NAME = "watcher-net-"  # prefix of its name
ADDRESS = "address"  # kind of an address container
ADDRESS_NAME = "watcher-address-"  # prefix of its name
ADDRESS_IMAGE = "watcher-address:1"  # its image, which has no file and no labels
_PROJECT_ID = regex.compile(r"[a-z0-9-]{1,255}-[0-9a-f]{10}")
_OLD_PAUSE = regex.compile(rf"{PAUSE_NAME}[0-9a-f]{{12}}")


def project_id(root: Path) -> str:
    """Return the id of the project in this folder: its name for people, and a digest of its path."""
    digest = hashlib.sha256(str(root).encode("utf-8", "surrogateescape")).hexdigest()
    name = "".join(char if char.isalnum() and char.isascii() else "-" for char in root.name.lower())
    return f"{name.strip('-') or 'project'}-{digest[:10]}"


def is_project_id(text: str) -> bool:
    """Return whether a text has the form of a project id."""
    return _PROJECT_ID.fullmatch(text) is not None


def image_labels(project: str, service: str, kind: str) -> dict[str, str]:
    """Return the labels of an image; `kind` is FINAL or BUILDER."""
    return {PROJECT: project, SERVICE: service, KIND: kind}


def app_labels(project: str, service: str, revision: str) -> dict[str, str]:
    """Return the labels of a container that runs the service."""
    return {PROJECT: project, SERVICE: service, KIND: APP, REVISION: revision}


def pause_labels(project: str, service: str) -> dict[str, str]:
    """Return the labels of a pause container of the service."""
    return {PROJECT: project, SERVICE: service, KIND: PAUSE}


def address_labels(project: str, service: str) -> dict[str, str]:
    """Return the labels of an address container of the service."""
    return {PROJECT: project, SERVICE: service, KIND: ADDRESS}


def network_labels(project: str, name: str) -> dict[str, str]:
    """Return the labels of a network that the watcher creates with this name."""
    return {PROJECT: project, KIND: NETWORK_KIND, NETWORK: name}


def is_own_network(found: Mapping[str, str], name: str) -> bool:
    """Return whether labels and name prove that a watcher created the network.

    Network labels are not inherited, and a copy of the network has another name.
    """
    return PROJECT in found and found.get(KIND) == NETWORK_KIND and found.get(NETWORK) == name


def proof_labels(image: str) -> dict[str, str]:
    """Return labels that prove that a container of this image was created here; different at every call."""
    return {IMAGE: image, CREATION: secrets.token_hex(16)}


def is_proven(found: Mapping[str, str], name: str, image: str) -> bool:
    """Return whether labels, name and image id prove that the watcher created the container.

    Earlier versions wrote no proof. Their app containers have compose's labels with the image id, and a
    configuration digest equal to compose's hash; compose itself would overwrite both.
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
    """Return label filters for the pause containers of the service."""
    return tuple(f"{key}={value}" for key, value in pause_labels(project, service).items())


def address_filter(project: str, service: str) -> tuple[str, ...]:
    """Return label filters for the address containers of the service."""
    return tuple(f"{key}={value}" for key, value in address_labels(project, service).items())


def service_filter(project: str, service: str) -> tuple[str, ...]:
    """Return label filters for the containers of a service."""
    return (f"{PROJECT}={project}", f"{SERVICE}={service}", f"{KIND}={APP}")


def is_app(found: Mapping[str, str], project: str, service: str) -> bool:
    """Return whether these are labels of a container of the service; a claim, not a proof."""
    return app_labels(project, service, "").items() - {(REVISION, "")} <= found.items()
