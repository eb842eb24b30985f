"""Tiny images for a real engine: a docker archive made in memory, loaded in one request."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import docker

from watcher.builder import full_reference

_NAME = "io.containerd.image.name"  # the annotation that carries an image's reference in an OCI archive


@dataclass(frozen=True)
class Made:
    """An image to be: `layers` maps a text that makes the layer unlike any other to its size in bytes."""

    layers: Mapping[str, int]
    tags: Sequence[str] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    created: float = 0.0  # Unix seconds


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def _layer(text: str, size: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        _add(archive, "file", text.encode().ljust(size, b"."))
    return buffer.getvalue()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def containerd(api: docker.APIClient) -> bool:
    """Whether the engine keeps its images in the containerd store."""
    raw: Any = api
    return ["driver-type", "io.containerd.snapshotter.v1"] in (raw.info()["DriverStatus"] or [])


def archive(images: Iterable[Made], *, containerd: bool = False) -> tuple[bytes, list[str]]:
    """An archive of `images` in both of `docker save`'s formats, and the id of each one.

    The classic store reads `manifest.json` and calls an image by the digest of its configuration, the
    containerd store reads `index.json` and calls it by the digest of its manifest.
    """
    buffer, docker_format, index, ids = io.BytesIO(), [], [], []
    blobs: dict[str, dict[str, Any]] = {}  # digest -> descriptor
    with tarfile.open(fileobj=buffer, mode="w") as tar:

        def blob(kind: str, content: bytes) -> dict[str, Any]:
            digest = _digest(content)
            if digest not in blobs:
                _add(tar, f"blobs/sha256/{digest}", content)
                media = f"application/vnd.oci.image.{kind}"
                blobs[digest] = {"mediaType": media, "digest": f"sha256:{digest}", "size": len(content)}
            return blobs[digest]

        for image in images:
            when = datetime.fromtimestamp(image.created, UTC).isoformat()
            layers = [blob("layer.v1.tar", _layer(text, size)) for text, size in image.layers.items()]
            config: dict[str, Any] = {
                "architecture": "amd64",
                "os": "linux",
                "created": when,
                "config": {"Labels": dict(image.labels)},
                "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]},
                "history": [{"created": when, "created_by": text} for text in image.layers],
            }
            configured = blob("config.v1+json", json.dumps(config).encode())
            manifest = {
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": configured,
                "layers": layers,
            }
            described = blob("manifest.v1+json", json.dumps(manifest).encode())
            ids.append(str((described if containerd else configured)["digest"]))
            docker_format.append(
                {
                    "Config": _path(configured),
                    "RepoTags": list(image.tags) or None,
                    "Layers": [_path(layer) for layer in layers],
                }
            )
            for tag in image.tags or ("",):
                name = full_reference(tag) if tag else ""
                index.append({**described, **({"annotations": {_NAME: name}} if name else {})})
        _add(tar, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
        _add(tar, "index.json", json.dumps({"schemaVersion": 2, "manifests": index}).encode())
        _add(tar, "manifest.json", json.dumps(docker_format).encode())
    return buffer.getvalue(), ids


def _path(descriptor: Mapping[str, Any]) -> str:
    return "blobs/" + str(descriptor["digest"]).replace(":", "/")


def build(
    api: docker.APIClient, tag: str, dockerfile: str, files: Mapping[str, bytes], labels: Mapping[str, str]
) -> str:
    """Build with BuildKit as anybody would, without our client; the image's id."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as context:
        for name, data in {"Dockerfile": dockerfile.encode(), **files}.items():
            _add(context, name, data)
    raw: Any = api
    answer = raw._post(
        raw._url("/build"),
        params={"version": "2", "t": tag, "labels": json.dumps(dict(labels))},
        data=content.getvalue(),
        headers={"Content-Type": "application/x-tar"},
    )
    raw._raise_for_status(answer)
    for line in answer.iter_lines():
        told = json.loads(line or "{}")
        if "error" in told:
            raise RuntimeError(told["error"])
    return str(raw.inspect_image(tag)["Id"])
