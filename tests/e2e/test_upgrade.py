"""An older version ran the project; this one takes over what it left, and leaves nothing of it at the end."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from tests.e2e.conftest import ROOT, Project, clean_up, constant_load, until
from tests.e2e.test_background import list_objects
from tests.e2e.test_two_copies import DOCKERFILE

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

OLD = "8c0137b"  # before labels, rooms and messages were renamed


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The old version's files."""
    archive = subprocess.run(["git", "archive", OLD], cwd=ROOT, capture_output=True, check=False)
    if archive.returncode:
        pytest.skip(f"commit {OLD} is not here: a shallow clone, or no clone")
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder


@pytest.fixture
def project(tmp_path: Path, engine: docker.DockerClient) -> Iterator[Project]:
    made = Project(tmp_path / f"upgrade-{uuid.uuid4().hex[:8]}")
    (made.folder / "page").write_text('{"page": 1}')
    (made.folder / "Dockerfile").write_text(DOCKERFILE)
    yield made
    if made.process:
        made.stop()
    made.command = (sys.executable, "-m", "watcher")
    made.watcher("down", "--images", "--caches")
    clean_up(engine, made)


def run_old(project: Project, old: Path, *arguments: str) -> None:
    """Start the old version, in the environment of this one."""
    new, project.command = project.command, ("env", f"PYTHONPATH={old}", sys.executable, "-P", "-m", "watcher")
    project.start(*arguments)
    until(lambda: project.watcher("wait", "--timeout", "100").returncode == 0, "".join(project.output))
    project.command = new


@pytest.mark.parametrize("on_exit", ["keep", "killed"])
def test_this_version_takes_over_from_an_old_one_and_leaves_nothing_of_it(
    project: Project, old: Path, engine: docker.DockerClient, on_exit: str
) -> None:
    before = list_objects(engine, [project])
    run_old(project, old, "--deploy.on-exit", "keep")
    assert project.health() == {"page": 1}
    (container,) = engine.containers.list(filters={"ancestor": project.id})
    with constant_load(project) as failures:
        if on_exit == "keep":
            assert project.stop() == 0
        else:
            os.killpg if False else project.stop(signal.SIGKILL)
            failures.clear()
        project.start()
        assert project.wait()["outcome"] == "live"
    print(failures[:5], len(failures), "".join(project.output))
    print([(c.name, c.status, c.labels) for c in engine.containers.list(all=True, filters={"label": project.label()})])
    print(container.id)
    (project.folder / "page").write_text('{"page": 2}')
    assert project.wait()["outcome"] == "live"
    assert project.health() == {"page": 2}
    assert project.stop() == 0
    done = project.watcher("down", "--images", "--caches")
    assert done.returncode == 0, done.stdout + done.stderr
    assert list_objects(engine, [project]) == before
