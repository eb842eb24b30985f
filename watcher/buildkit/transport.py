"""From an address to a byte stream that speaks HTTP/2 with BuildKit, found out by asking.

Three kinds of servers speak gRPC at an address: a standalone buildkitd and the API socket of Engine 29 and
newer take HTTP/2 directly (RFC 9113 section 3.3, prior knowledge); Engine 20.10 to 28 needs `POST /grpc` with
`Upgrade: h2c` first (moby/moby, api/server/router/grpc). A server of the second kind answers the HTTP/2
preface with an HTTP/1 error, so the first bytes decide; the result is remembered for the next connection to
that address.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from watcher.buildkit.bytestream import ByteStream, SocketStream
from watcher.buildkit.errors import ConnectError
from watcher.buildkit.framejoin import PREFACE

# The client preface with an empty SETTINGS frame (RFC 9113 section 3.4), sent only to see how a server
# reacts.
_GREETING = PREFACE + b"\0\0\0\4\0\0\0\0\0"
_FRAME_HEADER = 9
_SETTINGS = 4
_PORT = 2375
_TLS_PORT = 2376

_Socket = tuple[asyncio.StreamReader, asyncio.StreamWriter]

# Whether the server at an address takes HTTP/2 directly; only a hint, as a server can be replaced by another
# version.
_at_once: dict[Address, bool] = {}


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed address: `path` of a unix socket, or `host` and `port`."""

    text: str
    tls: bool
    path: str = ""
    host: str = "localhost"
    port: int = 0

    @classmethod
    def parse(cls, text: str, *, tls: bool) -> Address:
        """Read `unix:///path`, `unix:/path` or `tcp://host[:port]`. Raises `ConnectError` for others."""
        url = urlsplit(text)
        try:
            port = url.port
        except ValueError:
            raise ConnectError(f"address {text!r}: the port is not a number up to 65535") from None
        if url.scheme == "unix" and url.path and not url.netloc:
            return cls(text, tls, path=url.path)
        if url.scheme == "tcp" and url.hostname:
            return cls(text, tls, host=url.hostname, port=port or (_TLS_PORT if tls else _PORT))
        raise ConnectError(f"address {text!r}: only unix:///path and tcp://host:port can be used")


@dataclass(frozen=True, slots=True)
class Transport:
    """A stream for an HTTP/2 client. `upgraded`: an HTTP/1 upgrade led to it."""

    stream: ByteStream
    upgraded: bool


async def open_transport(address: Address, tls: ssl.SSLContext | None) -> Transport:
    """Connect and reach gRPC.

    With `tls`, its ALPN protocols are set to those of HTTP/2 and HTTP/1.1, so it must not be shared with an
    HTTP/1 client. Raises `ConnectError` if the server offers no gRPC, `OSError` if it cannot be reached.
    """
    if tls is not None:
        # A gRPC server of today refuses TLS connections on which HTTP/2 was not agreed upon.
        tls.set_alpn_protocols(["h2", "http/1.1"])
    at_once = _at_once.get(address)
    if at_once is None:
        at_once = _at_once[address] = await _takes_http2_at_once(address, tls)
    reader, writer = await _open_socket(address, tls)
    if at_once:
        return Transport(SocketStream(reader, writer), upgraded=False)
    return Transport(await _upgrade_stream(address, "/grpc", (), reader, writer), upgraded=True)


async def open_session(address: Address, headers: Sequence[tuple[str, str]]) -> ByteStream:
    """Make a connection that carries a session and nothing else (moby/moby, api/server/router/session).

    The engine then starts as HTTP/2 client. Raises `ConnectError` or `OSError` where that is not possible.
    """
    reader, writer = await _open_socket(address, None)
    return await _upgrade_stream(address, "/session", headers, reader, writer)


def forget(address: Address) -> None:
    """Probe again at the next connection how the server takes gRPC."""
    _at_once.pop(address, None)


async def _open_socket(address: Address, tls: ssl.SSLContext | None) -> _Socket:
    if address.path:
        return await asyncio.open_unix_connection(address.path)
    return await asyncio.open_connection(address.host, address.port, ssl=tls)


async def _takes_http2_at_once(address: Address, tls: ssl.SSLContext | None) -> bool:
    """Send an HTTP/2 preface on a connection of its own and look whether SETTINGS come back."""
    reader, writer = await _open_socket(address, tls)
    try:
        encryption = writer.get_extra_info("ssl_object")
        agreed = encryption.selected_alpn_protocol() if encryption is not None else None
        if agreed is not None:
            return bool(agreed == "h2")
        writer.write(_GREETING)
        answer = await reader.readexactly(_FRAME_HEADER)
        return answer[3] == _SETTINGS and not answer.startswith(b"HTTP/")
    except (asyncio.IncompleteReadError, ConnectionResetError):
        # An HTTP/1 server can also just hang up on what it takes for a bad request.
        return False
    finally:
        writer.transport.abort()


async def _upgrade_stream(
    address: Address,
    path: str,
    headers: Sequence[tuple[str, str]],
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> ByteStream:
    """Turn an HTTP/1 connection into a byte stream (RFC 9110 section 7.8)."""
    stream = SocketStream(reader, writer)
    lines = [f"POST {path} HTTP/1.1", f"Host: {address.host}", "Connection: Upgrade", "Upgrade: h2c"]
    lines += ["Content-Length: 0", *(f"{name}: {value}" for name, value in headers)]
    try:
        await stream.write("".join(f"{line}\r\n" for line in [*lines, ""]).encode())
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        await stream.close()
        raise ConnectError(
            f"{address.text} speaks neither HTTP/2 nor HTTP/1: it offers no BuildKit"
        ) from None
    except BaseException:
        await stream.close()
        raise
    status = head.split(b"\r\n", 1)[0].decode("latin-1")
    if " 101 " not in f"{status} ":
        await stream.close()
        raise ConnectError(f"{address.text} offers no BuildKit: POST {path} was answered with {status!r}")
    return stream
