"""One service of a compose file: read, checked, and turned into the Engine API's words.

What is not supported is refused by name; nothing is dropped in silence.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from watcher.errors import ConfigError

NAMES = (
    "docker-compose-dev.yml",
    "docker-compose-dev.yaml",
    "compose-dev.yaml",
    "compose-dev.yml",
    "compose.yaml",
    "compose.yml",
    "docker-compose.yaml",
    "docker-compose.yml",
)
_TOP = {"version", "name", "services", "networks", "volumes", "configs", "secrets"}
_SERVICE = {
    "build", "image", "container_name", "ports", "environment", "env_file", "volumes", "networks", "command",
    "entrypoint", "user", "working_dir", "restart", "init", "labels", "stop_grace_period", "stop_signal",
    "platform", "extra_hosts", "expose", "hostname", "tty", "stdin_open", "profiles", "develop",
}  # fmt: skip
_BUILD = {"context", "dockerfile", "args", "target", "labels", "network", "no_cache", "extra_hosts"}
_VARIABLE = re.compile(
    r"\$(?:(?P<escaped>\$)|(?P<plain>[A-Za-z_]\w*)"
    r"|\{(?P<name>[A-Za-z_]\w*)(?:(?P<op>:?[-?+])(?P<word>[^}]*))?\}|(?P<bad>))"
)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|m|h)")
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class BuildSpec:
    """The build section. `dockerfile` is relative to `context`."""

    context: Path
    dockerfile: str = "Dockerfile"
    args: Mapping[str, str] = field(default_factory=dict)
    target: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    network: str | None = None
    no_cache: bool = False
    extra_hosts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PortSpec:
    """One published port. An empty `host_ip` means all addresses; `host_port` None any free port."""

    host_ip: str
    host_port: int | None
    container_port: int
    protocol: str = "tcp"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    """One service, with everything that decides its container. Times are seconds."""

    name: str
    project_name: str
    image: str
    build: BuildSpec | None = None
    container_name: str | None = None
    ports: tuple[PortSpec, ...] = ()
    environment: Mapping[str, str | None] = field(default_factory=dict)
    binds: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    networks: tuple[str, ...] = ("default",)
    platform: str | None = None
    stop_grace_period: float | None = None
    plain: Mapping[str, Any] = field(default_factory=dict)  # keys that need no more than a new name


@dataclass(frozen=True, slots=True)
class Named:
    """A network or volume by the name it has in the engine."""

    name: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ComposeProject:
    """A compose file that was read."""

    name: str
    file: Path
    services: Mapping[str, ServiceSpec]
    warnings: tuple[str, ...] = ()


def find_compose_file(project: Path, explicit: Path | None) -> Path:
    """The compose file to use; raises ConfigError when there is none."""
    if explicit is not None:
        path = project / explicit
        if not path.is_file():
            raise ConfigError("compose_file", str(explicit), f"there is no such file in {project}")
        return path
    for name in NAMES:
        if (project / name).is_file():
            return project / name
    raise ConfigError("compose_file", None, f"{project} has none of {', '.join(NAMES)}")


def load(path: Path, *, service: str | None, env: Mapping[str, str]) -> ComposeProject:
    """Read the file; only the wanted service (default: that with a build) is checked. Raises ConfigError."""
    try:
        # BaseLoader leaves every scalar a string, as compose's YAML 1.2 nearly does: 22:22 stays a port.
        raw = yaml.load(path.read_text("utf-8"), yaml.BaseLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(path.name, None, f"cannot be read: {' '.join(str(error).split())}") from error
    reader = _Reader(path, {**_dotenv(path.parent / ".env"), **env})
    return reader.project(raw, service)


def _dotenv(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError:
        return {}
    found = {}
    for line in lines:
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        if equals and not name.startswith("#"):
            value = value.strip()
            if value[:1] in "'\"" and value[:1] == value[-1:]:
                value = value[1:-1]
            else:
                value = value.partition(" #")[0].rstrip()
            found[name.strip()] = value
    return found


class _Reader:
    """Turns YAML into specs; every error names the key by its path."""

    def __init__(self, path: Path, env: Mapping[str, str]) -> None:
        self.path, self.env = path, env
        self.warnings: dict[str, None] = {}

    def project(self, raw: object, wanted: str | None) -> ComposeProject:
        top = self.mapping(raw, "")
        self.known(top, _TOP, "")
        services = self.mapping(top.get("services") or {}, "services")
        if wanted is not None and wanted not in services:
            raise ConfigError(
                "service", wanted, f"{self.path.name} has {', '.join(services) or 'no service'}"
            )
        names = (
            [wanted] if wanted else [n for n, s in services.items() if isinstance(s, dict) and "build" in s]
        )
        if not names:
            raise ConfigError("services", None, f"no service of {self.path.name} has a build section")
        if len(names) > 1:
            rule = f"{self.path.name} builds {', '.join(names)}: say which one"
            raise ConfigError("service", None, rule)
        given = self.env.get("COMPOSE_PROJECT_NAME") or top.get("name") or self.path.parent.resolve().name
        name = re.sub(r"[^a-z0-9_-]", "", str(given).lower()).lstrip("_-") or "project"
        specs = {n: self.service(n, services[n], name) for n in names}
        return ComposeProject(name, self.path, specs, tuple(self.warnings))

    def service(self, name: str, raw: object, project: str) -> ServiceSpec:
        at = f"services.{name}"
        data = self.mapping(raw, at)
        self.known(data, _SERVICE, at)
        data = self.interpolated(data, at)
        environment: dict[str, str | None] = {}
        for file in self.strings(data.get("env_file"), f"{at}.env_file"):
            place = self.path.parent / file
            if not place.is_file():
                raise ConfigError(f"{at}.env_file", file, "there is no such file")
            environment |= _dotenv(place)
        for key, value in self.pairs(data.get("environment"), f"{at}.environment").items():
            environment[key] = self.env.get(key) if value is None else value
        binds, volumes = self.mounts(data.get("volumes"), f"{at}.volumes", project)
        grace = data.get("stop_grace_period")
        return ServiceSpec(
            name=name,
            project_name=project,
            image=str(data.get("image") or f"{project}-{name}"),
            build=self.build(data["build"], f"{at}.build") if "build" in data else None,
            container_name=data.get("container_name"),
            ports=tuple(self.ports(data.get("ports") or (), f"{at}.ports")),
            environment=environment,
            binds=binds,
            volumes=volumes,
            networks=self.strings(data.get("networks"), f"{at}.networks") or ("default",),
            platform=data.get("platform"),
            stop_grace_period=None if grace is None else self.seconds(grace, f"{at}.stop_grace_period"),
            plain={key: data[key] for key in sorted(data.keys() & set(_PLAIN))},
        )

    def build(self, raw: object, at: str) -> BuildSpec:
        data = {"context": raw} if isinstance(raw, str) else self.mapping(raw, at)
        self.known(data, _BUILD, at)
        context = (self.path.parent / str(data.get("context", "."))).resolve()
        if not context.is_dir():
            raise ConfigError(f"{at}.context", data.get("context"), "there is no such folder")
        args = {
            key: self.env.get(key, "") if value is None else value
            for key, value in self.pairs(data.get("args"), f"{at}.args").items()
        }
        found = self.pairs(data.get("labels"), f"{at}.labels")
        return BuildSpec(
            context=context,
            dockerfile=str(data.get("dockerfile", "Dockerfile")),
            args=args,
            target=data.get("target"),
            labels={key: value or "" for key, value in found.items()},
            network=data.get("network"),
            no_cache=str(data.get("no_cache", "false")).lower() == "true",
            extra_hosts=self.hosts(data.get("extra_hosts"), f"{at}.extra_hosts"),
        )

    def ports(self, raw: Sequence[object], at: str) -> Iterator[PortSpec]:
        for index, item in enumerate(raw):
            where = f"{at}[{index}]"
            if isinstance(item, dict):
                self.known(item, {"target", "published", "host_ip", "protocol", "mode", "name"}, where)
                text = f"{item.get('published', '')}:{item.get('target', '')}/{item.get('protocol', 'tcp')}"
                host_ip = str(item.get("host_ip", ""))
            else:
                text, host_ip = str(item), ""
            yield from self.port(text, host_ip, where)

    def port(self, text: str, host_ip: str, at: str) -> Iterator[PortSpec]:
        body, _, protocol = text.partition("/")
        match = re.fullmatch(r"(?:(?:(\[[^\]]+\]|[\d.]+):)?(\d+(?:-\d+)?)?:)?(\d+(?:-\d+)?)", body)
        if match is None or protocol not in ("", "tcp", "udp"):
            raise ConfigError(at, text, "is no port: write HOST:CONTAINER, IP:HOST:CONTAINER or CONTAINER")
        inside = self.span(match[3], at)
        outside: Sequence[int | None] = self.span(match[2], at) if match[2] else [None] * len(inside)
        if len(inside) != len(outside):
            raise ConfigError(at, text, "both ranges must have the same length")
        ip = host_ip or (match[1] or "").strip("[]")
        for host, container in zip(outside, inside, strict=True):
            yield PortSpec(ip, host, container, protocol or "tcp")

    def span(self, text: str, at: str) -> list[int]:
        first, _, last = text.partition("-")
        numbers = list(range(int(first), int(last or first) + 1))
        if not numbers or numbers[-1] > 65535 or numbers[0] < 1:
            raise ConfigError(at, text, "ports go from 1 to 65535")
        return numbers

    def mounts(self, raw: object, at: str, project: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        binds, volumes = [], []
        for item in self.strings(raw, at):
            source, colon, rest = item.partition(":")
            if not colon:
                raise ConfigError(at, item, "anonymous volumes are not supported: name the volume")
            if source[:1] in "./~":
                binds.append(f"{(self.path.parent / Path(source).expanduser()).resolve()}:{rest}")
            else:
                volumes.append(f"{project}_{source}")
                binds.append(f"{project}_{source}:{rest}")
        return tuple(binds), tuple(volumes)

    def hosts(self, raw: object, at: str) -> dict[str, str]:
        if isinstance(raw, dict):
            return {str(key): str(value) for key, value in raw.items()}
        return dict(item.replace("=", ":", 1).partition(":")[::2] for item in self.strings(raw, at))

    def seconds(self, text: object, at: str) -> float:
        found = _DURATION.findall(str(text))
        if not found or "".join(number + unit for number, unit in found) != str(text):
            raise ConfigError(at, text, "is no duration: write 10s or 1m30s")
        return sum(float(number) * _UNITS[unit] for number, unit in found)

    def mapping(self, raw: object, at: str) -> dict[str, Any]:
        if not isinstance(raw, dict):
            raise ConfigError(at or self.path.name, raw, "must be a mapping")
        return raw

    def known(self, data: Mapping[str, Any], allowed: set[str], at: str) -> None:
        for key in data:
            if key not in allowed and not key.startswith("x-"):
                where = f"{at}.{key}" if at else key
                raise ConfigError(where, None, "this compose key is not supported by the watcher")

    def strings(self, raw: object, at: str) -> tuple[str, ...]:
        if raw is None:
            return ()
        if isinstance(raw, str):
            return (raw,)
        if isinstance(raw, list) and all(isinstance(item, str) for item in raw):
            return tuple(raw)
        raise ConfigError(at, raw, "must be a string or a list of strings; the long form is not supported")

    def pairs(self, raw: object, at: str) -> dict[str, str | None]:
        if isinstance(raw, dict):
            return {
                str(key): None if value in (None, "null", "~") else str(value) for key, value in raw.items()
            }
        found = {}
        for item in self.strings(raw, at):
            key, equals, value = item.partition("=")
            found[key] = value if equals else None
        return found

    def interpolated(self, raw: Any, at: str) -> Any:
        if isinstance(raw, dict):
            return {key: self.interpolated(value, f"{at}.{key}") for key, value in raw.items()}
        if isinstance(raw, list):
            return [self.interpolated(value, f"{at}[{index}]") for index, value in enumerate(raw)]
        return (
            _VARIABLE.sub(lambda match: self.variable(match, raw, at), raw) if isinstance(raw, str) else raw
        )

    def variable(self, match: re.Match[str], text: str, at: str) -> str:
        if match["escaped"]:
            return "$"
        if match["bad"] is not None:
            raise ConfigError(at, text, "has a $ that starts no variable: write $$ for a dollar sign")
        name, op, word = match["plain"] or match["name"], match["op"] or "", match["word"] or ""
        value = self.env.get(name)
        missing = value is None or (op.startswith(":") and not value)
        if op.endswith("+"):
            return "" if missing else word
        if not missing:
            return value or ""
        if op.endswith("?"):
            raise ConfigError(at, text, word or f"the variable {name} must be set")
        if not op:
            self.warnings[f"{at}: the variable {name} is not set and counts as empty"] = None
        return word if op.endswith("-") else ""


# Keys that go into the container's configuration as they are, and what they are called there.
_PLAIN = {
    "command": ("Cmd", "words"),
    "entrypoint": ("Entrypoint", "words"),
    "user": ("User", "text"),
    "working_dir": ("WorkingDir", "text"),
    "hostname": ("Hostname", "text"),
    "stop_signal": ("StopSignal", "text"),
    "tty": ("Tty", "flag"),
    "stdin_open": ("OpenStdin", "flag"),
    "restart": ("RestartPolicy", "restart"),
    "init": ("Init", "flag"),
    "extra_hosts": ("ExtraHosts", "hosts"),
    "labels": ("Labels", "pairs"),
}
_HOST = {"RestartPolicy", "Init", "ExtraHosts"}


def container_config(
    spec: ServiceSpec,
    *,
    image: str,
    publish: Mapping[int, Sequence[tuple[str, int]]],
    labels: Mapping[str, str],
) -> dict[str, Any]:
    """The body of POST /containers/create. `publish` maps container ports to (address, port; 0 = any)."""
    config: dict[str, Any] = {"Image": image, "Env": _environment(spec), "Labels": {}}
    host: dict[str, Any] = {"Binds": list(spec.binds)}
    for key, value in spec.plain.items():
        name, form = _PLAIN[key]
        (host if name in _HOST else config)[name] = _formed(value, form)
    config["Labels"] = {**config["Labels"], **labels}
    bindings: dict[str, list[dict[str, str]]] = {
        f"{port}/tcp": [{"HostIp": ip, "HostPort": str(number or "")} for ip, number in bound]
        for port, bound in publish.items()
    }
    for port in spec.ports:
        if port.protocol == "udp":
            bound = {"HostIp": port.host_ip, "HostPort": str(port.host_port or "")}
            bindings.setdefault(f"{port.container_port}/udp", []).append(bound)
    config["ExposedPorts"] = {port: {} for port in bindings}
    network = f"{spec.project_name}_{spec.networks[0]}"
    host |= {"PortBindings": bindings, "NetworkMode": network}
    config["HostConfig"] = host
    config["NetworkingConfig"] = {"EndpointsConfig": {network: {"Aliases": [spec.name]}}}
    return config


def _environment(spec: ServiceSpec) -> list[str]:
    return [key if value is None else f"{key}={value}" for key, value in spec.environment.items()]


def _formed(value: Any, form: str) -> Any:
    if form == "words":
        return ["/bin/sh", "-c", value] if isinstance(value, str) else list(value)
    if form == "flag":
        return str(value).lower() == "true"
    if form == "restart":
        name, _, count = str(value).partition(":")
        return {"Name": name, "MaximumRetryCount": int(count or 0)}
    if form == "hosts":
        return (
            [item.replace("=", ":", 1) for item in value]
            if isinstance(value, list)
            else [f"{k}:{v}" for k, v in value.items()]
        )
    if form == "pairs":
        return dict(value) if isinstance(value, dict) else dict(item.partition("=")[::2] for item in value)
    return str(value)


def compose_labels(
    project: ComposeProject, spec: ServiceSpec, *, config_hash: str, image: str
) -> dict[str, str]:
    """Compose's own labels, so that `docker compose ps`, `logs` and `down` see the container."""
    prefix = "com.docker.compose."
    return {
        f"{prefix}project": project.name,
        f"{prefix}service": spec.name,
        f"{prefix}container-number": "1",
        f"{prefix}oneoff": "False",
        f"{prefix}config-hash": config_hash,
        f"{prefix}image": image,
        f"{prefix}project.working_dir": str(project.file.parent.resolve()),
        f"{prefix}project.config_files": str(project.file.resolve()),
        f"{prefix}version": "2.40.0",
    }


def networks_of(project: ComposeProject, spec: ServiceSpec) -> tuple[Named, ...]:
    """The networks that the service needs, by their names in the engine."""
    return tuple(
        Named(
            f"{project.name}_{network}",
            {"com.docker.compose.project": project.name, "com.docker.compose.network": network},
        )
        for network in spec.networks
    )


def volumes_of(project: ComposeProject, spec: ServiceSpec) -> tuple[Named, ...]:
    """The named volumes that the service needs."""
    return tuple(Named(volume, {"com.docker.compose.project": project.name}) for volume in spec.volumes)


def config_digest(spec: ServiceSpec) -> str:
    """Digest over everything that decides how the container runs, its image aside."""
    plain = [
        spec.name, spec.container_name, [str(port) for port in spec.ports], dict(spec.environment),
        spec.binds, spec.networks, spec.platform, dict(spec.plain),
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()
