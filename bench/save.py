"""From a save to the new version answering on its port: ours, and what other people use, on the example.

    ./dev bench save                                  # all that is on this machine, 10 rounds
    ./dev bench save --rounds 3 --slow-rounds 0       # a quick look
    ./dev bench save --peers watcher,up,watch --engine unix:///run/watcher-peers/28-containerd.sock

A round is one save of a new version number for each contender in turn, each in a copy of the example under a
name and a port of its own. A client that opens a new connection for every request asks `/health` all the
time; the clock stops when the new version was read. Requests that were refused, broken or answered by
anything but 200, and old answers after a new one, count as failed; "without" is the longest time without an
answer.

    watcher        `watcher run`, the article's Dockerfile
    up             `docker compose up --build -d` typed at once after the save, a Dockerfile tuned by hand
    watch          `docker compose watch` (rebuild), the same Dockerfile
    air, air-0     Air on this machine without a container; air-0 with its delay of 1 s set to 0
    go             `go build` alone: nothing answers
    up-written     as up, with the article's Dockerfile as written: in the first rounds only (--slow-rounds)
    build-written  `docker build` of it: nothing answers

What is missing on this machine is left out, with a sentence. Everything made here is removed at the end;
steps in the engine's build cache stay, as after any build.
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
    go_environment,
    how_busy,
    new_id,
    table,
)

ALONE = "go"
EVERY = 0.01  # seconds between requests
AFTER = 1.0  # seconds that failures are still counted after the new version was seen


# ---- the client ----


@dataclass(frozen=True)
class Request:
    """One request: when it began and ended (seconds), and the version that answered; None: it failed."""

    begun: float
    ended: float
    version: str | None


def ask(port: int) -> Request:
    """One request on a new connection."""
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
    """Asks all the time, in a thread."""

    def __init__(self, port: int) -> None:
        self.requests: list[Request] = []
        self._port = port
        self._ended = False
        self._seen = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Client:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._ended:
            request = ask(self._port)
            with self._seen:
                self.requests.append(request)
                self._seen.notify()
            time.sleep(EVERY)

    def wait_for(self, version: str, *, alive: Callable[[], bool]) -> float:
        """When that version was read first. Raises TimeoutError when nobody gave it, or is alive to."""
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
    """What one save cost: seconds to the new version, failed requests, the longest time without an answer."""

    seconds: float
    failed: int = 0
    without: float = 0.0


def judged(requests: Sequence[Request], version: str, saved: float, seen: float) -> Save:
    """A save from what the client saw since it."""
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
    """Somebody who makes a save live; those without a port that `answers` are only timed."""

    name: str
    project: Project
    environment: dict[str, str]
    stay: tuple[str, ...] = ()  # a process that watches, for as long as the measurement lasts
    command: tuple[str, ...] = ()  # what is typed after each save
    answers: bool = True
    slow: bool = False
    saves: list[Save] = field(default_factory=list)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.project.folder.with_suffix(".log")

    def start(self) -> None:
        """Bring up the first version and wait for its answer."""
        if not self.answers:
            self._type()
            return
        with Client(self.project.port) as client:
            version = self.project.edit()
            typed = self._spawn(self.stay or self.command)
            if self.stay:
                self._process = typed
            self._wait(client, version, typed)

    def round(self) -> None:
        """One save. Nobody pays for what others have not written to disk yet."""
        os.sync()
        if not self.answers:
            self.project.edit()
            begun = time.perf_counter()
            self._type()
            self.saves.append(Save(time.perf_counter() - begun))
            return
        with Client(self.project.port) as client:
            time.sleep(5 * EVERY)
            saved = time.perf_counter()
            version = self.project.edit()
            typed = self._spawn(self.command) if self.command else self._process
            assert typed
            seen = self._wait(client, version, typed)
            if self.command:
                typed.wait(LONG)
            time.sleep(AFTER)
        self.saves.append(judged(client.requests, version, saved, seen))

    def wait(self, client: Client, version: str) -> float:
        """When the process that watches made this version answer."""
        assert self._process
        return self._wait(client, version, self._process)

    def _wait(self, client: Client, version: str, typed: subprocess.Popen[bytes]) -> float:
        try:
            return client.wait_for(
                version, alive=lambda: typed.poll() in ((None, 0) if self.command else (None,))
            )
        except TimeoutError:
            last = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
            raise SystemExit(f"{self.name}: the new version never answered. It said:\n{last}") from None

    def _spawn(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
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

    def _type(self) -> None:
        if self._spawn(self.command).wait(LONG):
            raise SystemExit(
                f"{self.name}: {' '.join(self.command)} failed; it said:\n{self.log.read_text()[-2000:]}"
            )

    def stop(self) -> None:
        """End the process that watches, and what it started."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()


