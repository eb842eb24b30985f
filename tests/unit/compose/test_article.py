"""The article's two compose files, as they stand in the example."""

from __future__ import annotations

from pathlib import Path

import pytest

from watcher.compose import container_config, find_compose_file, load, published

EXAMPLE = Path(__file__).parents[3] / "examples" / "go-server"


@pytest.mark.parametrize(
    ("file", "environment", "image", "container", "port"),
    [
        ("docker-compose-dev.yml", "dev", "go-server-dev", "go-server-box-dev", 9000),
        ("docker-compose.yml", "prod", "go-server", "go-server-box", 4445),
    ],
)
def test_each_file_says_what_the_article_says(
    file: str, environment: str, image: str, container: str, port: int
) -> None:
    project = load(EXAMPLE / file, env={})
    spec = project.managed_services[0]
    assert (project.name, spec.name) == ("go-server", "go-server")
    assert (spec.image, spec.default_name) == (image, container)
    assert spec.build is not None
    assert (spec.build.context, spec.build.dockerfile) == (EXAMPLE, "Dockerfile")
    assert spec.build.args == {"ENV": environment}
    assert published(spec) == {9000: (("", port),)}
    assert project.warnings == ()


def test_the_development_file_is_found_first() -> None:
    assert find_compose_file(EXAMPLE, None) == EXAMPLE / "docker-compose-dev.yml"


def test_the_container_is_the_one_that_compose_would_create() -> None:
    spec = load(EXAMPLE / "docker-compose-dev.yml", env={}).managed_services[0]
    body = container_config(spec, image="sha256:1", name="go-server-box-dev", labels={"a": "b"})
    assert body["Image"] == "sha256:1"
    assert body["Labels"] == {"a": "b"}
    assert body["ExposedPorts"] == {"9000/tcp": {}}
    assert body["HostConfig"]["PortBindings"] == {"9000/tcp": [{"HostIp": "", "HostPort": "9000"}]}
    assert body["HostConfig"]["NetworkMode"] == "go-server_default"
    assert body["NetworkingConfig"]["EndpointsConfig"] == {
        "go-server_default": {"Aliases": ["go-server-box-dev", "go-server"]}
    }
    assert not {"Cmd", "Entrypoint", "User", "WorkingDir", "Healthcheck"} & body.keys()


def test_behind_the_front_the_port_is_published_on_loopback_only() -> None:
    spec = load(EXAMPLE / "docker-compose-dev.yml", env={}).managed_services[0]
    body = container_config(spec, image="i", name="n", labels={}, publish={9000: (("127.0.0.1", 0),)})
    assert body["HostConfig"]["PortBindings"] == {"9000/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}
