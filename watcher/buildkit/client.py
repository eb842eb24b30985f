"""The client: one connection to one BuildKit, many builds."""

from __future__ import annotations

import asyncio
import ssl
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from watcher.buildkit import imageconfig, solve, transport
from watcher.buildkit.errors import ConnectError, ProtocolError, RpcError
from watcher.buildkit.grpc import Channel, frame_message
from watcher.buildkit.http2 import Http2Connection
from watcher.buildkit.imageconfig import ResolvedImage
from watcher.buildkit.messages.control_pb2 import (
    DiskUsageRequest,
    DiskUsageResponse,
    ListWorkersResponse,
    PruneRequest,
    UsageRecord,
)
from watcher.buildkit.progress import Progress
from watcher.buildkit.records import UsageInfo, Worker, parse_cache_record, parse_worker
from watcher.buildkit.session import CredentialsFor, SessionDialer
from watcher.buildkit.solve import ContextCache, SolveRequest, SolveResult

_LIST_WORKERS = "/moby.buildkit.v1.Control/ListWorkers"
_DISK_USAGE = "/moby.buildkit.v1.Control/DiskUsage"
_PRUNE = "/moby.buildkit.v1.Control/Prune"

CARRY_ON = 10.0  # seconds that a removal which was cancelled may take until it is left behind
_WORKER_THREADS = 4
# Contexts with a cache for their next build.
_KEPT_CONTEXTS = 16


