"""Measure saves in large services: from a save to the new answer, beside `go build` and other tools.

    ./dev bench big                                   # both services, 5 saves each: about 35 minutes
    ./dev bench big caddy --saves 3 --slow-saves 0    # one of them, without a plain `docker build`

The services come from the Go module proxy (`BIG` lists them): one with its modules downloaded in a step of
its own, one vendored. Each gets one more file, which answers with the saved value on port 9000 before the
service itself starts. A round is one save for each contender in turn:

    go             `go build` of the same package on this machine: nothing answers
    exact, fast    `watcher run` at this level, with a Dockerfile without cache mounts
    watch          `docker compose watch` (rebuild), with cache mounts
    plain          `docker build` of the watcher's Dockerfile, in the first rounds only (--slow-saves)

The goal is exact <= go x 1.15 + 0.5 s. Adapted sources stay in the folder `--sources`, and what the watcher
compiled stays in its Go caches; so the next run starts faster. Everything else made here is removed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench._peers import (
    DEFAULT_ENGINE,
    LONG,
    ROOT,
    Docker,
    Project,
    forget_caches,
    format_table,
    free_port,
    go_environment,
    how_busy,
    new_id,
)
from bench.save import Contender, run_rounds, show_progress

CONTENDERS = ("go", "exact", "fast", "watch", "plain")
FACTOR, MORE = 1.15, 0.5  # the goal: exact takes at most go times FACTOR and MORE seconds


@dataclass(frozen=True)
class Big:
    """One large service: `package` is its program, and `saved` a Go file in a package that it imports."""

    name: str
    module: str
    version: str
    package: str
    saved: str
    command: tuple[str, ...]
    copied: tuple[str, str] | None = None  # a file of the tree, and its place in the image
    vendored: bool = False


BIG = (
    Big(
        "caddy",
        "github.com/caddyserver/caddy/v2",
        "v2.11.9",
        "cmd/caddy",
        "modules/caddyhttp/fileserver/matcher.go",
        ("/app", "run"),
    ),
    Big(
        "prometheus",
        "github.com/prometheus/prometheus",
        "v0.316.0",
        "cmd/prometheus",
        "web/federate.go",
        ("/app", "--config.file=/prometheus.yml"),
        ("documentation/examples/prometheus.yml", "/prometheus.yml"),
        vendored=True,
    ),
)
_ANSWERS = """\
package main

import (
	"net/http"

	saved "{imported}"
)

func init() {{
	go http.ListenAndServe(":9000", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {{
		w.Write([]byte(`{{"version": "` + saved.BenchSave + `"}}`))
	}}))
}}
"""
_COMPOSE = """\
services:
  app:
    build: .
    image: {name}
    container_name: {name}-box
    ports: ["127.0.0.1:{port}:9000"]
    stop_grace_period: 1s
    develop: {{watch: [{{action: rebuild, path: .}}]}}
