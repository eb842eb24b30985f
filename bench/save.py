"""Measure from a save until the new version answers on its port, for the watcher and other tools.

    ./dev bench save                                  # all that is on this machine, 10 rounds
    ./dev bench save --rounds 3 --slow-rounds 0       # a quick look
    ./dev bench save --peers watcher,up,watch --engine unix:///run/watcher-peers/28-containerd.sock

A round is one save of a new version number for each contender in turn, each in a copy of the example with a
separate name and port. A client polls `/health` on new connections; the clock stops when it reads the new
version. Requests that are refused, broken or not answered with 200, and old answers after a new one, count as
failed; "without" is the longest time without an answer.

    watcher        `watcher run`, the article's Dockerfile
    up             `docker compose up --build -d` right after the save, with a tuned Dockerfile
    watch          `docker compose watch` (rebuild), the same Dockerfile
    air, air-0     Air on this machine without a container; air-0 with its delay of 1 s set to 0
    go             `go build` alone: nothing answers
    up-written     as up, with the article's Dockerfile as written: in the first rounds only (--slow-rounds)
    build-written  `docker build` of it: nothing answers

Tools that are not installed are skipped with a message. Everything created here is removed at the end; steps
in the engine's build cache stay, as after any build.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench._peers import (
    DEFAULT_ENGINE,
    LONG,
    ROOT,
    Docker,
    Project,
    forget_caches,
    format_table,
    go_environment,
    how_busy,
    new_id,
)

ALONE = "go"
EVERY = 0.01  # seconds between requests
AFTER = 1.0  # seconds during which failures are still counted after the new version was read


# ---- the client ----


@dataclass(frozen=True)
class Request:
    """One request: start and end (seconds), and the version that answered; None if it failed."""

    begun: float
    ended: float
    version: str | None


def send_request(port: int) -> Request:
    """Send one request on a new connection."""
    begun = time.perf_counter()
    version = None
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LONG)
    try:
        connection.request("GET", "/health", headers={"Connection": "close"})
        answer = connection.getresponse()
        if answer.status == 200:
            version = str(json.loads(answer.read())["version"])
    except (OSError, http.client.HTTPException, ValueError):
        pass
    finally:
        connection.close()
    return Request(begun, time.perf_counter(), version)


class Client:
    """Polls the port in a thread."""

    def __init__(self, port: int) -> None:
        self.requests: list[Request] = []
        self._port = port
        self._ended = False
        self._seen = threading.Condition()
        self._thread = threading.Thread(target=self._poll_port, daemon=True)

    def __enter__(self) -> Client:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self._thread.join(timeout=5)

    def _poll_port(self) -> None:
        while not self._ended:
            request = send_request(self._port)
            with self._seen:
                self.requests.append(request)
                self._seen.notify()
            time.sleep(EVERY)

    def wait_for(self, version: str, *, alive: Callable[[], bool]) -> float:
        """Return when that version was first read. Raises TimeoutError if that does not happen."""
        deadline = time.perf_counter() + LONG
        looked = 0
        with self._seen:
            while True:
                for request in self.requests[looked:]:
                    if request.version == version:
                        return request.ended
                looked = len(self.requests)
                if time.perf_counter() > deadline or not alive():
                    raise TimeoutError
                self._seen.wait(1)


@dataclass(frozen=True)
class Save:
    """One save: seconds to the new version, failed requests, longest time without an answer."""

    seconds: float
    failed: int = 0
    without: float = 0.0


def judge_save(requests: Sequence[Request], version: str, saved: float, seen: float) -> Save:
    """Return the results of a save from the client's requests since then."""
    failed, without, last = 0, 0.0, saved
    for request in requests:
        if request.ended < saved:
            continue
        if request.version is None or (request.begun > seen and request.version != version):
            failed += 1
        else:
            without = max(without, request.ended - last)
            last = request.ended
    return Save(seen - saved, failed, without)


# ---- the contenders ----


