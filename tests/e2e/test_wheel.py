"""The wheel in an environment of its own, outside of this repository: its commands, its page, its files."""

import subprocess
import sys
from pathlib import Path

import docker
import httpx
import pytest

from tests.e2e.conftest import ROOT, Project, clean_up
from tests.e2e.test_two_copies import DOCKERFILE


@pytest.fixture(scope="module")
def watcher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The installed command."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    uv = str(Path(sys.executable).with_name("uv"))
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(folder / "venv")], check=True)
    install = [uv, "pip", "install", "-q", "--python", str(folder / "venv" / "bin" / "python")]
    subprocess.run([*install, "--require-hashes", "-r", str(ROOT / "requirements.lock")], check=True)
    subprocess.run([*install, "--no-deps", str(wheel)], check=True)
    return folder / "venv" / "bin" / "watcher"


def test_an_installed_watcher_writes_its_files(watcher: Path, tmp_path: Path) -> None:
    for arguments in (["init", "--all"], ["monitoring", "--output", "observe"]):
        subprocess.run([watcher, *arguments, "--project", str(tmp_path)], cwd=tmp_path, check=True)
    assert (tmp_path / "watcher.toml").read_text() == (ROOT / "config" / "watcher.toml").read_text()
    dashboard = Path("grafana", "dashboards", "watcher.json")
    assert (tmp_path / "observe" / dashboard).read_text() == (ROOT / "config" / dashboard).read_text()


def test_an_installed_watcher_serves_a_project(
    watcher: Path, tmp_path: Path, engine: docker.DockerClient
) -> None:
    project = Project(tmp_path / f"wheel-{tmp_path.parent.name}", (str(watcher),))
    (project.folder / "page").write_text('{"answers": true}')
    (project.folder / "Dockerfile").write_text(DOCKERFILE)
    try:
        project.start()
        assert project.wait()["outcome"] == "live"
        assert httpx.get(f"http://127.0.0.1:{project.port}/health").status_code == httpx.codes.OK
        page = project.api()
        assert "<html" in httpx.get(page).text
        assert "watcher_" in httpx.get(f"{page}metrics").text
        assert project.stop() == 0
    finally:
        if project.process:
            project.stop()
        clean_up(engine, project)
