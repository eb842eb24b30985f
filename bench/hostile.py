"""How late the event loop becomes under hostile input: `./dev bench hostile [--seconds S]`.

The real daemon with the real engine on the example, while all of this goes on at once:

- the published port and the API port get garbage, endless heads, thousands of fields, idle connections;
- the container logs request paths of 60 KB that are made to be slow to match;
- ignore files with many stars, compose files that expand without end, Dockerfiles and Go files with lines of
  100 KB, environment files full of references to themselves, bursts of files with odd names.

The delay is the daemon's own figure, `watcher_event_loop_lag_seconds`; beside it, what a client of the
published port saw. Every few seconds the project is put right, and must go live again. Run it in quiet.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

import docker
import httpx

from bench.idle import read_megabytes
from bench.tree import print_figure
from tests.e2e.conftest import Project, clean_up

LAG = "watcher_event_loop_lag_seconds"
SLOW_TEXT = (
    "http://x " + "a-" * 30_000,
    "_env/" * 12_000,
    "cannot " * 8_000,
    "\x1b]8;;" * 10_000,
    "a" * 60_000 + "!",
    "key=" * 15_000 + "@",
)
IGNORE = ("*a*a*a*a*a*a*a*a*c*a\n", "/".join(["**"] * 8) + "/a*\n", "[" * 5_000 + "\n", "!" * 500 + "x\n")
ROUND = 20.0  # seconds of hostile files before the project is repaired


async def send_raw(port: int, pieces: list[bytes], stay: float = 0.0) -> None:
    """Send invalid bytes and disconnect."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(5 + stay):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                await asyncio.sleep(stay)
            finally:
                writer.transport.abort()


def run_attack(random: Random) -> tuple[list[bytes], float]:
    """Send the bytes of one client and wait as long as it stays."""
    kind = random.randrange(7)
    if kind == 0:
        return [random.randbytes(random.randrange(1, 4096))], 0.0
    if kind == 1:
        return [b"GET / HTTP/1.1\r\nx: "] + [b"a" * 65_536] * 64, 0.0
    if kind == 2:
        return [b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 10_000], 0.0
    if kind == 3:
        return [b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n" * 2_000], 0.1
    if kind == 4:
        return [b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 5_000], 0.0
    if kind == 5:
        return [b"GET / HT"], 3.0
    text = random.choice(SLOW_TEXT).encode("ascii", "replace").replace(b" ", b"%20").replace(b"\x1b", b"%1B")
    return [b"GET /" + text + b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"], 0.2


async def forever(ports: list[int], random: Random) -> None:
    while True:
        pieces, stay = run_attack(random)
        await send_raw(random.choice(ports), pieces, stay)


def spoil(folder: Path, random: Random) -> None:
    """Make one file of the project hostile."""
    match random.randrange(6):
        case 0:
            (folder / ".dockerignore").write_text(random.choice(IGNORE) * 20)
        case 1:
            lines = "".join(f"B{n}=${{B{n - 1}}}${{B{n - 1}}}\n" for n in range(1, 40))
            (folder / ".env").write_text("B0=x\n" + lines)
        case 2:
            (folder / "spoiled.go").write_text(f'package main\n\nimport "{random.choice(SLOW_TEXT)}"\n')
        case 3:
            many = folder / "many"
            many.mkdir(exist_ok=True)
            for number in range(500):
                (many / f"{number}\x1b[31m{'é' * 40}.txt").write_text("x")
        case 4:
            with (folder / "Dockerfile").open("a") as file:
                file.write("# " + random.choice(SLOW_TEXT).replace("\x1b", "") + "\n")
        case _:
            (folder / "docker-compose-dev.yml").write_text("services: {a: &a [*a, *a]}\n" + "x: " * 5_000)


async def spoil_files(project: Project, random: Random, went_live: list[float]) -> None:
    """Spoil the project file by file, then repair it and wait until it is live."""
    good = project.folder.with_name("good")
    shutil.copytree(project.folder, good)
    while True:
        until = time.monotonic() + ROUND
        while time.monotonic() < until:
            await asyncio.to_thread(spoil, project.folder, random)
            await asyncio.sleep(random.uniform(0.2, 2.0))
        for name in ("many", "spoiled.go", ".env", ".dockerignore"):
            path = project.folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        shutil.copytree(good, project.folder, dirs_exist_ok=True)
        begun = time.monotonic()
        settled = await asyncio.to_thread(project.wait)
        if settled["outcome"] != "live":
            raise SystemExit(f"put right, it did not go live: {settled}")
        went_live.append(time.monotonic() - begun)


async def watch_front(
    project: Project, api: str, seconds: float, lags: list[float], slow: list[float]
) -> None:
    """Read the daemon's own figure, and request the published port like a normal client."""
    until = time.monotonic() + seconds
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        asked = 0.0
        while time.monotonic() < until:
            begun = time.monotonic()
            with contextlib.suppress(httpx.HTTPError):
                await client.get(f"http://127.0.0.1:{project.port}/health")
                slow.append(time.monotonic() - begun)
            if time.monotonic() - asked > 5:
                asked = time.monotonic()
                # a new connection: the API closes an idle one after 5 s, possibly during this request
                text = (await client.get(f"{api}metrics", headers={"connection": "close"})).text
                lags += [float(line.split()[1]) for line in text.splitlines() if line.startswith(LAG)]
            await asyncio.sleep(0.05)


async def run_all(project: Project, seconds: float, clients: int, seed: int) -> None:
    api = await asyncio.to_thread(project.api)
    ports = [project.port, int(api.rstrip("/").rpartition(":")[2])]
    lags: list[float] = []
    slow: list[float] = []
    went_live: list[float] = []
    makers: list[Callable[[], Awaitable[None]]] = [
        lambda: forever(ports, Random(seed)) for _ in range(clients)
    ]
    tasks = [asyncio.ensure_future(make()) for make in makers]
    tasks.append(asyncio.ensure_future(spoil_files(project, Random(seed), went_live)))
    watching = asyncio.ensure_future(watch_front(project, api, seconds, lags, slow))
    await asyncio.wait([*tasks, watching], return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        if task.done():
            task.result()
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    watching.result()
    assert project.process is not None
    pid = project.process.pid
    print_figure(
        f"longest delay of the event loop within {seconds:.0f} s", max(lags) * 1000, "ms", "goal <= 100"
    )
    print_figure("slowest answer of the published port", max(slow) * 1000, "ms")
    print_figure("largest resident size of the daemon", read_megabytes(pid, "VmHWM"), "MB")
    print_figure("times put right and live again", float(len(went_live)), "")


def run(seconds: float, clients: int, seed: int) -> None:
    client = docker.from_env()
    with tempfile.TemporaryDirectory() as directory:
        project = Project(Path(directory) / f"hostile-{uuid.uuid4().hex[:8]}")
        try:
            project.start()
            assert project.wait()["outcome"] == "live", "".join(project.output)
            asyncio.run(run_all(project, seconds, clients, seed))
        finally:
            if project.process is not None:
                if project.process.poll() is not None:
                    print("".join(project.output[-60:]))
                project.stop()
            clean_up(client, project)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0, help="how long")
    parser.add_argument("--clients", type=int, default=8, help="hostile clients at the same time")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(2)), help="repeat a run")
    given = parser.parse_args()
    print(f"seed {given.seed}")
    run(given.seconds, given.clients, given.seed)


if __name__ == "__main__":
    main()
