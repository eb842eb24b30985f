"""Image sizes on a real engine: what `watcher doctor --fix` suggests, and budgets of `watcher once`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import uuid
from pathlib import Path

import docker
import pytest

from watcher import labels
from watcher.cli.doctor import DoctorOptions, examine_project
from watcher.daemon.once import deploy_once
from watcher.observers.events import Event, ImageExplained
from watcher.observers.status_board import StatusBoard
from watcher.settings import Settings

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

NAME = f"wt-{uuid.uuid4().hex[:10]}"
SERVER = """package main

import "net/http"

func main() {
	http.HandleFunc("/health", func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("fine")) })
	http.ListenAndServe(":9000", nil)
}
"""
DOCKERFILE = f"""FROM golang:alpine AS builder
WORKDIR /w
COPY . .
RUN CGO_ENABLED=0 go build -o /out/{NAME} .
FROM alpine
COPY --from=builder /out/{NAME} /app
CMD /app
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / NAME
    root.mkdir()
    (root / "main.go").write_text(SERVER)
    (root / "go.mod").write_text("module example.test/small\n\ngo 1.21\n")
    (root / "Dockerfile").write_text(DOCKERFILE)
    (root / "compose.yaml").write_text(
        f"name: {NAME}\nservices:\n  app:\n    build: .\n    image: {NAME}\n    ports: ['127.0.0.1::9000']\n"
    )
    return root


def list_left(project: str) -> set[str]:
    """Return containers and images of the project, names of images of a doctor, and build steps."""
    own = {"label": f"watcher.project={project}"}
    with contextlib.closing(docker.from_env()) as client:
        found = {each["Id"] for each in client.api.containers(all=True, filters=own)}
        found |= {each.id for each in client.images.list(filters=own)}
        return found | {each["ID"] for each in client.df()["BuildCache"] if NAME in each["Description"]}


async def test_what_is_suggested_is_smaller_and_nothing_else_stays(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    settings = Settings(project=project, engine=os.environ.get("DOCKER_HOST"), http={"port": 0})
    options = DoctorOptions(measure=True, write=True)
    found = [finding async for finding in examine_project(settings, options)]
    last = [finding.measured for finding in found if finding.measured][-1]
    assert last.after.size < last.before.size * 0.8
    assert last.after.link is not None
    assert last.after.start is not None
    text = (project / "Dockerfile.watcher-suggested").read_text()
    assert '-ldflags="-s -w"' in text
    assert "FROM scratch" in text
    assert 'CMD ["/app"]' in text
    assert (project / ".dockerignore").read_text().startswith(".git\n")
    assert (project / "Dockerfile").read_text() == DOCKERFILE
    assert any("/health 200" in finding.text for finding in found)
    assert await asyncio.to_thread(list_left, labels.project_id(project)) == set()


class Explained(list[ImageExplained]):
    """What the images consist of."""

    def notify(self, event: Event) -> None:
        if isinstance(event, ImageExplained):
            self.append(event)


async def test_once_fails_for_a_component_over_its_budget(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    budgets = {"std": 1000, "example.test/small": 10_000_000}
    settings = Settings(
        project=project,
        engine=os.environ.get("DOCKER_HOST"),
        http={"port": 0},
        image={"components": budgets},
    )
    explained = Explained()
    try:
        assert not await deploy_once(settings, StatusBoard(), explained)
        (found,) = explained
        assert [each.name for each in found.over] == ["std"]
    finally:
        await asyncio.to_thread(remove_own, labels.project_id(project))


def remove_own(project: str) -> None:
    own = {"label": f"watcher.project={project}"}
    with contextlib.closing(docker.from_env()) as client:
        for container in client.containers.list(all=True, filters={**own}):
            container.remove(force=True, v=True)
        for network in client.networks.list(filters=own):
            network.remove()
        for image in client.images.list(filters=own):
            for tag in image.tags:
                client.images.remove(tag)
