"""Measure a build after a change of one line: `go build` alone, ours at each level, other tools.

    ./dev bench build                                   # every engine that answers here, 9 rounds
    ./dev bench build --rounds 3 --slow-rounds 0        # a quick scan
    ./dev bench build --engine unix:///run/watcher-peers/28-containerd.sock

Every build compiles a new version of the example. All ways take turns within every round, so other load on
the machine affects all of them; the results are medians in seconds. Engines are measured one after another:
one with the containerd store keeps working after a build, which would slow down others.

Ours is the daemon's builder, with a separate copy of the example for each level: a scan of the tree, then
the build with its export into the engine. The peers use a Dockerfile with cache mounts and `go mod download`
before `COPY . .`; "as written" is the article's file, which compiles everything in every build and so runs
in the first rounds only (--slow-rounds).

The last lines show how long the process of a `RUN` lives after its build was cancelled; it ignores SIGTERM.

Other engines: `deploy/peers/engine start 28-containerd`. Everything made here is removed at the end; steps in
the engine's build cache stay, as after any build.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench._peers import (
    Docker,
    Project,
    engines_here,
    forget_caches,
    format_table,
    go_environment,
    how_busy,
    new_id,
)
from watcher import compose, labels
from watcher.builder import BuildkitConnection, ImageBuilder
from watcher.buildkit import Client, MemorySource, SolveRequest
from watcher.daemon.recipe import recipe_of
from watcher.dockerfile import Level
from watcher.engine import DockerEngine
from watcher.observers.events import Fanout
from watcher.reconcile.ports import Scan
from watcher.settings import Settings
from watcher.tree import Tree
from watcher.tree import revision as revision_of

ALONE = "go build alone"
Way = Callable[[], Awaitable[None]]
Cancel = Callable[[], Awaitable[float]]


@dataclass
class Case:
    """One way to build one copy of the example. `slow`: in the first rounds only."""

    project: Project
    way: Way
    slow: bool = False
    seconds: list[float] = field(default_factory=list)

    async def round(self) -> None:
        """Save and build once; the save itself is not timed.

        Pending disk writes are flushed first: the kernel writes them when a step's root is unmounted, so a
        build would pay for the one before it.
        """
        self.project.edit()
        await asyncio.to_thread(os.sync)
        begun = time.perf_counter()
        await self.way()
        self.seconds.append(time.perf_counter() - begun)


@dataclass
class Site:
    """One engine: the ways to build on it, and the ways to cancel with their times in seconds."""

    docker: Docker
    cases: dict[str, Case]
    cancels: dict[str, tuple[Cancel, list[float]]]


# ---- the ways ----


def go_alone(project: Project) -> Way:
    """The compiler on this machine with its own cache."""

    async def build() -> None:
        await run_command(
            "go", "build", "-o", f"{project.folder}.exe", ".", folder=project.folder, env=go_environment()
        )

    return build


async def make_ours(project: Project, level: Level, endpoint: str, stack: AsyncExitStack) -> Way:
    """Return the daemon's builder of one project at one level, on a separate connection."""
    engine = await DockerEngine.open(endpoint)
    stack.push_async_callback(engine.close)
    connection = BuildkitConnection(engine.endpoint, engine)
    stack.push_async_callback(connection.close)
    spec = compose.load(project.compose_file, env=dict(os.environ)).managed_services[0]
    settings = Settings(project=project.folder)
    recipe = replace(recipe_of(spec, settings, labels.project_id(settings.root), ""), level=level)
    builder = ImageBuilder(recipe, engine=engine, connection=connection, observer=Fanout())
    tree = Tree(project.folder)

    async def build() -> None:
        snapshot = await asyncio.to_thread(tree.scan)
        scan = Scan(revision_of(snapshot, recipe.inputs()), snapshot, time.time())
        await builder.build(scan, forced=False)

    return build


def make_peer(docker: Docker, project: Project, *command: str) -> Way:
    """Return a command of the docker CLI in the project's folder."""

    async def build() -> None:
        await run_command("docker", *command, folder=project.folder, env=docker.environment)

    return build


async def run_command(*command: str, folder: Path, env: dict[str, str]) -> None:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{output.decode()[-2000:]}")


# ---- cancelling ----


def endless_dockerfile() -> tuple[str, str]:
    """Return a Dockerfile with a step that does not end and ignores SIGTERM, and the mark of its process."""
    mark = str(random.randrange(10**8, 10**9))
    return f"FROM alpine\nRUN trap '' TERM INT HUP; while sleep {mark}; do :; done\n", mark


def step_processes(mark: str) -> list[int]:
    """Return the processes of the step; every engine of this machine runs them in a visible pid namespace."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[:2] == [b"sleep", mark.encode()]:
            found.append(int(place.name))
    return found


async def wait_for_step(mark: str) -> int:
    """Return the step's process once it runs."""
    async with asyncio.timeout(60):
        while not (found := step_processes(mark)):
            await asyncio.sleep(0.02)
    return found[0]


async def wait_for_end(pid: int) -> None:
    while Path(f"/proc/{pid}").exists():
        await asyncio.sleep(0.001)


async def cancel_ours(client: Client) -> float:
    """Return the seconds from the cancellation of Solve to the end of the step's process."""
    text, mark = endless_dockerfile()
    request = SolveRequest(
        context=MemorySource({}),
        dockerfile=MemorySource({"Dockerfile": text.encode()}),
        shared_key=mark,
        exporter="",
    )
    solving = asyncio.create_task(client.solve(request, lambda _: None))
    pid = await wait_for_step(mark)
    begun = time.perf_counter()
    solving.cancel()
    await wait_for_end(pid)
    seconds = time.perf_counter() - begun
    await asyncio.gather(solving, return_exceptions=True)
    return seconds


