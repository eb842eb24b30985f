"""Differences to compose-go that a comparison of generated projects has found, one by one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.facts import missing
from tests.unit.compose.conftest import Compose
from watcher.compose import additional_networks, container_config, load
from watcher.errors import ConfigError


def test_a_hook_that_two_files_repeat_runs_once(compose: Compose) -> None:
    hooks = "[{command: [a]}, {command: b, user: root}]"
    over = compose.write(
        "over.yaml", f"services: {{web: {{post_start: {hooks}, pre_stop: [{{command: c}}]}}}}"
    )
    path = compose.write(
        "compose.yaml", f"services: {{web: {{image: a, post_start: {hooks}, pre_stop: [{{command: d}}]}}}}"
    )
    web = load(path, services=("web",), env={}, overrides=[over]).services["web"]
    assert [each.command for each in web.post_start] == [("a",), ("b",)]
    assert [each.command for each in web.pre_stop] == [("d",), ("c",)]


def test_annotations_are_merged_in_either_form(compose: Compose) -> None:
    over = compose.write("over.yaml", "services: {web: {annotations: [b=2, c=3]}}")
    path = compose.write("compose.yaml", "services: {web: {image: a, annotations: {a: 1, b: 1}}}")
    web = load(path, services=("web",), env={}, overrides=[over]).services["web"]
    assert web.annotations == {"a": "1", "b": "2", "c": "3"}


def test_networks_and_volumes_of_two_files_are_merged_within(compose: Compose) -> None:
    over = compose.write(
        "over.yaml",
        """
        services: {web: {}}
        networks:
          n:
            labels: [b=2]
            driver_opts: {x: "2"}
            ipam: {config: [{subnet: 10.1.0.0/24, gateway: 10.1.0.1}, {subnet: 10.2.0.0/24}]}
        volumes: {vol: {labels: {b: 2}}}
        """,
    )
    path = compose.write(
        "compose.yaml",
        """
        services: {web: {image: a, networks: [n], volumes: ["vol:/v"]}}
        networks:
          n:
            labels: {a: 1}
            driver_opts: {w: "1"}
            ipam: {config: [{subnet: 10.1.0.0/24, ip_range: 10.1.0.0/28}]}
        volumes: {vol: {labels: [a=1]}}
        """,
    )
    project = load(path, services=("web",), env={}, overrides=[over])
    network = project.networks["n"]
    assert network.labels == {"a": "1", "b": "2"}
    assert network.driver_opts == {"w": "1", "x": "2"}
    assert [(each.subnet, each.ip_range, each.gateway) for each in network.subnets] == [
        ("10.1.0.0/24", "10.1.0.0/28", "10.1.0.1"),
        ("10.2.0.0/24", "", ""),
    ]
    assert project.volumes["vol"].labels == {"a": "1", "b": "2"}


def test_a_network_of_two_kinds_is_refused_by_its_name(compose: Compose) -> None:
    over = compose.write("over.yaml", "services: {web: {}}\nnetworks: {n: {driver_opts: [a]}}")
    path = compose.write(
        "compose.yaml", "services: {web: {image: a, networks: [n]}}\nnetworks: {n: {driver_opts: {a: b}}}"
    )
    with pytest.raises(ConfigError, match=r"^networks\.n\.driver_opts: is a mapping in one definition"):
        load(path, services=("web",), env={}, overrides=[over])


def test_an_env_file_that_is_named_twice_is_read_at_its_first_place(compose: Compose) -> None:
    compose.write("a.env", "X=a")
    compose.write("b.env", "X=b")
    assert compose.service("env_file: [a.env, b.env, a.env]").environment == {"X": "b"}
    web = compose.service("env_file: [gone.env, b.env, {path: gone.env, required: false}]")
    assert web.environment == {"X": "b"}


@pytest.mark.parametrize(
    ("given", "servers"), [("'${GONE}'", ()), ("['', 9.9.9.9, '${GONE}']", ("9.9.9.9",))]
)
def test_an_empty_name_server_is_none(compose: Compose, given: str, servers: tuple[str, ...]) -> None:
    assert compose.service(f"dns: {given}").dns == servers


@pytest.mark.parametrize(
    "keys",
    [
        "{mem_limit: 1g, deploy: {resources: {limits: {cpus: '1'}}}}",
        "{cpus: 2, deploy: {resources: {limits: {}}}}",
        "{pids_limit: 2, deploy: {resources: {limits: {memory: 1g}}}}",
        "{mem_reservation: 1m, deploy: {resources: {reservations: {cpus: '1'}}}}",
    ],
)
def test_a_limit_that_deploy_leaves_out_is_refused_as_by_compose(compose: Compose, keys: str) -> None:
    with pytest.raises(ConfigError, match=r"must be set in deploy\.resources too"):
        compose.load(f"services: {{web: {{image: a, {keys[1:-1]}}}}}")
    assert compose.load("services: {web: {image: a, mem_limit: 1g, deploy: {replicas: 1}}}")


@pytest.mark.parametrize(
    "volume",
    [
        r"{type: bind, source: 'C:\data', target: /d}",
        r"'c:\data:/d'",
        r"'\\host\share:/d'",
        "{type: image, source: busybox, target: /d}",
        r"{type: npipe, source: '\\.\pipe\docker_engine', target: '\\.\pipe\docker_engine'}",
    ],
)
def test_a_mount_of_another_system_leaves_its_service_to_compose(compose: Compose, volume: str) -> None:
    text = f"services: {{web: {{image: a, depends_on: [db]}}, db: {{image: b, volumes: [{volume}]}}}}"
    assert compose.load(text).services["db"].left_to_compose
    with pytest.raises(ConfigError, match=r"not supported|Windows drive"):
        compose.load(text, service="db")


def test_the_name_of_a_service_is_an_alias_unless_it_is_forbidden(compose: Compose) -> None:
    text = """
    services:
      web:
        image: a
        networks: {m: {use_service_name_alias: false, aliases: [x]}, n: {use_service_name_alias: false}}
      api: {image: a, networks: {m: {use_service_name_alias: true}}, depends_on: [web]}
    networks: {m: , n: }
    """
    project = compose.load(text, service="api")
    web, api = project.services["web"], project.services["api"]
    body = container_config(web, image="a", name="box", labels={})
    assert body["NetworkingConfig"]["EndpointsConfig"]["shop_m"]["Aliases"] == ["box", "x"]
    assert additional_networks(web, "box")["shop_n"]["Aliases"] == ["box"]
    body = container_config(api, image="a", name="box", labels={})
    assert body["NetworkingConfig"]["EndpointsConfig"]["shop_m"]["Aliases"] == ["box", "api"]


def test_jobs_are_named_as_not_run(compose: Compose, tmp_path: Path) -> None:
    compose.write("inner.yaml", "services: {db: {image: b}}\njobs: {}")
    jobs = "{seed: {image: a, triggers: {manual: true}}}"
    project = compose.load(f"include: [inner.yaml]\nservices: {{web: {{image: a}}}}\njobs: {jobs}")
    (warning,) = project.warnings
    assert missing(warning, "jobs", "services only", "docker compose") == []
    assert compose.load("include: [inner.yaml]\nservices: {web: {image: a}}").warnings == ()
