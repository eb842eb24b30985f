"""Serves `moby.filesync.v1.FileSync/DiffCopy`: the list of files, and the contents that the engine asks for.

The protocol is that of tonistiigi/fsutil (send.go, receive.go): a STAT packet for each entry in walk order
and one without a stat at the end; the engine compares with what it kept under the session's shared key and
requests by index the files that differ; their contents follow in DATA packets, an empty one ending each; FIN
from the engine is answered with FIN. What to send is in the call's metadata (moby/buildkit,
session/filesync/filesync.go).
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from itertools import chain
from typing import Any, BinaryIO, TypeVar
from urllib.parse import unquote_plus

from watcher.buildkit.errors import ContextChanged, ProtocolError, RpcError
from watcher.buildkit.grpc import NOT_FOUND, UNKNOWN, ServerCall
from watcher.buildkit.messages.fsutil_pb2 import Packet
from watcher.buildkit.packets import FIN, NO_MORE_STATS, StatPackets, data_packet, whole_file
from watcher.buildkit.selection import FilterOptions, select_entries
from watcher.buildkit.sources import ContextEntry, ContextSource, Prefiltered, ReadsWhole

METHOD = "/moby.filesync.v1.FileSync/DiffCopy"

# Bytes read at a time, far below the 4 MiB that a gRPC server takes as one message by default.
_CHUNK = 256 * 1024
# Bytes prepared in one go by a worker thread; two of these blocks are in memory for a transfer.
_BLOCK = 1024 * 1024

# After so many blocks there is more to come, and requests are waited for (seconds) to be answered together: a
# thread that is woken for a few small files costs more than they do.
_FLOWING = 4
_GATHERING = 0.002

_T = TypeVar("_T")


class FileSync:
    """The contexts of one build."""

    def __init__(
        self,
        sources: Mapping[str, ContextSource],
        *,
        packets: StatPackets,
        workers: Executor,
        on_failure: Callable[[Exception], None],
    ) -> None:
        """Serve `sources` by their `dir-name`. Files are listed and read by `workers`.

        `packets` can be reused for builds of one context. `on_failure` is called, before the engine knows,
        why a transfer is impossible on our side: `ContextChanged`, `OSError` or what the source raised.
        """
        self._sources = sources
        self._packets = packets
        self._workers = workers
        self._on_failure = on_failure
        self._sent: dict[str, Sequence[ContextEntry]] = {}

    def beyond_utf8(self) -> str | None:
        """The first path sent of which the name or the link's target is not UTF-8, with `\\x` for odd bytes.

        Engine 28 and newer refuse a whole context for one of them, without naming it.
        """
        for entry in chain.from_iterable(self._sent.values()):
            try:
                (entry.path + entry.linkname).encode()
            except UnicodeEncodeError:
                return os.fsencode(entry.path).decode(errors="backslashreplace")
        return None

    async def diff_copy(self, call: ServerCall) -> None:
        """Handle one call. Raises `RpcError` with what the engine is to report."""
        name = next(iter(_read_values(call.metadata, "dir-name")), "")
        source = self._sources.get(name)
        if source is None:
            raise RpcError(NOT_FOUND, f"no access allowed to dir {name!r}")
        options = FilterOptions(
            follow=_read_values(call.metadata, "followpaths"),
            include=_read_values(call.metadata, "include-patterns"),
            exclude=_read_values(call.metadata, "exclude-patterns"),
        )
        jobs = _Jobs(self._workers)
        contents = _Contents(source)
        try:
            contents.entries, packets = await jobs.run(lambda: self._send_list(name, options))
            await _Transfer(call, contents, jobs).run(packets)
        except _JobFailed as failed:
            self._on_failure(failed.error)
            raise RpcError(UNKNOWN, str(failed.error)) from failed.error
        finally:
            await jobs.finish(contents.close)

    def _send_list(self, name: str, options: FilterOptions) -> tuple[Sequence[ContextEntry], bytes]:
        """Return the selected entries of a source, and their packets."""
        source = self._sources[name]
        entries = source.entries()
        if isinstance(source, Prefiltered) and source.excludes == options.exclude:
            entries = select_entries(entries, FilterOptions(options.follow, options.include))
        else:
            entries = select_entries(entries, options)
        self._sent[name] = entries
        return entries, self._packets.encode((name, options), entries) + NO_MORE_STATS


class _JobFailed(Exception):
    """What a source raised in a worker thread."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class _Jobs:
    """Runs functions in a worker thread, one after the other, and knows whether one is still running."""

    def __init__(self, workers: Executor) -> None:
        self._workers = workers
        self._running: asyncio.Future[Any] | None = None

    def start(self, function: Callable[[], _T]) -> asyncio.Future[_T]:
        """Start; the one before must have ended. Cancelling a waiter for the result does not stop the
        thread.
        """
        job = asyncio.get_running_loop().run_in_executor(self._workers, function)
        self._running = job
        return job

    async def wait(self, job: asyncio.Future[_T]) -> _T:
        """Return the result of a job. Raises `_JobFailed`."""
        try:
            return await asyncio.shield(job)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            raise _JobFailed(error) from error

    async def run(self, function: Callable[[], _T]) -> _T:
        """Start and wait."""
        return await self.wait(self.start(function))

    async def finish(self, cleanup: Callable[[], None]) -> None:
        """Call `cleanup` as soon as no thread is at work any more."""
        job = self._running
        if job is None:
            cleanup()
            return

        def ended(job: asyncio.Future[Any]) -> None:
            # Its result is of no interest if no task waits for it any more.
            job.exception()
            cleanup()

        # The thread can be inside a read; what it uses must stay open.
        if job.done():
            ended(job)
        else:
            job.add_done_callback(ended)
            await asyncio.wait([job])


