"""Measure sending a context: our client, and `docker buildx build` if installed.

    ./dev bench buildkit                          # 10, 5,000 and 28,000 files, 5 rounds
    ./dev bench buildkit --files 5000 --rounds 9
    BUILDX=/path/to/docker-buildx ./dev bench buildkit

For each size one Dockerfile (`FROM scratch`, `COPY . /`) is built without a result: the first time, after a
change of one file, and without a change. Ours is measured twice: with known file stats, as in the watcher,
and with a walk of the directory. All ways take turns within every round; the results are medians in seconds
and the peak memory of a process that does nothing else. New build cache records of about the size of the tree
are removed at the end: run it while no other build runs.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.directory_source import DirectorySource
from watcher.buildkit import Client, MemorySource, SolveRequest

ENGINE = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
DOCKERFILE = b"FROM scratch\nCOPY . /\n"
TOTAL_BYTES = 96_000_000
FIRST, CHANGED, UNCHANGED = "first", "one file changed", "unchanged"

Way = Callable[[Path, DirectorySource], Awaitable[None]]


def file_size(count: int) -> int:
    """Return the bytes of each file: 96 MB in total, with smaller files in small trees."""
    return min(TOTAL_BYTES // count, 20_000)


def make_tree(root: Path, count: int) -> None:
    """Create that many files, 140 per directory."""
    size = file_size(count)
    for number in range(count):
        directory = root / f"pkg{number // 140 % 20}" / f"sub{number // 2800}"
        if number % 140 == 0:
            directory.mkdir(parents=True, exist_ok=True)
        (directory / f"file{number}.go").write_bytes(os.urandom(size))


def change_one(root: Path) -> None:
    path = next(iter(sorted(root.rglob("file0.go"))))
    path.write_bytes(os.urandom(path.stat().st_size))


async def build(client: Client, source: DirectorySource, key: str) -> None:
    request = SolveRequest(
        context=source,
        dockerfile=MemorySource({"Dockerfile": DOCKERFILE}),
        shared_key=key,
        exporter="",
    )
    await client.solve(request, lambda _event: None)


def find_buildx() -> list[str] | None:
    """Return the command line of buildx, if it is installed."""
    for command in ([os.environ.get("BUILDX", "docker-buildx")], ["docker", "buildx"]):
        if shutil.which(command[0]):
            tried = subprocess.run([*command, "version"], capture_output=True, check=False)
            if tried.returncode == 0:
                return command
    return None


async def run_buildx(command: list[str], root: Path) -> None:
    arguments = [*command, "build", "--progress", "quiet", "--output", "type=cacheonly", "-f", "-", str(root)]
    process = await asyncio.create_subprocess_exec(
        *arguments, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    _, errors = await process.communicate(DOCKERFILE)
    if process.returncode:
        raise SystemExit(f"buildx failed: {errors.decode()}")


async def measure_cases(root: Path, ways: dict[str, Way], rounds: int) -> dict[tuple[str, str], float]:
    """Return seconds by way and case, medians over the rounds."""
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    for number in range(rounds):
        turn = number % len(ways)
        order = [*list(ways.items())[turn:], *list(ways.items())[:turn]]
        # Buildx derives the key under which the engine keeps a context from the directory's name.
        root = root.rename(root.with_name(f"context-{uuid.uuid4().hex[:12]}"))
        for case in (FIRST, CHANGED, UNCHANGED):
            for name, way in order:
                # Also for the first build: the engine would reuse the context of another way.
                if case != UNCHANGED:
                    change_one(root)
                source = DirectorySource(root)
                if name == "known":
                    source.entries()
                started = time.perf_counter()
                await way(root, source)
                times[name, case].append(time.perf_counter() - started)
    return {key: statistics.median(values) for key, values in times.items()}


def peak_memory(root: Path) -> float:
    """Return the peak memory in MB of a process with a first build and one after a change."""
    command = [sys.executable, "-m", "bench.buildkit", "--child", str(root)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


async def run_child(root: Path) -> None:
    key = uuid.uuid4().hex
    async with await Client.connect(ENGINE) as client:
        for _ in range(2):
            await build(client, DirectorySource(root), key)
            change_one(root)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


async def bench_case(sizes: list[int], rounds: int) -> None:
    buildx = find_buildx()
    if buildx is None:
        print("docker buildx is not installed: only our own figures\n")
    names = ["known", "walked", *(["buildx"] if buildx else [])]
    print(f"{'files':>7}  {'case':17}" + "".join(f"{name:>9}" for name in names) + "   peak memory")
    async with await Client.connect(ENGINE) as client:
        before = {record.id for record in await client.disk_usage()}
        for size in sizes:
            with tempfile.TemporaryDirectory() as directory:
                root = Path(directory) / "context"
                make_tree(root, size)
                memory = peak_memory(root)

                async def build_ours(root: Path, source: DirectorySource, way: str = "known") -> None:
                    await build(client, source, f"{way}-{root.name}")

                async def build_walked(root: Path, source: DirectorySource) -> None:
                    await build_ours(root, source, "walked")

                async def build_peer(root: Path, _source: DirectorySource) -> None:
                    await run_buildx(buildx or [], root)

                ways: dict[str, Way] = {"known": build_ours, "walked": build_walked}
                if buildx:
                    ways["buildx"] = build_peer
                found = await measure_cases(root, ways, rounds)
                for case in (FIRST, CHANGED, UNCHANGED):
                    figures = "".join(f"{found[name, case]:9.3f}" for name in names)
                    print(f"{size:>7}  {case:17}{figures}   {f'{memory:.0f} MB' if case == FIRST else ''}")
                await clean_up(client, before, size)


async def clean_up(client: Client, before: set[str], count: int) -> None:
    """Remove the contexts from the build cache, and their copies: new records of about the size of the tree.

    Small records are left to the engine.
    """
    size = count * file_size(count)
    for record in await client.disk_usage():
        new = record.id not in before and not record.in_use and not record.shared
        if new and size > 10_000_000 and 0.9 * size < record.size < 2 * size:
            await client.prune([f"id=={record.id}"])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", default="10,5000,28000", help="numbers of files, with commas between")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        asyncio.run(run_child(options.child))
    else:
        asyncio.run(bench_case([int(size) for size in options.files.split(",")], options.rounds))


if __name__ == "__main__":
    main()
