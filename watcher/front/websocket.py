"""Track the frame boundaries of a WebSocket (RFC 6455, section 5.2); build its Close frame."""

from __future__ import annotations

_CLOSE = 0x88  # FIN and opcode 8
_RESTART = 1012  # "Service Restart": IANA's registry of WebSocket close codes; clients connect again
_LONGEST_HEAD = 14  # bytes


def restart_frame() -> bytes:
    """Return the Close frame of a server that is about to be replaced."""
    payload = _RESTART.to_bytes(2, "big") + b"a newer version has taken over"
    return bytes((_CLOSE, len(payload))) + payload


def is_websocket(head: bytes) -> bool:
    """Return whether a request head that was answered 101 asked for a WebSocket."""
    lines = head.lower().split(b"\r\n")[1:]
    fields = (line.partition(b":") for line in lines)
    return any(name == b"upgrade" and value.strip() == b"websocket" for name, _, value in fields)


class Frames:
    """Follows what a server sends: heads are read, payloads counted."""

    __slots__ = ("_head", "_left")

    def __init__(self) -> None:
        self._head = b""
        self._left = 0  # bytes of the payload still to come

    @property
    def between(self) -> bool:
        """Return whether the data so far ends with a frame: only there another frame can be inserted."""
        return not self._head and not self._left

    def feed(self, data: bytes) -> None:
        """Take note of `data`, which has come."""
        at = 0
        while at < len(data):
            if self._left:
                step = min(self._left, len(data) - at)
                self._left -= step
                at += step
                continue
            taken = data[at : at + _LONGEST_HEAD - len(self._head)]
            head = self._head + taken
            size = _head_size(head)
            if len(head) < size:
                self._head = head
                return
            at += size - len(self._head)
            self._head = b""
            self._left = _payload_size(head[:size])


def _head_size(head: bytes) -> int:
    """Length of a frame's head, as far as its first bytes show: at least 2."""
    if len(head) < 2:
        return 2
    extended = {126: 2, 127: 8}.get(head[1] & 0x7F, 0)
    mask = 4 if head[1] & 0x80 else 0  # which no server may send; counted, so as not to lose the thread
    return 2 + extended + mask


def _payload_size(head: bytes) -> int:
    short = head[1] & 0x7F
    extended = {126: 2, 127: 8}.get(short, 0)
    return int.from_bytes(head[2 : 2 + extended], "big") if extended else short
