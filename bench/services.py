"""What more services cost: `./dev bench services [--counts 1,5,20] [--seconds S] [--rounds N] [--shared]`.

A compose project with N small services is brought up by the real daemon with the real engine. It prints the
processor time and the resident size of the daemon while nothing happens, and the seconds from a save in the
first service until the new version answers. Each service has a context of its own; with `--shared` all have
one, so that a save is built for each of them. Run it in quiet.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
import uuid
from pathlib import Path

import docker
import httpx

from bench.idle import processor_seconds, read_megabytes
from bench.tree import print_figure
from tests.e2e.conftest import LONG, Project, clean_up, free_port

_MAIN = """package main

import (
	"fmt"
	"net/http"
)

func main() {{
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {{ fmt.Fprint(w, "{text}") }})
	if err := http.ListenAndServe(":9000", nil); err != nil {{
		panic(err)
	}}
}}
"""
_DOCKERFILE = """FROM golang:alpine AS builder
ARG SERVICE=.
WORKDIR /workspace
COPY . .
RUN CGO_ENABLED=0 go build -o /out/service ./$SERVICE
FROM alpine
COPY --from=builder /out/service /service
CMD ["/service"]
"""


class Services(Project):
    """A project with so many built services."""

    def __init__(self, folder: Path, count: int, *, shared: bool) -> None:
        self.id, self.folder, self.ports = folder.name, folder, [free_port() for _ in range(count)]
        self.command = (sys.executable, "-m", "watcher")
        self.process, self.output = None, []
        folder.mkdir()
        lines = [f"name: {self.id}", "services:"]
        for number, port in enumerate(self.ports):
            name = f"s{number:02}"
            build = f"{{context: ., args: {{SERVICE: {name}}}}}" if shared else name
            lines += [f"  {name}:", f"    build: {build}", f'    ports: ["127.0.0.1:{port}:9000"]']
            (folder / name).mkdir()
            self.save(name, "first")
            self._make_context(folder if shared else folder / name)
        (folder / "compose.yaml").write_text("\n".join([*lines, ""]))

    def _make_context(self, context: Path) -> None:
        (context / "go.mod").write_text("module example.com/services\n\ngo 1.21\n")
        (context / "Dockerfile").write_text(_DOCKERFILE)

    def save(self, name: str, text: str) -> None:
        (self.folder / name / "main.go").write_text(_MAIN.format(text=text))

    def bring_up(self) -> None:
        """Start, and wait until all are live: many cold compiles can take longer than one wait."""
        self.start()
        while True:
            done = self.watcher("wait", "--json", "--timeout", str(LONG))
            outcome = json.loads(done.stdout)["outcome"]
            if outcome == "live":
                return
            if outcome != "timeout":
                sys.exit("".join(self.output[-60:]))

    def measure_save(self, text: str) -> float:
        """Return the seconds from a save in the first service until it answers with the new text."""
        begun = time.monotonic()
        self.save("s00", text)
        with httpx.Client(trust_env=False, timeout=60) as client:
            while client.get(f"http://127.0.0.1:{self.ports[0]}/").text != text:
                if time.monotonic() - begun > LONG:
                    sys.exit(f"not live within {LONG:g} s:\n" + "".join(self.output[-60:]))
                time.sleep(0.005)
        return time.monotonic() - begun


def measure_idle(pid: int, seconds: float) -> float:
    """Return the share of one core that a process takes, in percent."""
    before, since = processor_seconds(pid), time.monotonic()
    time.sleep(seconds)
    return (processor_seconds(pid) - before) / (time.monotonic() - since) * 100


def run(count: int, seconds: float, settle: float, rounds: int, *, shared: bool) -> None:
    client = docker.from_env()
    with tempfile.TemporaryDirectory() as directory:
        project = Services(Path(directory) / f"services-{uuid.uuid4().hex[:8]}", count, shared=shared)
        try:
            project.bring_up()
            assert project.process is not None
            pid = project.process.pid
            time.sleep(settle)
            share = measure_idle(pid, seconds)
            print_figure(f"{count} services: processor time while idle for {seconds:.0f} s", share, "%")
            print_figure(f"{count} services: resident size", read_megabytes(pid, "VmRSS"), "MB")
            measured = []
            for number in range(rounds):
                measured.append(project.measure_save(f"{count} services, save {number}"))
                assert project.wait()["outcome"] == "live", "".join(project.output[-60:])
                time.sleep(1.0)
            what = f"{count} services: save to live of one, median of {rounds}"
            print_figure(what, statistics.median(measured) * 1000, "ms")
        finally:
            if project.process is not None:
                project.stop()
            clean_up(client, project)
            shutil.rmtree(project.folder, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counts", default="1,5,20", help="numbers of services, with commas")
    parser.add_argument("--seconds", type=float, default=60.0, help="time to be idle")
    parser.add_argument("--settle", type=float, default=20.0, help="seconds to let what is left end first")
    parser.add_argument("--rounds", type=int, default=7, help="saves")
    parser.add_argument("--shared", action="store_true", help="one build context for all services")
    given = parser.parse_args()
    for count in map(int, given.counts.split(",")):
        run(count, given.seconds, given.settle, given.rounds, shared=given.shared)


if __name__ == "__main__":
    main()
