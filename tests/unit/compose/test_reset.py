"""`!reset` and `!override`: what the files before say there does not count."""

from __future__ import annotations

import pytest

from tests.unit.compose.conftest import Compose
from watcher.compose import PortSpec, ServiceSpec, load

BASE = """
services:
  web:
    image: a
    build: .
    ports: ["80:8080"]
    environment: {MODE: prod, SECRET: x}
    volumes: ["/srv/data:/data"]
    restart: always
    depends_on: [db, cache]
    healthcheck: {test: x, interval: 10s}
  db: {image: db}
  cache: {image: cache}
"""


def laid_over(compose: Compose, override: str, service: str = "web") -> ServiceSpec:
    path = compose.write("compose.yaml", BASE)
    compose.write("compose.override.yaml", override)
    return load(path, services=(service,), env={}).managed_services[0]


def test_the_everyday_override(compose: Compose) -> None:
    spec = laid_over(
        compose,
        """
        services:
          web:
            ports: !override ["127.0.0.1:21002:8080"]
            volumes: !reset []
            restart: !reset null
            environment: !override {MODE: dev}
        """,
    )
    assert spec.ports == (PortSpec(8080, "tcp", "127.0.0.1", 21002),)
    assert (spec.mounts, spec.restart, spec.environment) == ((), None, {"MODE": "dev"})


@pytest.mark.parametrize(
    ("line", "attribute", "value"),
    [
        ("environment: {SECRET: !reset null}", "environment", {"MODE": "prod"}),
        ("environment: !reset {}", "environment", {}),
        ("depends_on: {db: !reset null}", "depends_on", ["cache"]),
        ("depends_on: !override [db]", "depends_on", ["db"]),
        ("build: !reset null", "build", None),
        ("image: !reset null", "image", "shop-web"),
        (
            "ports: [!reset '9:9', '81:81']",
            "ports",
            (PortSpec(8080, host_port=80), PortSpec(81, host_port=81)),
        ),
        ("restart: !override 'no'", "restart", ("no", 0)),
    ],
)
def test_one_place_at_a_time(compose: Compose, line: str, attribute: str, value: object) -> None:
    found = getattr(laid_over(compose, f"services: {{web: {{{line}}}}}"), attribute)
    assert (list(found) if attribute == "depends_on" else found) == value


def test_a_whole_service_and_a_place_inside_of_another(compose: Compose) -> None:
    spec = laid_over(compose, "services: {web: !override {image: b}}")
    assert (spec.image, spec.ports, spec.build) == ("b", (), None)
    spec = laid_over(compose, "services: {web: {healthcheck: {interval: !reset null}}}")
    assert spec.healthcheck is not None
    assert (spec.healthcheck.test, spec.healthcheck.interval) == (("CMD-SHELL", "x"), None)


def test_a_service_that_was_reset_is_not_there(compose: Compose) -> None:
    path = compose.write("compose.yaml", BASE)
    compose.write(
        "compose.override.yaml", "services: {cache: !reset null, web: {depends_on: !override [db]}}"
    )
    project = load(path, services=("web",), env={})
    assert (project.others, [*project.services]) == ((), ["db", "web"])


def test_what_is_extended_is_reset_too(compose: Compose) -> None:
    spec = compose.load(
        """
        services:
          base: {image: a, ports: ["80:80"], environment: {A: "1", B: "2"}}
          web: {extends: base, ports: !override ["81:81"], environment: {A: !reset null}}
        """
    ).managed_services[0]
    assert (spec.ports, spec.environment) == ((PortSpec(81, host_port=81),), {"B": "2"})


def test_an_anchor_takes_its_resets_along(compose: Compose) -> None:
    spec = laid_over(compose, "x-a: &a {volumes: !reset []}\nservices: {web: {<<: *a, restart: !reset null}}")
    assert (spec.mounts, spec.restart) == ((), None)


def test_a_network_is_reset(compose: Compose) -> None:
    path = compose.write(
        "compose.yaml",
        "services: {web: {image: a, networks: [n]}}\n"
        "networks: {n: {internal: true, name: x, labels: {a: b}}}",
    )
    compose.write("compose.override.yaml", "networks: {n: {internal: !reset null, labels: !override {c: d}}}")
    network = load(path, services=("web",), env={}).networks["n"]
    assert (network.internal, network.name, network.labels) == (False, "x", {"c": "d"})
