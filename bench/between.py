"""Redeploy a service while another one calls it by its name, and count the failed requests.

    ./dev bench between                               # 50 redeploys: the watcher, compose up, compose watch
    ./dev bench between --redeploys 5 --tools watcher
    ./dev bench between --unpublished                 # `api` has `expose` alone: no front serves it
    ./dev bench between --project shop                # examples/shop, and clients outside of it too
    COMPOSE=/path/to/docker-compose ./dev bench between

The project has two services in Go, `api` and `caller`. `caller` sends requests to `http://api:9000` all the
time, with six clients of Go's net/http. None of them repeats a request itself:

    default     kept connections, a name that is looked up for each new connection
    new         a new connection, and a new look-up, for each request
    once        kept connections, the name is looked up once, at the start
    once, new   a new connection for each request, the name is looked up once: as nginx does it
    post        like `default`, but with a body that net/http does not send again on a lost connection
    slow        like `once`, but each answer takes 0.3 s: a request is always under way

`api` is a plain server that ends at once at SIGTERM. With `--project shop` it is the one of examples/shop,
with its worker, its migration and its database; each tenth version is a save in the package that all of them
share, and two clients on this machine (`outside`) call the published port. A request fails if it is not
answered with 200 within 20 seconds. `behind` is the time from the moment the tool reports the new version
(compose: its command ends, or a new connection is answered by it) until the client is first answered by it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench._between_caller import CALLER, CLIENTS
from bench._between_shop import OutsideClients, save_shop, write_shop
from bench._peers import find_plugin, format_table, free_port, how_busy
from watcher import labels

ROOT = Path(__file__).resolve().parent.parent
LONG = 900.0  # seconds for a cold compile on a busy machine

COMPOSE = """\
name: {name}
services:
  api:
    build: {{context: ., args: {{SERVICE: api}}}}
    image: {name}-api
    {ports}
    develop: {{watch: [{{action: rebuild, path: ./api}}]}}
  caller:
    build: {{context: ., args: {{SERVICE: caller}}}}
    image: {name}-caller
    ports: ["127.0.0.1:{caller}:9000"]
"""
DOCKERFILE = """\
FROM golang:alpine AS builder
WORKDIR /src
COPY go.mod ./
ARG SERVICE
COPY ${SERVICE} ./${SERVICE}
RUN --mount=type=cache,id=bench-between,target=/root/.cache/go-build CGO_ENABLED=0 go build -o /out ./$SERVICE

FROM alpine
COPY --from=builder /out /service
CMD ["/service"]
"""
API = """\
package main

import (
	"io"
	"net/http"
	"time"
)

const version = "%d"

func main() {
	http.ListenAndServe(":9000", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/slow" {
			time.Sleep(300 * time.Millisecond)
		}
		io.WriteString(w, version)
	}))
}
"""


def fetch(port: int) -> str:
    """Return what answers on a port; raise OSError."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}/", timeout=5) as answer:
        return str(answer.read().decode())


