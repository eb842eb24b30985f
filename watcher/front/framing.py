"""Where an HTTP/1.1 message ends (RFC 9112, section 6), and which messages are too odd to pass on.

llhttp (through httptools) reads heads and chunked bodies, in its strict mode: obs-fold, NUL, bare CR or LF,
space before a colon, repeated or conflicting lengths and bad chunk sizes are errors there. This module
adds what it leaves open (the start line, the version, HTTP/1.0 with a transfer coding) and turns its
answers into one thing: how many of the bytes at hand belong to this message. Nothing here does input or
output, and no byte is ever changed.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Protocol

import httptools

from watcher import regex

HEAD_END = b"\r\n\r\n"
H2_PREFACE_HEAD = b"PRI * HTTP/2.0\r\n\r\n"  # RFC 9113, section 3.4: start of the client preface
TLS_HANDSHAKE = 0x16  # RFC 8446, section 5.1: ContentType handshake, the first byte of a TLS client
SAFE = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE"})  # RFC 9110, 9.2.1
IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})  # RFC 9110, 9.2.2

_TCHAR = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_REQUEST_LINE = regex.token(rb"(" + _TCHAR + rb"++) ([\x21-\x7e\x80-\xff]++) HTTP/(\d)\.(\d)\r\n")
_TOKEN_START = regex.token(_TCHAR)
_CODING = regex.token(_TCHAR + rb"++")
KNOWN_METHODS = IDEMPOTENT | {b"POST", b"PATCH", b"CONNECT"}
_CHUNKED_HEAD = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"


class Malformed(Exception):
    """A message that is not forwarded: the text names the error, `status` is the response."""

    status = 400


class VersionNotSupported(Malformed):
    """A request of another major version of HTTP (RFC 9110, section 15.6.6)."""

    status = 505


class Body(Protocol):
    """The body of one message, as far as it has been seen."""

    done: bool

    def consume(self, data: bytes, start: int) -> int:
        """Return the index in `data` after the last byte, from `start` on, that belongs to this body.

        Sets `done` when the body ends there. Raises `Malformed` before any byte of a bad chunk is counted.
        """
        ...


class Counted:
    """A body of a known length; `Counted(0)` is no body at all."""

    __slots__ = ("_left", "done")

    def __init__(self, length: int) -> None:
        self._left = length
        self.done = length == 0

    def consume(self, data: bytes, start: int) -> int:
        """See `Body.take`."""
        size = min(len(data) - start, self._left)
        self._left -= size
        self.done = self._left == 0
        return start + size


class UntilClose:
    """A response body that ends with its connection."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done = False

    def consume(self, data: bytes, start: int) -> int:
        """See `Body.take`."""
        del start
        return len(data)


class Chunked:
    """A chunked body with its trailers (RFC 9112, section 7.1).

    httptools does not report the byte at which a message ended. But a chunked body can only end right after
    CR LF CR LF, so it is fed in pieces that are cut there, and asked after each.
    """

    __slots__ = ("_parser", "_tail", "done")

    def __init__(self) -> None:
        self.done = False
        self._tail = b""
        self._parser = httptools.HttpRequestParser(self)
        self._parser.feed_data(_CHUNKED_HEAD)

    def on_message_complete(self) -> None:
        """Called by the parser at the end of the last chunk's trailers."""
        self.done = True

    def consume(self, data: bytes, start: int) -> int:
        """See `Body.take`."""
        size = len(data)
        view = memoryview(data)
        at = start
        cut = self._consume_straddling(data, start)
        while at < size:
            if not cut:
                found = data.find(HEAD_END, at)
                cut = size if found < 0 else found + len(HEAD_END)
            try:
                self._parser.feed_data(view[at:cut])
            except httptools.HttpParserError as error:
                raise Malformed(f"chunked body: {error}") from None
            at = cut
            cut = 0
            if self.done:
                break
        self._tail = (self._tail + data[max(start, at - 3) : at])[-3:]
        return at

    def _consume_straddling(self, data: bytes, start: int) -> int:
        """Return where a CR LF CR LF that began in the data before ends in `data`; 0 when there is none."""
        joined = self._tail + data[start : start + 3]
        found = joined.find(HEAD_END)
        return 0 if found < 0 else start + found + len(HEAD_END) - len(self._tail)


class _Fields:
    """The header fields that decide where a message ends, collected while llhttp reads a head."""

    __slots__ = ("complete", "connection", "encoding", "length")

    def __init__(self) -> None:
        self.length = -1
        self.encoding = b""
        self.connection = b""
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        size = len(name)
        if size not in {10, 14, 17}:  # the lengths of the three names below: most fields leave here
            return
        name = name.lower()
        if name == b"connection":
            self.connection += b"," + value.lower()
        elif name == b"content-length":
            self.length = int(value)
        elif name == b"transfer-encoding":
            self.encoding += b"," + value.lower()

    def on_headers_complete(self) -> None:
        self.complete = True

    def keep_alive(self, version: bytes) -> bool:
        """Return whether the sender lets the connection live on (RFC 9112, section 9.3)."""
        if not self.connection:
            return version == b"1.1"
        options = {option.strip() for option in self.connection.split(b",")}
        return b"close" not in options and (version == b"1.1" or b"keep-alive" in options)

    def chunked(self) -> bool:
        """Return whether `chunked` is the last coding. Raises `Malformed` on a contradictory list."""
        if not self.encoding:
            return False
        codings = [coding.strip() for coding in self.encoding[1:].split(b",")]
        if not all(_CODING.fullmatch(coding) for coding in codings) or b"chunked" in codings[:-1]:
            raise Malformed(
                "Transfer-Encoding: only a list of codings with chunked once, at the end, is passed on"
            )
        return codings[-1] == b"chunked"


