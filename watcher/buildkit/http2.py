"""HTTP/2 (RFC 9113) over any byte stream, for either side, on the sans-IO library h2.

All bytes leave through one task, so data of several streams at one moment is sent in one
write, and frames that arrive together are handled together. Flow control is kept in both directions: a sender
waits for the peer's window, and a window of ours is opened again only for what was taken out of a stream.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RemoteSettingsChanged,
    RequestReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from h2.exceptions import H2Error
from h2.settings import SettingCodes, Settings

from watcher.buildkit.bytestream import ByteStream
from watcher.buildkit.errors import BuildkitError, ConnectError, ProtocolError
from watcher.buildkit.framejoin import PREFACE, FrameJoiner
from watcher.buildkit.http2stream import Http2Stream

# The receive window in bytes: enough to keep the peer busy, and memory stays bounded.
_STREAM_WINDOW = 4 * 1024 * 1024
_CONNECTION_WINDOW = 16 * 1024 * 1024
_LARGEST_FRAME = 1024 * 1024
_MOST_STREAMS = 100
_LONGEST_HEADERS = 4 * 1024 * 1024
# Bytes ready to leave that make senders wait.
_UNSENT_LIMIT = 2 * 1024 * 1024


class Http2Connection:
    """One HTTP/2 connection. `start` it, open streams or accept them, `close` it."""

    def __init__(
        self, transport: ByteStream, *, peer: str, accept: Callable[[Http2Stream], None] | None = None
    ) -> None:
        """Run on `transport`; as a server if `accept` is given, which is called with each new stream.

        `peer` names the other side in errors.
        """
        self.failure: ConnectError | ProtocolError | None = None
        self._transport = transport
        self._peer = peer
        self._accept = accept
        config = H2Configuration(
            client_side=accept is None,
            header_encoding=False,
            # gRPC metadata of old engines carries file names as raw UTF-8, which strict validation refuses.
            validate_inbound_headers=False,
            validate_outbound_headers=False,
        )
        self._h2 = H2Connection(config)
        preface = 0 if accept is None else len(PREFACE)
        self._joiner = FrameJoiner(preface=preface, largest=_LARGEST_FRAME)
        self._streams: dict[int, Http2Stream] = {}
        self._unsent = 0
        self._greeted = asyncio.Event()
        self._has_output = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._handlers: dict[type[Event], Callable[[Any], None]] = {
            DataReceived: self._on_data,
            WindowUpdated: self._on_window,
            RemoteSettingsChanged: self._on_settings,
            RequestReceived: self._on_request,
            ResponseReceived: self._on_headers,
            TrailersReceived: self._on_headers,
            StreamEnded: self._on_end,
            StreamReset: self._on_reset,
            ConnectionTerminated: self._on_goaway,
        }

    def start(self) -> None:
        """Send the preface and start to read and write."""
        # In force from the first byte on: h2 would apply a later change only to what it is fed after the
        # peer's acknowledgement, and refuse large frames that come together with that.
        self._h2.local_settings = Settings(
            client=self._accept is None,
            initial_values={
                SettingCodes.INITIAL_WINDOW_SIZE: _STREAM_WINDOW,
                SettingCodes.MAX_FRAME_SIZE: _LARGEST_FRAME,
                SettingCodes.MAX_HEADER_LIST_SIZE: _LONGEST_HEADERS,
                SettingCodes.MAX_CONCURRENT_STREAMS: _MOST_STREAMS,
            },
        )
        self._h2.max_inbound_frame_size = _LARGEST_FRAME
        self._h2.decoder.max_header_list_size = _LONGEST_HEADERS
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(_CONNECTION_WINDOW - self._h2.inbound_flow_control_window)
        self._has_output.set()
        self._tasks = [
            asyncio.create_task(self._read_loop(), name=f"http2-read {self._peer}"),
            asyncio.create_task(self._write_loop(), name=f"http2-write {self._peer}"),
        ]

    async def close(self) -> None:
        """End the connection and everything on it. Safe to call twice."""
        self._set_failure(ConnectError(f"the connection to {self._peer} was closed"))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._transport.close()

    async def wait_greeted(self) -> None:
        """Wait for the peer's first settings, which prove that it speaks HTTP/2. Raises why it does not."""
        await self._greeted.wait()
        self.check()

    async def wait_closed(self) -> None:
        """Wait until the connection has ended, for any reason; `failure` then holds it."""
        await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)

    def check(self) -> None:
        """Raise why the connection is gone, if it is."""
        if self.failure is not None:
            # A new object each time: several tasks can raise it, and a traceback belongs to one of them.
            raise type(self.failure)(*self.failure.args)

    def open_stream(self, headers: Iterable[tuple[str, str]]) -> Http2Stream:
        """Open a stream as client and send its headers. Raises `ConnectError`, `ProtocolError`."""
        self.check()
        number = self._h2.get_next_available_stream_id()
        stream = self._streams[number] = Http2Stream(self, number)
        try:
            self.send_headers(number, headers, end=False)
        except ProtocolError:
            del self._streams[number]
            raise
        return stream

    def send_headers(self, number: int, headers: Iterable[tuple[str, str]], *, end: bool) -> None:
        """Queue headers of a stream."""
        try:
            self._h2.send_headers(number, list(headers), end_stream=end)
        except H2Error as error:
            raise ProtocolError(f"headers cannot be sent to {self._peer}: {error}") from error
        self._has_output.set()
        if end:
            self._forget_if_finished(number)

    def send_data(self, number: int, data: bytes, start: int) -> int:
        """Queue as much of the data from `start` on as windows and buffer allow; returns how many bytes."""
        at = start
        try:
            window = self._h2.local_flow_control_window(number)
            largest = self._h2.max_outbound_frame_size
            while at < len(data) and window > 0 and self._unsent < _UNSENT_LIMIT:
                part = data[at : at + min(window, largest)]
                self._h2.send_data(number, part)
                at += len(part)
                window -= len(part)
                self._unsent += len(part)
        except H2Error as error:
            raise ProtocolError(f"data cannot be sent to {self._peer}: {error}") from error
        if at > start:
            self._has_output.set()
        return at - start

    def end_stream(self, number: int) -> None:
        """Queue the end of our side of a stream."""
        if self.failure is None:
            try:
                self._h2.end_stream(number)
            except H2Error as error:
                raise ProtocolError(f"the stream to {self._peer} cannot be ended: {error}") from error
            self._has_output.set()
            self._forget_if_finished(number)

    def reset_stream(self, number: int, code: int) -> None:
        """Queue a reset of a stream and forget it."""
        stream = self._streams.pop(number, None)
        if stream is not None and self.failure is None:
            try:
                self._h2.reset_stream(number, code)
            except H2Error:
                # The peer ended or reset it in the same moment: there is nothing left to reset.
                return
            self._has_output.set()

    def acknowledge(self, number: int, size: int) -> None:
        """Give `size` received bytes back to the peer's windows."""
        if self.failure is None and size:
            self._h2.acknowledge_received_data(size, number)
            self._has_output.set()

    async def _read_loop(self) -> None:
        try:
            while self.failure is None and (data := await self._transport.read()):
                for event in self._h2.receive_data(self._joiner.feed(data)):
                    self._handle_event(event)
                # h2 acknowledges settings and pings without an event.
                self._has_output.set()
            self._set_failure(ConnectError(f"{self._peer} closed the connection"))
        except H2Error as error:
            self._has_output.set()
            self._set_failure(ProtocolError(f"{self._peer} broke HTTP/2: {error}"))
        except (OSError, BuildkitError) as error:
            self._set_failure(ConnectError(f"the connection to {self._peer} was lost: {error}"))
        except Exception as error:
            self._set_failure(ProtocolError(f"what {self._peer} sent could not be handled: {error!r}"))
            raise

    async def _write_loop(self) -> None:
        try:
            while True:
                await self._has_output.wait()
                self._has_output.clear()
                data = self._h2.data_to_send()
                if data:
                    was_full = self._unsent >= _UNSENT_LIMIT
                    self._unsent = 0
                    if was_full:
                        self._wake_senders()
                    await self._transport.write(data)
        except (OSError, BuildkitError) as error:
            self._set_failure(ConnectError(f"the connection to {self._peer} was lost: {error}"))

    def _handle_event(self, event: Event) -> None:
        handle = self._handlers.get(type(event))
        if handle is not None:
            handle(event)

    def _on_data(self, event: DataReceived) -> None:
        stream = self._streams.get(event.stream_id)
        size = event.flow_controlled_length
        if stream is None:
            # No task waits for it any more, but all streams share the connection's window.
            self._h2.acknowledge_received_data(size, event.stream_id)
        else:
            stream.took_data(event.data, size)
            stream.wake()

    def _on_window(self, event: WindowUpdated) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is not None:
            stream.wake_sender()
        elif event.stream_id == 0:
            self._wake_senders()

    def _on_settings(self, _event: RemoteSettingsChanged) -> None:
        self._greeted.set()
        self._wake_senders()

    def _on_request(self, event: RequestReceived) -> None:
        stream = self._streams[event.stream_id] = Http2Stream(self, event.stream_id)
        stream.took_headers(list(event.headers))
        if self._accept is not None:
            self._accept(stream)

    def _on_headers(self, event: ResponseReceived | TrailersReceived) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is not None:
            stream.took_headers(list(event.headers))
            stream.wake()

    def _on_end(self, event: StreamEnded) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is not None:
            stream.took_end()
            stream.wake()
            self._forget_if_finished(event.stream_id)

    def _on_reset(self, event: StreamReset) -> None:
        stream = self._streams.pop(event.stream_id, None)
        if stream is not None:
            stream.took_reset(int(event.error_code))
            stream.wake()

    def _on_goaway(self, event: ConnectionTerminated) -> None:
        code = event.error_code
        self._set_failure(ConnectError(f"{self._peer} ended the connection with HTTP/2 error {code}"))

    def _forget_if_finished(self, number: int) -> None:
        stream = self._streams.get(number)
        if stream is not None and stream.finished:
            del self._streams[number]

    def _wake_senders(self) -> None:
        for stream in self._streams.values():
            stream.wake_sender()

    def _set_failure(self, error: ConnectError | ProtocolError) -> None:
        if self.failure is None:
            self.failure = error
        self._greeted.set()
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            stream.wake()
