"""The watcher in a container of its own, as docker-compose.yml at the top runs it: built, run, saved into."""

from __future__ import annotations

import asyncio
import os
import re
import threading
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import docker
import docker.errors
import httpx
import pytest
import yaml

from tests import stand_in_python
from tests.directory_source import DirectorySource
from tests.e2e.conftest import ROOT, engine, free_port, until
from watcher import labels
from watcher.buildkit import (
    Client,
    MemorySource,
    Progress,
    SolveFailed,
    SolveRequest,
    StepLog,
)
from watcher.compose import load

__all__ = ["engine"]  # a fixture

pytestmark = [pytest.mark.e2e, pytest.mark.engine, pytest.mark.timeout(1200)]

ENGINE = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
DEPLOY = ROOT / "deploy"


@pytest.fixture(scope="module")
def name(engine: docker.DockerClient) -> Iterator[str]:
    """A name for images, and the end of these images."""
    chosen = f"watcher-own-{uuid.uuid4().hex[:12]}"
    yield chosen
    for image in engine.images.list(filters={"reference": f"{chosen}*"}):
        engine.images.remove(str(image.id), force=True)


@pytest.fixture(scope="module")
def base(engine: docker.DockerClient, name: str) -> str:
    """The Python image that the Dockerfile names, pulled; where no registry answers, a stand-in for it."""
    match = re.search(r"^ARG PYTHON=(\S+)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert match
    try:
        engine.images.get(match[1])
    except docker.errors.ImageNotFound:
        try:
            engine.images.pull(match[1])
        except docker.errors.APIError as error:
            print(f"STAND-IN for {match[1]}, of this machine's own Python: {error.explanation}")
            return stand_in_python.make(engine, name)
    return match[1]


@pytest.fixture(scope="module")
def image(base: str, name: str) -> str:
    """The watcher's image, built from deploy/Dockerfile."""
    lines: list[str] = []

    def hear(progress: Progress) -> None:
        if isinstance(progress, StepLog):
            lines.append(f"{progress.text}\n")

    files = {"Dockerfile": (DEPLOY / "Dockerfile").read_bytes()}
    excludes = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    request = SolveRequest(
        context=DirectorySource(ROOT, excludes),
        dockerfile=MemorySource(files),
        shared_key=name,
        build_args={"PYTHON": base},
        network="host",  # packages come the way they come to this machine
        entitlements=("network.host",),
        names=(f"docker.io/library/{name}:latest",),
    )

    async def build() -> None:
        async with await Client.connect(ENGINE) as client:
            await client.solve(request, hear)

    try:
        asyncio.run(build())
    except SolveFailed as error:
        raise AssertionError("".join(lines[-40:])) from error
    return f"{name}:latest"


class Page:
    """A project whose version is the text that it answers with; it needs no compiler."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name, self.port = folder, name, free_port()
        (folder / "Dockerfile").write_text(
            "FROM alpine\nCOPY page /www/index.html\nSTOPSIGNAL SIGKILL\n"  # it hears nothing else
            'CMD ["sh", "-c", "echo serving; exec busybox httpd -f -p 9000 -h /www"]\n'
        )
        service = {
            "build": ".",
            "image": f"{name}-app",
            "container_name": f"{name}-box",
            "ports": [f"127.0.0.1:{self.port}:9000"],
        }
        (folder / "compose.yaml").write_text(yaml.safe_dump({"services": {"web": service}}))
        self.save("one")

    def save(self, text: str) -> None:
        (self.folder / "page").write_text(text)

    def answers(self, text: str) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/", trust_env=False, timeout=60).text == text
        except httpx.HTTPError:
            return False


def as_composed(project: Page, port: int) -> dict[str, Any]:
    """How docker-compose.yml runs the watcher, for this project; as docker-py wants it."""
    given = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["watcher"]
    asked = re.compile(r"\$\{PROJECT:-\$\{PWD\}/examples/go-server\}")
    values = [asked.sub(str(project.folder), text) for text in given["volumes"]]
    assert values[0] == f"{project.folder}:{project.folder}:ro"
    return {
        "network_mode": given["network_mode"],
        "init": given["init"],
        "read_only": given["read_only"],
        "cap_drop": given["cap_drop"],
        "cap_add": given["cap_add"],
        "security_opt": given["security_opt"],
        "tmpfs": dict.fromkeys([*given["tmpfs"], "/state"], ""),  # in place of the volume
        "volumes": [mount for mount in values if mount.startswith("/")],
        "environment": {
            **given["environment"],
            "WATCHER_PROJECT": str(project.folder),
            "WATCHER_HTTP__PORT": str(port),
        },
    }


@pytest.fixture
def page(tmp_path: Path, engine: docker.DockerClient, name: str) -> Iterator[Page]:
    """The project, and the end of all that is left of it."""
    folder = tmp_path / f"page-{uuid.uuid4().hex[:12]}"  # compose names the network after it
    folder.mkdir()
    yield Page(folder, name)
    label = f"{labels.PROJECT}={labels.project_id(folder.resolve())}"
    for container in engine.containers.list(all=True, filters={"label": label}):
        container.remove(force=True)
    for image in engine.images.list(filters={"label": label}):
        engine.images.remove(str(image.id), force=True)
    for network in engine.networks.list(filters={"label": f"com.docker.compose.project={folder.name}"}):
        network.remove()


def test_the_watcher_keeps_a_project_from_within_a_container(
    engine: docker.DockerClient, image: str, name: str, page: Page
) -> None:
    port = free_port()
    api = f"http://127.0.0.1:{port}"
    box = engine.containers.run(image, name=name, detach=True, **as_composed(page, port))
    try:
        until(lambda: page.answers("one"), "the first version answers")
        page.save("two")
        until(lambda: page.answers("two"), "what was saved answers")
        metrics = httpx.get(f"{api}/metrics", trust_env=False).text
        assert 'watcher_save_to_live_seconds_count{service="web"}' in metrics
        python = "/opt/watcher/bin/python"
        done = box.exec_run([python, "-m", "watcher", "wait", "--timeout", "60"])
        assert done.exit_code == 0, done.output
        shown = box.exec_run([python, "-m", "watcher", "logs", "--source", "container"]).output
        assert b"serving" in shown
        box.stop(timeout=30)
        assert box.wait()["StatusCode"] == 0
        with pytest.raises(docker.errors.NotFound):
            engine.containers.get(f"{name}-box")
    except BaseException:
        print(box.logs(tail=60).decode("utf-8", "replace"))
        raise
    finally:
        box.remove(force=True)


class Asking:
    """One request after the other, each over a connection of its own, and what became of them."""

    def __init__(self, port: int) -> None:
        self.answers: list[str] = []
        self.failed: list[str] = []
        self._url = f"http://127.0.0.1:{port}/"
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        while not self._end.is_set():
            try:
                self.answers.append(httpx.get(self._url, trust_env=False, timeout=60).text)
            except httpx.HTTPError as error:
                self.failed.append(repr(error))
            self._end.wait(0.01)

    def __enter__(self) -> Asking:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()


def live_box(engine: docker.DockerClient, name: str) -> Any:
    """The live container: it has the traffic first, and then its name."""

    def found() -> Any:
        try:
            return engine.containers.get(f"{name}-box")
        except docker.errors.NotFound:
            return None

    return until(found, "the live container has its name")


def test_a_watcher_on_a_network_of_its_own_reaches_the_service_over_the_services_network(
    engine: docker.DockerClient, image: str, name: str, page: Page
) -> None:
    given = as_composed(page, free_port())
    given["network_mode"] = "bridge"
    ports = {f"{page.port}/tcp": ("127.0.0.1", page.port)}
    box = engine.containers.run(image, name=f"{name}-bridge", detach=True, ports=ports, **given)

    def networks() -> set[str]:
        box.reload()
        return set(box.attrs["NetworkSettings"]["Networks"])

    try:
        until(lambda: page.answers("one"), "the first version answers")
        joined = networks() - {"bridge"}
        assert len(joined) == 1
        for text in ("two", "three"):  # the second one joins a network that was made ready beforehand
            with Asking(page.port) as asking:
                page.save(text)
                until(partial(asking.answers.__contains__, text), "what was saved answers")
            assert asking.failed == []
        live = live_box(engine, name)
        assert not any(live.attrs["NetworkSettings"]["Ports"].values())
        assert f"`-p 127.0.0.1:{page.port}:{page.port}`" in box.logs().decode()
        box.stop(timeout=30)
        assert box.wait()["StatusCode"] == 0
        assert networks() == {"bridge"}
        with pytest.raises(docker.errors.NotFound):
            engine.containers.get(f"{name}-box")
        label = f"{labels.PROJECT}={labels.project_id(page.folder.resolve())}"
        assert engine.containers.list(all=True, filters={"label": label}) == []
    except BaseException:
        print(box.logs(tail=60).decode("utf-8", "replace"))
        raise
    finally:
        box.remove(force=True)


def test_from_within_a_container_what_is_kept_runs_on_and_is_adopted(
    engine: docker.DockerClient, image: str, name: str, page: Page
) -> None:
    given = as_composed(page, free_port())
    given["network_mode"] = "bridge"
    given["environment"]["WATCHER_DEPLOY__ON_EXIT"] = "keep"
    ports = {f"{page.port}/tcp": ("127.0.0.1", page.port)}
    box = engine.containers.run(image, name=f"{name}-keep", detach=True, ports=ports, **given)
    try:
        until(lambda: page.answers("one"), "the first version answers")
        kept = live_box(engine, name)
        box.stop(timeout=30)
        assert box.wait()["StatusCode"] == 0
        kept.reload()
        assert kept.status == "running"
        box.start()
        until(lambda: page.answers("one"), "it answers again")
        assert live_box(engine, name).id == kept.id
        box.stop(timeout=30)
    except BaseException:
        print(box.logs(tail=60).decode("utf-8", "replace"))
        raise
    finally:
        box.remove(force=True)


def test_the_image_is_small_beside_its_base(engine: docker.DockerClient, image: str, base: str) -> None:
    own = engine.images.get(image).attrs["Size"] - engine.images.get(base).attrs["Size"]
    assert own < 150e6


def test_the_compose_file_is_one_that_the_watcher_itself_understands() -> None:
    project = load(Path(ROOT / "docker-compose.yml"), services=("watcher",), env={"PWD": str(ROOT)})
    assert {spec.name for spec in project.services.values()} >= {"watcher"}
