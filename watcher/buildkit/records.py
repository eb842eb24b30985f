"""Workers and cache records, as BuildKit lists them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from watcher.buildkit.messages.control_pb2 import UsageRecord
from watcher.buildkit.messages.worker_pb2 import WorkerRecord


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker: `platforms` like `linux/amd64`, the native one first; `version` is empty before 0.11.

    `cache_limit`: bytes of build cache that BuildKit's own garbage collection leaves; None where it has none.
    """

    id: str
    labels: Mapping[str, str]
    platforms: tuple[str, ...]
    version: str
    cache_limit: int | None = None


@dataclass(frozen=True, slots=True)
class UsageInfo:
    """One record of the build cache.

    `kind` is `regular`, `source.local`, `exec.cachemount`, `frontend` or `internal`. `size` is in bytes,
    times are seconds since 1970, 0 when never. `shared` means that an image uses it too.
    """

    id: str
    kind: str
    description: str
    size: int
    created: float
    last_used: float
    usage_count: int
    in_use: bool
    shared: bool
    mutable: bool
    parents: tuple[str, ...]


def parse_worker(record: WorkerRecord) -> Worker:
    """Return the worker that a record describes."""
    platforms = (
        "/".join(filter(None, (each.OS, each.Architecture, each.Variant))) for each in record.platforms
    )
    return Worker(
        record.ID,
        dict(record.Labels),
        tuple(platforms),
        record.BuildkitVersion.version,
        max((rule.maxUsedSpace or rule.keepBytes for rule in record.GCPolicy), default=None),
    )


def parse_cache_record(record: UsageRecord) -> UsageInfo:
    """Return the cache record that a message describes."""
    return UsageInfo(
        id=record.ID,
        kind=record.RecordType or "regular",
        description=record.Description,
        size=record.Size,
        created=record.CreatedAt.seconds + record.CreatedAt.nanos / 1e9,
        last_used=record.LastUsedAt.seconds + record.LastUsedAt.nanos / 1e9,
        usage_count=record.UsageCount,
        in_use=record.InUse,
        shared=record.Shared,
        mutable=record.Mutable,
        parents=tuple(record.Parents) or ((record.Parent,) if record.Parent else ()),
    )
