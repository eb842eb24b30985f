"""What the front takes each port of a service for: the settings first, then what the compose file says."""

from __future__ import annotations

from watcher import regex
from watcher.compose import ServiceSpec
from watcher.errors import ConfigError
from watcher.settings import DeploySettings, PortProtocol

# `app_protocol` is free text in the compose specification; Kubernetes, Istio and Envoy use these names.
# HTTP/2 and TLS are recognised on an `http` port.
_HTTP = regex.compile(
    r"(?i)(?:kubernetes\.io/)?(?:https?|http1|http/1\.1|http/?2|h2c?|grpcs?|grpc-web|tls|wss?)"
)
_TCP = regex.compile(
    r"(?i)tcp|amqps?|ftp|imaps?|kafka|ldaps?|mongo(?:db)?|mqtt|mysql|nats|pop3|postgres(?:ql)?|redis|rtmp|smb|smtps?|"
    r"ssh|telnet|thrift"
)


def protocol_of(spec: ServiceSpec, port: int, deploy: DeploySettings) -> PortProtocol:
    """Return what the front takes `port` (of the container) for.

    `deploy.protocols` says it for one port, `deploy.protocol` for all; then the compose file, `app_protocol`.
    A name there that is not known is no reason to guess: then each connection is looked at.
    """
    if port in deploy.protocols:
        return deploy.protocols[port]
    if deploy.protocol != "auto":
        return deploy.protocol
    said = next((item.app_protocol for item in spec.ports if item.container_port == port), "")
    if _HTTP.fullmatch(said):
        return "http"
    return "tcp" if _TCP.fullmatch(said) else "auto"


def check_protocols(spec: ServiceSpec, deploy: DeploySettings) -> None:
    """Raises ConfigError for a port in `deploy.protocols` that the service neither publishes nor exposes."""
    published = {item.container_port for item in spec.ports if item.protocol == "tcp"}
    exposed = {port for port, protocol in spec.expose if protocol == "tcp"}
    for port, protocol in deploy.protocols.items():
        if port not in published | exposed:
            known = ", ".join(map(str, sorted(published))) or "none"
            rule = f"the service publishes no such TCP port of its container (it publishes: {known})"
            if exposed:
                rule += f", nor does it expose it (expose: {', '.join(map(str, sorted(exposed)))})"
            raise ConfigError(f"deploy.protocols.{port}", protocol, rule)