@dataclass
class Contender:
    """A tool that makes a save live; one without a port that `answers` is only timed."""

    name: str
    project: Project
    environment: dict[str, str]
    stay: tuple[str, ...] = ()  # a watching process for the whole measurement
    command: tuple[str, ...] = ()  # the command after each save
    answers: bool = True
    slow: bool = False
    saves: list[Save] = field(default_factory=list)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.project.folder.with_suffix(".log")

    def start(self) -> None:
        """Start the first version and wait for its answer."""
        if not self.answers:
            self._type_command()
            return
        with Client(self.project.port) as client:
            version = self.project.edit()
            typed = self._spawn_process(self.stay or self.command)
            if self.stay:
                self._process = typed
            self._wait_for_version(client, version, typed)

    def round(self) -> None:
        """Make one save. Disk writes are flushed first, so no tool waits for those of another."""
        os.sync()
        if not self.answers:
            self.project.edit()
            begun = time.perf_counter()
            self._type_command()
            self.saves.append(Save(time.perf_counter() - begun))
            return
        with Client(self.project.port) as client:
            time.sleep(5 * EVERY)
            saved = time.perf_counter()
            version = self.project.edit()
            typed = self._spawn_process(self.command) if self.command else self._process
            assert typed
            seen = self._wait_for_version(client, version, typed)
            if self.command:
                typed.wait(LONG)
            time.sleep(AFTER)
        self.saves.append(judge_save(client.requests, version, saved, seen))

    def wait(self, client: Client, version: str) -> float:
        """Return when the watching process made this version answer."""
        assert self._process
        return self._wait_for_version(client, version, self._process)

    def _wait_for_version(self, client: Client, version: str, typed: subprocess.Popen[bytes]) -> float:
        try:
            return client.wait_for(
                version, alive=lambda: typed.poll() in ((None, 0) if self.command else (None,))
            )
        except TimeoutError:
            last = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
            raise SystemExit(f"{self.name}: the new version never answered. It said:\n{last}") from None

    def _spawn_process(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=self.project.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _type_command(self) -> None:
        if self._spawn_process(self.command).wait(LONG):
            raise SystemExit(
                f"{self.name}: {' '.join(self.command)} failed; it said:\n{self.log.read_text()[-2000:]}"
            )

    def stop(self) -> None:
        """Stop the watching process and its children."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()


def find_air() -> str | None:
    """Return the path of Air, also from the install folder of go."""
    places = [
        os.environ.get("GOBIN", ""),
        str(Path.home() / "go/bin"),
        *os.environ.get("PATH", "").split(":"),
    ]
    return shutil.which("air", path=":".join(filter(None, places)))


class Field:
    """Makes the contenders that are possible on this machine."""

    def __init__(self, docker: Docker, folder: Path, run: str) -> None:
        self._docker, self._folder, self._poll_port = docker, folder, run

    def _make_project(self, name: str, *, tuned: bool = False) -> Project:
        return Project.make(self._folder, self._poll_port, name, tuned=tuned)

    def watcher(self) -> Contender:
        project = self._make_project("watcher")
        command = (sys.executable, "-m", "watcher", "run", "--plain", "--http.port", "0", "--project")
        environment = {**os.environ, "DOCKER_HOST": self._docker.endpoint, "PYTHONPATH": str(ROOT)}
        return Contender("watcher", project, environment, stay=(*command, str(project.folder)))

    def up(self, name: str = "up", *, tuned: bool = True) -> Contender | str:
        if "compose" not in self._docker.plugins:
            return self._docker.missing(["compose"])[0]
        project = self._make_project(name, tuned=tuned)
        command = (*self._compose_command(project), "up", "--build", "-d")
        return Contender(name, project, self._docker.environment, command=command, slow=not tuned)

    def up_written(self) -> Contender | str:
        return self.up("up-written", tuned=False)

    def watch(self) -> Contender | str:
        if "compose" not in self._docker.plugins:
            return self._docker.missing(["compose"])[0]
        project = self._make_project("watch", tuned=True)
        return Contender(
            "watch", project, self._docker.environment, stay=(*self._compose_command(project), "watch")
        )

    @staticmethod
    def _compose_command(project: Project) -> tuple[str, ...]:
        return ("docker", "compose", "-f", project.compose_file.name, "-p", project.name)

    def air(self, name: str = "air", *more: str) -> Contender | str:
        found = find_air()
        if found is None:
            return "Air is not on this machine and is left out: go install github.com/air-verse/air@latest"
        project = self._make_project(name)
        environment = {**go_environment(), "PORT": str(project.port), "ENV": "dev"}
        return Contender(name, project, environment, stay=(found, *more))

    def air_0(self) -> Contender | str:
        return self.air("air-0", "--build.delay", "0")

    def go(self) -> Contender:
        project = self._make_project("go")
        command = ("go", "build", "-o", f"{project.folder}.exe", ".")
        return Contender("go", project, go_environment(), command=command, answers=False)

    def build_written(self) -> Contender:
        project = self._make_project("build-written")
        command = ("docker", "build", "-q", "--build-arg", "ENV=dev", "-t", project.name, ".")
        return Contender(
            "build-written", project, self._docker.environment, command=command, answers=False, slow=True
        )


MAKERS: dict[str, Callable[[Field], Contender | str]] = {
    "go": Field.go,
    "watcher": Field.watcher,
    "up": Field.up,
    "watch": Field.watch,
    "air": Field.air,
    "air-0": Field.air_0,
    "up-written": Field.up_written,
    "build-written": Field.build_written,
}


# ---- the run ----


def bench_contenders(endpoint: str, names: Sequence[str], rounds: int, slow_rounds: int) -> None:
    run = new_id()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=run)))
        docker = Docker(endpoint, folder / "docker")
        stack.callback(lambda: asyncio.run(forget_caches(endpoint, run)))
        stack.callback(docker.remove, run)
        print(f"{docker.describe()}; from a save to the new answer, seconds")
        contenders = []
        for name in names:
            made = MAKERS[name](Field(docker, folder, run))
            if isinstance(made, str):
                print(made)
            elif not made.slow or slow_rounds:
                contenders.append(made)
        if busy := how_busy():
            print(busy)
        run_rounds(contenders, stack, rounds, slow_rounds)
        print_results(contenders)


def run_rounds(
    contenders: Sequence[Contender], stack: ExitStack, rounds: int, slow_rounds: int, title: str = ""
) -> None:
    """Start the contenders, which `stack` stops, and let them take turns; slow ones in `slow_rounds` only."""
    for one in contenders:
        show_progress(f"{title}{one.name}: first version")
        stack.callback(one.stop)
        one.start()
    for number in range(rounds):
        for one in contenders:
            if not one.slow or number < slow_rounds:
                show_progress(f"{title}round {number + 1} of {rounds}: {one.name}")
                one.round()
    show_progress("")


def show_progress(text: str) -> None:
    print(f"{text:70}", end="\r", file=sys.stderr, flush=True)


def print_results(contenders: Sequence[Contender]) -> None:
    """Print the table."""
    alone = next(
        (statistics.median(s.seconds for s in one.saves) for one in contenders if one.name == ALONE), None
    )
    rows = {}
    for one in contenders:
        seconds = [save.seconds for save in one.saves]
        median = statistics.median(seconds)
        over = f"{median - alone:+.2f}" if alone and one.name != ALONE else ""
        failed = str(sum(save.failed for save in one.saves)) if one.answers else ""
        without = f"{statistics.median(save.without for save in one.saves):.2f}" if one.answers else ""
        spread = f"{min(seconds):.2f}–{max(seconds):.2f}"
        rows[one.name] = (f"{median:.2f}", over, spread, failed, without, str(len(seconds)))
    print(format_table(("median", "over go", "range", "failed", "without", "saves"), rows, 14))


def main() -> None:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--engine", default=DEFAULT_ENGINE, help="address of the engine")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument(
        "--slow-rounds", type=int, default=1, help="rounds in which the world is compiled too"
    )
    parser.add_argument("--peers", default=",".join(MAKERS), help=f"which, of: {', '.join(MAKERS)}")
    options = parser.parse_args()
    names = options.peers.split(",")
    if unknown := sorted(set(names) - set(MAKERS)):
        parser.error(f"--peers {','.join(unknown)}: known are {', '.join(MAKERS)}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so everything is removed then too
    signal.signal(signal.SIGINT, signal.default_int_handler)  # not ignored: the tools inherit that
    bench_contenders(options.engine, names, max(options.rounds, 1), options.slow_rounds)


if __name__ == "__main__":
    main()