class RequestHead:
    """The parts of a request that the front needs.

    `line` is the request line to pass on when it is not the one that came: a proxy names the version that it
    speaks itself, and reads a higher minor version as its own (RFC 9110, sections 2.5 and 6.2).
    """

    __slots__ = ("body", "keep_alive", "line", "method", "upgrade")

    def __init__(
        self, method: bytes, body: Body, *, keep_alive: bool, upgrade: bool, line: bytes = b""
    ) -> None:
        self.method = method
        self.body = body
        self.keep_alive = keep_alive
        self.upgrade = upgrade
        self.line = line

    @property
    def safe(self) -> bool:
        """Return whether the method changes nothing (RFC 9110, section 9.2.1)."""
        return self.method in SAFE

    @property
    def idempotent(self) -> bool:
        """Return whether the method is idempotent (RFC 9110, section 9.2.2)."""
        return self.method in IDEMPOTENT


class ResponseHead:
    """What the front needs to know about a response."""

    __slots__ = ("body", "keep_alive", "status")

    def __init__(self, status: int, body: Body, *, keep_alive: bool) -> None:
        self.status = status
        self.body = body
        self.keep_alive = keep_alive


def read_request(head: bytes) -> RequestHead:
    """Read a request head, `head` being everything up to and with the empty line.

    Raises `Malformed` for what two readers could understand differently, and for HTTP versions that
    are not spoken here.
    """
    line = _REQUEST_LINE.match(head)
    if line is None:
        raise Malformed("the request line is not 'METHOD target HTTP/1.1'")
    method, target, major, minor = line.groups()
    if major != b"1":
        raise VersionNotSupported("HTTP/1.1 is spoken here, and HTTP/2 by those who begin with its preface")
    version = b"1.0" if minor == b"0" else b"1.1"
    fields = _Fields()
    parser = httptools.HttpRequestParser(fields)
    # llhttp knows a list of methods and ASCII targets only; RFC 9110 lets anybody make up a method, and
    # servers take UTF-8 targets. The fields are what it is asked about, so these get a line it knows.
    plain = method in KNOWN_METHODS and target.isascii() and minor <= b"1"
    upgrade = _feed_parser(parser, fields, head if plain else b"POST / HTTP/1.1\r\n" + head[line.end() :])
    chunked = fields.chunked()
    if fields.encoding and (not chunked or version == b"1.0"):
        raise Malformed("Transfer-Encoding: a request body needs HTTP/1.1 and chunked as its last coding")
    if method == b"CONNECT" and (chunked or fields.length > 0):
        raise Malformed("CONNECT has no body")
    body: Body = Chunked() if chunked else Counted(max(fields.length, 0))
    spoken = b"" if minor <= b"1" else b"%s %s HTTP/1.1\r\n" % (method, target)
    return RequestHead(method, body, keep_alive=fields.keep_alive(version), upgrade=upgrade, line=spoken)


def read_response(head: bytes, method: bytes) -> ResponseHead:
    """Read a response head to a request with `method` (RFC 9112, section 6.3). Raises `Malformed`."""
    fields = _Fields()
    parser = httptools.HttpResponseParser(fields)
    _feed_parser(parser, fields, head)
    status = parser.get_status_code()
    if status < 100:
        raise Malformed(f"status {status:03} does not exist")
    keep_alive = fields.keep_alive(head[5:8])
    if status < 200 or status in {204, 304} or method == b"HEAD" or (method == b"CONNECT" and status < 300):
        return ResponseHead(status, Counted(0), keep_alive=keep_alive)
    if fields.encoding and fields.chunked():
        return ResponseHead(status, Chunked(), keep_alive=keep_alive)
    if fields.length >= 0 and not fields.encoding:
        return ResponseHead(status, Counted(fields.length), keep_alive=keep_alive)
    return ResponseHead(status, UntilClose(), keep_alive=False)


def _feed_parser(
    parser: httptools.HttpRequestParser | httptools.HttpResponseParser, fields: _Fields, head: bytes
) -> bool:
    """Let llhttp read `head`; returns whether it asks for (or grants) another protocol."""
    upgrade = False
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade:
        upgrade = True
    except httptools.HttpParserError as error:
        raise Malformed(str(error)) from None
    if not fields.complete:
        raise Malformed("the head does not end where it seems to")
    return upgrade


def syntax_error(start: bytes) -> str:
    """Why a partial request head can never become valid; empty while it can.

    A client that ends its lines with a bare LF never sends the empty line that the front waits for:
    an early response is better.
    """
    if not _TOKEN_START.match(start) and start != b"\r":
        return "the request does not begin with a method"
    if start.count(b"\n") != start.count(b"\r\n"):
        return "a line ends with LF alone"
    if b"\0" in start:
        return "a NUL in the head"
    return ""


def all_fields(head: bytes) -> list[tuple[str, str]]:
    """Return the fields of a request head that `read_request` has accepted, names in lower case."""

    class Collect:
        def __init__(self) -> None:
            self.fields: list[tuple[str, str]] = []

        def on_header(self, name: bytes, value: bytes) -> None:
            self.fields.append((name.decode("latin-1").lower(), value.decode("latin-1").strip()))

    collect = Collect()
    with suppress(httptools.HttpParserUpgrade):
        httptools.HttpRequestParser(collect).feed_data(b"GET / HTTP/1.1" + head[head.find(b"\r\n") :])
    return collect.fields
