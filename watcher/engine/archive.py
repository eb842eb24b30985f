"""Compute the size of an image from its archive (`docker save`).

The classic image store's size of a layer is the sum of its files' sizes (moby, pkg/directory: hard links
count once, folders and deletions not at all, a symbolic link by the length of its target). The containerd
store reports other figures: bytes of compressed blobs and blocks on the disk. This module computes the
classic figure, to the byte.
"""

from __future__ import annotations

import json
import tarfile
import zlib
from collections.abc import Iterator, MutableMapping
from typing import IO, Protocol

_BUFFER = 1 << 20
_HEAD = 512  # bytes: one tar header, enough to detect the type of a blob
_GZIP = b"\x1f\x8b"
_INDEX = "manifest.json"


class ByteReader(Protocol):
    """A source of bytes, in order."""

    def read(self, size: int = -1, /) -> bytes:
        """Return at most `size` bytes; empty at the end."""
        ...


class Unreadable(Exception):
    """The archive or one of its layers has an unknown format."""


class _ReplayedStream:
    """A stream whose first bytes were already read."""

    def __init__(self, head: bytes, rest: ByteReader) -> None:
        self._head, self._rest = head, rest

    def read(self, size: int = -1, /) -> bytes:
        if self._head:
            head, self._head = self._head[:size], self._head[size:]
            return head
        return self._rest.read(size)


def archive_size(archive: ByteReader, known: MutableMapping[str, int]) -> int:
    """Return the size in bytes of the image in this archive.

    `known` maps layer names in archives, which are digests, to sizes; new ones are added. Raises Unreadable.
    """
    index: bytes | None = None
    try:
        with open_archive(archive) as outer:
            for member in outer:
                content = outer.extractfile(member) if member.isreg() else None
                if content is None or member.name in known:
                    continue
                if member.name == _INDEX:
                    index = content.read()
                elif (size := _layer_size(content)) is not None:
                    known[member.name] = size
        layers = json.loads(index or b"")[0]["Layers"]
        return sum(known[name] for name in layers)
    except (tarfile.TarError, zlib.error, EOFError, ValueError, LookupError, TypeError) as error:
        raise Unreadable(f"{type(error).__name__}: {error}") from error


def open_layer(content: ByteReader) -> tarfile.TarFile | None:
    """Return the files of a layer as a stream; None if it is not a layer or has an unknown compression."""
    head = content.read(_HEAD)
    if head.startswith(_GZIP):
        mode = "r|gz"
    elif head[257:262] == b"ustar" or not head.strip(b"\0"):
        mode = "r|"
    else:
        return None
    stream = _as_file(_ReplayedStream(head, content))
    return tarfile.open(fileobj=stream, mode=mode, bufsize=_BUFFER)  # type: ignore[call-overload, no-any-return]


def open_archive(archive: ByteReader) -> tarfile.TarFile:
    """Return the members of an archive as a stream."""
    return tarfile.open(fileobj=_as_file(archive), mode="r|", bufsize=_BUFFER)


def classic_size(entry: tarfile.TarInfo) -> int:
    """Return what an entry adds to the size of its layer."""
    if entry.isreg():
        return entry.size
    return len(entry.linkname.encode("utf-8", "surrogateescape")) if entry.issym() else 0


def _layer_size(content: ByteReader) -> int | None:
    """Return the size of the files in a layer; None if it is not a layer or has an unknown compression."""
    layer = open_layer(content)
    if layer is None:
        return None
    with layer:
        return sum(classic_size(entry) for entry in iterate_entries(layer))


def iterate_entries(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the entries of an archive. Iterating over it itself would store them all."""
    for entry in archive:
        archive.members = []  # type: ignore[attr-defined]
        yield entry


def _as_file(reader: ByteReader) -> IO[bytes]:
    """Return a reader as a file for `tarfile`, which calls only `read` in streaming mode."""
    return reader  # type: ignore[return-value]