class _Transfer:
    """One run of the protocol."""

    def __init__(self, call: ServerCall, contents: _Contents, jobs: _Jobs) -> None:
        self._call = call
        self._contents = contents
        self._jobs = jobs
        self._requested = asyncio.Event()

    async def run(self, stats: bytes) -> None:
        """Send the list and what is asked for until the engine has it. Raises `_JobFailed`, `RpcError`."""
        tasks = [
            asyncio.create_task(self._call.send(stats)),
            asyncio.create_task(self._answer_requests()),
            asyncio.create_task(self._take_requests()),
        ]
        sending, answering, taking = tasks
        try:
            waiting = {sending, answering, taking}
            while taking in waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await self._call.send(FIN)

    async def _take_requests(self) -> None:
        """Collect the engine's requests until it has everything."""
        while batch := await self._call.receive():
            for data in batch:
                packet = Packet.FromString(data)
                if packet.type == Packet.PACKET_REQ:
                    self._contents.request(packet.ID)
                elif packet.type == Packet.PACKET_FIN:
                    return
                elif packet.type == Packet.PACKET_ERR:
                    text = packet.data.decode("utf-8", "replace")
                    raise RpcError(UNKNOWN, f"the engine could not take the context: {text}")
            self._requested.set()
        raise ProtocolError(
            "the engine ended the transfer of the context without saying that it has everything"
        )

    async def _answer_requests(self) -> None:
        """Send what was asked for; a worker reads the next block while one is being sent."""
        blocks = 0
        while True:
            await self._requested.wait()
            if blocks >= _FLOWING:
                await asyncio.sleep(_GATHERING)
            self._requested.clear()
            reading = self._jobs.start(self._contents.next_block)
            while block := await self._jobs.wait(reading):
                reading = self._jobs.start(self._contents.next_block)
                await self._call.send(block)
                blocks += 1


class _Contents:
    """Reads requested files into DATA packets, a bounded amount at a time."""

    def __init__(self, source: ContextSource) -> None:
        self.entries: Sequence[ContextEntry] = ()
        self._source = source
        self._whole = source.read if isinstance(source, ReadsWhole) else None
        self._requested: deque[int] = deque()
        self._file: BinaryIO | None = None
        self._index = 0
        self._read = 0

    def request(self, index: int) -> None:
        """Put a file into the queue. Raises `ProtocolError` for what has no contents."""
        if index >= len(self.entries) or not stat.S_ISREG(self.entries[index].mode):
            raise ProtocolError(f"the engine asked for the contents of entry {index}, which has none")
        self._requested.append(index)

    def next_block(self) -> bytes:
        """DATA packets for about a mebibyte; empty if nothing is requested. Raises what the source raises."""
        parts: list[bytes] = []
        size = 0
        while size < _BLOCK and (self._file is not None or self._requested):
            packets = self._next_packets()
            parts += packets
            size += sum(map(len, packets))
        return b"".join(parts)

    def close(self) -> None:
        """Close the file that is being read."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _next_packets(self) -> tuple[bytes, ...]:
        if self._file is None:
            self._index = self._requested.popleft()
            entry = self.entries[self._index]
            if self._whole is not None and entry.size <= _CHUNK:
                return whole_file(self._index, self._whole(entry.path))
            self._read = 0
            self._file = self._source.open(entry.path)
        data = self._file.read(_CHUNK)
        if data:
            self._read += len(data)
            return data_packet(self._index, data)
        self._check_path()
        self.close()
        return data_packet(self._index, b"")

    def _check_path(self) -> None:
        """Raise `ContextChanged` if what was read cannot be what the entry promised."""
        entry = self.entries[self._index]
        file = self._file
        if file is None or self._read != entry.size:
            raise ContextChanged(entry.path)
        try:
            fd = file.fileno()
        except OSError:
            # Held in memory.
            return
        if not self._source.unchanged(entry.path, fd):
            raise ContextChanged(entry.path)


def _read_values(metadata: Mapping[str, Sequence[str]], key: str) -> tuple[str, ...]:
    """Return the values of a key, decoded if the engine marks them so (`decodeOpts` in filesync.go)."""
    values = metadata.get(key, ())
    if next(iter(metadata.get(f"{key}-encoded", ())), "") in ("1", "t", "T", "true", "TRUE", "True"):
        return tuple(unquote_plus(value, errors="surrogateescape") for value in values)
    return tuple(values)
