"""Is it ready? A full exchange with a container's port, because accepting a connection proves nothing.

docker-proxy accepts before the program listens, then resets. So an HTTP port is ready when an answer came
back, a raw TCP port when a connection stays open for a moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

import h11

from watcher import regex
from watcher.backoff import Backoff

TRY = 2.0  # seconds for one try
BODY = 0.3  # seconds for the body of a response to end
STAYS_OPEN = 0.05  # seconds a raw connection must survive; docker-proxy resets a dead one in a millisecond
BACKOFF = Backoff(first=0.01, most=0.25)  # seconds between tries
# An HTTP/2 client's first bytes (RFC 9113, section 3.4) and an empty SETTINGS frame: a server that speaks
# only HTTP/2, such as gRPC's, answers these bytes and closes the connection on all others.
_HTTP2_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
_TARGET = "/?#[]@!$&'()*+,;=:%"  # what a request target may hold beside letters and digits (RFC 3986)
_HEALTH_URL = regex.compile(
    r"http://(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1\])(?::(\d+))?(?:(/[^\s\"'|;&)]*)|[\s\"'|;&)]|$)"
)


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The result of one probe: whether the container is ready, and what was seen, for the user."""

    ready: bool
    text: str


def health_path(healthcheck: Sequence[str], port: int) -> str | None:
    """Return the path that a HEALTHCHECK's command requests on the container's `port`; None if there is none.

    A URL with a shell variable, another port or https says nothing about plain HTTP on `port`.
    """
    match = _HEALTH_URL.search(" ".join(healthcheck))
    if match is None or int(match[1] or 80) != port or "$" in (match[2] or ""):
        return None
    return match[2] or "/"


async def probe_http(host: str, port: int, path: str | None) -> ProbeResult:
    """Send one GET that takes at most `TRY` seconds.

    With `path` a status below 400 means ready, without it any answer does.
    """
    try:
        async with asyncio.timeout(TRY):
            status = await _get_status(host, port, path or "/")
            if status is None and path is None and await _speaks_http2(host, port):
                return ProbeResult(ready=True, text="HTTP/2")
    except TimeoutError:
        return ProbeResult(ready=False, text=f"no answer to GET {path or '/'} within {TRY:g} s")
    except (OSError, h11.ProtocolError) as error:
        return ProbeResult(ready=False, text=str(error) or type(error).__name__)
    if status is None:
        return ProbeResult(ready=False, text="the connection was closed without an answer")
    return ProbeResult(ready=path is None or status < 400, text=f"GET {path or '/'} was answered {status}")


async def _get_status(host: str, port: int, path: str) -> int | None:
    """Return the status of one GET: 0 if the answer is not HTTP/1, None if there is none.

    The body is read too, but not to its end if it has none (a log, events).
    """
    reader, writer = await asyncio.open_connection(host, port)
    try:
        connection = h11.Connection(h11.CLIENT)
        headers = [("Host", "localhost"), ("User-Agent", "watcher"), ("Connection", "close")]
        writer.write(
            connection.send(h11.Request(method="GET", target=quote(path, safe=_TARGET), headers=headers))
            or b""
        )
        writer.write(connection.send(h11.EndOfMessage()) or b"")
        status: int | None = None
        until = asyncio.get_running_loop().time() + BODY
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                try:
                    async with asyncio.timeout_at(until if status is not None else None):
                        data = await reader.read(65536)
                except TimeoutError:
                    if status is None:
                        raise
                    return status
                if not data and status is None:
                    return None
                if data and status is None and not data.startswith(b"H"):
                    return 0
                connection.receive_data(data)
            elif isinstance(event, h11.Response):
                status = event.status_code
                until = asyncio.get_running_loop().time() + BODY
            elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
                return status
    finally:
        writer.close()


async def _speaks_http2(host: str, port: int) -> bool:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(_HTTP2_HELLO)
        return bool(await reader.read(1))
    finally:
        writer.close()


async def probe_tcp(host: str, port: int) -> ProbeResult:
    """Try once: is a connection accepted and kept open?"""
    try:
        async with asyncio.timeout(TRY):
            reader, writer = await asyncio.open_connection(host, port)
        try:
            async with asyncio.timeout(STAYS_OPEN):
                data = await reader.read(1)
        except TimeoutError:
            return ProbeResult(ready=True, text="connected")
        finally:
            writer.close()
    except TimeoutError:
        return ProbeResult(ready=False, text=f"no connection within {TRY:g} s")
    except OSError as error:
        return ProbeResult(ready=False, text=str(error) or type(error).__name__)
    return ProbeResult(ready=bool(data), text="connected" if data else "the connection was closed at once")
