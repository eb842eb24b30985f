"""A BuildKit in memory that speaks the real protocols: sessions, context transfer, progress.

It keeps contexts per shared key and compares size and time, as fsutil's receiver does (tonistiigi/fsutil,
receive.go, diff_containerd.go); what it builds is up to the test.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.unit.buildkit.pipes import MemoryStream, pipe, whole
from watcher.buildkit.bytestream import ByteStream
from watcher.buildkit.client import Client
from watcher.buildkit.errors import ProtocolError
from watcher.buildkit.grpc import Channel, Server, ServerCall, answer_unary, frame_message
from watcher.buildkit.http2 import Http2Connection
from watcher.buildkit.messages.control_pb2 import (
    BytesMessage,
    ListWorkersResponse,
    SolveRequest,
    SolveResponse,
    StatusRequest,
    StatusResponse,
)
from watcher.buildkit.messages.fsutil_pb2 import Packet, Stat
from watcher.buildkit.solve import SolvePatience

CONTROL = "/moby.buildkit.v1.Control/"


class SessionStream:
    """The engine's end of a session's tunnel."""

    def __init__(self, call: ServerCall) -> None:
        self._call = call

    async def read(self) -> bytes:
        return b"".join(BytesMessage.FromString(each).data for each in await self._call.receive())

    async def write(self, data: bytes) -> None:
        await self._call.send(frame_message(BytesMessage(data=data).SerializeToString()))

    async def close(self) -> None:
        pass


@dataclass
class Kept:
    """What the engine keeps of one context."""

    stats: dict[str, Stat] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)


@dataclass
class Build:
    """One solve as the script of a test sees it."""

    request: SolveRequest
    session: Channel
    engine: FakeEngine
    shared_key: str
    tell: Callable[[StatusResponse], Awaitable[None]]
    requested: list[str] = field(default_factory=list)

    async def receive(self, name: str = "context", **metadata: Sequence[str]) -> Kept:
        """Take a context, asking only for what is not kept yet; metadata keys have `_` for `-`."""
        kept = self.engine.kept.setdefault((self.shared_key, name), Kept())
        pairs = [("dir-name", name)]
        pairs += [(key.replace("_", "-"), value) for key, values in metadata.items() for value in values]
        now = Kept()
        names: list[str] = []
        open_requests: set[int] = set()
        listed = False
        with self.session.open("/moby.filesync.v1.FileSync/DiffCopy", pairs) as call:
            while batch := await call.receive():
                wanted: list[int] = []
                for packet in map(Packet.FromString, batch):
                    if packet.type == Packet.PACKET_STAT and packet.HasField("stat"):
                        self._take_stat(packet.stat, kept, now, names, wanted)
                    elif packet.type == Packet.PACKET_STAT:
                        listed = True
                    elif packet.type == Packet.PACKET_DATA and packet.data:
                        now.contents[names[packet.ID]] += packet.data
                    elif packet.type == Packet.PACKET_DATA:
                        open_requests.remove(packet.ID)
                    elif packet.type == Packet.PACKET_FIN:
                        assert listed
                        assert not open_requests
                        call.end()
                        assert await call.receive() == []
                        self.engine.kept[self.shared_key, name] = now
                        return now
                open_requests.update(wanted)
                for index in wanted:
                    await call.send(
                        frame_message(Packet(type=Packet.PACKET_REQ, ID=index).SerializeToString())
                    )
                if listed and not open_requests:
                    await call.send(frame_message(Packet(type=Packet.PACKET_FIN).SerializeToString()))
        raise ProtocolError("the client ended the transfer without FIN")

    def _take_stat(self, stat: Stat, kept: Kept, now: Kept, names: list[str], wanted: list[int]) -> None:
        path = stat.path.decode("utf-8", "surrogateescape")
        names.append(path)
        now.stats[path] = stat
        # Go's ModeDir, ModeSymlink and so on; a regular file has none of them.
        if stat.mode & 0x8F280000:
            return
        if kept.stats.get(path) == stat:
            now.contents[path] = kept.contents[path]
        else:
            now.contents[path] = b""
            self.requested.append(path)
            wanted.append(len(names) - 1)


Script = Callable[[Build], Awaitable[dict[str, str]]]


class FakeEngine:
    """Runs `script` for each solve; its result is the exporter's response."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.kept: dict[tuple[str, str], Kept] = {}
        self.builds: list[Build] = []
        self.sessions: dict[str, asyncio.Future[tuple[Channel, str]]] = {}
        self.progress: dict[str, asyncio.Queue[StatusResponse | None]] = {}
        self.end_progress = True
        self.running = 0

    def handlers(self) -> dict[str, Callable[[ServerCall], Awaitable[None]]]:
        return {
            CONTROL + "ListWorkers": answer_unary(self._workers),
            CONTROL + "Solve": self._solve_until_reset,
            CONTROL + "Status": self._status,
            CONTROL + "Session": self._session,
        }

    async def _workers(self, _request: bytes) -> bytes:
        return ListWorkersResponse().SerializeToString()

    def _progress_of(self, ref: str) -> asyncio.Queue[StatusResponse | None]:
        return self.progress.setdefault(ref, asyncio.Queue())

    def _session_of(self, name: str) -> asyncio.Future[tuple[Channel, str]]:
        return self.sessions.setdefault(name, asyncio.get_running_loop().create_future())

    async def _solve_until_reset(self, call: ServerCall) -> None:
        """Answer the call; as BuildKit does, end the build when the client gives the call up."""
        solving = asyncio.ensure_future(answer_unary(self._solve)(call))
        try:
            while not solving.done() and call._stream._reset_by_peer is None:
                await asyncio.wait((solving,), timeout=0.005)
        finally:
            if not solving.done():
                solving.cancel()
            await asyncio.wait((solving,))
        await solving

    async def _solve(self, data: bytes) -> bytes:
        request = SolveRequest.FromString(data)
        progress = self._progress_of(request.Ref)
        self.running += 1
        try:
            session, shared_key = await self._session_of(request.Session)
            build = Build(request, session, self, shared_key, progress.put)
            self.builds.append(build)
            return SolveResponse(ExporterResponse=await self.script(build)).SerializeToString()
        finally:
            self.running -= 1
            if self.end_progress:
                await progress.put(None)

    async def _status(self, call: ServerCall) -> None:
        (request,) = await call.receive()
        progress = self._progress_of(StatusRequest.FromString(request).Ref)
        while (message := await progress.get()) is not None:
            await call.send(frame_message(message.SerializeToString()))

    async def _session(self, call: ServerCall) -> None:
        (name,) = call.metadata["x-docker-expose-session-uuid"]
        (shared_key,) = call.metadata["x-docker-expose-session-sharedkey"]
        await self.adopt_session(name, shared_key, SessionStream(call))

    async def adopt_session(self, name: str, shared_key: str, stream: ByteStream) -> None:
        """Use the stream for the session of this name until it ends."""
        connection = Http2Connection(stream, peer="the client")
        connection.start()
        try:
            self._session_of(name).set_result((Channel(connection, "localhost"), shared_key))
            await connection.wait_closed()
        finally:
            await connection.close()


@asynccontextmanager
async def running(
    engine: FakeEngine,
    split: Callable[[bytes], Iterable[bytes]] = whole,
    patience: SolvePatience | None = None,
) -> AsyncIterator[tuple[Client, MemoryStream]]:
    """A client that is connected with the engine, and its end of the wire."""
    near, far = pipe(split)
    server = asyncio.create_task(Server(engine.handlers(), peer="the client").serve(far))
    connection = Http2Connection(near, peer="the engine")
    connection.start()
    async with Client(connection, Channel(connection, "localhost"), patience=patience) as client:
        yield client, near
    await server
