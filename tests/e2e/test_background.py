"""`up`, `list` and `down`: two projects in the background at once, and an engine as it was before."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import docker
import httpx
import pytest

from tests.e2e.conftest import ROOT, Project, clean_up, free_port
from tests.e2e.test_two_copies import DOCKERFILE
from tests.facts import missing

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


@pytest.fixture
def projects(tmp_path: Path, engine: docker.DockerClient) -> Iterator[list[Project]]:
    found = [Project(tmp_path / f"back-{uuid.uuid4().hex[:8]}") for _ in range(2)]
    for project in found:
        (project.folder / "page").write_text(f'{{"project": "{project.id}"}}')
        (project.folder / "Dockerfile").write_text(DOCKERFILE)
    yield found
    for project in found:
        project.watcher("down")
        clean_up(engine, project)


def list_objects(engine: docker.DockerClient, projects: list[Project]) -> set[tuple[str, str]]:
    """Everything at the engine whose name or label leads to one of the projects."""
    names = [project.id for project in projects]
    found = {("volume", each.name) for each in engine.volumes.list() if any(n in each.name for n in names)}
    for project in projects:
        for filters in ({"label": project.label()}, {"name": project.id}):
            found |= {
                ("container", str(each.id)) for each in engine.containers.list(all=True, filters={**filters})
            }
        label = {"label": project.label()}
        found |= {("image", str(each.id)) for each in engine.images.list(all=True, filters=label)}
        found |= {("network", str(each.id)) for each in engine.networks.list(filters=label)}
    found |= {
        ("tag", tag) for each in engine.images.list() for tag in each.tags if any(n in tag for n in names)
    }
    return found


def watcher(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "watcher", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def test_projects_run_in_the_background_and_leave_nothing(
    projects: list[Project], engine: docker.DockerClient
) -> None:
    before = list_objects(engine, projects)
    pages = set()
    for project in projects:
        done = watcher(project.folder, "up")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "live" in done.stdout
        assert project.health() == {"project": project.id}
        pages.add(project.api())
    assert len(pages) == 2
    again = watcher(projects[0].folder, "up")
    assert (again.returncode, again.stdout.startswith("already running")) == (0, True)

    listed = json.loads(watcher(projects[0].folder, "list", "--json").stdout)["daemons"]
    ours = {each["project"]: each for each in listed}
    assert {ours[str(each.folder)]["page"] for each in projects} == pages
    assert {ours[str(each.folder)]["state"] for each in projects} == {"live"}
    above = watcher(projects[0].folder.parent, "status")
    assert above.returncode == 3
    assert str(projects[1].folder) in above.stderr

    one, two = projects
    done = watcher(two.folder, "down", "--images", "--caches")
    assert done.returncode == 0, done.stdout + done.stderr
    assert one.health() == {"project": one.id}
    assert httpx.get(f"{one.api()}metrics", trust_env=False).status_code == httpx.codes.OK
    above = watcher(one.folder.parent, "status")
    assert (above.returncode, missing(above.stderr, "only", "project below") == []) == (0, True)

    done = watcher(one.folder, "down", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["stopped"]
    left = list_objects(engine, projects) - before
    assert {kind for kind, _ in left} == {"image", "tag"}
    done = watcher(one.folder, "down", "--images", "--caches")
    assert done.returncode == 0, done.stdout + done.stderr
    assert list_objects(engine, projects) == before


def test_an_empty_module_is_live_after_two_commands(tmp_path: Path, engine: docker.DockerClient) -> None:
    folder = tmp_path / f"init-{uuid.uuid4().hex[:8]}"
    folder.mkdir()
    (folder / "go.mod").write_text(f"module example.com/{folder.name}\n\ngo 1.19\n")
    done = watcher(folder, "init")
    assert done.returncode == 0, done.stderr
    compose, port = folder / "docker-compose-dev.yml", free_port()
    assert '"9000:9000"' in compose.read_text()
    compose.write_text(compose.read_text().replace('"9000:9000"', f'"127.0.0.1:{port}:9000"'))
    try:
        advice = json.loads(watcher(folder, "doctor", "--json").stdout)
        assert [found for found in advice if found["grade"] == "error"] == []
        done = watcher(folder, "up")
        assert done.returncode == 0, done.stdout + done.stderr
        assert httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).text == "ok\n"
        assert "environment: dev" in httpx.get(f"http://127.0.0.1:{port}/", trust_env=False).text
    finally:
        done = watcher(folder, "down", "--images", "--caches")
    assert done.returncode == 0, done.stdout + done.stderr
