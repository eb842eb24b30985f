"""The compose file and `watcher.toml` change while the daemon runs: in force at once, or refused."""

from __future__ import annotations

import docker
import httpx
import pytest

from tests.e2e.conftest import Project, constant_load, free_port, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def edit(project: Project, old: str, new: str) -> None:
    text = project.compose.read_text()
    assert old in text
    project.compose.write_text(text.replace(old, new))


def told(project: Project, text: str) -> None:
    until(lambda: any(text in line for line in project.output), text, 60)


def environment(engine: docker.DockerClient, project: Project) -> list[str]:
    return list(engine.containers.get(f"{project.id}-box").attrs["Config"]["Env"])


def test_an_environment_value_of_the_compose_file_goes_live_and_no_request_fails(
    project: Project, engine: docker.DockerClient
) -> None:
    project.start()
    assert project.wait()["outcome"] == "live", "".join(project.output)
    with constant_load(project) as failures:
        edit(project, "    ports:", "    environment:\n      GREETED: world\n    ports:")
        assert project.wait()["outcome"] == "live"
        assert "GREETED=world" in environment(engine, project)
    assert failures == []


def test_a_broken_compose_file_is_refused_and_the_old_one_stays(project: Project) -> None:
    good, before = project.compose.read_text(), project.status()["desired"]["revision"]
    project.compose.write_text(good + "\n  : : broken\n\t- [")
    told(project, "is not YAML")
    project.compose.write_text(good.replace(":9000", ":nine thousand"))
    told(project, "services.go-server.ports")
    assert project.health()["environment"] == "dev"
    builds_beside_a_refused_configuration(project, "3.0.0")
    project.compose.write_text(good)
    told(project, "says again what is in force")
    assert project.wait()["outcome"] == "live"
    assert project.status()["desired"]["revision"] != before


def builds_beside_a_refused_configuration(project: Project, version: str) -> None:
    """Sources that are saved meanwhile go live; `wait` says that not all of what is on disk does."""
    project.set_version(version)
    until(lambda: project.health()["version"] == version, f"{version} answers")
    settled = project.wait()
    assert (settled["outcome"], settled["failure"]["kind"]) == ("failed", "config")
    assert project.status()["stale"] is True


def test_another_port_answers_without_a_restart(project: Project) -> None:
    old, project.port = project.port, free_port()
    edit(project, f":{old}:", f":{project.port}:")
    assert project.wait()["outcome"] == "live"
    assert project.health()["version"] == "3.0.0"
    until(lambda: refused(old), "the old port is given back", 60)


def refused(port: int) -> bool:
    try:
        httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False)
    except httpx.ConnectError:
        return True
    return False


def test_settings_are_in_force_or_said_to_wait(project: Project) -> None:
    settings = project.folder / "watcher.toml"
    settings.write_text('log_format = "json"\n[build.args]\nENV = "prod"\n[front]\nrevision_header = true\n')
    assert project.wait()["outcome"] == "live"
    assert project.health()["environment"] == "prod"
    told(project, "log_format changed: takes effect at the next start")
    assert "x-watcher-revision" in headers(project)
    settings.write_text("[prune]\nkeep = 0\n")
    told(project, "watcher.toml changed and is refused: prune.keep = 0")
    assert "x-watcher-revision" in headers(project)
    settings.unlink()
    assert project.wait()["outcome"] == "live"
    assert "x-watcher-revision" not in headers(project)
    assert project.health()["environment"] == "dev"


def headers(project: Project) -> httpx.Headers:
    return httpx.get(f"http://127.0.0.1:{project.port}/health", trust_env=False, timeout=60).headers


def test_a_compose_file_that_is_gone_leaves_the_service_as_it_is(project: Project) -> None:
    good = project.compose.read_text()
    project.compose.unlink()
    told(project, "there is no such file any more")
    builds_beside_a_refused_configuration(project, "3.1.0")
    project.compose.write_text(good)
    told(project, "says again what is in force")
    assert project.stop() == 0
