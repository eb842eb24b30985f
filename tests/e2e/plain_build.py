"""A build of examples/shop without the watcher, from scratch, and what an image holds."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import tarfile
import tempfile
from pathlib import Path

import docker

from tests.e2e.shop import Shop

_OF_CREATION = (
    "dev/",
    "etc/hostname",
    "etc/hosts",
    "etc/resolv.conf",
    "etc/mtab",
    "proc/",
    "sys/",
    ".dockerenv",
)
_CONFIG = ("Env", "Cmd", "Entrypoint", "WorkingDir", "User", "ExposedPorts", "Volumes")


def read_content(client: docker.DockerClient, image: str) -> dict[str, str]:
    """Return type, mode and content of each file of an image, and its configuration."""
    made = client.api.create_container(image, command="x")["Id"]
    found = {
        "config": json.dumps({key: client.images.get(image).attrs["Config"].get(key) for key in _CONFIG})
    }
    try:
        with tempfile.TemporaryFile() as file:
            for part in client.api.export(made):
                file.write(part)
            file.seek(0)
            with tarfile.open(fileobj=file) as archive:
                for member in archive:
                    if member.name.startswith(_OF_CREATION):
                        continue
                    data = archive.extractfile(member) if member.isreg() else None
                    digest = hashlib.sha256(data.read()).hexdigest() if data else member.linkname
                    found[member.name] = f"{member.type!r} {member.mode:o} {digest}"
    finally:
        client.api.remove_container(made)
    return found


def build_plainly(client: docker.DockerClient, shop: Shop, service: str) -> str:
    """Build a service from scratch; return the image id."""
    return build_from_scratch(client, shop.folder, {"SERVICE": service}, f"{shop.id}-plain:{service}")


def build_from_scratch(client: docker.DockerClient, folder: Path, args: dict[str, str], tag: str) -> str:
    """Build `folder` without any cache, and keep no layers but the image's; return the image id."""
    image, log = client.images.build(path=str(folder), buildargs=args, tag=tag, nocache=True, rm=True)
    told = "".join(str(line.get("stream", "")) for line in log if isinstance(line, dict))
    for made in reversed(re.findall(r" ---> ([0-9a-f]{12})", told)):
        with contextlib.suppress(docker.errors.APIError):  # its layers are removed with its tag
            if not client.images.get(made).tags:
                client.images.remove(made)
    return str(image.id)
