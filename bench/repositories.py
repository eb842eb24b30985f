"""Measure public repositories: the steps that a save repeats, their time, and whether images are equal.

    ./dev bench repositories              # all of them, 3 saves each; about half an hour on 2 cores
    ./dev bench repositories --quick      # two small ones, 2 saves each; about 3 minutes
    ./dev bench repositories swag podinfo

Each repository comes from the Go module proxy (`bench/_repositories.py` lists them, and what is adapted in
their Dockerfiles). A daemon runs on a copy of it. A Go file is saved; the clock runs from the save to the
line that says "live". Beside it, the go commands of the Dockerfile alone, on this machine, after such saves.
The last tree is also built at level `off`, which is what plain `docker build` does through BuildKit ("as
written"). Nothing of it is in the engine's cache with --quick, so it downloads the modules too; without, it
was built before the daemon ran, and the saves are between. Cache mounts that a Dockerfile has itself are two:
one for each way, empty at first. Both images are compared file by file, and both programs are asked. What a
Dockerfile runs before go in the step that compiles is part of each save; its time alone is printed beside.

A repository that cannot be had is said. Everything made here is removed at the end, but for steps in the
engine's build cache.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import io
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import urllib.request
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import docker

from bench._peers import (
    DEFAULT_ENGINE,
    ROOT,
    Docker,
    forget_caches,
    format_table,
    free_port,
    go_environment,
    how_busy,
    new_id,
)
from bench._repositories import OUT, REPOSITORIES, NotHad, Repository, fetch_repository

LONG = 1800.0  # seconds for a cold build on a busy machine
GRACE = 120.0  # seconds in which a process ends
_MOUNT = re.compile(r"--mount=(\S+)")
_LIVE = re.compile(r"^\S+  ✓ (?:live|same image)")
_STEP = re.compile(r"^\s+((?:[\d.]+ (?:ms|s|min)\s?)+)  +(\S.*)$")
_COMPOSE = """\
services:
  {name}:
    build: {{context: ., dockerfile: {dockerfile}, args: {arguments}}}
    image: {run}
    container_name: {run}-box
