"""Check that the daemon's memory stays flat: `./dev bench memory [--minutes N] [--save-every S]`.

The real daemon with the real engine, on the example, under a mixed load from the first to the last minute:
requests on kept and on new connections, WebSockets, uploads, a scrape of the metrics every 5 seconds, a
reader of the status page's event stream, and a save every few minutes (each one a build, a deploy and a
drain). The load is moderate by default, to keep the machine usable; `--rate` multiplies it.

Printed once a minute: the resident size, and the private memory by kind of mapping: malloc's main heap, its
arenas of other threads, everything else that is anonymous (Python's own arenas), and files. At the end: the
largest resident size of each quarter of the time, and exit code 1 when the last quarter's is more than
`--allowed` MB above the second quarter's. The first quarter is for warming up.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import httpx
import uvloop

from bench._load import Clients, Load, Record
from bench.redeploys import Step, Watcher

SCRAPE_EVERY = 5.0  # seconds
ARENA = 64 * 1024 * 1024  # bytes: glibc aligns the arenas of threads to it (HEAP_MAX_SIZE)
KINDS = ("heap", "thread arenas", "other anonymous", "files")

_MAPPING = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \S+\s*(.*)$")
_SIZE = re.compile(r"^(Private_Clean|Private_Dirty):\s+(\d+) kB$")


def by_kind(lines: Iterable[str]) -> dict[str, float]:
    """Return MB of private memory by kind of mapping; `lines` are those of /proc/PID/smaps."""
    sizes = dict.fromkeys(KINDS, 0.0)
    kind, end = KINDS[-1], 0
    for line in lines:
        if mapping := _MAPPING.match(line):
            start, last = int(mapping[1], 16), end
            end, name = int(mapping[2], 16), mapping[3]
            if name.startswith("/"):
                kind = "files"
            elif name == "[heap]":
                kind = "heap"
            elif not name and (start % ARENA == 0 or (kind == "thread arenas" and start == last)):
                kind = "thread arenas"
            else:
                kind = "other anonymous"
        elif size := _SIZE.match(line):
            sizes[kind] += int(size[2]) / 1024
    return sizes


def resident_memory(pid: int) -> float:
    """Return VmRSS in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def mean_quarters(sizes: list[float]) -> list[float]:
    """Return the largest value of each quarter of the time."""
    count = max(len(sizes) // 4, 1)
    return [max(sizes[at * count : (at + 1) * count] or sizes[-1:]) for at in range(4)]


@contextlib.asynccontextmanager
async def start_watched(api: httpx.AsyncClient) -> AsyncIterator[None]:
    """Scrape the metrics and keep the status page open while the context lasts."""

    async def scrape() -> None:
        while True:
            await api.get("/metrics")
            await asyncio.sleep(SCRAPE_EVERY)

    async def look() -> None:
        async with api.stream("GET", "/api/events") as answer:
            async for _ in answer.aiter_bytes():
                pass

    tasks = [asyncio.create_task(scrape()), asyncio.create_task(look())]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def observe_memory(stack: Watcher, record: Record, seconds: float, save_every: float) -> list[float]:
    """Return resident sizes in MB, one every 5 seconds."""
    began, sizes, number = time.monotonic(), [], 0
    next_save, next_line = began + save_every, began
    failed: Counter[str] = Counter()
    count = 0
    pid = stack.pid
    while (now := time.monotonic()) < began + seconds:
        sizes.append(resident_memory(pid))
        if now >= next_save:
            number, next_save = number + 1, now + save_every
            stack.save(Step(number, ""))
        if now >= next_line:
            next_line += 60
            count += len(record.samples)
            failed.update(sample.failure for sample in record.samples if sample.failure)
            record.samples.clear()
            parts = by_kind(Path(f"/proc/{pid}/smaps").read_text().splitlines())
            shown = ", ".join(f"{kind} {size:.1f}" for kind, size in parts.items())
            print(
                f"{(now - began) / 60:5.1f} min  {sizes[-1]:6.1f} MB  ({shown})  {number} saves, "
                f"{count} requests, failed: {dict(failed) or 'none'}",
                flush=True,
            )
        await asyncio.sleep(SCRAPE_EVERY)
    return sizes


async def run(options: argparse.Namespace) -> bool:
    rate = options.rate
    load = Load(
        kept=8,
        every=0.1 / rate,
        new_rate=20 * rate,
        sockets=4,
        upload=20_000_000,
        upload_rate=int(2_000_000 * rate),
    )
    with tempfile.TemporaryDirectory(prefix="bench-memory-") as directory:
        stack = Watcher(Path(directory), "watcher")
        try:
            async with (
                stack.up(),
                start_watched(stack.api),
                Clients(stack.port, load).running() as record,
            ):
                sizes = await observe_memory(stack, record, options.minutes * 60, options.save_every)
        finally:
            await asyncio.to_thread(stack.clean)
    largest = mean_quarters(sizes)
    print("largest resident size per quarter: " + ", ".join(f"{size:.1f} MB" for size in largest))
    return bool(largest[3] - largest[1] <= options.allowed)


def main() -> None:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--save-every", type=float, default=180.0, help="seconds between two saves")
    parser.add_argument("--rate", type=float, default=1.0, help="times the moderate load")
    parser.add_argument("--allowed", type=float, default=5.0, help="MB that are no growth")
    sys.exit(0 if uvloop.run(run(parser.parse_args())) else 1)


if __name__ == "__main__":
    main()
