"""What the front takes a port for: the settings, then the compose file, then each connection is looked at."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.loaded_settings import load
from watcher.compose import load as load_compose
from watcher.compose.spec import ServiceSpec
from watcher.daemon.port_protocols import check_protocols, protocol_of
from watcher.errors import ConfigError
from watcher.settings import DeploySettings


@pytest.fixture
def spec(tmp_path: Path) -> ServiceSpec:
    file = tmp_path / "compose.yaml"
    ports = "".join(
        f"      - {{target: {port}, published: {port}, app_protocol: {said}}}\n"
        for port, said in ((80, "http"), (443, "HTTPS"), (50051, "grpc"), (25, "smtp"), (7, "'our own'"))
    )
    file.write_text(f'services:\n  web:\n    build: .\n    ports:\n      - "9000:9000"\n{ports}')
    return load_compose(file, services=("web",), env={}).managed_services[0]


def test_the_compose_file_says_it_where_the_settings_do_not(spec: ServiceSpec) -> None:
    said = {port: protocol_of(spec, port, DeploySettings()) for port in (9000, 80, 443, 50051, 25, 7)}
    assert said == {9000: "auto", 80: "http", 443: "http", 50051: "http", 25: "tcp", 7: "auto"}


def test_the_settings_win_and_those_of_a_port_most_of_all(spec: ServiceSpec) -> None:
    deploy = DeploySettings(protocol="http", protocols={25: "auto", 80: "tcp"})
    assert [protocol_of(spec, port, deploy) for port in (9000, 25, 80, 443)] == [
        "http",
        "auto",
        "tcp",
        "http",
    ]


def test_a_port_that_is_not_published_is_refused(spec: ServiceSpec) -> None:
    check_protocols(spec, DeploySettings(protocols={25: "tcp"}))
    with pytest.raises(ConfigError, match=r"deploy\.protocols\.26 = 'tcp': .*it publishes: 7, 25, 80"):
        check_protocols(spec, DeploySettings(protocols={26: "tcp"}))


def test_it_can_be_set_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "watcher.toml").write_text('[deploy.protocols]\n2525 = "tcp"\n')
    assert load(project=tmp_path).deploy.protocols == {2525: "tcp"}


@pytest.mark.parametrize("text", ['0 = "tcp"', 'x = "tcp"', '80 = "udp"'])
def test_what_is_no_port_or_no_protocol_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "watcher.toml").write_text(f"[deploy.protocols]\n{text}\n")
    with pytest.raises(ConfigError, match=r"deploy\.protocols"):
        load(project=tmp_path)