"""


@dataclass
class Lines:
    """The output of a process, each line with its time."""

    process: subprocess.Popen[str]
    found: list[tuple[float, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        threading.Thread(target=self._read_lines, daemon=True).start()

    def _read_lines(self) -> None:
        for line in self.process.stdout or ():
            self.found.append((time.monotonic(), line.rstrip()))

    def after(self, moment: float) -> list[tuple[float, str]]:
        return [each for each in list(self.found) if each[0] >= moment]

    def outcome(self, moment: float, *, built: bool = False) -> float:
        """Return when the tree was live; raise NotHad with the last lines if it failed.

        With `built` a container that the daemon found running does not count.
        """
        deadline = time.monotonic() + LONG
        while time.monotonic() < deadline:
            for at, line in self.after(moment):
                if re.search(_LIVE, line) and not (built and "already" in line):
                    return at
                if re.search(r"^\S+  ✗", line):
                    raise NotHad("\n".join(text for _, text in self.found[-25:]))
            if self.process.poll() is not None:
                raise NotHad("\n".join(text for _, text in self.found[-25:]))
            time.sleep(0.01)
        raise NotHad(f"nothing live within {LONG:g} s")

    def end(self, *, grace: float = 0.0) -> None:
        """Wait `grace` seconds for the process to end, then kill it."""
        for seconds, action in ((grace, self.process.terminate), (GRACE, self.process.kill)):
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                action()
        self.process.wait()

    def steps(self, moment: float) -> list[tuple[str, str]]:
        """Return (time, step) of each step that was not cached."""
        return [
            (match[1].strip(), match[2]) for _, line in self.after(moment) if (match := _STEP.match(line))
        ]


@dataclass
class Result:
    """The results of one repository in seconds."""

    cold: float = 0.0
    saves: list[float] = field(default_factory=list)
    go: list[float] = field(default_factory=list)
    plain: float = 0.0
    setup: float = 0.0
    repeated: list[tuple[str, str]] = field(default_factory=list)
    equal: str = ""
    answers: str = ""


class Trial:
    """One repository, in a folder with unique names."""

    def __init__(self, one: Repository, folder: Path, cli: Docker, engine: docker.DockerClient) -> None:
        self.one, self.folder, self.run = one, folder, folder.name
        self.cli, self.engine = cli, engine
        self.port = free_port()
        text = _COMPOSE.format(
            name=one.name, run=self.run, dockerfile=one.dockerfile, arguments=json.dumps(one.arguments)
        )
        if one.path:
            text += f'    ports: ["127.0.0.1:{self.port}:{one.port}"]\n'
            if one.command:
                text += f"    command: {json.dumps(one.command)}\n"
        else:
            text += '    entrypoint: ["sleep", "100000"]\n    command: []\n    stop_grace_period: 0s\n'
        (folder / "compose.yaml").write_text(text)
        self._dockerfile = (folder / one.dockerfile).read_text()

    def use_caches(self, way: str) -> None:
        """Give the cache mounts that the Dockerfile has itself ids of this way to build."""
        text = name_own_caches(self._dockerfile, f"{self.run}-{way}")
        (self.folder / self.one.dockerfile).write_text(text)

    def save(self) -> float:
        """Save the Go file with another value in it; return the time before."""
        file = self.folder / self.one.saved
        kept = [line for line in file.read_text().splitlines() if not line.startswith("var BenchSave")]
        moment = time.monotonic()
        file.write_text("\n".join([*kept, f'var BenchSave = "{uuid.uuid4().hex}"', ""]))
        return moment

    def watcher(self, *arguments: str) -> Lines:
        command = [
            sys.executable,
            "-P",
            "-m",
            "watcher",
            *arguments,
            "--project",
            str(self.folder),
            "--plain",
        ]
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # Other projects must not have compiled what a first build compiles.
            env={
                **self.cli.environment,
                "PYTHONUNBUFFERED": "1",
                "WATCHER_BUILD__CACHE_SCOPE": "project",
            },
        )
        return Lines(process)

    def alone(self) -> float:
        """Run the go commands of the Dockerfile on this tree without a container; return the seconds."""
        environment = {**go_environment(), "CGO_ENABLED": "1" if self.one.cgo else "0"}
        begun = time.monotonic()
        for number, command in enumerate(self.one.alone):
            done = subprocess.run(
                ["go", *(f"{self.folder}.{number}.exe" if word == OUT else word for word in command)],
                cwd=self.folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=LONG,
                check=False,
            )
            if done.returncode:
                last = done.stderr.strip().splitlines()[-1:]
                raise NotHad(f"go {' '.join(command)} failed on this machine: {' '.join(last)}")
        return time.monotonic() - begun

    def exact(self, saves: int) -> Result:
        """Run a daemon at level exact over some saves, then `go build` alone over as many."""
        result = Result()
        begun = time.monotonic()
        lines = self.watcher("run", "--http.port", "0")
        try:
            result.cold = lines.outcome(0) - begun
            for _ in range(saves):
                time.sleep(4)  # idle work of the daemon
                moment = self.save()
                result.saves.append(lines.outcome(moment) - moment)
            time.sleep(1)  # print all steps
            result.repeated = lines.steps(moment)
            result.answers = self.answer()
        finally:
            lines.end()
        file = self.folder / self.one.saved
        saved = file.read_text()
        self.alone()
        for _ in range(saves):
            self.save()
            result.go.append(self.alone())
        file.write_text(saved)
        return result

    def setup(self) -> float:
        """Run in a container what the Dockerfile runs before go in its compile step; return the seconds."""
        took = []
        for command in ("true", self.one.setup):
            begun = time.monotonic()
            self.cli.run("run", "--rm", "golang:alpine", "sh", "-c", command)
            took.append(time.monotonic() - begun)
        return max(0.0, took[1] - took[0])

    def plain(self) -> float:
        """Build the tree at level off; return the seconds."""
        begun = time.monotonic()
        lines = self.watcher("once", "--build.accelerate", "off", "--http.port", "0")
        try:
            return lines.outcome(0, built=True) - begun
        finally:
            lines.end(grace=GRACE)

    def files(self, image: str) -> dict[str, str]:
        """Return the content of each path of an image, without times."""
        made = self.engine.api.create_container(image, command=["x"], name=f"{self.run}-files")["Id"]
        try:
            data = io.BytesIO(b"".join(self.engine.api.export(made)))
        finally:
            self.engine.api.remove_container(made)
        found = {}
        with tarfile.open(fileobj=data) as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isfile() else None
                digest = hashlib.sha256(content.read()).hexdigest() if content else member.linkname
                found[member.name] = f"{member.type!r} {member.mode:o} {member.uid}:{member.gid} {digest}"
        return found

    def answer(self) -> str:
        """Return the output of the program."""
        if self.one.path:
            url = f"http://127.0.0.1:{self.port}{self.one.path}"
            with urllib.request.urlopen(url, timeout=30) as answer:
                return f"{answer.status}"
        return self.cli.run("exec", f"{self.run}-box", *self.one.asks).splitlines()[0]


def repeated_step(line: str) -> tuple[str, str] | None:
    """Return (time, step) for a daemon's line about a step that ran; None for another line."""
    match = _STEP.match(line)
    return (match[1].strip(), match[2]) if match else None


