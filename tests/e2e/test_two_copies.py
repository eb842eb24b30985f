"""Two copies of one project, with the same names of image and container: neither loses anything."""

from __future__ import annotations

import re
import shutil
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import docker
import pytest

from tests.e2e.conftest import Project, until
from watcher import labels

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

# Nothing is compiled: what is looked at are names, ports and images. As process 1, busybox hears no SIGTERM.
DOCKERFILE = """FROM golang:alpine AS builder
LABEL stage=builder
WORKDIR /src
COPY . .
RUN mkdir /www && cp page /www/health
FROM alpine
COPY --from=builder /www /www
STOPSIGNAL SIGKILL
CMD ["busybox", "httpd", "-f", "-p", "9000", "-h", "/www"]
"""


@pytest.fixture
def copies(tmp_path: Path, engine: docker.DockerClient) -> Iterator[tuple[Project, Project]]:
    run = uuid.uuid4().hex[:8]
    one, two = Project(tmp_path / f"e2e-{run}-one"), Project(tmp_path / f"e2e-{run}-two")
    compose = one.compose.read_text()
    for project in (one, two):
        shutil.rmtree(project.folder)
        project.folder.mkdir()
        (project.folder / "page").write_text(f'{{"copy": "{project.id}"}}')
        (project.folder / "Dockerfile").write_text(DOCKERFILE)
        text = re.sub(r"127\.0\.0\.1:\d+:9000", f"127.0.0.1:{project.port}:9000", compose)
        project.compose.write_text(text)
    yield one, two
    for project in (one, two):
        if project.process:
            project.stop()
        for image in engine.images.list(all=True, filters={"label": project.label()}):
            engine.images.remove(str(image.id), force=True)
    for project in (one, two):
        for network in engine.networks.list(names=[f"{project.id}_default"]):
            network.remove()


def has_builder(project: Project) -> bool:
    return "builder" in project.status()["images"]


def live(project: Project) -> bool:
    """Wait until it is live."""
    return bool(until(lambda: project.status()["stale"] is False, "".join(project.output[-9:])))


def test_two_copies_of_a_project_serve_and_prune_side_by_side(
    copies: tuple[Project, Project], engine: docker.DockerClient
) -> None:
    one, two = copies
    one.start()
    assert live(one)
    two.start()
    assert live(two)
    assert (one.health(), two.health()) == ({"copy": one.id}, {"copy": two.id})

    other = labels.project_id(one.folder.resolve())
    said = "another watched project has that name"
    until(lambda: any(said in line and other in line for line in two.output), "it is said")
    assert any(f"another project ({other}" in line and "builds" in line for line in two.output)
    assert not any("another" in line for line in one.output)

    for project in (one, two):
        until(partial(has_builder, project), "the builder image is exported")
    before = {image.id for image in engine.images.list(filters={"label": f"{labels.PROJECT}={other}"})}
    for project in (two, one, two):
        done = project.watcher("prune", "--prune.grace", "0", "--prune.keep", "1")
        assert done.returncode == 0, done.stderr
    assert (one.health(), two.health()) == ({"copy": one.id}, {"copy": two.id})
    after = {image.id for image in engine.images.list(filters={"label": f"{labels.PROJECT}={other}"})}
    assert after == before


def test_two_copies_cannot_have_one_port(copies: tuple[Project, Project]) -> None:
    one, two = copies
    one.start()
    two.compose.write_text(two.compose.read_text().replace(str(two.port), str(one.port)))
    refused = two.watcher("run", "--http.port", "0")
    assert refused.returncode == 1
    assert f"cannot listen on 127.0.0.1:{one.port}" in refused.stderr
