"""Convert the Engine API's JSON to values, across the differences between engine versions."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from watcher import regex
from watcher.engine.values import CacheRecord, Container, Image, Network, Printed, Usage, Volume

_GENERATED = regex.compile(r"[0-9a-f]{64}")  # the engine's name for an anonymous volume

LONGEST_LINE = 65536  # bytes; a longer line is split


def version_key(version: str) -> tuple[int, ...]:
    """Return a sort key for API versions: "1.9" is before "1.45"."""
    return tuple(int(part) for part in version.split("."))


def parse_time(value: object) -> float:
    """Return Unix seconds of an engine time, which is a number in lists and RFC 3339 in details.

    0.0 for a missing value and for Go's zero time.
    """
    if isinstance(value, int | float):
        return float(value)
    with contextlib.suppress(ValueError):
        return max(0.0, datetime.fromisoformat(str(value)).timestamp())
    return 0.0


def parse_log(chunks: Iterable[bytes]) -> Generator[Printed]:
    """Yield the lines of log chunks with time stamps; a chunk can hold several lines or part of one."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from map(_parse_line, whole)
        if len(rest) >= LONGEST_LINE:
            yield _parse_line(rest)
            rest = b""
    if rest:
        yield _parse_line(rest)


def _parse_line(line: bytes) -> Printed:
    text = line.decode("utf-8", "replace").rstrip("\r")
    stamp, _, said = text.partition(" ")
    at = parse_time(stamp)
    return Printed(at, said if at else text)


def _tags_of(raw: Mapping[str, Any]) -> tuple[str, ...]:
    # A dangling image has ["<none>:<none>"] on 20.10 and [] on 29.
    return tuple(tag for tag in raw.get("RepoTags") or () if tag != "<none>:<none>")


def parse_image(raw: Mapping[str, Any]) -> Image:
    """Convert an item of GET /images/json, or GET /images/{name}/json."""
    config = raw.get("Config") or {}
    return Image(
        id=raw["Id"],
        tags=_tags_of(raw),
        labels=(raw.get("Labels") if "Labels" in raw else config.get("Labels")) or {},
        created=parse_time(raw.get("Created", 0)),
        env=dict(item.partition("=")[::2] for item in config.get("Env") or ()),
        user=config.get("User") or "",
        onbuild=tuple(config.get("OnBuild") or ()),
        healthcheck=tuple((config.get("Healthcheck") or {}).get("Test") or ()),
        workdir=config.get("WorkingDir") or "",
        command=(*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ())),
        entrypoint=tuple(config.get("Entrypoint") or ()),
        os=raw.get("Os") or "linux",
        parent=raw.get("ParentId") or raw.get("Parent") or "",
        digests=tuple(name for name in raw.get("RepoDigests") or () if name != "<none>@<none>"),
        tagged=parse_time((raw.get("Metadata") or {}).get("LastTagTime", 0)),
        size=raw.get("Size", 0),
    )


def parse_listed_container(raw: Mapping[str, Any]) -> Container:
    """Convert an item of GET /containers/json."""
    names = raw.get("Names") or ["/"]
    return Container(
        id=raw["Id"],
        name=names[0].removeprefix("/"),
        image=raw["ImageID"],
        labels=raw.get("Labels") or {},
        state=raw["State"],
        changed=parse_time(raw.get("Created", 0)),
        networks=_networks_of(raw),
        ports=_listed_ports(raw.get("Ports") or ()),
    )


def _networks_of(raw: Mapping[str, Any]) -> frozenset[str]:
    """Return names and ids of a container's networks; one that never started has only its configuration."""
    attached = ((raw.get("NetworkSettings") or {}).get("Networks") or {}).items()
    mode = (raw.get("HostConfig") or {}).get("NetworkMode") or ""
    found = {mode, *(name for name, _ in attached), *((item or {}).get("NetworkID") for _, item in attached)}
    return frozenset(name for name in found if name)


def parse_network(raw: Mapping[str, Any]) -> Network:
    """Convert an item of GET /networks."""
    return Network(raw["Id"], raw["Name"], raw.get("Labels") or {}, parse_time(raw.get("Created", 0)))


def _listed_ports(raw: Iterable[Mapping[str, Any]]) -> dict[str, tuple[tuple[str, int], ...]]:
    """Return the published ports of a listed container, by "9000/tcp"."""
    found: dict[str, tuple[tuple[str, int], ...]] = {}
    for port in raw:
        if number := int(port.get("PublicPort") or 0):
            key = f"{port['PrivatePort']}/{port['Type']}"
            found[key] = (*found.get(key, ()), (str(port.get("IP", "")), number))
    return found


