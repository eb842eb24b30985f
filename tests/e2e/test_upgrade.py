"""An older version ran the project; this one takes over what it left, and leaves nothing of it at the end."""

from __future__ import annotations

import io
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

OLDEST = "8c0137b"  # before labels, rooms and messages were renamed; its networks carry no label of ours
NEWER = "840bb67"


def unpack(commit: str, folder: Path) -> Path:
    """Write the old version's files into the folder, or skip the test."""
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=False)
    if archive.returncode:
        pytest.skip(f"commit {commit} is not here: a shallow clone, or no clone")
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
    made.watcher("down", "--images", "--caches")
    clean_up(engine, made)


def run_old(project: Project, old: Path) -> None:
    """Start the old version, in the environment of this one, and wait until it is live."""
    own, python = project.command, (sys.executable, "-P", "-m", "watcher")
    project.command = ("env", f"PYTHONPATH={old}", *python)
    project.start("--deploy.on-exit", "keep")
    assert project.watcher("wait", "--timeout", "200").returncode == 0, "".join(project.output)
    project.command = own


@pytest.mark.parametrize(("commit", "end"), [(OLDEST, signal.SIGKILL), (NEWER, signal.SIGTERM)])
def test_this_version_takes_over_from_an_old_one_and_leaves_nothing_of_it(
    project: Project, tmp_path: Path, engine: docker.DockerClient, commit: str, end: signal.Signals
) -> None:
    before = list_objects(engine, [project])
    run_old(project, unpack(commit, tmp_path / "old"))
    assert project.health() == {"page": 1}
    project.stop(end)
    project.start()
    assert project.wait()["outcome"] == "live"
    assert project.health() == {"page": 1}
    with constant_load(project) as failures:
        (project.folder / "page").write_text('{"page": 2}')
        assert project.wait()["outcome"] == "live"
        until(lambda: project.health() == {"page": 2}, "the save answers")
    assert failures == []
    assert project.stop() == 0
    done = project.watcher("down", "--images", "--caches")
    assert done.returncode == 0, done.stdout + done.stderr
    assert list_objects(engine, [project]) == before
    networks = {network.name for network in engine.networks.list(names=[project.id])}
    # Only compose's labels are on that of the oldest version: it may be the user's own.
    assert networks == ({f"{project.id}_default"} if commit == OLDEST else set())
