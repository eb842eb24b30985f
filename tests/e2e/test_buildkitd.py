"""The main job with a buildkitd that is not the engine's: its images travel into the engine."""

from __future__ import annotations

from collections.abc import Iterator

import docker
import pytest

from tests.buildkitd import buildkitd
from tests.e2e.conftest import Project
from tests.registry import registry_of

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def kept(project: Project, engine: docker.DockerClient) -> Iterator[Project]:
    """The example on base images that only a registry has, built by a buildkitd, live."""
    with (
        buildkitd() as daemon,
        registry_of(engine, "golang:alpine") as golang,
        registry_of(engine, "alpine") as alpine,
    ):
        dockerfile = project.folder / "Dockerfile"
        text = dockerfile.read_text().replace("FROM golang:alpine", f"FROM {golang.image}")
        dockerfile.write_text(text.replace("FROM alpine", f"FROM {alpine.image}"))
        (project.folder / "watcher.toml").write_text(f'[build]\nbuildkit = "{daemon.unix}"\n')
        project.start()
        assert project.wait()["outcome"] == "live", "".join(project.output)
        yield project
        project.stop()  # before its buildkitd


def test_a_save_is_live(kept: Project) -> None:
    for number in ("4.0.0", "4.0.1"):
        kept.set_version(number)
        assert kept.wait()["outcome"] == "live"
        assert kept.health()["version"] == number


def test_a_compile_error_is_shown_and_the_good_version_answers(kept: Project) -> None:
    good = kept.version.read_text()
    kept.version.write_text(good + "\nbroken\n")
    answer = kept.wait()
    assert answer["outcome"] == "failed"
    assert "internal/version/version.go" in str(answer)
    assert kept.health()["version"] == "4.0.1"
    kept.version.write_text(good)
    assert kept.wait()["outcome"] == "live"


def test_the_commands_look_at_the_buildkitd_too(kept: Project) -> None:
    shown = kept.watcher("dockerfile").stdout
    assert "--mount=type=cache" in shown
    assert "assumed" not in shown
    examined = kept.watcher("doctor").stdout
    assert "base image: 127.0.0.1:" in examined
    assert "could not be pulled" not in examined
    pruned = kept.watcher("prune", "--dry-run")
    assert pruned.returncode == 0, pruned.stderr
    assert "cache mounts" in pruned.stdout