def _owner_of(raw: Mapping[str, Any], mode: str) -> str:
    """Return the container whose namespace this one uses; `mode` is the name of the engine's field."""
    kind, _, other = ((raw.get("HostConfig") or {}).get(mode) or "").partition(":")
    return other if kind == "container" else ""


def _exposed_ports(raw: Mapping[str, Any]) -> Iterator[int]:
    """Yield TCP ports of `--expose` and of the image's EXPOSE; the engine has expanded ranges."""
    for text in raw["Config"].get("ExposedPorts") or {}:
        port, _, protocol = text.partition("/")
        if protocol == "tcp" and port.isascii() and port.isdecimal():
            yield int(port)


def _anonymous_volumes(raw: Mapping[str, Any]) -> Iterator[str]:
    """Yield the container's anonymous volumes: the engine named them, not the configuration.

    With `--volumes-from`, those of another container look the same, so none is returned.
    """
    host = raw.get("HostConfig") or {}
    if host.get("VolumesFrom"):
        return
    chosen = {bind.partition(":")[0] for bind in host.get("Binds") or ()}
    chosen |= {mount.get("Source") or "" for mount in host.get("Mounts") or ()}
    for mount in raw.get("Mounts") or ():
        name = mount.get("Name") or ""
        if mount.get("Type") == "volume" and _GENERATED.fullmatch(name) and name not in chosen:
            yield name


def _generated_volumes(raw: Mapping[str, Any]) -> dict[str, str]:
    """Return target -> volume for volumes that the engine named, also if the configuration has the name."""
    return {
        mount["Destination"]: mount["Name"]
        for mount in raw.get("Mounts") or ()
        if mount.get("Type") == "volume" and _GENERATED.fullmatch(mount.get("Name") or "")
    }


def parse_container(raw: Mapping[str, Any]) -> Container:
    """Convert GET /containers/{id}/json."""
    state, network = raw["State"], raw.get("NetworkSettings") or {}
    return Container(
        id=raw["Id"],
        name=raw["Name"].removeprefix("/"),
        image=raw["Image"],
        labels=raw["Config"].get("Labels") or {},
        state=state["Status"],
        health=(state.get("Health") or {}).get("Status", "").replace("none", ""),
        exit_code=state.get("ExitCode", 0),
        oom_killed=state.get("OOMKilled", False),
        error=state.get("Error", ""),
        ports={
            port: tuple((item["HostIp"], int(item["HostPort"])) for item in bound if item.get("HostPort"))
            for port, bound in (network.get("Ports") or {}).items()
            if bound
        },
        addresses={
            name: item["IPAddress"]
            for name, item in (network.get("Networks") or {}).items()
            if item.get("IPAddress")
        },
        healthcheck=tuple((raw["Config"].get("Healthcheck") or {}).get("Test") or ()),
        exposed=tuple(_exposed_ports(raw)),
        joined=_owner_of(raw, "NetworkMode"),
        pid_owner=_owner_of(raw, "PidMode"),
        volumes=tuple(_anonymous_volumes(raw)),
        generated_volumes=_generated_volumes(raw),
        networks=_networks_of(raw),
        created=parse_time(raw.get("Created", 0)),
        changed=max(
            parse_time(raw.get("Created", 0)),
            parse_time(state.get("StartedAt", 0)),
            parse_time(state.get("FinishedAt", 0)),
        ),
    )


def parse_usage(raw: Mapping[str, Any]) -> Usage:
    """Convert GET /system/df."""
    return Usage(
        layers=raw.get("LayersSize") or 0,
        cache=tuple(
            CacheRecord(
                id=item["ID"],
                kind=item.get("Type") or "",
                description=item.get("Description") or "",
                size=item.get("Size") or 0,
                in_use=item.get("InUse", False),
                shared=item.get("Shared", False),
            )
            for item in raw.get("BuildCache") or ()
        ),
        alone={
            item["Id"]: max(0, item["Size"] - item["SharedSize"])
            for item in raw.get("Images") or ()
            if item.get("SharedSize", -1) >= 0
        },
        written={item["Id"]: item.get("SizeRw") or 0 for item in raw.get("Containers") or ()},
        volumes=tuple(
            Volume(
                item["Name"],
                item.get("Labels") or {},
                max(0, (item.get("UsageData") or {}).get("Size", 0)),
                bool((item.get("UsageData") or {}).get("RefCount")),
            )
            for item in raw.get("Volumes") or ()
        ),
    )
