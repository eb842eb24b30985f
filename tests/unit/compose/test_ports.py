"""`ports` and `expose`."""

from __future__ import annotations

import pytest

from tests.facts import missing
from tests.unit.compose.conftest import Compose
from watcher.compose import PortSpec, container_config, published
from watcher.errors import ConfigError


@pytest.mark.parametrize(
    ("entry", "ports"),
    [
        ('"9000"', [PortSpec(9000)]),
        ("9000", [PortSpec(9000)]),
        ('"9000:9000"', [PortSpec(9000, host_port=9000)]),
        ("22:22", [PortSpec(22, host_port=22)]),
        ('"127.0.0.1:9000:9001"', [PortSpec(9001, host_ip="127.0.0.1", host_port=9000)]),
        ('"127.0.0.1::9001"', [PortSpec(9001, host_ip="127.0.0.1")]),
        ('":9001"', [PortSpec(9001)]),
        ('"0:9001"', [PortSpec(9001)]),
        ('"[::1]:9000:9001"', [PortSpec(9001, host_ip="::1", host_port=9000)]),
        ('"53:5353/udp"', [PortSpec(5353, "udp", host_port=53)]),
        ('"53:53/UDP"', [PortSpec(53, "udp", host_port=53)]),
        ('"9/sctp"', [PortSpec(9, "sctp")]),
        (
            '"9000-9002:8000-8002"',
            [PortSpec(8000 + n, host_port=9000 + n) for n in range(3)],
        ),
        ('"8000-8001"', [PortSpec(8000), PortSpec(8001)]),
        ('"8000-8010:80"', [PortSpec(80, host_port=8000, last_host_port=8010)]),
        ('"8000-8000:80"', [PortSpec(80, host_port=8000)]),
        ('"8000-8010:80-80/udp"', [PortSpec(80, "udp", host_port=8000, last_host_port=8010)]),
        ('"127.0.0.1:8000-8010:80"', [PortSpec(80, "tcp", "127.0.0.1", 8000, last_host_port=8010)]),
        ('"[::1]:8000-8010:80"', [PortSpec(80, "tcp", "::1", 8000, last_host_port=8010)]),
        ('{target: 80, published: "8000-8010"}', [PortSpec(80, host_port=8000, last_host_port=8010)]),
        (
            '{target: 80, published: "8000-8010", host_ip: "::1", protocol: udp}',
            [PortSpec(80, "udp", "::1", 8000, last_host_port=8010)],
        ),
        ("{target: 80}", [PortSpec(80)]),
        ("{target: 80, published: 8080}", [PortSpec(80, host_port=8080)]),
        ('{target: "80", published: ""}', [PortSpec(80)]),
        (
            "{target: 80, published: '81', host_ip: 127.0.0.1, protocol: udp, mode: host, name: a, "
            "app_protocol: smtp}",
            [PortSpec(80, "udp", "127.0.0.1", 81, "smtp")],
        ),
        ("{target: 80, host_ip: '::1', x-note: y}", [PortSpec(80, host_ip="::1")]),
    ],
)
def test_each_form_of_a_port(compose: Compose, entry: str, ports: list[PortSpec]) -> None:
    assert list(compose.service(f"ports:\n  - {entry}").ports) == ports


def test_the_order_of_the_file_is_kept_and_a_port_stands_once(compose: Compose) -> None:
    spec = compose.service('ports: ["9000:9000", "80", "9000:9000", "9001:9000"]')
    assert [str(port) for port in spec.ports] == ["9000:9000", "80", "9001:9000"]
    assert published(spec) == {9000: (("", 9000), ("", 9001)), 80: (("", 0),)}


SHORT_FORM = ("[[address:]host port:]container port[/protocol]",)
PORT_RANGE = ("between 1 and 65535", "ascending")


@pytest.mark.parametrize(
    ("entry", "facts"),
    [
        ("a:b", SHORT_FORM),
        ("9000/", SHORT_FORM),
        ("80:", SHORT_FORM),
        ("٣:80", SHORT_FORM),
        ("8000-:80", SHORT_FORM),
        ("80:80/icmp", ("protocol", "tcp, udp or sctp")),
        ("80:0", PORT_RANGE),
        ("70000:80", PORT_RANGE),
        ("9-8", PORT_RANGE),
        ("8010-8000:80", PORT_RANGE),
        ("0-10:80", PORT_RANGE),
        ("65530-65536:80", PORT_RANGE),
        ("1-2:1-3", ("as many host ports as container ports", "one container port")),
        ("1:1-3", ("as many host ports as container ports", "one container port")),
        ("1-4:1-3", ("as many host ports as container ports", "one container port")),
        ("1.2.3:1:1", ("host address", "IPv4", "IPv6", "in brackets")),
        ("::1:1:1", ("IPv6 address", "in brackets")),
        ("${NOTHING}", ("must not be empty",)),
    ],
)
def test_a_port_that_is_none_is_refused(compose: Compose, entry: str, facts: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as caught:
        compose.service(f'ports: ["8080:80", "{entry}"]')
    assert caught.value.field == "services.web.ports[1]"
    assert missing(caught.value.rule, *facts) == []


@pytest.mark.parametrize(
    ("entry", "facts"),
    [
        ("{published: 80}", ("services.web.ports[0]", "must have a target")),
        ("{target: 0}", ("services.web.ports[0].target", "0", "between 1 and 65535")),
        ("{target: x}", ("services.web.ports[0].target", "'x'", "whole number")),
        (
            "{target: 1, published: x}",
            ("services.web.ports[0].published", "'x'", "port of the host", "range"),
        ),
        ("{target: 1, published: 9-8}", ("services.web.ports[0].published", "'9-8'", *PORT_RANGE)),
        ("{target: 1, mode: x}", ("services.web.ports[0].mode", "'x'", "one of ingress, host")),
        ("{target: 1, protocol: x}", ("services.web.ports[0].protocol", "'x'", "tcp, udp or sctp")),
        ("{target: 1, port: 2}", ("services.web.ports[0].port", "not a known key", "port")),
        ("[1]", ("services.web.ports[0]", "must be a string", "list")),
        ("true:1", ("services.web.ports[0]", "'true:1'", *SHORT_FORM)),
    ],
)
def test_a_long_port_that_is_wrong_is_refused(compose: Compose, entry: str, facts: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as caught:
        compose.service(f"ports:\n  - {entry}")
    assert missing(str(caught.value), *facts) == []


def test_a_range_for_one_port_reaches_the_engine_as_it_is(compose: Compose) -> None:
    spec = compose.service('ports: ["8000-8010:80", "[::1]:9000-9001:90/udp", "7000:70", "60"]')
    assert [str(port) for port in spec.ports] == ["8000-8010:80", "[::1]:9000-9001:90/udp", "7000:70", "60"]
    body = container_config(spec, image="i", name="n", labels={})
    assert body["HostConfig"]["PortBindings"] == {
        "80/tcp": [{"HostIp": "", "HostPort": "8000-8010"}],
        "90/udp": [{"HostIp": "::1", "HostPort": "9000-9001"}],
        "70/tcp": [{"HostIp": "", "HostPort": "7000"}],
        "60/tcp": [{"HostIp": "", "HostPort": ""}],
    }


def test_expose_is_ports_and_ranges(compose: Compose) -> None:
    spec = compose.service('expose: [80, "81/udp", "90-91"]')
    assert spec.expose == ((80, "tcp"), (81, "udp"), (90, "tcp"), (91, "tcp"))
    with pytest.raises(ConfigError, match=r"expose\[0\] = 'x': must be a port or a range of ports"):
        compose.service("expose: [x]")
