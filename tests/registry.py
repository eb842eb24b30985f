"""A registry of one image, on this machine: what BuildKit asks of one to pull, with or without a login."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from tempfile import TemporaryFile
from typing import IO

import docker

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG = "application/vnd.docker.container.image.v1+json"
_LAYER = "application/vnd.docker.image.rootfs.diff.tar"

# Media type and content, by digest; the manifest also by its tag.
Blobs = dict[str, tuple[str, bytes]]


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _layer(name: str, size: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = size
        archive.addfile(entry, io.BytesIO(name.encode().ljust(size, b".")))
    return buffer.getvalue()


@dataclass
class Registry:
    """The image `base` of a registry at `host`; `asked` are the paths of requests that were answered."""

    host: str
    blobs: Blobs
    login: str = ""
    asked: list[str] = field(default_factory=list)
    refused: int = 0
    half: threading.Event | None = None  # the second half of the layer is given out when this is set

    @property
    def image(self) -> str:
        """The reference of the image."""
        return f"{self.host}/base:1"


def small_image(name: str, size: int = 1000) -> Blobs:
    """An image of one layer, with a file `name` of that size."""
    inner = {"Env": ["SET=by the base"], "User": "somebody", "WorkingDir": "/base"}
    config = {"architecture": "amd64", "os": "linux", "config": inner, "history": [{"created_by": name}]}
    layer = _layer(name, size)
    rootfs = {"type": "layers", "diff_ids": [_digest(layer)]}
    return _blobs(json.dumps({**config, "rootfs": rootfs}).encode(), [layer])


def saved_image(archive: IO[bytes]) -> Blobs:
    """The one image of an archive of `docker save`."""
    with tarfile.open(fileobj=archive) as tar:

        def read(name: str) -> bytes:
            file = tar.extractfile(name)
            assert file is not None
            return file.read()

        (image,) = json.loads(read("manifest.json"))
        return _blobs(read(image["Config"]), [read(layer) for layer in image["Layers"]])


def _blobs(config: bytes, layers: list[bytes]) -> Blobs:
    described = [{"mediaType": _LAYER, "size": len(layer), "digest": _digest(layer)} for layer in layers]
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": {"mediaType": _CONFIG, "size": len(config), "digest": _digest(config)},
            "layers": described,
        }
    ).encode()
    blobs = {_digest(layer): (_LAYER, layer) for layer in layers} | {_digest(config): (_CONFIG, config)}
    return blobs | {_digest(manifest): (_MANIFEST, manifest), "1": (_MANIFEST, manifest)}


@contextmanager
def registry(blobs: Blobs, *, login: str = "") -> Iterator[Registry]:
    """Serve an image; with `login` (`user:secret`) only to whom has it."""
    expected = f"Basic {base64.b64encode(login.encode()).decode()}"

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        default_request_version = "HTTP/1.0"  # a TLS greeting is answered in plain HTTP, as a real one does

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            if login and self.headers.get("Authorization") != expected:
                served.refused += 1
                self._answer(401, "application/json", b"{}", {"WWW-Authenticate": 'Basic realm="test"'})
                return
            served.asked.append(self.path)
            kind, data = served.blobs.get(self.path.rpartition("/")[2], ("", b""))
            if self.path.rstrip("/") == "/v2":
                self._answer(200, "application/json", b"{}", {})
            elif data:
                self._answer(200, kind, data, {"Docker-Content-Digest": _digest(data)})
            else:
                self._answer(404, "application/json", b'{"errors": [{"code": "MANIFEST_UNKNOWN"}]}', {})

        def _answer(self, status: int, kind: str, data: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for key, value in {"Content-Type": kind, "Content-Length": str(len(data)), **headers}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "HEAD":
                return
            middle = len(data) // 2
            self.wfile.write(data[:middle])
            if served.half is not None and kind == _LAYER:
                self.wfile.flush()
                served.half.wait(60)
            self.wfile.write(data[middle:])

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served = Registry(f"127.0.0.1:{server.server_address[1]}", blobs, login)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def registry_of(client: docker.DockerClient, image: str) -> Iterator[Registry]:
    """Serve an image of the engine's, to somebody who cannot take it from there."""
    with TemporaryFile() as archive:
        for part in client.images.get(image).save(named=True):
            archive.write(part)
        archive.seek(0)
        blobs = saved_image(archive)
    with registry(blobs) as served:
        yield served
