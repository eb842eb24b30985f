"""Track the open streams of an HTTP/2 connection; build its GOAWAY frames (RFC 9113).

Only the nine bytes at the head of each frame are read (section 4.1). Header blocks are compressed with a
state that both ends share, so nothing is left out or put between the parts of one; a GOAWAY frame, which
belongs to no stream, is allowed between any two frames (section 6.8).
"""

from __future__ import annotations

from collections.abc import Iterator

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # section 3.4
_HEAD = 9  # bytes
_DATA, _HEADERS, _RST_STREAM, _PUSH_PROMISE, _GOAWAY, _CONTINUATION = 0x0, 0x1, 0x3, 0x5, 0x7, 0x9
_END_STREAM, _END_HEADERS = 0x1, 0x4
_MOST = 2**31 - 1  # the highest stream identifier: a GOAWAY with it only announces another


def goaway(last: int = _MOST) -> bytes:
    """GOAWAY without an error: streams above `last` were not passed on, and can be asked for again."""
    return b"\0\0\x08" + bytes((_GOAWAY, 0)) + b"\0\0\0\0" + last.to_bytes(4, "big") + b"\0\0\0\0"


class _Frames:
    """Follows one direction; `boundary` is where another frame fits into the data fed last."""

    def __init__(self) -> None:
        self._head = b""
        self._left = 0  # bytes of the payload still to come
        self._in_block = False  # a header block is not whole
        self.boundary = 0  # -1: nowhere
        self.seen = 0

    @property
    def whole(self) -> bool:
        """Return whether all that has come is whole frames, and whole header blocks."""
        return not (self._head or self._left or self._in_block)

    def feed(self, data: bytes) -> Iterator[tuple[int, int, int]]:
        """Yield type, flags and stream of each frame with a complete head after `data`. Consume all."""
        at = 0
        self.boundary = 0 if self.whole else -1
        while at < len(data):
            if self._left:
                step = min(self._left, len(data) - at)
                self._left -= step
                at += step
            else:
                taken = data[at : at + _HEAD - len(self._head)]
                at += len(taken)
                self._head += taken
                if len(self._head) < _HEAD:
                    return
                head, self._head = self._head, b""
                self._left = int.from_bytes(head[:3], "big")
                kind, flags = head[3], head[4]
                self._in_block = kind in (_HEADERS, _PUSH_PROMISE, _CONTINUATION) and not flags & _END_HEADERS
                self.seen += 1
                yield kind, flags, int.from_bytes(head[5:9], "big") & _MOST
            if not self._left and not self._in_block:
                self.boundary = at


class Streams:
    """The open streams of one connection. One is over when the server has ended its half, or at a reset."""

    def __init__(self) -> None:
        self._preface = b""
        self._client, self._server = _Frames(), _Frames()
        self._open: set[int] = set()
        self.last = 0  # the highest stream that the client has opened

    @property
    def open(self) -> int:
        """Return how many streams have not got their whole answer."""
        return len(self._open)

    @property
    def boundary(self) -> int:
        """Offset in the server's last data at which a frame can be inserted; -1 for none."""
        return self._server.boundary if self._server.seen else -1  # its first frame must be SETTINGS

    @property
    def at_boundary(self) -> bool:
        """Return whether what the server sent last was whole frames."""
        return self._server.seen > 0 and self._server.whole

    def from_client(self, data: bytes) -> None:
        """Take note of what the client sent."""
        missing = len(PREFACE) - len(self._preface)
        if missing:
            self._preface += data[:missing]
            data = data[missing:]
        for kind, _, stream in self._client.feed(data):
            if kind == _HEADERS and stream > self.last:
                self.last = stream
                self._open.add(stream)
            elif kind == _RST_STREAM:
                self._open.discard(stream)

    def from_server(self, data: bytes) -> None:
        """Take note of what the server sent."""
        for kind, flags, stream in self._server.feed(data):
            if kind == _RST_STREAM or (kind in (_DATA, _HEADERS) and flags & _END_STREAM):
                self._open.discard(stream)
