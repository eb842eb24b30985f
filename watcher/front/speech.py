"""What a connection speaks, judged by its first bytes. Pure; nothing here does input or output."""

from __future__ import annotations

from enum import Enum
from typing import Literal

from watcher import regex
from watcher.front.framing import H2_PREFACE_HEAD, KNOWN_METHODS, TLS_HANDSHAKE

Protocol = Literal["auto", "http", "tcp"]

_TOKEN = regex.token(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]*+")
_VERSION = regex.token(rb" HTTP/[0-9]\.[0-9]")  # how a request line ends (RFC 9112, section 3)
LONGEST_METHOD = 32  # bytes; the longest registered one has 17
_STARTS = tuple(method + b" " for method in sorted(KNOWN_METHODS))


class Speech(Enum):
    """What is spoken on a connection."""

    UNKNOWN = "not known yet"
    HTTP = "HTTP/1"
    H2 = "HTTP/2 with prior knowledge"
    TLS = "TLS"
    RAW = "anything else"


def speech_of(early: bytes, protocol: Protocol) -> Speech:
    """Return what a client speaks that has sent `early` so far (not empty) to a port with this protocol.

    On an `http` port everything is HTTP/1 but TLS and HTTP/2. On an `auto` port so is what starts with a
    known method, or with a line that ends like a request line: a malformed request is answered 400 on both.
    """
    if early[0] == TLS_HANDSHAKE:
        return Speech.TLS
    if early.startswith(H2_PREFACE_HEAD):
        return Speech.H2
    if H2_PREFACE_HEAD.startswith(early):
        return Speech.UNKNOWN
    if protocol == "http":
        return Speech.HTTP
    text = early.lstrip(b"\r\n") if early[:1] == b"\r" else early
    if not text:
        return Speech.UNKNOWN
    if text.startswith(_STARTS):
        return Speech.HTTP
    end = text.find(b"\n")
    if end >= 0:
        return Speech.HTTP if _VERSION.match(text[:end].rstrip(b"\r \t")[-9:]) else Speech.RAW
    return Speech.UNKNOWN if _may_become_http(text) else Speech.RAW


def _may_become_http(text: bytes) -> bool:
    """Return whether a first line that is not whole yet can still become a request line."""
    token = _TOKEN.match(text)
    size = token.end() if token else 0
    if not 0 < size <= LONGEST_METHOD:
        return False
    return size == len(text) or text[size : size + 1] == b" "


def begins_like_http(text: bytes) -> bool:
    """Return whether the text before any space is a prefix of a known method, such as `GE`."""
    return any(start.startswith(text) or text.startswith(start) for start in _STARTS)
