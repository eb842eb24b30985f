"""Read an image from its archive (`docker save`), as a stream: one binary at a time is copied to the disk."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from posixpath import join, normpath
from typing import Any, BinaryIO, cast

from watcher.engine import (
    ByteReader,
    Engine,
    Unreadable,
    classic_size,
    iterate_entries,
    open_archive,
    open_layer,
)
from watcher.image.elf import MAGIC, UnreadableBinary
from watcher.image.go_binary import GoBinary, explain_binary
from watcher.image.model import ImageContent, ImageLayer
from watcher.image.visible_tree import LayerEntry, VisibleTree

_SMALLEST_GO = 300_000  # bytes; the smallest program of Go has more than a million
_LARGEST_TEXT = 4 << 20
_INDEX = "manifest.json"


@dataclass(slots=True)
class SavedLayer:
    """A layer of an archive."""

    size: int = 0
    entries: list[LayerEntry] = field(default_factory=list)
    binaries: dict[str, GoBinary] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class ImageReader:
    """Explains images. It remembers the layers of the last one, so that a base is explained once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._layers: dict[str, SavedLayer] = {}

    async def read(self, ref: str) -> ImageContent | None:
        """Explain the image with this id or reference; None if there is none.

        Raises EngineError, EngineUnavailable and Unreadable.
        """
        image = await self._engine.image(ref)
        if image is None:
            return None
        archive = await self._engine.read_image(image.id, lambda stream: read_archive(stream, self._layers))
        if archive is None:
            return None
        self._layers = archive.layers
        return describe_archive(archive, image.id, image.tags)


@dataclass(frozen=True, slots=True)
class SavedImage:
    """What is read from an archive: names of layers in order, the layers that could be read, steps."""

    names: tuple[str, ...]
    layers: dict[str, SavedLayer]
    steps: tuple[str, ...]


def read_archive(archive: ByteReader, known: Mapping[str, SavedLayer]) -> SavedImage:
    """Read the image of an archive. Layers in `known` are not read again. Raises Unreadable."""
    layers = dict(known)
    texts: dict[str, bytes] = {}
    links: dict[str, str] = {}
    try:
        with open_archive(archive) as outer:
            for member in iterate_entries(outer):
                if member.issym():  # a layer that the image has twice
                    links[member.name] = normpath(join(member.name, "..", member.linkname))
                content = outer.extractfile(member) if member.isreg() else None
                if content is None or member.name in layers:
                    continue
                if member.size <= _LARGEST_TEXT:
                    small = content.read()
                    if small[:1] in (b"{", b"["):
                        texts[member.name] = small
                        continue
                    content = io.BytesIO(small)
                if (layer := _read_layer(content)) is not None:
                    layers[member.name] = layer
        manifest = json.loads(texts[_INDEX])[0]
        names = tuple(links.get(name, name) for name in manifest["Layers"])
        steps = _steps(json.loads(texts[normpath(manifest["Config"])]), len(names))
    except (
        tarfile.TarError,
        zlib.error,
        EOFError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
    ) as error:
        raise Unreadable(f"{type(error).__name__}: {error}") from error
    return SavedImage(names, {name: layers[name] for name in names if name in layers}, steps)


def describe_archive(archive: SavedImage, image: str, tags: Sequence[str]) -> ImageContent:
    """Lay the layers over each other."""
    tree = VisibleTree()
    layers: list[ImageLayer] = []
    notes: list[str] = []
    binaries: dict[tuple[int, str], GoBinary] = {}
    for number, (name, step) in enumerate(zip(archive.names, archive.steps, strict=True), start=1):
        layer = archive.layers.get(name)
        if layer is None:
            notes.append(f"layer {number} could not be read: its compression is not known")
        tree.add_layer(layer.entries if layer else [])
        files = sum(not entry.folder for entry in layer.entries) if layer else 0
        layers.append(ImageLayer(number, step, layer.size if layer else None, files))
        if layer:
            notes += [f"layer {number}: {note}" for note in layer.notes]
            binaries |= {(number, path): binary for path, binary in layer.binaries.items()}
    files_now = sorted(tree.files(), key=lambda file: (-file.size, file.path))
    return ImageContent(
        image,
        tuple(tags),
        tuple(layers),
        tuple(files_now),
        tuple(sorted(tree.hidden, key=lambda file: (-file.size, file.path))),
        {
            file.path: binaries[file.layer, file.path]
            for file in files_now
            if (file.layer, file.path) in binaries
        },
        tuple(notes),
    )


def _read_layer(content: ByteReader) -> SavedLayer | None:
    opened = open_layer(content)
    if opened is None:
        return None
    found = SavedLayer()
    with opened as layer:
        for entry in iterate_entries(layer):
            size = classic_size(entry)
            found.size += size
            name = entry.name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            found.entries.append(LayerEntry(name, size, entry.isdir()))
            if entry.isreg() and entry.size >= _SMALLEST_GO:
                file = layer.extractfile(entry)
                if file is not None:
                    _explain_file(file, name, found)
    return found


def _explain_file(file: Any, name: str, layer: SavedLayer) -> None:
    """Explain a file of a layer if it is a Go binary."""
    path = "/" + normpath(name).lstrip("/")
    head = file.read(len(MAGIC))
    if head != MAGIC:
        return
    try:
        with tempfile.TemporaryFile(prefix="watcher-image-") as copy:
            copy.write(head)
            shutil.copyfileobj(file, copy, 1 << 20)
            copy.flush()
            binary = explain_binary(cast(BinaryIO, copy))
    except UnreadableBinary as error:
        layer.notes.append(f"{path}: {error}")
    except Exception as error:  # whatever a file contains, the others are explained
        layer.notes.append(f"{path} could not be examined: {type(error).__name__}: {error}")
    else:
        if binary is not None:
            layer.binaries[path] = binary


def _steps(config: dict[str, Any], count: int) -> tuple[str, ...]:
    """Return the step of each layer, empty if the history does not fit."""
    steps = [
        describe_step(str(entry.get("created_by") or entry.get("comment") or ""))
        for entry in config.get("history") or ()
        if not entry.get("empty_layer")
    ]
    return tuple(steps) if len(steps) == count else ("",) * count


def describe_step(step: str) -> str:
    """Return a step of an image's history as a Dockerfile has it."""
    step = " ".join(step.split()).removesuffix(" # buildkit")
    if step.startswith("/bin/sh -c #(nop) "):
        return step.removeprefix("/bin/sh -c #(nop) ").strip()
    if step.startswith("/bin/sh -c "):
        return f"RUN {step.removeprefix('/bin/sh -c ')}"
    return step.replace("RUN /bin/sh -c ", "RUN ", 1)
