"""Measure saves that come 0 to 4 seconds apart, until each answers: `./dev bench bursts [--engine ADDRESS]…`.

    ./dev bench bursts                              # all engines that answer, with pruning and without
    ./dev bench bursts --engine unix:///run/watcher-peers/29-containerd.sock --rounds 4

Idle work after a save (pruning, sizes) competes with the next save if that comes soon. So saves are made in
bursts, with the same pauses of 0 to 4 s for all. Engines, and pruning on and off, take turns, `--rounds`
times. A burst starts a new daemon and makes one save that is not counted, to clean up after the last burst.
The clock stops when a new connection gets the new version.

The defaults take about 5 minutes on 2 cores and two engines.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench._peers import ROOT, Docker, Project, engines_here, format_table, how_busy, new_id
from bench.save import Client, Contender, Save, judge_save
from watcher import labels

SETTLED = 6.0  # seconds within which pruning has run (`watcher.daemon.maintenance.PRUNE_WITHIN`)
LONGEST = 4.0  # seconds between an answer and the next save
MODES = {"on": (), "off": ("--no-prune.enabled",)}


@dataclass
class Engine:
    """One engine with a copy of the example, and its saves with pruning on and off."""

    docker: Docker
    project: Project
    saves: dict[str, list[Save]] = field(default_factory=lambda: {mode: [] for mode in MODES})

    def burst(self, mode: str, pauses: Sequence[float]) -> None:
        """Run one daemon, one save that does not count, and one more after each pause."""
        command = (sys.executable, "-m", "watcher", "run", "--plain", "--http.port", "0", *MODES[mode])
        environment = {**os.environ, "DOCKER_HOST": self.docker.endpoint, "PYTHONPATH": str(ROOT)}
        stay = (*command, "--project", str(self.project.folder))
        one = Contender("watcher", self.project, environment, stay=stay)
        one.start()
        try:
            time.sleep(SETTLED)
            os.sync()
            with Client(self.project.port) as client:
                for pause in pauses:
                    time.sleep(pause)
                    saved = time.perf_counter()
                    version = self.project.edit()
                    seen = one.wait(client, version)
                    self.saves[mode].append(judge_save(client.requests, version, saved, seen))
        finally:
            one.stop()


def bench_engines(endpoints: Sequence[str], rounds: int, saves: int, seed: int) -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bursts-")))
        engines = []
        for endpoint in endpoints:
            run = new_id()
            docker = Docker(endpoint, folder / run)
            stack.callback(docker.remove, run)
            project = Project.make(folder, run, "bursts")
            stack.callback(_remove_labelled, docker, project)
            engines.append(Engine(docker, project))
        if busy := how_busy():
            print(busy)
        chance = random.Random(seed)
        pauses = [[chance.uniform(0, LONGEST) for _ in range(saves)] for _ in range(rounds)]
        for number, each in enumerate(pauses):
            for engine in engines:
                for mode in sorted(MODES, reverse=bool(number % 2)):
                    print(f"round {number + 1}, {engine.docker.endpoint}, pruning {mode}", file=sys.stderr)
                    engine.burst(mode, each)
        rows = {
            f"{engine.docker.describe()}, pruning {mode}": _format_row(done)
            for engine in engines
            for mode, done in engine.saves.items()
        }
        print(format_table(("median", "range", "failed", "saves"), rows, max(map(len, rows))))


def _remove_labelled(docker: Docker, project: Project) -> None:
    """Remove the project's containers with other names, such as pause containers."""
    label = f"label={labels.PROJECT}={labels.project_id(project.folder.resolve())}"
    for container in docker.run("ps", "-aq", "--filter", label).split():
        docker.run("rm", "-f", container, check=False)


def _format_row(saves: Sequence[Save]) -> tuple[str, ...]:
    seconds = [save.seconds for save in saves]
    spread = f"{min(seconds):.2f}–{max(seconds):.2f}"
    failed = sum(save.failed for save in saves)
    return f"{statistics.median(seconds):.2f}", spread, str(failed), str(len(seconds))


def main() -> None:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--engine", action="append", help="address of an engine; may be repeated")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--saves", type=int, default=6, help="in a burst")
    parser.add_argument("--seed", type=int, default=1, help="of the pauses")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so everything is removed then too
    bench_engines(given.engine or engines_here(), max(given.rounds, 1), max(given.saves, 1), given.seed)


if __name__ == "__main__":
    main()
