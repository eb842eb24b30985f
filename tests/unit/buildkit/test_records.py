"""Workers and cache records are listed and removed through the real protocol."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from tests.unit.buildkit.fake_engine import CONTROL, Build, FakeEngine, running
from watcher.buildkit import RpcError
from watcher.buildkit.grpc import ServerCall, answer_unary, frame_message
from watcher.buildkit.messages.control_pb2 import (
    DiskUsageRequest,
    DiskUsageResponse,
    ListWorkersResponse,
    PruneRequest,
    UsageRecord,
)
from watcher.buildkit.messages.worker_pb2 import BuildkitVersion, Platform, WorkerRecord


class Engine(FakeEngine):
    """Keeps records by id; `delay` holds a removal back until it is set."""

    def __init__(self) -> None:
        super().__init__(self.build)
        self.records = [
            UsageRecord(
                ID=name,
                RecordType="regular",
                Description="RUN x",
                Size=size,
                CreatedAt=Timestamp(seconds=5),
                LastUsedAt=Timestamp(seconds=7),
                UsageCount=2,
                Mutable=name == "b",
                Parents=["root"],
            )
            for name, size in (("a", 10), ("b", 20))
        ]
        self.filters: list[list[str]] = []
        self.pruned: list[PruneRequest] = []
        self.delay: asyncio.Event | None = None
        self.begun = asyncio.Event()
        self.refusal: RpcError | None = None
        self.handlers = lambda: {  # type: ignore[method-assign]
            **FakeEngine.handlers(self),
            CONTROL + "DiskUsage": answer_unary(self.usage),
            CONTROL + "Prune": self.prune,
            CONTROL + "ListWorkers": answer_unary(self.workers),
        }

    async def build(self, _: Build) -> dict[str, str]:
        return {}

    async def workers(self, _: bytes) -> bytes:
        record = WorkerRecord(
            ID="w",
            Labels={"executor": "oci"},
            platforms=[Platform(OS="linux", Architecture="arm64", Variant="v8")],
            BuildkitVersion=BuildkitVersion(version="v0.26"),
            GCPolicy=[{"keepBytes": 5}, {"maxUsedSpace": 9}],
        )
        return ListWorkersResponse(record=[record]).SerializeToString()

    async def usage(self, data: bytes) -> bytes:
        self.filters.append(list(DiskUsageRequest.FromString(data).filter))
        return DiskUsageResponse(record=self.records).SerializeToString()

    async def prune(self, call: ServerCall) -> None:
        (data,) = await call.receive()
        request = PruneRequest.FromString(data)
        self.pruned.append(request)
        self.begun.set()
        if self.delay:
            await self.delay.wait()
        if self.refusal:
            raise self.refusal
        wanted = {each.removeprefix("id==") for each in request.filter}
        for record in self.records:
            if record.ID in wanted:
                await call.send(frame_message(record.SerializeToString()))


async def test_records_come_with_all_that_is_known_of_them() -> None:
    engine = Engine()
    async with running(engine) as (client, _):
        first, second = await client.disk_usage(["type==regular"])
        await client.disk_usage()
    assert engine.filters == [["type==regular"], []]
    assert (first.id, first.kind, first.description, first.size) == ("a", "regular", "RUN x", 10)
    assert (first.created, first.last_used, first.usage_count, first.parents) == (5.0, 7.0, 2, ("root",))
    assert (first.mutable, second.mutable) == (False, True)


async def test_records_are_removed_one_call_for_each() -> None:
    engine = Engine()
    async with running(engine) as (client, _):
        assert [each.id for each in await client.remove_records(["b", "gone", "a"])] == ["b", "a"]
    assert [list(request.filter) for request in engine.pruned] == [["id==b"], ["id==gone"], ["id==a"]]


async def test_a_prune_says_what_may_stay() -> None:
    engine = Engine()
    async with running(engine) as (client, _):
        await client.prune(["private"], everything=True, unused_for=1.5, keep_bytes=7)
    (request,) = engine.pruned
    assert (request.all, request.keepDuration, request.reservedSpace) == (True, 1_500_000_000, 7)


async def test_a_removal_that_is_cancelled_runs_to_its_end() -> None:
    engine = Engine()
    engine.delay = asyncio.Event()
    async with running(engine) as (client, _):
        task = asyncio.create_task(client.remove_records(["a", "b"]))
        await asyncio.wait_for(engine.begun.wait(), 10)
        task.cancel()
        engine.delay.set()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert [list(request.filter) for request in engine.pruned] == [["id==a"]]


async def test_a_refused_removal_is_told() -> None:
    engine = Engine()
    engine.refusal = RpcError(13, "the store is read-only")
    async with running(engine) as (client, _):
        with pytest.raises(RpcError, match="read-only"):
            await client.remove_records(["a"])


async def test_a_worker_says_what_it_builds_for_and_keeps() -> None:
    async with running(Engine()) as (client, _):
        (worker,) = await client.workers()
    found: dict[str, Any] = {"executor": "oci"}
    assert (worker.id, dict(worker.labels), worker.platforms) == ("w", found, ("linux/arm64/v8",))
    assert (worker.version, worker.cache_limit) == ("v0.26", 9)