def wait_for(condition: Any, what: str, seconds: float = LONG) -> Any:
    """Return the first true result of `condition`, which may raise OSError; SystemExit after `seconds`."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with contextlib.suppress(OSError, ValueError):
            if found := condition():
                return found
        time.sleep(0.02)
    raise SystemExit(f"{what}: not within {seconds:g} s")


class Project:
    """The two services, in a folder with names and ports of its own."""

    def __init__(self, parent: Path, suffix: str, *, published: bool = True, shop: bool = False) -> None:
        self.published, self.shop = published, shop
        self.name = f"{parent.name.lower()}-{suffix}"
        self.folder = parent / self.name
        self.api, self.caller = free_port(), free_port()
        self.outside = OutsideClients(self.api) if shop and published else None
        if shop:
            write_shop(self.folder, self.name, (self.api, self.caller), CALLER, published=published)
        else:
            self._write_two_services()

    def _write_two_services(self) -> None:
        for name, text in {"api/main.go": API % 0, "caller/main.go": CALLER}.items():
            path = self.folder / name
            path.parent.mkdir(parents=True)
            path.write_text(text)
        (self.folder / "go.mod").write_text("module between\n\ngo 1.21\n")
        (self.folder / "Dockerfile").write_text(DOCKERFILE)
        ports = f'ports: ["127.0.0.1:{self.api}:9000"]' if self.published else 'expose: ["9000"]'
        text = COMPOSE.format(name=self.name, ports=ports, caller=self.caller)
        (self.folder / "compose.yaml").write_text(text)

    def save(self, version: int) -> None:
        """Save a new version of `api`, as an editor does."""
        if self.shop:
            save_shop(self.folder, version)
            return
        path = self.folder / "api" / "main.go"
        new = path.with_suffix(".new~")
        new.write_text(API % version)
        new.replace(path)

    def stats(self) -> dict[str, Any]:
        """Return what the clients counted so far."""
        return dict(json.loads(fetch(self.caller)))

    @contextlib.contextmanager
    def called_from_outside(self) -> Iterator[None]:
        """Let the clients outside of the project call it, if there are any."""
        with self.outside.running() if self.outside else contextlib.nullcontext():
            yield

    @abstractmethod
    def up(self) -> contextlib.AbstractContextManager[None]:
        """Start both services; end them afterwards."""

    @abstractmethod
    def deploy(self, version: int) -> None:
        """Save this version, and return when the tool reports that it is live."""

    def clean(self) -> None:
        """Remove what is left at the engine."""
        mine = f"label={labels.PROJECT}={labels.project_id(self.folder.resolve())}"
        for label in (mine, f"label=com.docker.compose.project={self.name}"):
            for kind, remove in (
                ("container", "rm -f -v"),
                ("network", "network rm"),
                ("volume", "volume rm"),
            ):
                listed = subprocess.run(
                    ["docker", kind, "ls", "-q", *(["-a"] if kind == "container" else []), "--filter", label],
                    capture_output=True,
                    text=True,
                    check=False,
                ).stdout.split()
                for each in listed:
                    subprocess.run(["docker", *remove.split(), each], capture_output=True, check=False)
        names = subprocess.run(
            [
                "docker",
                "images",
                "--format",
                "{{.Repository}}:{{.Tag}}",
                "--filter",
                f"reference={self.name}*",
            ],
            capture_output=True,
            text=True,
            check=False,
        ).stdout.split()
        if names:
            subprocess.run(["docker", "rmi", "-f", *names], capture_output=True, check=False)


class Watcher(Project):
    """The project with the daemon in a separate process."""

    @contextlib.contextmanager
    def up(self) -> Iterator[None]:
        """See `Project`."""
        log = self.folder.with_suffix(".log")
        command = [sys.executable, "-m", "watcher", "run", "--project", str(self.folder)]
        command += ["--http.port", "0", "--log-format", "json"]
        with log.open("w") as output:
            process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output)
        try:
            self.url = wait_for(lambda: _find_url(log), log.read_text(), 60)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()

    def deploy(self, version: int) -> None:
        """See `Project`."""
        self.save(version)
        request = urllib.request.Request(f"{self.url}/api/services/api/wait?timeout={LONG:g}", method="POST")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=LONG) as answer:
            said = answer.read().decode()
        if json.loads(said).get("outcome", "live") != "live":
            raise SystemExit(f"version {version} did not become live: {said}")


def _find_url(log: Path) -> str:
    for line in log.read_text().splitlines():
        with contextlib.suppress(ValueError):
            if url := json.loads(line).get("url"):
                return str(url).rstrip("/")
    return ""


class ComposeUp(Project):
    """The project with `docker compose up -d --build` after each save."""

    def __init__(self, parent: Path, suffix: str, compose: Sequence[str], **options: bool) -> None:
        super().__init__(parent, suffix, **options)
        self._command = [*compose, "-p", self.name]

    def _compose(self, *arguments: str) -> None:
        environment = {**os.environ, "DOCKER_BUILDKIT": "1"}
        done = subprocess.run(
            [*self._command, *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=LONG,
            check=False,
        )
        if done.returncode:
            raise SystemExit(done.stdout + done.stderr)

    @contextlib.contextmanager
    def up(self) -> Iterator[None]:
        """See `Project`."""
        try:
            self._compose("up", "-d", "--build")
            yield
        finally:
            self._compose("down", "-t", "1")

    def deploy(self, version: int) -> None:
        """See `Project`."""
        self.save(version)
        self._compose("up", "-d", "--build", *([] if self.shop else ["api"]))


class ComposeWatch(ComposeUp):
    """The project with `docker compose watch`."""

    @contextlib.contextmanager
    def up(self) -> Iterator[None]:
        """See `Project`."""
        with super().up(), self.folder.with_suffix(".log").open("w") as log:
            process = subprocess.Popen(
                [*self._command, "watch"], cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )
            try:
                time.sleep(3)  # it says nothing when it has begun to watch
                yield
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGINT)
                process.wait()

    def deploy(self, version: int) -> None:
        """See `Project`."""
        self.save(version)
        wait_for(lambda: self._answers(str(version)), f"version {version}", LONG)

    def _answers(self, version: str) -> bool:
        return fetch(self.api) == version if self.published else version in self.stats()["new"]["First"]


def run_redeploys(project: Project, count: int, pause: float) -> dict[str, list[str]]:
    """Redeploy so many times; return a row of the table for each client."""
    with project.up():
        wait_for(lambda: len(project.stats()) == len(CLIENTS), "the caller reaches the api")
        if project.published:
            wait_for(lambda: fetch(project.api), "the api answers from outside")
        live: dict[str, float] = {}
        with project.called_from_outside():
            begun = time.monotonic()
            for version in range(1, count + 1):
                project.deploy(version)
                live[str(version)] = time.time()
                print(f"\r{project.name}: {version}/{count}", end="", file=sys.stderr, flush=True)
                time.sleep(pause)
            print(f"\n{count} redeploys in {time.monotonic() - begun:.0f} s", file=sys.stderr)
            time.sleep(25)  # a request that gets no answer fails only now
        stats = project.stats() | (project.outside.stats() if project.outside else {})
    return {name: format_client(found, live) for name, found in stats.items()}


def format_client(found: Mapping[str, Any], live: Mapping[str, float]) -> list[str]:
    """Return the cells of one client."""
    first = found["First"]
    behind = sorted(first[version] - at for version, at in live.items() if version in first)
    errors = sorted(found["Errors"].items(), key=lambda item: -item[1])
    return [
        f"{found['Requests']}",
        f"{found['Failed']}",
        f"{found['Worst']:.2f}",
        f"{max(0.0, statistics.median(behind)):.2f}" if behind else "never",
        f"{max(0.0, behind[-1]):.2f}" if behind else "never",
        f"{len(live) - len(behind)}",
        errors[0][0].rsplit(": ", 2)[-1][:40] if errors else "",
    ]


async def main() -> None:
    """Run the tools one after the other, and print a table for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--redeploys", type=int, default=50)
    parser.add_argument("--pause", type=float, default=1.0, help="seconds between two redeploys")
    parser.add_argument("--tools", default="watcher,up,watch", help="of watcher, up, watch")
    parser.add_argument("--unpublished", action="store_true", help="`api` publishes no port")
    parser.add_argument("--project", choices=("two", "shop"), default="two", help="which services")
    options = parser.parse_args()
    given = {"published": not options.unpublished, "shop": options.project == "shop"}
    if given["shop"]:
        subprocess.run([ROOT / "deploy/bases/redis", "--no-pull"], check=True, timeout=300)
    plugin = find_plugin("docker-compose")
    print(how_busy(), file=sys.stderr)
    folder = Path(tempfile.mkdtemp(prefix=f"between{uuid.uuid4().hex[:6]}"))
    head = ("requests", "failed", "worst s", "behind s", "most s", "versions not seen", "error")
    try:
        for tool in options.tools.split(","):
            if tool != "watcher" and plugin is None:
                print(f"{tool}: docker compose is not on this machine", file=sys.stderr)
                continue
            project: Project
            match tool:
                case "watcher":
                    project = Watcher(folder, tool, **given)
                case "up":
                    project = ComposeUp(folder, tool, [str(plugin)], **given)
                case "watch":
                    project = ComposeWatch(folder, tool, [str(plugin)], **given)
                case _:
                    raise SystemExit(f"{tool}: must be one of watcher, up, watch")
            try:
                rows = await asyncio.to_thread(run_redeploys, project, options.redeploys, options.pause)
            finally:
                project.clean()
            print(f"{tool}, {options.redeploys} redeploys")
            print(format_table(head, rows, 12), flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    asyncio.run(main())
