"""Neighbouring DATA frames of one HTTP/2 stream made one, before h2 takes them.

An engine asks for every file of a context in a frame of its own, and h2 takes some 15 µs for a frame however
small. Where a DATA frame ends means nothing (RFC 9113 section 6.1) and flow control counts their contents
only, so data frames that arrived together can be passed on as one.
"""

from __future__ import annotations

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client's side of a connection begins with (RFC 9113 section 3.4)."""

_HEADER = 9  # length (3 bytes), type, flags, stream (4): RFC 9113 section 4.1
_PLAIN_DATA = b"\0\0"  # type DATA, no flags: neither padded nor the last of its stream


class FrameJoiner:
    """Takes the bytes of a connection as they arrive and returns equivalent bytes."""

    def __init__(self, *, preface: int, largest: int) -> None:
        """`preface` bytes come before the first frame. No frame is made larger than `largest` bytes."""
        self._preface = preface
        self._largest = largest
        self._rest = b""
        self._lost = False  # a frame that breaks the rules was seen: what follows is h2's to refuse

    def feed(self, data: bytes) -> bytes:
        """Return the frames that are complete with `data`; keep the rest for the next call."""
        if self._lost:
            return data
        out: list[bytes] = []
        if self._preface:
            out.append(data[: self._preface])
            data = data[len(out[0]) :]
            self._preface -= len(out[0])
        buffer = self._rest + data if self._rest else data
        at, end = 0, len(buffer)
        kind, parts, size = b"", list[bytes](), 0  # of the DATA frame that is being made
        while end - at >= _HEADER:
            length = int.from_bytes(buffer[at : at + 3], "big")
            stop = at + _HEADER + length
            if length > self._largest:
                self._lost, stop = True, end
            if stop > end:
                break
            head = buffer[at + 3 : at + _HEADER]
            if head == kind and size + length <= self._largest:
                parts.append(buffer[at + _HEADER : stop])
                size += length
            else:
                if parts:
                    out += (size.to_bytes(3, "big"), kind, *parts)
                if head.startswith(_PLAIN_DATA) and not self._lost:
                    kind, parts, size = head, [buffer[at + _HEADER : stop]], length
                else:
                    kind, parts = b"", []
                    out.append(buffer[at:stop])
            at = stop
        if parts:
            out += (size.to_bytes(3, "big"), kind, *parts)
        self._rest = buffer[at:]
        return b"".join(out)