async def cancel_buildx(docker: Docker) -> float:
    """Return the same for Ctrl-C at buildx."""
    text, mark = endless_dockerfile()
    process = await asyncio.create_subprocess_exec(
        *("docker", "buildx", "build", "--progress", "quiet", "-"),
        env=docker.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdin
    process.stdin.write(text.encode())
    process.stdin.close()
    pid = await wait_for_step(mark)
    begun = time.perf_counter()
    process.send_signal(signal.SIGINT)
    await wait_for_end(pid)
    seconds = time.perf_counter() - begun
    await process.wait()
    return seconds


# ---- the run ----


async def make_site(docker: Docker, folder: Path, run: str, stack: AsyncExitStack) -> Site:
    """Return the ways on one engine, each with its own copy of the example."""
    folder.mkdir()
    alone = Project.make(folder, run, "alone")
    written = Project.make(folder, run, "written")
    tuned = Project.make(folder, run, "tuned", tuned=True)
    client = await stack.enter_async_context(await Client.connect(docker.endpoint))
    cases = {ALONE: Case(alone, go_alone(alone))}
    for level in (Level.EXACT, Level.FAST, Level.OFF):
        mine = Project.make(folder, run, level)
        way = await make_ours(mine, level, docker.endpoint, stack)
        cases[f"watcher, {level}"] = Case(mine, way, slow=level is Level.OFF)
    cancels: dict[str, tuple[Cancel, list[float]]] = {"watcher": (lambda: cancel_ours(client), [])}
    if "buildx" in docker.plugins:
        build = ("buildx", "build", "--progress", "quiet", "--build-arg", "ENV=dev", "-t")
        cases["docker buildx build, by hand"] = Case(tuned, make_peer(docker, tuned, *build, tuned.name, "."))
        written_way = make_peer(docker, written, *build, written.name, ".")
        cases["docker buildx build, as written"] = Case(written, written_way, slow=True)
        cancels["docker buildx build"] = (lambda: cancel_buildx(docker), [])
    if "compose" in docker.plugins:
        build = ("compose", "-f", tuned.compose_file.name, "-p", tuned.name, "build", "--quiet")
        cases["docker compose build, by hand"] = Case(tuned, make_peer(docker, tuned, *build))
    return Site(docker, cases, cancels)


async def bench_engines(engines: list[str], rounds: int, slow_rounds: int) -> None:
    run = new_id()
    with tempfile.TemporaryDirectory(prefix=run) as place:
        folder = Path(place)
        dockers = [Docker(endpoint, folder / "docker") for endpoint in engines]
        for sentence in [*dockers[0].missing(("buildx", "compose")), *filter(None, [how_busy()])]:
            print(sentence)
        for number, docker in enumerate(dockers):
            async with AsyncExitStack() as stack:
                stack.push_async_callback(clean_up, docker, run)
                one = await make_site(docker, folder / str(number), run, stack)
                for round_number in range(rounds + 1):
                    await all_in_turn(one, round_number, rounds, slow_rounds)
            print(" " * 70, end="\r", file=sys.stderr)
            print_results(one)


async def all_in_turn(one: Site, number: int, rounds: int, slow_rounds: int) -> None:
    """Run one round. Round 0 is not counted: it fills the caches and looks up base images."""
    for name, case in one.cases.items():
        if case.slow and not 0 < number <= slow_rounds:
            continue
        print(f"round {number} of {rounds}: {name:40}", end="\r", file=sys.stderr, flush=True)
        await case.round()
        if number == 0:
            case.seconds.clear()
    for cancel, seconds in one.cancels.values():
        if number > 0:
            seconds.append(await cancel())


def print_results(one: Site) -> None:
    """Print one engine's table."""
    alone = statistics.median(one.cases[ALONE].seconds)
    rows = {}
    for name, case in one.cases.items():
        if not case.seconds:
            continue
        median = statistics.median(case.seconds)
        over = "" if name == ALONE else f"{median - alone:+.2f}"
        best, worst = min(case.seconds), max(case.seconds)
        ratio = f"{median / alone:.2f}"
        rows[name] = (f"{median:.2f}", over, ratio, f"{best:.2f}–{worst:.2f}", str(len(case.seconds)))
    print(f"\n{one.docker.describe()}; seconds from a one-line change to the image")
    print(format_table(("median", "over go build", "ratio", "range", "n"), rows, 33))
    for name, (_, seconds) in one.cancels.items():
        median, worst = statistics.median(seconds), max(seconds)
        figures = f"median {median:.3f} s, worst {worst:.3f} s, n {len(seconds)}"
        print(f"RUN process gone after cancel, {name}: {figures}")


async def clean_up(docker: Docker, run: str) -> None:
    """Remove the images and the cache mounts of this run."""
    await asyncio.to_thread(docker.remove, run)
    await forget_caches(docker.endpoint, run)


def main() -> None:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--engine", action="append", help="address of an engine; may be given more than once")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument(
        "--slow-rounds", type=int, default=1, help="rounds in which the world is compiled too"
    )
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so everything is removed then too
    asyncio.run(bench_engines(options.engine or engines_here(), max(options.rounds, 1), options.slow_rounds))


if __name__ == "__main__":
    main()
