"""What BuildKit says of a worker."""

from __future__ import annotations

import pytest

from watcher.buildkit.messages.worker_pb2 import GCPolicy, WorkerRecord
from watcher.buildkit.records import parse_worker


@pytest.mark.parametrize(
    ("rules", "limit"),
    [
        ((), None),
        (((512, 0), (20_000, 0)), 20_000),  # before BuildKit 0.17 the bytes that are kept …
        (((512, 0), (1000, 50_000)), 50_000),  # … since then what is used at most
    ],
)
def test_the_limit_of_its_garbage_collection_is_its_largest_rule(
    rules: tuple[tuple[int, int], ...], limit: int | None
) -> None:
    policies = [GCPolicy(keepBytes=keep, maxUsedSpace=most) for keep, most in rules]
    assert parse_worker(WorkerRecord(ID="one", GCPolicy=policies)).cache_limit == limit
