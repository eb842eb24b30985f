"""The article's size table, from the metrics and from `docker images`, beside the article's own figures.

    ./dev bench sizes                                        the engine that docker reaches
    ./dev bench sizes --engine unix:///run/a.sock --engine unix:///run/b.sock

For each engine a copy of `examples/go-server`, unchanged but for its names and port, is kept by the real
daemon until its three sizes are known; then they are read from `/metrics` and beside them what the engine's
own list says. Nothing is timed. Fails when the metrics of two engines with the same base images differ.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import docker
import httpx
import rich.console
import rich.table

from watcher.observers import humanize

T = TypeVar("T")

EXAMPLE = Path(__file__).parents[1] / "examples" / "go-server"
ARTICLE = {"base": 359_000_000, "builder": 602_000_000, "final": 24_200_000}
SPREAD = 4096  # bytes: two compilations of one tree differ at most by padding of the linker
PATIENCE = 1800.0  # seconds: the first build compiles everything


@dataclass(frozen=True)
class Sizes:
    """The image sizes of one engine: by our metrics, and by `docker images`; bytes by stage."""

    engine: str
    bases: tuple[str, ...]  # digests of the layers of the base images
    metrics: dict[str, int]
    listed: dict[str, int]


def wait_for(condition: Callable[[], T | None], what: str) -> T:
    """Return the first true result of the condition."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if (found := condition()) is not None:
            return found
        time.sleep(0.2)
    raise SystemExit(f"not within {PATIENCE:g} s: {what}")


def copy_of_example(folder: Path, name: str) -> Path:
    """Return a copy with a unique name and port."""
    project = folder / name
    shutil.copytree(EXAMPLE, project)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    compose = project / "docker-compose-dev.yml"
    text = compose.read_text().replace("go-server-box-dev", f"{name}-box").replace("go-server-dev", name)
    compose.write_text(text.replace("9000:9000", f"127.0.0.1:{port}:9000"))
    return project


def metrics_of(project: Path, endpoint: str) -> dict[str, int] | None:
    """Return the image sizes in the running daemon's metrics; None until all are set."""
    command = [sys.executable, "-m", "watcher", "status", "--json", "--project", str(project)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "DOCKER_HOST": endpoint}
    )
    if done.returncode:
        return None
    document = json.loads(done.stdout)
    if error := document["services"][0]["failed"] and document["services"][0]["last_error"]:
        raise SystemExit(f"{endpoint}: {error['failure']['summary']}")
    url = document["daemon"]["url"]
    text = httpx.get(f"{url}metrics", trust_env=False).text
    found = re.findall(r'watcher_image_size_bytes\{.*stage="(\w+)"\} (\S+)', text)
    sizes = {stage: int(float(value)) for stage, value in found}
    return sizes if sizes.keys() >= ARTICLE.keys() else None


def measure_engine(endpoint: str) -> Sizes:
    """Build the example with the daemon on that engine; return its sizes from both sources."""
    name = f"sizes-{uuid.uuid4().hex[:8]}"
    api: Any = docker.APIClient(base_url=endpoint, version="auto")
    info = api.info()
    containerd = ["driver-type", "io.containerd.snapshotter.v1"] in (info["DriverStatus"] or [])
    with tempfile.TemporaryDirectory() as folder:
        project = copy_of_example(Path(folder), name)
        log = Path(folder, "log")
        with log.open("w") as output:
            command = [sys.executable, "-m", "watcher", "run", "--project", str(project), "--plain"]
            command += ["--http.port", "0", "--engine", endpoint, "--build.builder-image"]
            daemon = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:

            def read_sizes() -> dict[str, int] | None:
                if daemon.poll() is not None:
                    raise SystemExit(f"the daemon ended:\n{log.read_text()}")
                return metrics_of(project, endpoint)

            metrics = wait_for(read_sizes, f"the sizes on {endpoint}")
            names = {"base": "golang:alpine", "builder": f"{name}:builder", "final": f"{name}:latest"}
            wait_for(lambda: api.images(name=names["builder"]), "the builder image is exported")
            listed = {stage: size_in_list(api, ref) for stage, ref in names.items()}
        finally:
            daemon.terminate()
            daemon.wait()
            remove_project(api, name)
        bases = tuple(
            layer
            for ref in ("golang:alpine", "alpine:latest")
            for layer in api.inspect_image(ref)["RootFS"]["Layers"]
        )
    store = "containerd" if containerd else info["Driver"]
    return Sizes(f"{info['ServerVersion']}, {store}", bases, metrics, listed)


def size_in_list(api: Any, ref: str) -> int:
    """Return the last column of `docker images`."""
    return int(next(item["Size"] for item in api.images() if ref in (item["RepoTags"] or ())))


def remove_project(api: Any, name: str) -> None:
    """Remove the daemon's objects."""
    for item in api.containers(all=True, filters={"name": name}):
        api.remove_container(item["Id"], force=True, v=True)
    mine = [
        item for item in api.images() if any(tag.startswith(f"{name}:") for tag in item["RepoTags"] or ())
    ]
    for item in mine:
        for tag in item["RepoTags"]:
            api.remove_image(tag)
    for network in api.networks(names=[f"{name}_default"]):
        api.remove_network(network["Id"])


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="./dev bench sizes", description=__doc__.partition("\n")[0])
    default = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    parser.add_argument("--engine", action="append", help=f"endpoint; may be repeated (default: {default})")
    found = [measure_engine(endpoint) for endpoint in parser.parse_args().engine or [default]]
    table = rich.table.Table("engine", "from", *ARTICLE, box=None, pad_edge=False)
    table.add_row("the article's", "docker images", *(humanize.size(size) for size in ARTICLE.values()))
    for sizes in found:
        table.add_row(sizes.engine, "metrics", *(humanize.size(sizes.metrics[stage]) for stage in ARTICLE))
        table.add_row("", "docker images", *(humanize.size(sizes.listed[stage]) for stage in ARTICLE))
    rich.console.Console(highlight=False).print(table)
    print("golang:alpine and alpine may be stand-ins made on this machine; `watcher run` says so")
    same = {sizes.metrics["base"] for sizes in found if sizes.bases == found[0].bases}
    finals = [sizes.metrics["final"] for sizes in found if sizes.bases == found[0].bases]
    if len(same) > 1 or max(finals) - min(finals) > SPREAD:
        print("the metrics of engines with the same base images differ")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
