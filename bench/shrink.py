"""Measure what `watcher doctor` saves in the images of public Go services.

    ./dev bench shrink               # all: go-httpbin, podinfo, kine; minutes for each
    ./dev bench shrink go-httpbin    # one of them

The services come from the Go module proxy. go-httpbin and kine (sqlite, with cgo) get a plain Dockerfile with
two stages, podinfo keeps its own with the bases `golang:alpine` and `alpine`. `watcher doctor --measure`
builds every change that can make an image smaller, runs it beside the unchanged one, and compares what they
answer. Printed are the sizes before and after, each change with its gain, and the answers.
Sources stay in the Go module cache; everything else made here is removed, but for steps in the build cache.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench._peers import (
    DEFAULT_ENGINE,
    LONG,
    ROOT,
    Docker,
    forget_caches,
    format_table,
    go_environment,
    how_busy,
    new_id,
)
from watcher.observers import humanize

_PLAIN = """\
FROM golang:alpine AS builder
WORKDIR /src
COPY . .
RUN CGO_ENABLED={cgo} go build -o /out/app {package}
FROM alpine
COPY --from=builder /out/app /app
CMD ["/app"]
"""
_COMPOSE = """\
name: {name}
services:
  app:
    build: .
    image: {name}
    ports: ['127.0.0.1::{port}']
"""


@dataclass(frozen=True)
class Public:
    """A public service: its program answers on `port` at `path`. `own`: it keeps its own Dockerfile."""

    name: str
    module: str
    version: str
    package: str
    port: int
    path: str
    cgo: int = 0
    own: bool = False


PUBLIC = (
    Public("go-httpbin", "github.com/mccutchen/go-httpbin/v2", "v2.26.0", "./cmd/go-httpbin", 8080, "/get"),
    Public(
        "podinfo",
        "github.com/stefanprodan/podinfo",
        "v1.8.1-0.20250910200901-e86405a8674e",
        "./cmd/podinfo",
        9898,
        "/healthz",
        own=True,
    ),
    Public("kine", "github.com/k3s-io/kine", "v0.14.0", ".", 8080, "/metrics", cgo=1),
)


def prepare_project(service: Public, folder: Path, name: str) -> Path:
    """Download the sources and return a project with a Dockerfile and a compose file."""
    done = subprocess.run(
        ["go", "mod", "download", "-json", f"{service.module}@{service.version}"],
        cwd=folder,
        env=go_environment(),
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
    )
    answer = json.loads(done.stdout) if done.stdout.startswith("{") else {"Error": done.stderr}
    if answer.get("Error"):
        raise SystemExit(f"{service.name} cannot be downloaded: {answer['Error']}")
    project = folder / name
    shutil.copytree(answer["Dir"], project, copy_function=shutil.copyfile)
    for path in (project, *project.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    dockerfile = project / "Dockerfile"
    text = _PLAIN.format(cgo=service.cgo, package=service.package)
    if service.own:
        text = "\n".join(map(_replace_base, dockerfile.read_text().splitlines())) + "\n"
    dockerfile.write_text(text)
    for other in project.glob("*compose*.y*ml"):
        other.unlink()
    (project / "compose.yaml").write_text(_COMPOSE.format(name=name, port=service.port))
    return project


def _replace_base(line: str) -> str:
    """Return a line of a Dockerfile, with a base image that is on this machine."""
    match line.split():
        case ["FROM", base, *rest] if base.startswith(("golang:", "alpine:")):
            return " ".join(["FROM", "golang:alpine" if base.startswith("golang") else "alpine", *rest])
    return line


def measure(service: Public, project: Path, docker: Docker) -> list[dict[str, Any]]:
    """Return the findings of `watcher doctor --measure` about the size."""
    command = [sys.executable, "-P", "-m", "watcher", "doctor", "--measure", "--json"]
    command += ["--project", str(project), "--http.port", "0", "--deploy.ready-path", service.path]
    done = subprocess.run(
        command,
        env={**os.environ, "DOCKER_HOST": docker.endpoint, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=4 * LONG,
        check=False,
    )
    if not done.stdout.startswith("["):
        raise SystemExit(f"{service.name}: {done.stderr.strip()}")
    return [each for each in json.loads(done.stdout) if each["topic"] == "size"]


def main() -> None:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    known = {each.name: each for each in PUBLIC}
    parser.add_argument("names", nargs="*", help=f"which, of: {', '.join(known)}")
    parser.add_argument("--engine", default=DEFAULT_ENGINE, help="address of the engine")
    options = parser.parse_args()
    if unknown := sorted({*options.names} - known.keys()):
        parser.error(f"unknown: {', '.join(unknown)}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so everything is removed then too
    signal.signal(signal.SIGINT, signal.default_int_handler)  # not ignored: the tools inherit that
    run = new_id()
    rows: dict[str, tuple[str, str, str]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=run)))
        docker = Docker(options.engine, folder / "docker")
        stack.callback(lambda: asyncio.run(forget_caches(docker.endpoint, run)))
        stack.callback(docker.remove, run)
        print(docker.describe())
        if busy := how_busy():
            print(busy)
        for name in options.names or known:
            service = known[name]
            found = measure(service, prepare_project(service, folder, f"{run}-{name}"), docker)
            print(f"{name} {service.version}")
            print("\n".join(f"  {each['text']}" for each in found))
            sizes = [each["measured"] for each in found if each["measured"]]
            if not sizes:
                continue
            before, after = (sizes[-1][when]["size"] for when in ("before", "after"))
            rows[name] = (humanize.size(before), humanize.size(after), humanize.size_change(after - before))
    print(format_table(("before", "after", "change"), rows, 14))
    missing = [name for name in options.names or known if name not in rows]
    if missing:
        sys.exit(f"nothing was measured of {', '.join(missing)}")


if __name__ == "__main__":
    main()
