"""Which port of a range of host ports a service gets, and keeps."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.facts import missing
from tests.fake_engine import FakeEngine
from watcher import labels
from watcher.compose import ComposeProject, PortSpec, load
from watcher.deploy import HostPorts, NoFreePort
from watcher.deploy.host_ports import HostAddress, bind_problem, order_candidates
from watcher.deploy.owned import OwnContainers
from watcher.front.model import Listen
from watcher.front.sockets import bind
from watcher.system import inherited_sockets

REAL_CLOCK = True
FIRST = 21240  # ports of these tests
PROJECT = "0123456789ab"


def read_project(folder: Path, ports: str, more: str = "") -> ComposeProject:
    file = folder / "compose.yaml"
    file.write_text(
        f"name: shop\nservices:\n  web:\n    build: .\n    ports: {ports}\n    depends_on: [db]\n"
        f"  db:\n    image: db\n{more}"
    )
    return load(file, services=("web",), env={})


async def choose(
    ports: HostPorts, project: ComposeProject, *, front: bool = True, **more: object
) -> list[str]:
    chosen = await ports.choose(project.managed_services[0], project, front=front, **more)  # type: ignore[arg-type]
    return [str(port) for port in chosen.ports]


@contextlib.contextmanager
def taken(*numbers: int, host: str = "0.0.0.0", kind: int = socket.SOCK_STREAM) -> Iterator[None]:
    """Somebody else listens at these ports."""
    with contextlib.ExitStack() as stack:
        for number in numbers:
            sock = stack.enter_context(socket.socket(socket.AF_INET, kind))
            sock.bind((host, number))
            if kind == socket.SOCK_STREAM:
                sock.listen()
        yield


async def test_the_first_free_port_is_taken_and_kept(tmp_path: Path) -> None:
    project = read_project(tmp_path, f'["127.0.0.1:{FIRST}-{FIRST + 4}:80"]')
    ports = HostPorts(FakeEngine(), PROJECT, tmp_path)
    with taken(FIRST, FIRST + 1):
        assert await choose(ports, project) == [f"127.0.0.1:{FIRST + 2}:80"]
    again = HostPorts(FakeEngine(), PROJECT, tmp_path)
    assert await choose(again, project) == [f"127.0.0.1:{FIRST + 2}:80"], (
        "also when an earlier one is free now"
    )
    (chosen,) = map(str, again.chosen("web"))
    assert missing(chosen, "port 80", FIRST + 2, f"{FIRST}-{FIRST + 4}") == []
    with taken(FIRST + 2):
        assert await choose(HostPorts(FakeEngine(), PROJECT, tmp_path), project) == [f"127.0.0.1:{FIRST}:80"]


@pytest.mark.parametrize("host", ["", "127.0.0.1:"])
async def test_two_watchers_that_start_at_once_choose_different_ports(tmp_path: Path, host: str) -> None:
    project = read_project(tmp_path, f'["{host}{FIRST}-{FIRST + 4}:80"]')
    try:
        (first,) = await choose(HostPorts(FakeEngine(), PROJECT, None), project, reserve=True)
        assert first == f"{host}{FIRST}:80"
        assert bind_problem("", FIRST, "tcp"), "another program finds it taken"
        sockets = bind([Listen(host.removesuffix(":"), FIRST)])
        assert inherited_sockets.list_ports() == frozenset(), "the front takes what was reserved"
        for sock in sockets:
            sock.close()
    finally:
        inherited_sockets.close_unused()


@pytest.mark.parametrize("front", [True, False])
async def test_nothing_is_listened_on_that_no_front_takes(tmp_path: Path, front: bool) -> None:
    project = read_project(tmp_path, f'["{FIRST}-{FIRST + 4}:80"]')
    await choose(HostPorts(FakeEngine(), PROJECT, None), project, front=front, reserve=not front)
    assert inherited_sockets.list_ports() == frozenset()
    assert not bind_problem("", FIRST, "tcp")


async def test_without_a_folder_a_choice_lasts_for_the_process(tmp_path: Path) -> None:
    project = read_project(tmp_path, f'["{FIRST}-{FIRST + 4}:80"]')
    ports = HostPorts(FakeEngine(), PROJECT, None)
    with taken(FIRST):
        assert await choose(ports, project) == [f"{FIRST + 1}:80"]
    assert await choose(ports, project) == [f"{FIRST + 1}:80"]


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"web": 1}', '{"web": {"80/tcp": 1}}', '{"web": {"80/tcp": ["x"]}}']
)
async def test_a_damaged_memory_is_forgotten(tmp_path: Path, text: str) -> None:
    (tmp_path / "ports.json").write_text(text)
    project = read_project(tmp_path, f'["{FIRST}-{FIRST + 4}:80"]')
    assert await choose(HostPorts(FakeEngine(), PROJECT, tmp_path), project) == [f"{FIRST}:80"]
    assert json.loads((tmp_path / "ports.json").read_text()) == {"web": {"80/tcp": [FIRST]}}


async def test_all_ports_taken_names_field_value_and_rule(tmp_path: Path) -> None:
    project = read_project(tmp_path, f'["127.0.0.1:{FIRST}-{FIRST + 1}:80"]')
    with taken(FIRST, FIRST + 1), pytest.raises(NoFreePort) as caught:
        await choose(HostPorts(FakeEngine(), PROJECT, tmp_path), project)
    place = f"services.web.ports = '127.0.0.1:{FIRST}-{FIRST + 1}:80'"
    assert missing(str(caught.value), place, "no port", "free", "another range") == []


async def test_an_address_of_another_machine_is_the_reason(tmp_path: Path) -> None:
    project = read_project(tmp_path, f'["203.0.113.1:{FIRST}-{FIRST + 1}:80"]')
    with pytest.raises(NoFreePort, match=r"is free \(Cannot assign requested address\): stop"):
        await choose(HostPorts(FakeEngine(), PROJECT, tmp_path), project)


async def test_overlapping_ranges_and_fixed_ports_share_nothing(tmp_path: Path) -> None:
    """Fixed ports come first, wherever they stand; also those of a service that this one depends on."""
    project = read_project(
        tmp_path,
        f'["{FIRST}-{FIRST + 9}:80", "{FIRST}-{FIRST + 9}:81", "127.0.0.1:{FIRST + 1}-{FIRST + 9}:82", '
        f'"{FIRST}:83"]',
        f'    ports: ["{FIRST + 2}:5432", "{FIRST}-{FIRST + 9}:1"]\n',
    )
    assert await choose(HostPorts(FakeEngine(), PROJECT, tmp_path), project) == [
        f"{FIRST + 1}:80",
        f"{FIRST + 3}:81",
        f"127.0.0.1:{FIRST + 4}:82",
        f"{FIRST}:83",
    ]


async def test_tcp_and_udp_share_a_number(tmp_path: Path) -> None:
    project = read_project(tmp_path, f'["{FIRST}-{FIRST + 1}:80", "{FIRST}-{FIRST + 1}:80/udp"]')
    ports = HostPorts(FakeEngine(), PROJECT, tmp_path)
    assert await choose(ports, project) == [f"{FIRST}:80", f"{FIRST}:80/udp"]
    with taken(FIRST, kind=socket.SOCK_DGRAM):
        assert await choose(HostPorts(FakeEngine(), PROJECT, None), project) == [
            f"{FIRST}:80",
            f"{FIRST + 1}:80/udp",
        ]


async def test_what_other_containers_publish_is_avoided_and_the_own_one_kept(tmp_path: Path) -> None:
    """An engine without a userland proxy binds nothing: only its list of containers shows what is taken."""
    engine = FakeEngine()
    project = read_project(tmp_path, f'["{FIRST}-{FIRST + 4}:80"]')
    image = engine.add_image(tags=("other",))
    bindings = {"1/tcp": [{"HostPort": str(FIRST)}]}
    other = await engine.create("other", {"Image": image, "HostConfig": {"PortBindings": bindings}})
    await engine.start(other)
    assert await choose(HostPorts(engine, PROJECT, None), project) == [f"{FIRST + 1}:80"]
    own = OwnContainers(engine, PROJECT, "web")
    bindings = {"80/tcp": [{"HostPort": str(FIRST + 3)}]}
    body = {
        "Image": image,
        "HostConfig": {"PortBindings": bindings},
        "Labels": labels.app_labels(PROJECT, "web", "r"),
    }
    await engine.start(await own.create("web", body))
    with taken(FIRST + 3):  # by the engine, for that container
        assert await choose(HostPorts(engine, PROJECT, None), project) == [f"{FIRST + 3}:80"]


async def test_ports_that_this_process_listens_on_stay(tmp_path: Path) -> None:
    project = read_project(tmp_path, f'["{FIRST}-{FIRST + 4}:80"]')
    ports = HostPorts(FakeEngine(), PROJECT, None)
    with taken(FIRST, FIRST + 3):
        assert await choose(ports, project, held={FIRST + 3}) == [f"{FIRST + 3}:80"]
        assert await choose(ports, project, front=False) == [f"{FIRST + 1}:80"], (
            "the engine could not have it"
        )


async def test_the_port_of_the_api_is_avoided(tmp_path: Path) -> None:
    project = read_project(tmp_path, f'["{FIRST}-{FIRST + 4}:80"]')
    assert await choose(HostPorts(None, PROJECT, None), project, avoid=(FIRST,)) == [f"{FIRST + 1}:80"]


async def test_in_a_container_the_port_that_it_publishes_is_taken(tmp_path: Path) -> None:
    project = read_project(tmp_path, f'["127.0.0.1:{FIRST}-{FIRST + 4}:80"]')
    ports = HostPorts(FakeEngine(), PROJECT, None, {FIRST + 3, 1})
    assert await choose(ports, project) == [f"127.0.0.1:{FIRST + 3}:80"]


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (HostAddress("tcp", "127.0.0.1", 80), "127.0.0.1:80"),
        (HostAddress("udp", "", 53), "53/udp"),
        (HostAddress("tcp", "::1", 80), "[::1]:80"),
    ],
)
def test_an_address_reads_as_in_a_compose_file(address: HostAddress, text: str) -> None:
    assert str(address) == text


def test_an_address_overlaps_with_all_addresses() -> None:
    one = HostAddress("tcp", "127.0.0.1", 1)
    assert one.overlaps(HostAddress("tcp", "", 1))
    assert HostAddress("tcp", "::", 1).overlaps(one)
    assert not one.overlaps(HostAddress("tcp", "127.0.0.2", 1))
    assert not one.overlaps(HostAddress("udp", "", 1))
    assert not one.overlaps(HostAddress("tcp", "", 2))


def test_a_port_that_is_listened_on_cannot_be_had() -> None:
    with taken(FIRST, host="127.0.0.1"):
        assert bind_problem("127.0.0.1", FIRST, "tcp") == "Address already in use"
        assert bind_problem("", FIRST, "tcp") == "Address already in use"
        assert bind_problem("127.0.0.1", FIRST, "udp") == ""
    assert bind_problem("127.0.0.1", FIRST, "tcp") == ""
    assert bind_problem("::1", FIRST, "tcp") in ("", "Cannot assign requested address")
    assert bind_problem("", FIRST, "sctp") == ""


@given(st.integers(1, 100), st.integers(0, 50), st.lists(st.integers(-5, 160), max_size=8))
def test_every_port_of_a_range_is_tried_once_preferred_ones_first(
    first: int, more: int, preferred: list[int]
) -> None:
    port = PortSpec(80, host_port=first, last_host_port=first + more)
    tried = list(order_candidates(port, preferred))
    assert sorted(tried) == list(range(first, first + more + 1))
    ahead = [number for number in dict.fromkeys(preferred) if number in tried]
    assert tried[: len(ahead)] == ahead


async def test_an_own_port_of_another_protocol_or_address_is_no_reason_to_have_this_one(
    tmp_path: Path,
) -> None:
    engine = FakeEngine()
    image = engine.add_image(tags=("app",))
    bindings = {
        "80/udp": [{"HostIp": "127.0.0.1", "HostPort": str(FIRST + 3)}],
        "80/tcp": [{"HostIp": "127.0.0.2", "HostPort": str(FIRST + 2)}],
    }
    body = {
        "Image": image,
        "HostConfig": {"PortBindings": bindings},
        "Labels": labels.app_labels(PROJECT, "web", "r"),
    }
    await engine.start(await OwnContainers(engine, PROJECT, "web").create("web", body))
    project = read_project(tmp_path, f'["127.0.0.1:{FIRST}-{FIRST + 4}:80"]')
    assert await choose(HostPorts(engine, PROJECT, None), project) == [f"127.0.0.1:{FIRST}:80"]


def test_a_udp_port_that_others_may_share_is_taken_all_the_same() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", 0))
        assert bind_problem("127.0.0.1", sock.getsockname()[1], "udp")
