"""Redeploy under constant load and count failed requests: the watcher, and `docker compose watch`.

    ./dev bench redeploys                           # 50 redeploys, 10 of them of broken versions
    ./dev bench redeploys --redeploys 6 --broken 4  # a short one, with one broken version of each kind
    COMPOSE=/path/to/docker-compose ./dev bench redeploys

The service is a copy of examples/go-server with a WebSocket echo and an upload handler. It is under load the
whole time (see `_load.py`: kept and new connections, WebSockets, consecutive 100 MB uploads) while its
version is edited again and again. Broken versions take turns: one does not compile, one exits immediately,
one never becomes ready, one exits two seconds after it started to answer.

A request fails if it is refused, reset, cut short, or answered with anything but 200. An upload or WebSocket
message in a container that exits after two seconds is lost with any tool; these are counted separately. A
WebSocket that is closed between two messages, because its container stops, is not a failure but is counted;
so is a message that crosses the front's Close frame and is resent (see `_load.py`). An answer is wrong if its
request began after `wait` had returned for a version and an older one answered. Compose gets the accelerated
Dockerfile and the same saves; without a `wait`, it has until the new version answers, or some seconds for a
broken one.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import shutil
import signal
import socket
import statistics
import sys
import tempfile
import time
from abc import abstractmethod
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import docker
import httpx
import uvloop

from bench._load import KEPT, NEW, SOCKET, UPLOAD, Clients, Load, Record, Sample, send_get, wait_until
from watcher import labels
from watcher.dockerfile import Level, Platforms, accelerate

ROOT = Path(__file__).resolve().parent.parent
FOREVER = 3600.0  # seconds for a cold compile on a busy machine
STARTUP = 5.0  # startup timeout in seconds
COMPOSE_BROKEN = 8.0  # seconds to wait after a broken version with compose
DIES = "exits after 2 s"
LINGER = 3.0

# The faults, as Go code in the file with the version.
BROKEN = {
    "does not compile": "func broken( {\n",
    "exits at once": "func init() { os.Exit(3) }\n",
    "never gets ready": "func init() { time.Sleep(time.Hour) }\n",
    DIES: "func init() { time.AfterFunc(2*time.Second, func() { os.Exit(4) }) }\n",
}
VERSION = """package version

import (
	"os"
	"time"
)

var Number = "{number}"

var _, _ = os.Exit, time.Sleep

{more}"""

EXTRA = r"""package server

import (
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"

	"github.com/gin-gonic/gin"

	"go-server/internal/version"
)

func extra(router *gin.Engine) {
	router.Use(func(c *gin.Context) { c.Header("X-Version", version.Number) })
	router.GET("/ws", echo)
	router.POST("/upload", func(c *gin.Context) {
		n, err := io.Copy(io.Discard, c.Request.Body)
		if err != nil || n != c.Request.ContentLength {
			c.String(http.StatusBadRequest, "%d bytes: %v\n", n, err)
			return
		}
		c.String(http.StatusOK, "%d\n", n)
	})
}

