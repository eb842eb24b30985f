"""Every field that is read from a compose file is used: nothing is read and then forgotten."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.unit.compose.conftest import Compose
from watcher import compose as composes
from watcher.compose import (
    Attachment,
    BlockIo,
    BuildSpec,
    ComposeProject,
    ContainerFile,
    Dependency,
    DeviceRequest,
    HealthSpec,
    Hook,
    MountSpec,
    NetworkSpec,
    PortSpec,
    ResourceLimits,
    SecretSource,
    ServiceSpec,
    Subnet,
    VolumeSpec,
)
from watcher.daemon.recipe import recipe_of
from watcher.settings import Settings

ROOT = Path(composes.__file__).parents[1]
# What says something of a container only together with the rest of the project; see the last tests.
ELSEWHERE = (
    "name project_name image build container_name depends_on pull_policy pull_after replicas files"
    " post_start pre_stop left_to_compose platform"
)
SAMPLES: Mapping[str, Any] = {
    "ports": (PortSpec(9000, host_port=9000),),
    "expose": ((81, "tcp"),),
    "mounts": (MountSpec(type="bind", source="/a", target="/b"),),
    "networks": (Attachment(key="n", network="n"), Attachment(key="m", network="m")),
    "links": (("box", "alias"),),
    "external_links": (("box", "alias"),),
    "healthcheck": HealthSpec(test=("NONE",)),
    "restart": ("always", 0),
    "logging": ("local", {"a": "b"}),
    "limits": ResourceLimits(memory=1),
    "block_io": BlockIo(weight=10),
    "devices": (("/dev/a", "/dev/a", "r"),),
    "device_requests": (DeviceRequest(driver="cdi"),),
    "extra_hosts": (("a", "1.1.1.1"),),
    "secrets": (SecretSource("s", value="x"),),
    "cache_from": ({"type": "registry", "ref": "x"},),
    "subnets": (Subnet(subnet="10.0.0.0/24"),),
    "protocol": "udp",
}


def sample(field: dataclasses.Field[Any]) -> Any:
    """A value other than the field's own."""
    kind = str(field.type)
    if field.name in SAMPLES:
        return SAMPLES[field.name]
    if "Mapping" in kind:
        return {"nofile": (1, 2)} if "tuple[int, int]" in kind else {"key": "docker-image://a"}
    if kind.startswith("tuple"):
        return (("/dev/a", 5),) if kind.startswith("tuple[tuple") else ("word",)
    if "bool" in kind:
        return field.default is not True
    return 7 if "int" in kind or "float" in kind else "word"


def unused(shown: Callable[[Any], Any], plain: Any, *without: str) -> list[str]:
    """The fields that change nothing in what is shown of `plain`."""
    return [
        field.name
        for field in dataclasses.fields(plain)
        if field.name not in without
        and shown(plain) == shown(dataclasses.replace(plain, **{field.name: sample(field)}))
    ]


def body(spec: ServiceSpec) -> tuple[Any, ...]:
    return (
        composes.container_config(spec, image="i", name="box", labels={}),
        composes.additional_networks(spec, "box"),
    )


@pytest.fixture
def spec(compose: Compose) -> ServiceSpec:
    return compose.service("working_dir: /")


def test_every_field_of_a_service_is_in_its_container(spec: ServiceSpec) -> None:
    assert unused(body, spec, "network_mode", *ELSEWHERE.split()) == []
    assert "network_mode" not in unused(body, dataclasses.replace(spec, networks=()))


@pytest.mark.parametrize(
    ("attribute", "part", "without"),
    [
        ("limits", ResourceLimits(), ""),
        ("block_io", BlockIo(), ""),
        ("healthcheck", HealthSpec(), ""),
        ("device_requests", DeviceRequest(), ""),
        ("networks", Attachment(key="n", network="n"), "key priority"),
        (
            "ports",
            PortSpec(80, host_port=1),
            "app_protocol",
        ),  # the front uses it: watcher/daemon/port_protocols.py
        (
            "mounts",
            MountSpec(type="bind", source="/a", target="/b"),
            "type no_copy subpath labels tmpfs_size tmpfs_mode",
        ),
        (
            "mounts",
            MountSpec(type="volume", source="v", target="/b"),
            "type create_host_path propagation recursive tmpfs_size tmpfs_mode",
        ),
        (
            "mounts",
            MountSpec(type="tmpfs", target="/b"),
            "type source create_host_path propagation selinux recursive no_copy subpath labels",
        ),
    ],
)
def test_every_field_of_a_part_is_in_the_container(
    spec: ServiceSpec, attribute: str, part: Any, without: str
) -> None:
    several = isinstance(getattr(spec, attribute), tuple)

    def shown(each: Any) -> Any:
        changed: dict[str, Any] = {attribute: (each,) if several else each}
        return body(dataclasses.replace(spec, **changed))

    assert unused(shown, part, *without.split()) == []


def test_every_field_of_a_network_and_a_volume_is_in_their_bodies() -> None:
    network, volume = NetworkSpec(key="n", name="n"), VolumeSpec(key="v", name="v")
    assert unused(lambda each: composes.network_config("p", each), network, "external") == []
    assert unused(lambda each: composes.volume_config("p", each), volume, "external") == []

    def with_subnet(each: Subnet) -> Any:
        return composes.network_config("p", dataclasses.replace(network, subnets=(each,)))

    assert unused(with_subnet, Subnet(ip_range="10.0.0.0/25", gateway="10.0.0.1")) == []


def test_every_field_of_a_build_is_in_the_recipe(spec: ServiceSpec) -> None:
    def recipe(each: BuildSpec) -> Any:
        return recipe_of(dataclasses.replace(spec, build=each), Settings(), "p-1", "linux/amd64")

    # The context is the tree's root; `agents_of` reads ssh.
    assert unused(recipe, BuildSpec(context=Path("/context")), "context", "ssh") == []


def asked_for() -> Iterator[str]:
    """The attributes that the program asks for, beside where compose files are read."""
    readers = {"service.py", "build.py", "load.py", "service_fields.py", "networks.py"}
    for path in ROOT.rglob("*.py"):
        if not (path.parent.name == "compose" and path.name in readers):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                    yield node.attr


def test_what_is_said_of_the_project_is_asked_for() -> None:
    kinds = (ServiceSpec, BuildSpec, Dependency, Hook, ContainerFile, ComposeProject)
    names = {field.name for kind in kinds for field in dataclasses.fields(kind)}
    # Whether a dependency is required is decided when files are read.
    assert names - {*asked_for()} - {"required"} == set()


def test_every_function_of_the_package_is_called_by_the_program() -> None:
    text = "\n".join(path.read_text("utf-8") for path in ROOT.rglob("*.py") if path.parent.name != "compose")
    assert [name for name in composes.__all__ if name[0].islower() and f"{name}(" not in text] == []
