"""The whole daemon as a process of its own, on a copy of the example, with real builds and real requests."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
import httpx
import pytest

from watcher import labels

ROOT = Path(__file__).parents[2]
LONG = 240.0  # seconds for a cold compile on a busy machine


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def until(condition: Callable[[], Any], what: str, timeout: float = LONG) -> Any:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {timeout:g} s: {what}")


class Project:
    """A copy of the example service in `folder`, under names and a port of its own."""

    def __init__(self, folder: Path, command: tuple[str, ...] = (sys.executable, "-m", "watcher")) -> None:
        self.id = folder.name
        self.command = command
        self.folder = folder
        self.port = free_port()
        shutil.copytree(ROOT / "examples" / "go-server", self.folder)
        self.compose = self.folder / "docker-compose-dev.yml"
        text = self.compose.read_text()
        text = text.replace("go-server-box-dev", f"{self.id}-box").replace("go-server-dev", self.id)
        self.compose.write_text(text.replace("9000:9000", f"127.0.0.1:{self.port}:9000"))
        self.version = self.folder / "internal" / "version" / "version.go"
        self.process: subprocess.Popen[str] | None = None
        self.output: list[str] = []

    def watcher(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*self.command, *arguments, "--project", str(self.folder)]
        return subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=LONG + 30, check=False
        )

    def start(self, *arguments: str) -> None:
        command = [*self.command, "run", "--project", str(self.folder), "--plain"]
        self.process = subprocess.Popen(
            [*command, "--http.port", "0", *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()
        process = self.process
        until(lambda: process.poll() is not None or self._answers(), "the daemon answers", 60)
        assert process.poll() is None, "".join(self.output)

    def _answers(self) -> bool:
        return self.watcher("status", "--json").returncode == 0

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout
        for line in process.stdout:
            self.output.append(line)
        process.stdout.close()

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process
        process, self.process = self.process, None
        process.send_signal(number)
        return process.wait(60)

    def wait(self) -> dict[str, Any]:
        done = self.watcher("wait", "--json", "--timeout", str(LONG))
        assert done.stdout, done.stderr + "".join(self.output[-40:])
        return dict(json.loads(done.stdout))

    def status(self) -> dict[str, Any]:
        document = json.loads(self.watcher("status", "--json").stdout)
        return dict(document["services"][0])

    def label(self) -> str:
        """The label that every object of this project carries."""
        return f"{labels.PROJECT}={labels.project_id(self.folder.resolve())}"

    def api(self) -> str:
        document = json.loads(self.watcher("status", "--json").stdout)
        return str(document["daemon"]["url"])

    def metrics(self) -> dict[str, float]:
        text = httpx.get(self.api() + "metrics", trust_env=False).text
        lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in lines}

    def health(self, timeout: float = LONG) -> dict[str, Any]:
        answer = httpx.get(f"http://127.0.0.1:{self.port}/health", trust_env=False, timeout=timeout)
        answer.raise_for_status()
        return dict(answer.json())

    def connects(self) -> bool:
        """Whether the published port takes a connection."""
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def set_version(self, version: str) -> None:
        lines = self.version.read_text().splitlines()
        kept = [line for line in lines if not line.startswith("var Number")]
        self.version.write_text("\n".join([*kept, f'var Number = "{version}"', ""]))


@contextmanager
def constant_load(project: Project, path: str = "health") -> Iterator[list[str]]:
    """Requests without a pause, on new and on kept connections; what failed is in the list."""
    failures: list[str] = []
    stop = threading.Event()

    def ask(*, keep: bool) -> None:
        url = f"http://127.0.0.1:{project.port}/{path}"
        with httpx.Client(trust_env=False, timeout=60) as client:
            while not stop.is_set():
                try:
                    headers = {} if keep else {"connection": "close"}
                    status = client.get(url, headers=headers).status_code
                    if status != 200:
                        failures.append(str(status))
                except httpx.HTTPError as error:
                    failures.append(repr(error))

    threads = [threading.Thread(target=ask, kwargs={"keep": keep}) for keep in (True, False)]
    for thread in threads:
        thread.start()
    try:
        yield failures
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    client = docker.from_env()
    yield client
    client.close()


@pytest.fixture(scope="module")
def project(folder: Path, engine: docker.DockerClient) -> Iterator[Project]:
    made = Project(folder)
    yield made
    if made.process:
        made.stop()
    clean_up(engine, made)
    shutil.rmtree(folder)


def clean_up(engine: docker.DockerClient, project: Project) -> None:
    """Remove what the project left at the engine, and what tests made under names that begin like its own."""
    for found in ({"name": project.id}, {"label": project.label()}):
        for container in engine.containers.list(all=True, filters={**found}):
            container.remove(force=True)
    for image in engine.images.list():
        for tag in image.tags:
            if tag.startswith(project.id):
                engine.images.remove(tag)
    for image in engine.images.list(filters={"label": project.label(), "dangling": True}):
        engine.images.remove(str(image.id))
    for network in engine.networks.list(names=[f"{project.id}_default"]):
        network.remove()
