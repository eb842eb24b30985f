"""Read `ports` and `expose`, short and long; ranges are expanded (docker/go-connections, nat/nat.go)."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

from watcher import regex
from watcher.compose.field import Field, Section
from watcher.compose.spec import PortSpec, Protocol

_PORTS = regex.compile(r"(\d{1,5})(?:-(\d{1,5}))?")
_PROTOCOLS: dict[str, Protocol] = {"tcp": "tcp", "udp": "udp", "sctp": "sctp"}
_BOUNDS = "a port must be between 1 and 65535, and a range must be ascending"
_RULE = "must be [[address:]host port:]container port[/protocol]"


def read_ports(field: Field) -> tuple[PortSpec, ...]:
    """Return all distinct ports of a service in the order of the file; raise ConfigError."""
    found: dict[PortSpec, None] = {}
    for item in field.items():
        ports = _read_long(item) if isinstance(item.value, dict) else _read_short(item)
        found.update(dict.fromkeys(ports))
    return tuple(found)


def read_expose(field: Field) -> tuple[tuple[int, Protocol], ...]:
    """Return the ports that other containers may use; raise ConfigError."""
    found: dict[tuple[int, Protocol], None] = {}
    for item in field.items():
        text, _, protocol = item.word().partition("/")
        for port in _parse_range(item, text, "must be a port or a range of ports", least=1):
            found[port, _parse_protocol(item, protocol)] = None
    return tuple(found)


def _read_short(item: Field) -> list[PortSpec]:
    text, slash, protocol_text = item.word().partition("/")
    if slash and not protocol_text:
        raise item.error(_RULE)
    protocol = _parse_protocol(item, protocol_text)
    head, _, container_text = text.rpartition(":")
    address, _, host_text = head.rpartition(":")
    containers = _parse_range(item, container_text, _RULE, least=1)
    hosts = _parse_range(item, host_text, _RULE) if host_text else range(0)
    return _pair_ports(item, hosts, containers, _parse_address(item, address), protocol)


def _pair_ports(
    item: Field, hosts: range, containers: range, host_ip: str, protocol: Protocol
) -> list[PortSpec]:
    """Pair host ports with container ports. One container port may use any free port of a host range."""
    if not hosts:
        return [PortSpec(container, protocol, host_ip) for container in containers]
    if len(containers) == 1 and len(hosts) > 1:
        if hosts[0] == 0:
            raise item.error(_BOUNDS)
        return [PortSpec(containers[0], protocol, host_ip, hosts[0], last_host_port=hosts[-1])]
    if len(hosts) != len(containers):
        raise item.error("must have as many host ports as container ports, or one container port")
    return [
        PortSpec(container, protocol, host_ip, host or None)
        for host, container in zip(hosts, containers, strict=True)
    ]


def _read_long(item: Field) -> list[PortSpec]:
    section = Section(item)
    target = section.need("target", "the container's port").integer(1, 65535)
    hosts = section.read("published", _read_published, range(0))
    address = section.read("host_ip", lambda given: _parse_address(given, given.text()), "")
    protocol = section.read("protocol", lambda given: _parse_protocol(given, given.text()), _PROTOCOLS["tcp"])
    section.read("mode", lambda given: given.choice("ingress", "host"), "")
    spoken = section.read("app_protocol", Field.text, "")
    section.ignore(("name",))  # a comment without effect
    section.end("a port")
    ports = _pair_ports(item, hosts, range(target, target + 1), address, protocol)
    return [replace(port, app_protocol=spoken) for port in ports]


def _read_published(field: Field) -> range:
    rule = "must be a port of the host, or a range of them"
    return _parse_range(field, field.text(), rule) if field.value != "" else range(0)


def _parse_range(item: Field, text: str, rule: str, *, least: int = 0) -> range:
    match = _PORTS.fullmatch(text)
    if match is None:
        raise item.error(rule)
    first, last = int(match[1]), int(match[2] or match[1])
    if not least <= first <= last <= 65535:
        raise item.error(_BOUNDS)
    return range(first, last + 1)


def _parse_protocol(item: Field, text: str) -> Protocol:
    if not text:
        return "tcp"
    if text.lower() not in _PROTOCOLS:
        raise item.error("the protocol must be tcp, udp or sctp")
    return _PROTOCOLS[text.lower()]


def _parse_address(item: Field, text: str) -> str:
    if not text:
        return ""
    bracketed = text.startswith("[") and text.endswith("]")
    try:
        address = ipaddress.ip_address(text[1:-1] if bracketed else text)
    except ValueError:
        raise item.error("the host address must be an IPv4 address, or an IPv6 address in brackets") from None
    if address.version == 6 and not bracketed and isinstance(item.value, str) and item.value != text:
        raise item.error("an IPv6 address must be in brackets")
    return text[1:-1] if bracketed else text
