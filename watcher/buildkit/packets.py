"""Packets of fsutil's file transfer (tonistiigi/fsutil, types/wire.proto), framed for gRPC."""

from __future__ import annotations

import os
import stat
from collections import OrderedDict
from collections.abc import Hashable, Iterable

from watcher.buildkit.errors import BuildkitError
from watcher.buildkit.grpc import frame_message
from watcher.buildkit.messages.fsutil_pb2 import Packet, Stat
from watcher.buildkit.sources import ContextEntry

# Bits of Go's io/fs.FileMode, which is what Stat.mode holds.
_GO_KINDS = {stat.S_IFREG: 0, stat.S_IFDIR: 1 << 31, stat.S_IFLNK: 1 << 27}
_GO_SETUID = 1 << 23
_GO_SETGID = 1 << 22
_GO_STICKY = 1 << 20

# A build makes up to four requests: for the Dockerfile, its ignore file, the context and one more of that.
_KEPT_PURPOSES = 4
_LAST_TIME = 2**63 - 1  # nanoseconds since 1970 that the message can hold; others become 1970

_TYPE_DATA = Packet(type=Packet.PACKET_DATA).SerializeToString()
# Field 3 of Packet, a number; field 4, length-delimited.
_ID_TAG = bytes([3 << 3])
_DATA_TAG = bytes([4 << 3 | 2])

FIN = frame_message(Packet(type=Packet.PACKET_FIN).SerializeToString())
# A STAT packet without a stat: the list is complete.
NO_MORE_STATS = frame_message(Packet(type=Packet.PACKET_STAT).SerializeToString())


def go_mode(mode: int) -> int:
    """Go's `FileMode` for the `st_mode` of a file, directory or symbolic link; `KeyError` for others."""
    return (
        (mode & 0o777)
        | _GO_KINDS[stat.S_IFMT(mode)]
        | (_GO_SETUID if mode & stat.S_ISUID else 0)
        | (_GO_SETGID if mode & stat.S_ISGID else 0)
        | (_GO_STICKY if mode & stat.S_ISVTX else 0)
    )


class _StatEncoder:
    """Writes many STAT packets with one message object: to make one takes as long as to write it."""

    def __init__(self) -> None:
        self._packet = Packet(stat=Stat())
        self._stat = self._packet.stat
        self._modes: dict[int, int] = {}

    def encode(self, entry: ContextEntry) -> bytes:
        """Return the STAT packet of an entry. Raises `BuildkitError` for a pipe, a socket or a device.

        Owner and extended attributes are left out, as the docker CLI does: the cache key must not depend on
        the user who saved a file.
        """
        found, mode = self._stat, entry.mode
        if mode not in self._modes:
            try:
                self._modes[mode] = go_mode(mode)
            except KeyError:
                text = f"{entry.path!r} is no file, directory or link and cannot be sent"
                raise BuildkitError(text) from None
        found.path = os.fsencode(entry.path)
        found.mode = self._modes[mode]
        found.size = 0 if stat.S_ISDIR(mode) else entry.size
        found.modTime = entry.mtime_ns if 0 <= entry.mtime_ns <= _LAST_TIME else 0
        found.linkname = os.fsencode(entry.linkname)
        return frame_message(self._packet.SerializeToString())


def data_packet(index: int, data: bytes) -> tuple[bytes, bytes]:
    """Return a piece of the contents of the entry with this index; an empty one ends them.

    Returned in two parts to join, which saves one copy of the contents: a field of bytes is last in a
    message and is its tag, its length and the bytes themselves.
    """
    head = _data_head(index)
    if data:
        head += _DATA_TAG + _write_varint(len(data))
    return b"\0" + (len(head) + len(data)).to_bytes(4, "big") + head, data


def whole_file(index: int, data: bytes) -> tuple[bytes, bytes, bytes]:
    """Return the packets of a file that is sent in one piece, including the one that ends it."""
    head = _data_head(index)
    end = b"\0" + len(head).to_bytes(4, "big") + head
    if not data:
        return end, b"", b""
    full = head + _DATA_TAG + _write_varint(len(data))
    return b"\0" + (len(full) + len(data)).to_bytes(4, "big") + full, data, end


def _data_head(index: int) -> bytes:
    """Type and ID of a DATA packet, as protobuf writes them: zero is not written."""
    return _TYPE_DATA + (_ID_TAG + _write_varint(index) if index else b"")


def _write_varint(number: int) -> bytes:
    """Return a number as protobuf writes it: seven bits at a time, the lowest first."""
    if number < 0x4000:  # nearly all of them
        return bytes((number & 0x7F | 0x80, number >> 7)) if number > 0x7F else bytes((number,))
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


class StatPackets:
    """Keeps the packets of the last transfers: an entry that is the same object is not encoded again."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, dict[str, tuple[ContextEntry, bytes]]] = OrderedDict()

    def encode(self, purpose: Hashable, entries: Iterable[ContextEntry]) -> bytes:
        """Return the packets of all entries in order, and keep them for `purpose` in place of older ones."""
        kept = self._kept.pop(purpose, {})
        now: dict[str, tuple[ContextEntry, bytes]] = {}
        encoder = _StatEncoder()
        for entry in entries:
            path = entry.path
            known = kept.get(path)
            now[path] = known if known is not None and known[0] is entry else (entry, encoder.encode(entry))
        self._kept[purpose] = now
        while len(self._kept) > _KEPT_PURPOSES:
            self._kept.popitem(last=False)
        return b"".join(packet for _, packet in now.values())
