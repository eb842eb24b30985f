"""Measure the observers: `./dev bench observers`.

One forwarded request emitted to all observers, one scrape, one status, and the memory with 50 open event
streams during 200 builds.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import statistics
import sys
import time
from collections.abc import Callable

import httpx
from prometheus_client import CollectorRegistry

from tests.unit.observers.story import SERVICE, Story
from tests.unit.web.support import Desk
from watcher.observers.events import BuildStepOutput, Fanout, FrontExchange
from watcher.observers.exposition import expose_metrics
from watcher.observers.metrics import Metrics
from watcher.observers.redact import Redactor
from watcher.observers.status_board import StatusBoard
from watcher.settings import HttpSettings
from watcher.web import create_app, serve
from watcher.web.app import read_page

CLIENTS, BUILDS, REQUESTS = 50, 200, 100_000


def median_ms(action: Callable[[], object], times: int = 200) -> float:
    took = []
    for _ in range(times):
        begun = time.perf_counter()
        action()
        took.append(time.perf_counter() - begun)
    return statistics.median(took) * 1000


def resident_mb() -> float:
    """Return the peak resident memory of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (1024 * 1024 if sys.platform == "darwin" else 1024)


async def follow(url: str, seen: list[int]) -> None:
    async with (
        httpx.AsyncClient(base_url=url, timeout=None, trust_env=False) as client,
        client.stream("GET", "/api/events") as answer,
    ):
        async for chunk in answer.aiter_bytes():
            seen[0] += len(chunk)


async def main() -> None:
    board, registry = StatusBoard(), CollectorRegistry()
    observer = Redactor(Fanout(board, Metrics(registry, board)))
    for event in Story().start().cycle(0).events:
        observer.notify(event)

    exchange = FrontExchange(service=SERVICE, code=200, seconds=0.001)
    begun = time.perf_counter()
    for _ in range(REQUESTS):
        observer.notify(exchange)
    print(f"one forwarded request, told:   {(time.perf_counter() - begun) / REQUESTS * 1e6:8.1f} µs")

    for number in range(100):
        for event in Story().cycle(number).events:
            observer.notify(event)
    openmetrics = "application/openmetrics-text; version=1.0.0"
    print(f"one scrape, text:              {median_ms(lambda: expose_metrics(registry)):8.2f} ms")
    print(
        f"one scrape, OpenMetrics:       {median_ms(lambda: expose_metrics(registry, openmetrics)):8.2f} ms"
    )
    print(f"one status document:           {median_ms(board.status.model_dump_json):8.2f} ms")
    print(f"page:                          {len(read_page()[0].encode()) / 1000:8.1f} kB")

    app = create_app(board, registry, Desk(), HttpSettings())
    async with serve(app, "127.0.0.1", [0]) as url:
        seen = [0]
        clients = [asyncio.create_task(follow(url, seen)) for _ in range(CLIENTS)]
        await asyncio.sleep(2)
        for block in range(4):
            for number in range(BUILDS // 4):
                for event in Story().cycle(1000 + number).events:
                    observer.notify(event)
                observer.notify(
                    BuildStepOutput(service=SERVICE, revision="r", step="s", text="x" * 200, stage="b")
                )
                await asyncio.sleep(0.02)
            gc.collect()
            done = (block + 1) * BUILDS // 4
            held = f"{resident_mb():8.1f} MB at most, {len(gc.get_objects())} objects"
            print(f"{CLIENTS} streams, {done:3} builds:        {held}")
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
        print(f"sent to them:                  {seen[0] / 1e6:8.1f} MB")
    left = len(asyncio.all_tasks()) - 1
    print(f"tasks left:                    {left:8}")


if __name__ == "__main__":
    asyncio.run(main())
