"""Measure `watcher image` on a large program, and what explaining images costs a save.

    ./dev bench image                            # Caddy's image, 5 rounds, then 6 saves of each kind
    ./dev bench image prometheus --before HEAD~1 # the command of another commit beside it
    ./dev bench image --program /usr/bin/dockerd --saves 0   # any Go program, and no saves

First `watcher image` explains an image with the program, as go makes it: with symbols and DWARF. "start" is
the same command on an image with one small file: what every call takes. The goal is at most 2 s.

Then the daemon runs on a copy of the example, which explains each live image in idle time. Saves are timed
while nothing is explained ("idle") and while an image is explained ("during"), in turn. For each explanation
the process is watched: its priority, when it starts after the new version was live, whether it was running
when a save came, and how long after that save it was still there.

Sources stay in the folder `--sources` (as for `./dev bench big`). Everything else made here is removed.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench._peers import (
    DEFAULT_ENGINE,
    GOAL_MISSED,
    LONG,
    ROOT,
    Docker,
    forget_caches,
    format_table,
    go_environment,
    how_busy,
    new_id,
)
from bench.big import BIG, prepare_sources
from bench.save import Client, Contender, Field, show_progress

GOAL = 2.0  # seconds for the command on a program of about 100 MB
IDLE, DURING = "idle", "during"
_PROCESS = b"watcher.image.process"
_PATIENCE = 300.0  # seconds within which an explanation must start, or end


# ---- the command ----


@dataclass(frozen=True)
class Taken:
    """What one call took, in seconds: on the clock, and of CPU."""

    wall: float
    cpu: float


def time_command(arguments: tuple[str, ...], source: Path, folder: Path) -> Taken:
    """Return what a command of the watcher in `source` takes."""
    environment = {**os.environ, "PYTHONPATH": str(source)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed program has its bytecode
    environment["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode" / source.name)
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, "-P", "-m", "watcher", *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        timeout=LONG,
        check=True,
    )
    after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - begun
    return Taken(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def extract_commit(revision: str, folder: Path) -> Path:
    """Return a folder with the watcher of another commit."""
    command = ["git", "-C", str(ROOT), "archive", revision, "watcher"]
    done = subprocess.run(command, capture_output=True, timeout=LONG, check=False)
    if done.returncode:
        raise SystemExit(f"--before {revision}: {done.stderr.decode(errors='replace').strip()}")
    place = folder / "before"
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(place, filter="data")
    return place


def make_image(docker: Docker, name: str, program: Path, folder: Path) -> None:
    """Build an image with only this file."""
    context = folder / name
    context.mkdir()
    shutil.copyfile(program, context / "app")
    (context / "Dockerfile").write_text("FROM scratch\nCOPY app /app\n")
    docker.run("build", "-q", "-t", name, context)
    shutil.rmtree(context)


def bench_command(program: Path, options: argparse.Namespace, docker: Docker, run: str, folder: Path) -> bool:
    """Time the command and print the table; return whether the goal is met."""
    small = folder / "small"
    small.write_text("a small file\n")
    images = {"start": f"{run}-small", "watcher image": f"{run}-program"}
    for name, file in zip(images.values(), (small, program), strict=True):
        make_image(docker, name, file, folder)
    sources = {"": ROOT}
    if options.before:
        sources[f", {options.before}"] = extract_commit(options.before, folder)
    rows = {
        f"{row}{which}": (image, source) for which, source in sources.items() for row, image in images.items()
    }
    taken: dict[str, list[Taken]] = {name: [] for name in rows}
    engine = ("--engine", docker.endpoint)
    for number in range(-1, max(options.rounds, 1)):  # the first call of each writes bytecode
        for name, (image, source) in rows.items():
            show_progress(f"round {number + 1} of {options.rounds}: {name}")
            found = time_command(("image", *engine, image), source, folder)
            taken[name] += [found] if number >= 0 else []
    show_progress("")
    medians = {name: statistics.median(each.wall for each in found) for name, found in taken.items()}
    table = {
        name: (
            f"{medians[name]:.2f}",
            f"{statistics.median(each.cpu for each in found):.2f}",
            f"{min(each.wall for each in found):.2f}–{max(each.wall for each in found):.2f}",
        )
        for name, found in taken.items()
    }
    size = program.stat().st_size / 1e6
    print(f"an image with one Go program of {size:.1f} MB; median seconds of {max(options.rounds, 1)} calls")
    print(format_table(("clock", "CPU", "range"), table, max(map(len, table))))
    met = medians["watcher image"] <= GOAL
    print(f"goal: watcher image {medians['watcher image']:.2f} <= {GOAL:g} s: {'met' if met else 'NOT met'}")
    return met


# ---- what it costs a save ----


@dataclass
class Explanation:
    """A process that explains an image: when it was there, and its niceness."""

    began: float
    nice: int = 0
    ended: float = float("inf")

    def running_at(self, moment: float) -> bool:
        return self.began < moment < self.ended


class ExplanationWatch:
    """Watches the processes below one daemon that explain images, in a thread."""

    def __init__(self, daemon: int) -> None:
        self.seen: dict[int, Explanation] = {}
        self._daemon, self._stop = daemon, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> ExplanationWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    def running(self) -> bool:
        return any(each.running_at(time.perf_counter()) for each in list(self.seen.values()))

    def wait_for(self, condition: Callable[[], bool]) -> bool:
        """Return whether the condition became true in time."""
        deadline = time.perf_counter() + _PATIENCE
        while time.perf_counter() < deadline:
            if condition():
                return True
            time.sleep(0.01)
        return False

    def _watch(self) -> None:
        while not self._stop.wait(0.01):
            here = {}
            for pid in self._children():
                try:
                    status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                    command = Path(f"/proc/{pid}/cmdline").read_bytes()
                except OSError:
                    continue
                if _PROCESS in command and status[0] != "Z":
                    here[pid] = int(status[16])
            now = time.perf_counter()
            for pid, nice in here.items():
                known = self.seen.setdefault(pid, Explanation(now))
                known.nice = max(known.nice, nice)
            for pid, known in self.seen.items():
                if pid not in here:
                    known.ended = min(known.ended, now)

    def _children(self) -> list[int]:
        found: list[int] = []
        for task in Path(f"/proc/{self._daemon}/task").glob("*/children"):
            try:
                found += map(int, task.read_text().split())
            except OSError:
                continue
        return found


@dataclass(frozen=True)
class TimedSave:
    """A save of one kind: when it was made, and when its version answered."""

    kind: str
    saved: float
    seen: float


def time_saves(
    watcher: Contender, watch: ExplanationWatch, count: int
) -> tuple[list[TimedSave], list[float]]:
    """Make `count` saves of each kind in turn; return them, and when every version was live."""
    saves: list[TimedSave] = []
    live: list[float] = []
    with Client(watcher.project.port) as client:
        for number in range(2 * count):
            kind = (IDLE, DURING)[number % 2]
            show_progress(f"save {number + 1} of {2 * count}: {kind}")
            known = len(watch.seen)
            live.append(watcher.wait(client, watcher.project.edit()))  # an image to explain
            if not watch.wait_for(lambda known=known: len(watch.seen) > known):  # type: ignore[misc]
                raise SystemExit(f"no image was explained within {_PATIENCE:g} s after a save")
            if kind == IDLE and not watch.wait_for(lambda: not watch.running()):
                raise SystemExit(f"an image was explained for more than {_PATIENCE:g} s")
            saved = time.perf_counter()
            live.append(watcher.wait(client, watcher.project.edit()))
            saves.append(TimedSave(kind, saved, live[-1]))
    show_progress("")
    return saves, live


def describe_saves(saves: list[TimedSave], live: list[float], found: Mapping[int, Explanation]) -> list[str]:
    """Return the figures as lines."""
    explanations = list(found.values())
    rows = {}
    for kind in (IDLE, DURING):
        hit = [
            s
            for s in saves
            if s.kind == kind and (kind == IDLE or any(e.running_at(s.saved) for e in explanations))
        ]
        seconds = [each.seen - each.saved for each in hit]
        if seconds:
            spread = f"{min(seconds):.2f}–{max(seconds):.2f}"
            rows[kind] = (f"{statistics.median(seconds):.2f}", spread, str(len(seconds)))
    stopped = [e.ended - s.saved for s in saves for e in explanations if e.running_at(s.saved)]
    began = [min((e.began - each for each in live if each <= e.began), default=0.0) for e in explanations]
    nice = sorted({each.nice for each in explanations})
    lines = [
        "from a save to the new answer, seconds, while no image is explained, and while one is",
        format_table(("median", "range", "saves"), rows, 8),
        f"{len(explanations)} explanations, of niceness {', '.join(map(str, nice))}; each began "
        f"{min(began):.2f} to {max(began):.2f} s after a new version was live",
    ]
    if stopped:
        lines.append(
            f"{len(stopped)} were running when a save came, and were gone {statistics.median(stopped):.2f} s "
            f"(median) to {max(stopped):.2f} s after it"
        )
    return lines


def bench_saves(docker: Docker, run: str, folder: Path, count: int) -> None:
    """Run the daemon, time saves of both kinds, and print the figures."""
    watcher = Field(docker, folder, run).watcher()
    show_progress("the daemon's first version")
    try:
        watcher.start()
        assert watcher._process
        with ExplanationWatch(watcher._process.pid) as watch:
            saves, live = time_saves(watcher, watch, count)
    finally:
        watcher.stop()
    print("\n".join(describe_saves(saves, live, watch.seen)))


def build_program(options: argparse.Namespace, folder: Path) -> Path:
    """Return the program to explain: the given one, or one that go builds."""
    if options.program:
        return Path(options.program)
    big = next(each for each in BIG if each.name == options.name)
    show_progress(f"{big.name}: sources")
    sources, program = prepare_sources(big, options.sources), folder / f"{big.name}.exe"
    show_progress(f"{big.name}: go build")
    subprocess.run(
        ["go", "build", "-o", program, f"./{big.package}"],
        cwd=sources,
        env=go_environment(),
        timeout=2 * LONG,
        check=True,
    )
    return program


def main() -> None:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    known = tuple(each.name for each in BIG)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    parser.add_argument("name", nargs="?", choices=known, default=known[0])
    parser.add_argument("--program", type=Path, help="explain this file instead")
    parser.add_argument("--before", metavar="COMMIT", help="also time the command of this commit")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--saves", type=int, default=6, help="saves of each kind; 0: only the command")
    parser.add_argument("--engine", default=DEFAULT_ENGINE, help="address of the engine")
    parser.add_argument("--sources", type=Path, default=cache / "watcher-bench", help="folder of the sources")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so everything is removed then too
    signal.signal(signal.SIGINT, signal.default_int_handler)  # not ignored: the tools inherit that
    run = new_id()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=run)))
        docker = Docker(options.engine, folder / "docker")
        stack.callback(lambda: asyncio.run(forget_caches(docker.endpoint, run)))
        stack.callback(docker.remove, run)
        print(docker.describe())
        if busy := how_busy():
            print(busy)
        met = bench_command(build_program(options, folder), options, docker, run, folder)
        if options.saves > 0:
            bench_saves(docker, run, folder, options.saves)
    sys.exit(0 if met else GOAL_MISSED)


if __name__ == "__main__":
    main()