def find_air() -> str | None:
    """Air, where Go puts what it installs."""
    places = [
        os.environ.get("GOBIN", ""),
        str(Path.home() / "go/bin"),
        *os.environ.get("PATH", "").split(":"),
    ]
    return shutil.which("air", path=":".join(filter(None, places)))


class Field:
    """Makes the contenders that this machine can have."""

    def __init__(self, docker: Docker, folder: Path, run: str) -> None:
        self._docker, self._folder, self._run = docker, folder, run

    def _project(self, name: str, *, tuned: bool = False) -> Project:
        return Project.make(self._folder, self._run, name, tuned=tuned)

    def watcher(self) -> Contender:
        project = self._project("watcher")
        command = (sys.executable, "-m", "watcher", "run", "--plain", "--http.port", "0", "--project")
        environment = {**os.environ, "DOCKER_HOST": self._docker.endpoint, "PYTHONPATH": str(ROOT)}
        return Contender("watcher", project, environment, stay=(*command, str(project.folder)))

    def up(self, name: str = "up", *, tuned: bool = True) -> Contender | str:
        if "compose" not in self._docker.plugins:
            return self._docker.missing(["compose"])[0]
        project = self._project(name, tuned=tuned)
        command = (*self._compose(project), "up", "--build", "-d")
        return Contender(name, project, self._docker.environment, command=command, slow=not tuned)

    def up_written(self) -> Contender | str:
        return self.up("up-written", tuned=False)

    def watch(self) -> Contender | str:
        if "compose" not in self._docker.plugins:
            return self._docker.missing(["compose"])[0]
        project = self._project("watch", tuned=True)
        return Contender("watch", project, self._docker.environment, stay=(*self._compose(project), "watch"))

    @staticmethod
    def _compose(project: Project) -> tuple[str, ...]:
        return ("docker", "compose", "-f", project.compose_file.name, "-p", project.name)

    def air(self, name: str = "air", *more: str) -> Contender | str:
        found = find_air()
        if found is None:
            return "Air is not on this machine and is left out: go install github.com/air-verse/air@latest"
        project = self._project(name)
        environment = {**go_environment(), "PORT": str(project.port), "ENV": "dev"}
        return Contender(name, project, environment, stay=(found, *more))

    def air_0(self) -> Contender | str:
        return self.air("air-0", "--build.delay", "0")

    def go(self) -> Contender:
        project = self._project("go")
        command = ("go", "build", "-o", f"{project.folder}.exe", ".")
        return Contender("go", project, go_environment(), command=command, answers=False)

    def build_written(self) -> Contender:
        project = self._project("build-written")
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


def bench(endpoint: str, names: Sequence[str], rounds: int, slow_rounds: int) -> None:
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
        for one in contenders:
            progress(f"{one.name}: first version")
            stack.callback(one.stop)
            one.start()
        for number in range(rounds):
            for one in contenders:
                if not one.slow or number < slow_rounds:
                    progress(f"round {number + 1} of {rounds}: {one.name}")
                    one.round()
        progress("")
        show(contenders)


def progress(text: str) -> None:
    print(f"{text:70}", end="\r", file=sys.stderr, flush=True)


def show(contenders: Sequence[Contender]) -> None:
    """The table."""
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
    print(table(("median", "over go", "range", "failed", "without", "saves"), rows, 14))


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
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that everything is removed then too
    bench(options.engine, names, max(options.rounds, 1), options.slow_rounds)


if __name__ == "__main__":
    main()