def name_own_caches(text: str, name: str) -> str:
    """Return a Dockerfile with an id that begins with `name` for each cache mount that has none.

    Mounts without an id are the same cache if they have the same target.
    """

    def add_id(match: re.Match[str]) -> str:
        options = dict(item.partition("=")[::2] for item in match[1].split(","))
        target = next((options[key] for key in ("target", "dst", "destination") if key in options), "")
        if "cache" not in options.get("type", "") or "id" in options:
            return match[0]
        return f"{match[0]},id={name}-{hashlib.sha256(target.encode()).hexdigest()[:8]}"

    return _MOUNT.sub(add_id, text)


def compare_images(one: dict[str, str], other: dict[str, str]) -> str:
    """Return `equal`, or the first paths that differ."""
    paths = sorted(path for path in {*one, *other} if one.get(path) != other.get(path))
    return "equal" if not paths else f"{len(paths)} differ: {', '.join(paths[:4])}"


def measure_repository(trial: Trial, saves: int, *, quick: bool) -> Result:
    """Measure one repository."""
    if not quick:
        trial.use_caches("written")
        trial.plain()  # steps that do not depend on the saved file are cached from now on
    trial.use_caches("exact")
    result = trial.exact(saves)
    if trial.one.setup:
        result.setup = trial.setup()
    here = trial.files(trial.run)
    trial.use_caches("written")
    result.plain = trial.plain()
    result.equal = compare_images(here, trial.files(trial.run))
    lines = trial.watcher("run", "--http.port", "0", "--build.accelerate", "off")
    try:
        lines.outcome(0)
        plain = trial.answer()
    finally:
        lines.end()
    if plain != result.answers:
        result.equal += f", but its program says {plain}"
    return result


def format_row(name: str, result: Result) -> list[str]:
    """Return a row of the table."""
    live, go = statistics.median(result.saves), statistics.median(result.go)
    goal = "yes" if live <= 2 * go + 1 else "NO"
    row = [f"{result.cold:.1f}", f"{result.plain:.1f}", f"{live:.2f}", f"{go:.2f}", f"{live / go:.1f}", goal]
    print(f"{name}: images {result.equal}; answers: {result.answers}; a save repeats")
    for seconds, step in result.repeated:
        print(f"    {seconds:>8}  {step}")
    if result.setup:
        print(f"    {result.setup:>6.2f} s  of it is what the Dockerfile runs before go in that step")
    return row


def bench_repositories(endpoint: str, chosen: Sequence[Repository], saves: int, *, quick: bool) -> bool:
    """Measure the repositories in turn; return whether every image was equal."""
    run, rows, equal = new_id(), {}, True
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=run)))
        cli = Docker(endpoint, folder / "docker")
        stack.callback(lambda: asyncio.run(forget_caches(endpoint, run)))
        stack.callback(cli.remove, run)
        engine = docker.DockerClient(base_url=endpoint, timeout=600)
        stack.callback(engine.close)
        print(f"{cli.describe()}; seconds, save to live: medians of {saves}")
        if busy := how_busy():
            print(busy)
        for one in chosen:
            place = folder / f"{run}-{one.name}"
            try:
                for said in fetch_repository(one, place):
                    print(f"{one.name}: {said}")
                result = measure_repository(Trial(one, place, cli, engine), saves, quick=quick)
                rows[one.name] = format_row(one.name, result)
                equal = equal and result.equal == "equal"
            except (NotHad, OSError, SystemExit, subprocess.TimeoutExpired) as error:
                print(f"{one.name}: NOT HAD: {error}", flush=True)
                equal = False
            cli.remove(f"{run}-{one.name}")
        if rows:
            head = ("first build", "as written", "save to live", "go build", "ratio", "≤ 2 go + 1")
            print(format_table(head, rows, 14))
    return equal


def main() -> None:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    names = [one.name for one in REPOSITORIES]
    parser.add_argument("names", nargs="*", help=f"which, of: {', '.join(names)}")
    parser.add_argument("--engine", default=DEFAULT_ENGINE, help="address of the engine")
    parser.add_argument("--saves", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="two small repositories, 2 saves each")
    options = parser.parse_args()
    if unknown := sorted(set(options.names) - set(names)):
        parser.error(f"{', '.join(unknown)}: known are {', '.join(names)}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so everything is removed then too
    os.environ["DOCKER_HOST"] = options.engine
    chosen = [
        one
        for one in REPOSITORIES
        if (one.name in options.names if options.names else one.quick or not options.quick)
    ]
    saves = 2 if options.quick else max(options.saves, 1)
    if not bench_repositories(options.engine, chosen, saves, quick=options.quick):
        sys.exit(1)


if __name__ == "__main__":
    main()