// echo answers each WebSocket message (RFC 6455) of up to 125 bytes with the same.
func echo(c *gin.Context) {
	accept := sha1.Sum([]byte(c.GetHeader("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	conn, buffer, err := c.Writer.Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Accept: %s\r\n\r\n", base64.StdEncoding.EncodeToString(accept[:]))
	head, payload := make([]byte, 6), make([]byte, 125)
	for {
		if _, err := io.ReadFull(buffer, head); err != nil {
			return
		}
		payload = payload[:head[1]&0x7f]
		if _, err := io.ReadFull(buffer, payload); err != nil {
			return
		}
		for i := range payload {
			payload[i] ^= head[2+i%4]
		}
		conn.Write(append([]byte{head[0], byte(len(payload))}, payload...))
		if head[0]&0x0f == 8 {
			return
		}
	}
}
"""


@dataclass(frozen=True)
class Step:
    """One redeploy: its number and its fault (empty: none)."""

    number: int
    fault: str


@dataclass(frozen=True)
class Passed:
    """A completed step. Times are time.monotonic(); `good` is the version that must answer."""

    step: Step
    saved: float
    settled: float
    good: int


@dataclass
class Run:
    """A whole series with one tool."""

    record: Record
    passed: list[Passed] = field(default_factory=list)


def make_steps(count: int, broken: int) -> list[Step]:
    """Return `count` redeploys of which `broken`, evenly distributed, have the faults in turn."""
    at = {round((number + 0.5) * count / broken) for number in range(broken)} if broken else set()
    faults = itertools.cycle(BROKEN)
    return [Step(number, next(faults) if number - 1 in at else "") for number in range(1, count + 1)]


class Stack:
    """The service with one tool, in a copy with unique names."""

    def __init__(self, folder: Path, name: str) -> None:
        self.id = f"{folder.name}-{name}".lower()
        self.folder = folder / self.id
        shutil.copytree(ROOT / "examples" / "go-server", self.folder, dirs_exist_ok=True)
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port = int(sock.getsockname()[1])
        server = self.folder / "internal" / "server"
        (server / "extra.go").write_text(EXTRA)
        router = server / "router.go"
        last = "gin.Recovery())\n"
        text = router.read_text()
        assert text.count(last) == 1
        router.write_text(text.replace(last, f"{last}\textra(router)\n"))
        compose = self.folder / "docker-compose-dev.yml"
        text = compose.read_text().replace("go-server-box-dev", f"{self.id}-box")
        text = text.replace("go-server-dev", self.id).replace("9000:9000", f"127.0.0.1:{self.port}:9000")
        compose.write_text(text)
        self.save(Step(0, ""))

    def save(self, step: Step) -> None:
        """Save this version's source, as an editor does: a new file replaces the old one."""
        path = self.folder / "internal" / "version" / "version.go"
        text = VERSION.format(number=step.number, more=BROKEN.get(step.fault, ""))
        new = path.with_suffix(".new~")
        new.write_text(text)
        new.replace(path)

    @abstractmethod
    def up(self) -> contextlib.AbstractAsyncContextManager[None]:
        """Start it, wait until it answers, and keep it running while the context lasts."""

    @abstractmethod
    async def settled(self, step: Step) -> bool:
        """Wait until the tool has finished with the save; return whether the result is as expected."""

    def clean(self) -> None:
        """Remove its objects from the engine."""
        client = docker.from_env()
        for container in client.containers.list(all=True, filters={"name": self.id}):
            container.remove(force=True)
        for network in client.networks.list(names=[f"{self.id}_default"]):
            network.remove()
        mine = {f"{labels.PROJECT}={labels.project_id(self.folder.resolve())}"}
        images = [*client.images.list(name=self.id), *client.images.list(filters={"label": list(mine)})]
        for image in {str(image.id) for image in images}:
            with contextlib.suppress(docker.errors.APIError):
                client.images.remove(image, force=True)
        client.close()


class Watcher(Stack):
    """The service with the real daemon in a separate process."""

    api: httpx.AsyncClient
    pid: int

    @contextlib.asynccontextmanager
    async def up(self) -> AsyncIterator[None]:
        """See `Stack`."""
        log = self.folder.with_suffix(".log")
        command = [sys.executable, "-m", "watcher", "run", "--project", str(self.folder), "--http.port", "0"]
        command += ["--log-format", "json", "--deploy.startup-timeout", str(STARTUP)]
        with log.open("w") as output:
            process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=output, stderr=output)
        self.pid = process.pid
        try:
            assert await wait_until(lambda: self._find_api(log), 60), log.read_text()
            async with self.api:
                assert await self.settled(Step(0, "")), log.read_text()
                yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            await process.wait()

    async def _find_api(self, log: Path) -> bool:
        for line in log.read_text().splitlines():
            with contextlib.suppress(ValueError):
                if (url := json.loads(line).get("url")) is not None:
                    self.api = httpx.AsyncClient(base_url=url, trust_env=False, timeout=FOREVER)
                    return True
        return False

    async def settled(self, step: Step) -> bool:
        """See `Stack`; uses `wait`, and for a version that exits later its final state."""
        answer = await self.api.post("/api/wait", params={"timeout": FOREVER})
        settled = answer.json()
        if step.fault != DIES:
            return bool(settled["outcome"] == ("failed" if step.fault else "live"))

        async def rolled_back() -> bool:
            service = (await self.api.get("/api/status")).json()["services"][0]
            return bool(service["failed"] == settled["revision"] and service["live"])

        # It can have exited before this request, or on a busy machine before it was ready.
        return await wait_until(rolled_back, 30)


class Compose(Stack):
    """The service with `docker compose watch` and the Dockerfile as the watcher accelerates it."""

    def __init__(self, folder: Path, compose: Sequence[str]) -> None:
        super().__init__(folder, "compose")
        self._compose = compose
        dockerfile = self.folder / "Dockerfile"
        text = dockerfile.read_text()
        bases = {"golang:alpine": None, "alpine": None}
        fast = accelerate(
            text,
            level=Level.EXACT,
            build_args={"ENV": "dev"},
            target=None,
            platforms=Platforms.of_this_machine(""),
            bases=bases,
            cache_scope=self.id,
            keep_programs=False,
        )
        dockerfile.write_text(fast.text)
        develop = "    develop: {watch: [{action: rebuild, path: .}]}\n"
        with (self.folder / "docker-compose-dev.yml").open("a") as file:
            file.write(develop)

    @contextlib.asynccontextmanager
    async def up(self) -> AsyncIterator[None]:
        """See `Stack`."""
        base = [*self._compose, "-p", self.id, "-f", "docker-compose-dev.yml"]
        environment = {**os.environ, "DOCKER_BUILDKIT": "1"}
        with self.folder.with_suffix(".log").open("w") as log:
            process = await asyncio.create_subprocess_exec(
                *base,
                "watch",
                cwd=self.folder,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            assert await self.settled(Step(0, "")), self.folder.with_suffix(".log").read_text()
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)
            await process.wait()
            down = await asyncio.create_subprocess_exec(
                *base,
                "down",
                "-t",
                "1",
                cwd=self.folder,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )
            await down.wait()

    async def settled(self, step: Step) -> bool:
        """See `Stack`."""
        if step.fault:
            await asyncio.sleep(COMPOSE_BROKEN)
            return True

        async def is_answering() -> bool:
            with contextlib.suppress(OSError, EOFError, Exception):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                try:
                    async with asyncio.timeout(1):
                        return await send_get(reader, writer, keep=False) == str(step.number)
                finally:
                    writer.close()
            return False

        return await wait_until(is_answering, FOREVER)


async def run_steps(stack: Stack, steps: Sequence[Step], load: Load, gap: float) -> Run:
    """Run all steps under load."""
    async with stack.up(), Clients(stack.port, load).running() as record:
        run, good = Run(record), 0
        await asyncio.sleep(gap)
        for step in steps:
            saved = time.monotonic()
            stack.save(step)
            as_it_should = await stack.settled(step)
            good = good if step.fault else step.number
            run.passed.append(Passed(step, saved, time.monotonic(), good))
            what = f"{step.number}/{len(steps)} {step.fault or 'good'}"
            print(f"\r{stack.id}: {what:30}", end="", file=sys.stderr, flush=True)
            if not as_it_should:
                print(f"\n{what}: did not become what it should", file=sys.stderr)
            await asyncio.sleep(gap)
        print(file=sys.stderr)
    return run


def count_wrong(run: Run) -> int:
    """Count answers by an older version than the one that `wait` had returned for when the request began."""
    count = 0
    for sample in run.record.samples:
        least = max((each.good for each in run.passed if each.settled <= sample.began), default=0)
        count += bool(sample.version) and int(sample.version) < least
    return count


def redeploy_during(run: Run, sample: Sample) -> Passed | None:
    """Return the last redeploy that started before the sample ended; None before the first."""
    begun = [each for each in run.passed if each.saved <= sample.ended]
    return begun[-1] if begun else None


def is_lost_with_app(run: Run, sample: Sample) -> bool:
    """Return whether the request was in a container that exited.

    Its client learns that up to LINGER seconds later, because the front sends its 502 first.
    """
    return sample.kind in (UPLOAD, SOCKET) and any(
        each.step.fault == DIES
        and sample.began <= each.settled
        and each.saved + 2 < sample.ended <= each.settled + LINGER
        for each in run.passed
    )


def format_percentiles(values: Sequence[float]) -> str:
    """Return p50, p90, p99 and the maximum in milliseconds."""
    ordered = sorted(values)
    if not ordered:
        return "none"
    at = [ordered[min(int(q * len(ordered)), len(ordered) - 1)] * 1e3 for q in (0.5, 0.9, 0.99, 1.0)]
    return "".join(f"{value:10.1f}" for value in at)


def print_run(name: str, run: Run) -> None:
    samples = run.record.samples
    failed = [sample for sample in samples if sample.failure]
    lost = [sample for sample in failed if is_lost_with_app(run, sample)]
    broken = sum(bool(each.step.fault) for each in run.passed)
    print(f"\n{name}: {len(run.passed)} redeploys, {broken} of them of broken versions")
    print(f"  requests and messages  {len(samples)}")
    print(f"  failed                 {len(failed) - len(lost)}")
    print(f"  with an app that exited in the middle of them  {len(lost)}")
    print(f"  wrong version after wait had returned          {count_wrong(run)}")
    print(f"  WebSockets closed between two messages         {len(run.record.closed_idle)}")
    print(f"  WebSocket messages that crossed a restart      {run.record.sent_again}")
    kinds = Counter(
        (
            sample.kind,
            sample.failure,
            (passed.step.fault or "good") if (passed := redeploy_during(run, sample)) else "-",
        )
        for sample in failed
    )
    for (kind, failure, phase), count in sorted(kinds.items()):
        print(f"    {count:6} {kind:10} {failure}   (version: {phase})")
    good = [each.settled - each.saved for each in run.passed if not each.step.fault]
    if good:
        print(f"  save until live, median {statistics.median(good):.2f} s, largest {max(good):.2f} s")
    print(f"  latency in ms {'p50':>21}{'p90':>10}{'p99':>10}{'max':>10}")
    windows = [(each.saved, each.settled) for each in run.passed]
    for kind in (KEPT, NEW, SOCKET, UPLOAD):
        mine = [sample for sample in samples if sample.kind == kind and not sample.failure]
        busy = [s for s in mine if any(begin <= s.ended and s.began <= end for begin, end in windows)]
        for when, some in (("in all", mine), ("in redeploys", busy)):
            print(f"    {kind:10}{when:>13}{format_percentiles([s.ended - s.began for s in some])}")


def find_compose() -> list[str] | None:
    """Return the command line of a compose with `watch`, if there is one."""
    given = os.environ.get("COMPOSE")
    for command in ([given] if given else [], ["docker-compose"], ["docker", "compose"]):
        if command and shutil.which(command[0]):
            tried = os.popen(f"{' '.join(command)} watch --help 2>/dev/null").read()
            if "watch" in tried:
                return command
    return None


async def main(options: argparse.Namespace) -> bool:
    steps = make_steps(options.redeploys, options.broken)
    load = Load(upload=options.upload * 1_000_000)
    compose = find_compose() if options.beside else None
    with contextlib.ExitStack() as stack_of_folders:
        folder = options.folder
        if folder is None:
            made = tempfile.TemporaryDirectory(prefix="bench-redeploys-")
            folder = Path(stack_of_folders.enter_context(made))
        folder.mkdir(exist_ok=True)
        stacks: dict[str, Stack] = {"watcher": Watcher(folder, "watcher")}
        if compose:
            stacks["docker compose watch"] = Compose(folder, compose)
        runs = {}
        for name, stack in stacks.items():
            try:
                runs[name] = await run_steps(stack, steps, load, options.gap)
            finally:
                await asyncio.to_thread(stack.clean)
            if options.log and isinstance(stack, Watcher):
                shutil.copy(stack.folder.with_suffix(".log"), options.log)
    for name, run in runs.items():
        print_run(name, run)
    if options.beside and not compose:
        print("\nno docker compose that can watch was found: set COMPOSE=/path/to/docker-compose")
    ours = runs["watcher"]
    failed = [each for each in ours.record.samples if each.failure and not is_lost_with_app(ours, each)]
    return not failed and not count_wrong(ours)


if __name__ == "__main__":
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--redeploys", type=int, default=50)
    parser.add_argument("--broken", type=int, default=10, help="how many of them are of broken versions")
    parser.add_argument("--gap", type=float, default=1.0, help="seconds between two redeploys")
    parser.add_argument("--upload", type=int, default=100, help="size of each upload in MB, sent at 25 MB/s")
    parser.add_argument("--log", help="keep the watcher's log (JSON lines) here")
    parser.add_argument(
        "--folder", type=Path, help="work there; a second run then finds the build cache warm"
    )
    parser.add_argument("--no-beside", dest="beside", action="store_false", help="only the watcher")
    sys.exit(0 if uvloop.run(main(parser.parse_args())) else 1)