class Client:
    """A connection to BuildKit: an engine's own, or a standalone one.

    Make one with `connect`, end it with `close`. Several builds can run concurrently. When the connection is
    lost, running calls raise `ConnectError` and `closed` turns true; the caller reconnects.
    """

    def __init__(
        self,
        connection: Http2Connection,
        channel: Channel,
        dial: SessionDialer | None = None,
        patience: solve.SolvePatience | None = None,
    ) -> None:
        """Use `connect`."""
        self._patience = patience or solve.SolvePatience()
        self._connection = connection
        self._channel = channel
        self._dial = dial
        self._workers = ThreadPoolExecutor(_WORKER_THREADS, thread_name_prefix="buildkit")
        self._contexts: OrderedDict[str, ContextCache] = OrderedDict()

    @classmethod
    async def connect(
        cls, address: str, *, tls: ssl.SSLContext | None = None, timeout: float = 10.0
    ) -> Client:
        """Connect to `unix:///path` or `tcp://host:port`; how gRPC is reached there is found out.

        With `tls` the connection is encrypted; ALPN is set in that context, so it must not be shared with an
        HTTP/1 client. Raises `ConnectError` if BuildKit does not answer within `timeout` seconds.
        """
        parsed = transport.Address.parse(address, tls=tls is not None)
        try:
            async with asyncio.timeout(timeout):
                return await cls._connect(parsed, tls)
        except TimeoutError:
            failure = ConnectError(f"{address} did not answer within {timeout:g} s")
        except OSError as error:
            failure = ConnectError(f"{address} cannot be reached: {error}")
        except (ProtocolError, RpcError) as error:
            failure = ConnectError(f"{address} offers no BuildKit: {error}")
        except ConnectError as error:
            failure = error
        # The remembered protocol can be that of a server that has been replaced.
        transport.forget(parsed)
        raise failure

    @classmethod
    async def _connect(cls, address: transport.Address, tls: ssl.SSLContext | None) -> Client:
        reached = await transport.open_transport(address, tls)
        connection = Http2Connection(reached.stream, peer=address.text)
        connection.start()
        # A connection for every session pays only where making one costs next to nothing.
        direct = reached.upgraded and address.path
        dial = partial(transport.open_session, address) if direct else None
        client = cls(connection, Channel(connection, address.host), dial)
        try:
            await connection.wait_greeted()
            await client.workers()
        except BaseException:
            await client.close()
            raise
        return client

    @property
    def closed(self) -> bool:
        """Return whether the connection is gone."""
        return self._connection.failure is not None

    async def close(self) -> None:
        """End the connection, and with it every build that still runs on it. Safe to call twice."""
        await self._connection.close()
        self._workers.shutdown()

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def start_next_at_once(self) -> None:
        """Do not wait for the end of stopped builds: builds of this BuildKit share steps safely."""
        self._patience = replace(self._patience, stopped=0.0)

    async def solve(self, request: SolveRequest, on_progress: Callable[[Progress], None]) -> SolveResult:
        """Build, and pass every event to `on_progress` as it arrives.

        Raises `SolveFailed` if the build fails, `ContextChanged` if a file changed while it was sent,
        `ConnectError` if the connection is lost. Cancelling stops the build, and waits until it has ended
        unless `start_next_at_once` was called; the connection stays usable.
        """
        cache = self._cache_of(request.shared_key)
        context = solve.SolveContext(self._channel, self._dial, cache, self._workers, self._patience)
        return await solve.solve(context, request, on_progress)

    async def resolve_image(
        self,
        reference: str,
        *,
        platform: str = "",
        resolve_mode: str = "local",
        credentials: CredentialsFor | None = None,
    ) -> ResolvedImage:
        """Return the image that a build with `FROM reference` starts from; ask a registry as a build does.

        `reference` is a full one, like `docker.io/library/alpine:latest`, `platform` as in `linux/arm64`;
        empty is the engine's own. Raises `SolveFailed` if there is no image, `ConnectError` if the
        connection is lost, `ProtocolError` if the answer makes no sense. It can take as long as a registry
        does; cancelling ends it immediately.
        """
        return await imageconfig.resolve_config(
            self._channel,
            self._dial,
            self._workers,
            reference,
            platform=platform,
            resolve_mode=resolve_mode,
            credentials=credentials,
        )

    async def workers(self) -> list[Worker]:
        """Return the workers that build; an engine has one. Raises `ConnectError` or `RpcError`."""
        answer = await self._channel.unary(_LIST_WORKERS, b"")
        return [parse_worker(record) for record in ListWorkersResponse.FromString(answer).record]

    async def disk_usage(self, filters: Sequence[str] = ()) -> list[UsageInfo]:
        """Return the records of the build cache that match one of the filters, all without any.

        A filter is a comma-separated conjunction in BuildKit's syntax, like `type==exec.cachemount` or
        `id~=^abc,private`. Raises `ConnectError` or `RpcError`.
        """
        request = DiskUsageRequest(filter=filters).SerializeToString()
        answer = await self._channel.unary(_DISK_USAGE, request)
        return [parse_cache_record(record) for record in DiskUsageResponse.FromString(answer).record]

    async def prune(
        self,
        filters: Sequence[str] = (),
        *,
        everything: bool = False,
        unused_for: float = 0.0,
        keep_bytes: int = 0,
    ) -> list[UsageInfo]:
        """Remove records that match one of the filters (see `disk_usage`); returns what was removed.

        Without filters that is the cache of all users of this BuildKit. Records in use stay; those that
        an image shares go only with `everything`. `unused_for` are seconds since the last use, `keep_bytes`
        is how much stays in any case. Raises `ConnectError` or `RpcError`.
        """
        request = PruneRequest(
            filter=filters, all=everything, keepDuration=int(unused_for * 1e9), reservedSpace=keep_bytes
        )
        removed: list[UsageInfo] = []
        with self._channel.open(_PRUNE) as call:
            await call.send(frame_message(request.SerializeToString()))
            call.end()
            while batch := await call.receive():
                removed += (parse_cache_record(UsageRecord.FromString(data)) for data in batch)
        return removed

    async def remove_records(self, ids: Iterable[str], *, shared: bool = False) -> list[UsageInfo]:
        """Remove these records, in this order, as far as nothing uses or is built on them; what was removed.

        What an image shares, according to BuildKit, goes only with `shared`; the image keeps its layer.
        One call for each, which runs to its end, for `CARRY_ON` seconds at most, when this is cancelled:
        BuildKit before 0.10 sends what it removed while it holds the cache's lock, and waits for ever when
        the client is gone by its second record (control/control.go, `Prune`).
        Then no build runs until the engine is restarted.
        Raises `ConnectError` or `RpcError`.
        """
        removed: list[UsageInfo] = []
        for name in ids:
            call = asyncio.ensure_future(self.prune([f"id=={name}"], everything=shared))
            try:
                removed += await asyncio.shield(call)
            except asyncio.CancelledError:
                await asyncio.wait([call], timeout=CARRY_ON)
                raise
        return removed

    def _cache_of(self, shared_key: str) -> ContextCache:
        cache = self._contexts.setdefault(shared_key, ContextCache())
        self._contexts.move_to_end(shared_key)
        if len(self._contexts) > _KEPT_CONTEXTS:
            self._contexts.popitem(last=False)
        return cache
