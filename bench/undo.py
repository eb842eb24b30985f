"""Measure saves that need no compiler: a save that is undone, and a change of an env file.

    ./dev bench undo [--rounds 9]

The real daemon with the real engine, on a copy of the example. A client polls on new connections; the clock
stops when it reads what was saved. Rounds of all moves in turn, so other load affects all:

    undo at once     A is live, B is saved; the moment B answers, A is saved again (goal 0.5 s)
    undo later       as before, `--pause` seconds after B answered: A's container is gone (goal 0.5 s)
    env after undo   `--pause` seconds after that, a line of `_envs/env_dev.yaml` changes (goal 0.6 s)
    env file         `--pause` seconds after a save, a line of `_envs/env_dev.yaml` changes (goal 0.6 s, the
                     program's start included)

`phases` are the deploy's own figures of the newest such move, in seconds.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docker
import httpx

from tests.e2e.conftest import LONG, Project, clean_up, until

EVERY = 0.005  # seconds between two requests
GOALS = {"undo at once": 0.5, "undo later": 0.5, "env after undo": 0.6, "env file": 0.6}


class Moves:
    """The moves on one project, and their seconds."""

    def __init__(self, project: Project, pause: float) -> None:
        self.project, self.pause, self._turn = project, pause, 0
        self.seconds: dict[str, list[float]] = {name: [] for name in GOALS}
        self.phases: dict[str, Any] = {}

    def _time_save(self, save: Callable[[], object], seen: Callable[[dict[str, Any]], bool]) -> float:
        """Save, wait until the port answers with what `seen` accepts, and return the seconds."""
        begun = time.perf_counter()
        save()
        while not seen(self.project.health()):
            if time.perf_counter() - begun > LONG:
                raise SystemExit("".join(self.project.output[-40:]))
            time.sleep(EVERY)
        return time.perf_counter() - begun

    def _save_version(self, version: str) -> float:
        project = self.project
        return self._time_save(
            lambda: project.set_version(version), lambda answer: answer["version"] == version
        )

    def _record(self, name: str, seconds: float) -> None:
        self.seconds[name].append(seconds)
        time.sleep(self.pause)
        answer = httpx.get(self.project.api() + "api/builds", trust_env=False).raise_for_status()
        newest = max(answer.json()["builds"], key=lambda build: build["id"])
        self.phases[name] = (newest["deploy"] or {}).get("phases")

    def _change_env(self, name: str, greeting: str) -> None:
        file = self.project.folder / "_envs" / "env_dev.yaml"
        lines = [line for line in file.read_text().splitlines() if not line.startswith("greeting:")]
        changed = "\n".join([*lines, f"greeting: {greeting}", ""])
        self._record(
            name,
            self._time_save(lambda: file.write_text(changed), lambda answer: answer["greeting"] == greeting),
        )

    def make_round(self) -> None:
        """Make every move once."""
        self._turn += 1
        first, second = f"a{self._turn}", f"b{self._turn}"
        self._save_version(first)
        time.sleep(self.pause)
        self._save_version(second)
        self._record("undo at once", self._save_version(first))
        self._save_version(second)
        time.sleep(self.pause)
        self._record("undo later", self._save_version(first))
        self._change_env("env after undo", f"undone {self._turn}")
        self._save_version(f"before-env-{self._turn}")  # idle time after it keeps its linked program
        time.sleep(self.pause)
        self._change_env("env file", f"round {self._turn}")


def run(rounds: int, pause: float) -> None:
    client = docker.from_env()
    with tempfile.TemporaryDirectory() as directory:
        project = Project(Path(directory) / f"undo-{uuid.uuid4().hex[:8]}")
        moves = Moves(project, pause)
        try:
            project.start()
            assert project.wait()["outcome"] == "live", "".join(project.output)
            until(lambda: project.status()["images"].get("builder"), "the chores are done")
            for _ in range(rounds):
                moves.make_round()
        finally:
            if project.process is not None:
                project.stop()
            clean_up(client, project)
    print(f"medians of {rounds} rounds, seconds from the save until it answers")
    for name, seconds in moves.seconds.items():
        print(
            f"{name:16} {statistics.median(seconds):6.3f}  ({min(seconds):.3f}-{max(seconds):.3f})"
            f"  goal {GOALS[name]}  phases {moves.phases[name]}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument(
        "--pause", type=float, default=5.0, help="seconds between moves; longer than deploy.soak"
    )
    given = parser.parse_args()
    run(given.rounds, given.pause)


if __name__ == "__main__":
    main()