"""


def write_dockerfile(big: Big, caches: str) -> str:
    """Return a Dockerfile; with `caches`, the start of their ids, it has cache mounts."""
    mounts = {
        "mod": f"--mount=type=cache,id={caches}-mod,target=/go/pkg/mod ",
        "build": f"--mount=type=cache,id={caches}-build,target=/root/.cache/go-build ",
    }
    modules, build = (mounts["mod"], "".join(mounts.values())) if caches else ("", "")
    download = "" if big.vendored else f"COPY go.mod go.sum ./\nRUN {modules}go mod download\n"
    copied = f"COPY {' '.join(big.copied)}\n" if big.copied else ""
    return (
        f"FROM golang:alpine AS builder\nWORKDIR /src\n{download}COPY . .\n"
        f"RUN {build}CGO_ENABLED=0 go build -buildvcs=false -o /app ./{big.package}\n"
        f"FROM alpine\n{copied}COPY --from=builder /app /app\nCMD {json.dumps(big.command)}\n"
    )


def prepare_sources(big: Big, sources: Path) -> Path:
    """Return the folder of the adapted sources; download and adapt them if they are not there."""
    folder = sources / f"{big.name}-{big.version}"
    if folder.exists():
        return folder
    sources.mkdir(parents=True, exist_ok=True)
    environment = {**go_environment(), "GOFLAGS": "-mod=mod"}
    command = ["go", "mod", "download", "-json", f"{big.module}@{big.version}"]
    done = subprocess.run(
        command, cwd=sources, env=environment, capture_output=True, text=True, timeout=LONG, check=False
    )
    answer = json.loads(done.stdout) if done.stdout.startswith("{") else {"Error": done.stderr}
    if answer.get("Error"):
        raise SystemExit(f"{big.name} cannot be downloaded: {answer['Error']}")
    draft = folder.with_suffix(".draft")
    shutil.rmtree(draft, ignore_errors=True)
    shutil.copytree(answer["Dir"], draft, copy_function=shutil.copyfile)
    for path in (draft, *draft.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    for name in ("go.work", "Dockerfile", ".dockerignore"):
        (draft / name).unlink(missing_ok=True)
    imported = f"{big.module}/{Path(big.saved).parent}"
    (draft / big.package / "bench_answers.go").write_text(_ANSWERS.format(imported=imported))
    if big.vendored:  # -e: what only tests need can be missing
        subprocess.run(
            ["go", "mod", "vendor", "-e"],
            cwd=draft,
            env=environment,
            capture_output=True,
            timeout=LONG,
            check=False,
        )
    draft.rename(folder)
    return folder


@dataclass(frozen=True)
class BigProject(Project):
    """A copy of a service's sources for one contender."""

    big: Big

    @property
    def compose_file(self) -> Path:
        return self.folder / "compose.yaml"

    def edit(self) -> str:
        """Save the Go file with another value in it, and return the value."""
        version = new_id()
        path = self.folder / self.big.saved
        kept = [line for line in path.read_text().splitlines() if not line.startswith("var BenchSave")]
        path.write_text("\n".join([*kept, f'var BenchSave = "{version}"', ""]))
        return version


class Slow(Contender):
    """A contender that compiles everything at each save, so a first version would only take time."""

    def start(self) -> None:
        """Build a first version only where its steps before the sources are cached afterwards."""
        if isinstance(self.project, BigProject) and not self.project.big.vendored:
            super().start()


@dataclass(frozen=True)
class Run:
    """Where a run puts its copies; `name` begins the names of everything that it makes."""

    name: str
    folder: Path
    docker: Docker


def make_contender(name: str, big: Big, sources: Path, run: Run) -> Contender:
    """Copy the sources for a contender, and return it."""
    own, folder, docker = f"{run.name}-{big.name}-{name}", run.folder, run.docker
    project = BigProject(folder / own, own, free_port(), big)
    shutil.copytree(sources, project.folder)
    project.edit()
    caches = f"{run.name}-{big.name}" if name == "watch" else ""
    (project.folder / "Dockerfile").write_text(write_dockerfile(big, caches))
    project.compose_file.write_text(_COMPOSE.format(name=own, port=project.port))
    if name == "go":
        command = ("go", "build", "-o", f"{project.folder}.exe", f"./{big.package}")
        return Contender(name, project, go_environment(), command=command, answers=False)
    if name == "plain":
        environment = {**docker.environment, "DOCKER_BUILDKIT": "1"}
        built = ("docker", "build", "-q", "-t", own, ".")
        return Slow(name, project, environment, command=built, answers=False, slow=True)
    if name == "watch":
        stay: tuple[str, ...] = ("docker", "compose", "-p", own, "watch")
        return Contender(name, project, docker.environment, stay=stay)
    stay = (sys.executable, "-P", "-m", "watcher", "run", "--plain", "--http.port", "0")
    stay += ("--build.accelerate", name, "--project", str(project.folder))
    environment = {**os.environ, "DOCKER_HOST": docker.endpoint, "PYTHONPATH": str(ROOT)}
    return Contender(name, project, environment, stay=stay)


