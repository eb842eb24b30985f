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


def archive(images: Iterable[Made]) -> tuple[bytes, list[str]]:
    """A docker archive (`docker save`'s format) of `images`, and the digest of each one's configuration."""
    buffer, manifest, ids = io.BytesIO(), [], []
    written: set[str] = set()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for image in images:
            when = datetime.fromtimestamp(image.created, UTC).isoformat()
            digests = []
            for text, size in image.layers.items():
                content = _layer(text, size)
                digests.append(_digest(content))
                if digests[-1] not in written:
                    written.add(digests[-1])
                    _add(tar, f"{digests[-1]}.tar", content)
            config: dict[str, Any] = {
                "architecture": "amd64",
                "os": "linux",
                "created": when,
                "config": {"Labels": dict(image.labels)},
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
                "history": [{"created": when, "created_by": text} for text in image.layers],
            }
            content = json.dumps(config).encode()
            ids.append(f"sha256:{_digest(content)}")
            _add(tar, f"{_digest(content)}.json", content)
            manifest.append(
                {
                    "Config": f"{_digest(content)}.json",
                    "RepoTags": list(image.tags) or None,
                    "Layers": [f"{digest}.tar" for digest in digests],
                }
            )
        _add(tar, "manifest.json", json.dumps(manifest).encode())
    return buffer.getvalue(), ids


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
