"""Measure first builds of worktrees, and count what a first build compiles.

    ./dev bench worktrees                 # 5 worktrees; about 4 minutes, of which the first build takes one
    ./dev bench worktrees --rounds 2

The real command `watcher once` on copies of the example, with a state folder of its own and so with Go caches
that are empty at first:

    first        the first build of all
    warm         the same folder again, with another version number saved
    worktree     the first build of another folder, with another version number: goal 1.3 times a warm one
    new project  another module that uses Gin too: it must compile nothing but its own packages

`compiled` counts the packages that go compiled, by `go build -v`: of the standard library, modules, its own.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

import docker

from bench._peers import DEFAULT_ENGINE, forget_caches, format_table, how_busy
from tests.e2e.conftest import Project, clean_up
from watcher import regex
from watcher.builder.cache_scope import shared_cache_scope

GOAL = 1.3
LIST = "compiled.txt"
KINDS = ("first", "warm", "worktree", "new project")
_PACKAGE = regex.compile(r"[a-z][\w.~-]*(?:/[\w.~-]+)*")
_GIN = """package main

import "github.com/gin-gonic/gin"

func main() {
	router := gin.New()
	router.GET("/health", func(c *gin.Context) { c.JSON(200, gin.H{"version": "1"}) })
	if err := router.Run(":9000"); err != nil {
		panic(err)
	}
}
"""


def count_packages(printed: Sequence[str], own: str) -> tuple[int, int, int]:
    """Return how many packages of the standard library, of modules and of `own` a build printed."""
    found = {line for line in printed if _PACKAGE.fullmatch(line)}
    mine = {name for name in found if name == own or name.startswith(f"{own}/")}
    modules = {name for name in found - mine if "." in name.partition("/")[0]}
    return len(found - mine - modules), len(modules), len(mine)


def make_project(folder: Path) -> Project:
    """Copy the example, with a Dockerfile that puts into the image what go says that it compiles."""
    project = Project(folder)
    file = folder / "Dockerfile"
    text = file.read_text()
    for old, new in (
        ("go build -a -o mygoexecutable .", f"go build -a -v -o mygoexecutable . 2>{LIST}"),
        ("CMD ", f"COPY --from=builder /workspace/{LIST} .\nCMD "),
    ):
        if old not in text:
            sys.exit(f"the example's Dockerfile has no {old!r} any more")
        text = text.replace(old, new)
    file.write_text(text)
    return project


def make_new_project(folder: Path) -> Project:
    """Return a project of another module; its Go code is one file that uses Gin."""
    project = make_project(folder)
    for path in sorted(folder.rglob("*.go")):
        path.unlink()
    (folder / "main.go").write_text(_GIN)
    module = folder / "go.mod"
    lines = ["module example.com/fresh" if line.startswith("module ") else line for line in _lines(module)]
    module.write_text("\n".join([*lines, ""]))
    return project


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def build_once(client: docker.DockerClient, project: Project, own: str) -> tuple[float, tuple[int, int, int]]:
    """Run `watcher once`; return its seconds and what go compiled."""
    begun = time.perf_counter()
    done = project.watcher("once", "--plain", "--http.port", "0")
    seconds = time.perf_counter() - begun
    if done.returncode:
        sys.exit(f"watcher once failed:\n{done.stdout[-3000:]}{done.stderr[-1000:]}")
    printed = client.containers.run(project.id, ["cat", f"/{LIST}"], remove=True)
    return seconds, count_packages(bytes(printed).decode().splitlines(), own)


def judge_goal(seconds: Mapping[str, Sequence[float]], fresh: tuple[int, int, int]) -> list[str]:
    """Return whether the goals are met, with their figures."""
    warm, worktree = statistics.median(seconds["warm"]), statistics.median(seconds["worktree"])
    foreign = fresh[0] + fresh[1]
    return [
        f"a worktree's first build takes {worktree / warm:.2f} times a warm one: goal {GOAL} "
        + ("met" if worktree <= GOAL * warm else "NOT met"),
        f"a new project compiles {foreign} packages that are not its own: goal 0 "
        + ("met" if foreign == 0 else "NOT met"),
    ]


def run(rounds: int) -> None:
    client, projects = docker.from_env(), list[Project]()
    name = f"worktrees-{uuid.uuid4().hex[:8]}"
    seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    compiled: dict[str, tuple[int, int, int]] = {}
    with tempfile.TemporaryDirectory(prefix=name) as directory:
        os.environ["XDG_STATE_HOME"] = f"{directory}/state"
        own = _lines(Path("examples/go-server/go.mod"))[0].split()[1]
        print("seconds of `watcher once`; packages compiled: of the standard library + of modules + own")
        if busy := how_busy():
            print(busy)

        def measure(kind: str, project: Project, module: str = own) -> None:
            taken, compiled[kind] = build_once(client, project, module)
            seconds[kind].append(taken)

        try:
            projects.append(main := make_project(Path(directory) / f"{name}-main"))
            main.set_version("first")
            measure("first", main)
            if not all(compiled["first"]):
                sys.exit(f"the first build compiled {compiled['first']} packages: its caches were not empty")
            for number in range(rounds):
                main.set_version(f"warm {number}")
                measure("warm", main)
                projects.append(other := make_project(Path(directory) / f"{name}-{number}"))
                other.set_version(f"worktree {number}")
                measure("worktree", other)
            projects.append(fresh := make_new_project(Path(directory) / f"{name}-fresh"))
            measure("new project", fresh, "example.com/fresh")
        finally:
            for project in projects:
                project.watcher("down", "--caches")
                clean_up(client, project)
            for caches in filter(None, (name, shared_cache_scope())):
                asyncio.run(forget_caches(DEFAULT_ENGINE, caches))
    rows = {
        kind: (
            f"{statistics.median(each):.2f}",
            f"{min(each):.2f}–{max(each):.2f}",
            "{}+{}+{}".format(*compiled[kind]),
        )
        for kind, each in seconds.items()
    }
    print(format_table(("median", "range", "compiled"), rows, 14))
    for line in judge_goal(seconds, compiled["new project"]):
        print(line)


def main() -> None:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--rounds", type=int, default=5)
    run(max(parser.parse_args().rounds, 1))


if __name__ == "__main__":
    main()