def judge_goal(medians: dict[str, float]) -> str:
    """Return the goal with its figures as a sentence; empty if one of them was not measured."""
    if not {"go", "exact"} <= medians.keys():
        return ""
    exact, go = medians["exact"], medians["go"]
    goal = go * FACTOR + MORE
    met = "met" if exact <= goal else "NOT met"
    return f"goal: exact {exact:.2f} <= go {go:.2f} x {FACTOR} + {MORE} = {goal:.2f}: {met}"


def print_results(contenders: Sequence[Contender]) -> None:
    """Print the table of one service, and the goal."""
    medians = {one.name: statistics.median(save.seconds for save in one.saves) for one in contenders}
    rows = {}
    for one in contenders:
        seconds = [save.seconds for save in one.saves]
        ratio = f"{medians[one.name] / medians['go']:.2f}" if "go" in medians else ""
        failed = str(sum(save.failed for save in one.saves)) if one.answers else ""
        spread = f"{min(seconds):.2f}–{max(seconds):.2f}"
        rows[one.name] = (f"{medians[one.name]:.2f}", ratio, spread, failed, str(len(seconds)))
    print(format_table(("median", "x go", "range", "failed", "saves"), rows, 14))
    if goal := judge_goal(medians):
        print(goal)


def bench_service(big: Big, options: argparse.Namespace, docker: Docker) -> None:
    """Measure one service."""
    saves, slow = max(options.saves, 1), options.slow_saves
    with ExitStack() as stack:
        name = new_id()
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=name)))
        run = Run(name, folder, docker)
        stack.callback(lambda: asyncio.run(forget_caches(docker.endpoint, run.name)))
        stack.callback(docker.remove, run.name)
        show_progress(f"{big.name}: sources")
        sources = prepare_sources(big, options.sources)
        contenders = []
        for name in options.contenders.split(","):
            if name == "watch" and "compose" not in docker.plugins:
                print(docker.missing(["compose"])[0])
            elif name != "plain" or slow:
                contenders.append(make_contender(name, big, sources, run))
        run_rounds(contenders, stack, saves, slow, title=f"{big.name}, ")
        program = folder / f"{run.name}-{big.name}-go.exe"
        size = f", a program of {program.stat().st_size / 1e6:.0f} MB" if program.exists() else ""
        how = "vendored" if big.vendored else "modules downloaded"
        print(f"{big.name} {big.version}, {how}{size}")
        print_results(contenders)


def main() -> None:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    known = {one.name: one for one in BIG}
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    parser.add_argument("names", nargs="*", help=f"which, of: {', '.join(known)}")
    parser.add_argument("--engine", default=DEFAULT_ENGINE, help="address of the engine")
    parser.add_argument("--saves", type=int, default=5)
    parser.add_argument("--slow-saves", type=int, default=1, help="saves that a plain docker build follows")
    parser.add_argument("--contenders", default=",".join(CONTENDERS), help=f"of: {', '.join(CONTENDERS)}")
    parser.add_argument("--sources", type=Path, default=cache / "watcher-bench", help="folder of the sources")
    options = parser.parse_args()
    names = options.contenders.split(",")
    if unknown := [*({*options.names} - known.keys()), *({*names} - {*CONTENDERS})]:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so everything is removed then too
    signal.signal(signal.SIGINT, signal.default_int_handler)  # not ignored: the tools inherit that
    with tempfile.TemporaryDirectory() as config:
        docker = Docker(options.engine, Path(config))
        print(f"{docker.describe()}; from a save to the new answer, seconds")
        if busy := how_busy():
            print(busy)
        for name in options.names or known:
            bench_service(known[name], options, docker)


if __name__ == "__main__":
    main()
