"""The watcher in a container of its own: which one that is, and the networks that it joins for a while."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.facts import missing
from tests.fake_engine import FakeEngine
from tests.loaded_settings import load
from watcher import compose
from watcher.builder import BuildJournal, BuildkitConnection
from watcher.daemon.service_config import ServiceConfig, SharedResources, assemble_service
from watcher.daemon.shared_images import SharedImages
from watcher.daemon.start_order import StartOrder
from watcher.deploy import HostPorts
from watcher.deploy.dependencies import Dependencies
from watcher.deploy.own_container import OwnContainer, find_own_container, list_candidates
from watcher.engine import Container, SystemInfo
from watcher.errors import EngineUnavailable, UserError
from watcher.front import Unavailable
from watcher.observers.events import Fanout
from watcher.prune import CacheNames
from watcher.reconcile.build_slots import BuildSlots

ID, OTHER = "ab12" * 16, "cd34" * 16
ELSEWHERE = "networks: {net: {name: elsewhere, external: true}}"
MOUNTED = f"""\
990 989 0:75 / /proc rw,nosuid shared:1 - proc proc rw
1001 985 8:1 /var/lib/docker/containers/{OTHER}/log /logs rw,relatime - ext4 /dev/sda1 rw
1002 985 8:1 /var/lib/docker/containers/{ID}/resolv.conf /etc/resolv.conf rw,relatime - ext4 /dev/sda1 rw
1003 985 8:1 /var/lib/docker/containers/{ID}/hostname /etc/hostname rw,relatime - ext4 /dev/sda1 rw
"""


@pytest.mark.parametrize(
    ("mountinfo", "cgroup", "hostname", "expected"),
    [
        (MOUNTED, "0::/", "box", (ID,)),
        (MOUNTED, f"0::/system.slice/docker-{ID}.scope", ID[:12], (ID, ID[:12])),
        ("", f"12:pids:/docker/{ID}\n11:cpu,cpuacct:/docker/{ID}", "box", (ID,)),
        ("", "0::/", ID[:12], (ID[:12],)),
        ("", "0::/user.slice", "deadbeef", ()),
        ("", "", "", ()),
    ],
    ids=["mounts", "systemd", "cgroup v1", "hostname", "none", "nothing"],
)
def test_the_ids_that_the_container_may_have(
    mountinfo: str, cgroup: str, hostname: str, expected: tuple[str, ...]
) -> None:
    assert list_candidates(mountinfo, cgroup, hostname) == expected


def machine(root: Path, *, mark: str = ".dockerenv", mountinfo: str = "", hostname: str = "box") -> Path:
    """A file system as a container has it."""
    for name, text in {mark: "", "proc/self/mountinfo": mountinfo, "etc/hostname": f"{hostname}\n"}.items():
        if name:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
    return root


async def own_box(engine: FakeEngine, *, network: str | None = "bridge", name: str = "watcher") -> str:
    """The id of a running container; on the host's network when `network` is None."""
    engine.add_image(tags=["watcher:latest"])
    bindings = {"9000/tcp": [{"HostIp": "127.0.0.1", "HostPort": "9000"}]} if network else {}
    box = await engine.create(name, {"Image": "watcher:latest", "HostConfig": {"PortBindings": bindings}})
    if network:
        await engine.ensure_network({"Name": network})
        await engine.connect(box, network, {})
    await engine.start(box)
    return box


@pytest.mark.parametrize("mark", [".dockerenv", "run/.containerenv"])
async def test_the_own_container_is_found_at_the_engine(tmp_path: Path, mark: str) -> None:
    engine = FakeEngine()
    box = await own_box(engine)
    own = await find_own_container(engine, machine(tmp_path, mark=mark, hostname=box))
    assert own
    assert own.id == box


async def test_loopback_will_do_outside_of_a_container(tmp_path: Path) -> None:
    engine = FakeEngine()
    box = await own_box(engine)
    assert await find_own_container(engine, machine(tmp_path, mark="", hostname=box)) is None


async def test_loopback_will_do_on_the_hosts_network(tmp_path: Path) -> None:
    engine = FakeEngine()
    box = await own_box(engine, network=None)
    assert await find_own_container(engine, machine(tmp_path, hostname=box)) is None


async def test_loopback_will_do_in_a_container_of_another_engine(tmp_path: Path) -> None:
    engine = FakeEngine()
    await own_box(engine)
    assert (
        await find_own_container(engine, machine(tmp_path, mountinfo=MOUNTED, hostname="ab12ab12ab12"))
        is None
    )


async def test_a_container_whose_name_looks_like_the_id_is_not_the_own_one(tmp_path: Path) -> None:
    engine = FakeEngine()
    await own_box(engine, name="feedfacefeed")
    assert await engine.container("feedfacefeed")
    assert await find_own_container(engine, machine(tmp_path, hostname="feedfacefeed")) is None


async def test_a_network_that_it_joined_is_left_and_no_other(tmp_path: Path) -> None:
    engine = FakeEngine()
    box = await own_box(engine)
    for network in ("given", "joined"):
        await engine.ensure_network({"Name": network})
    await engine.connect(box, "given", {})
    own = await find_own_container(engine, machine(tmp_path, hostname=box))
    assert own
    for network in ("given", "joined", "joined"):
        await own.join(network)
    assert set(await addresses(engine, box)) == {"bridge", "given", "joined"}
    await own.leave()
    assert set(await addresses(engine, box)) == {"bridge", "given"}


async def test_it_ends_without_an_engine_too() -> None:
    class Gone(FakeEngine):
        async def disconnect(self, container: str, network: str) -> None:
            raise EngineUnavailable("gone")

    engine = Gone()
    box = await engine.container(await own_box(engine))
    assert box
    own = OwnContainer(engine, box)
    await engine.ensure_network({"Name": "joined"})
    await own.join("joined")
    await own.leave()


async def test_of_a_shared_network_the_one_who_holds_it_joins() -> None:
    shared = Container(ID, "watcher", "image", {}, "running", joined=OTHER)
    assert OwnContainer(FakeEngine(), shared).id == OTHER


async def addresses(engine: FakeEngine, box: str) -> dict[str, str]:
    found = await engine.container(box)
    assert found
    return dict(found.addresses)


class Rig:
    """A service as a watcher in a container keeps it."""

    def __init__(self, root: Path) -> None:
        self.root, self.engine = root, FakeEngine()

    async def fit(self, service: str, more: str = "") -> ServiceConfig:
        file = self.root / "compose.yaml"
        file.write_text(f"services: {{app: {{build: ., {service}}}}}\n{more}")
        found = await self.engine.container("watcher") or await self.engine.container(
            await own_box(self.engine)
        )
        assert found
        project = compose.load(file, env={})
        dependencies = Dependencies(self.engine, Fanout(), project, "p-1", managed=project.managed)
        site = SharedResources(
            project="p-1",
            dependencies=dependencies,
            engine=self.engine,
            connection=BuildkitConnection("unix:///nowhere", self.engine),
            journal=BuildJournal(None),
            observer=Fanout(),
            explain=lambda _: Unavailable(),
            host_ports=HostPorts(None, "p", None),
            order=StartOrder(FakeEngine(), dependencies),
            slots=BuildSlots(1),
            images=SharedImages(),
            cache_names=CacheNames(None),
            kept_builds={},
            pruning=asyncio.Lock(),
            info=SystemInfo("28.0", "1.45", "overlay2", "unix:///nowhere", "x86_64"),
            own=OwnContainer(self.engine, found),
        )
        return assemble_service(site, project.managed_services[0], project, load(project=self.root))


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    root = tmp_path / "app"
    root.mkdir()
    return Rig(root)


async def test_the_service_is_reached_over_its_network_which_is_made_and_joined(rig: Rig) -> None:
    container = (await rig.fit("ports: ['9000:8080']")).container
    assert container.network == "app_default"
    assert container.allows_pause_container(named=True)
    await container.join()
    assert "app_default" in await addresses(rig.engine, "watcher")


async def test_a_front_listens_on_all_addresses_and_says_so(rig: Rig) -> None:
    fitted = await rig.fit("ports: ['127.0.0.1:9000:8080', '[::1]:9000:8080']")
    assert [(item.host, item.port) for item in fitted.fronts[8080].listen] == [("", 9000)]
    assert any("`-p [::1]:9000:9000`" in text for text in fitted.container.notices())
    assert list((await rig.fit("ports: ['9000:8080']")).container.notices()) == []


async def test_a_port_that_the_own_container_does_not_publish_is_named(rig: Rig) -> None:
    (text,) = (await rig.fit("ports: ['9001:8080']")).container.notices()
    assert missing(text, "not publish", "9001") == []


async def test_a_service_on_no_network_of_the_file_is_named(rig: Rig) -> None:
    container = (await rig.fit("ports: ['9000:8080'], network_mode: bridge")).container
    assert container.network is None
    assert container.listening == container.published
    (text,) = container.notices()
    assert "cannot reach app" in text


async def test_a_network_that_cannot_be_joined_is_named(rig: Rig) -> None:
    container = (await rig.fit("ports: ['9000:8080'], networks: [net]", more=ELSEWHERE)).container
    with pytest.raises(UserError, match="cannot join the network elsewhere: network elsewhere not found"):
        await container.join()


async def test_the_own_container_may_hold_the_services_port(rig: Rig) -> None:
    held, free = await rig.fit("ports: ['9000:8080']"), await rig.fit("ports: ['9001:8080', '8080']")
    own = held.container.own
    assert own
    assert own.holds(held.container.published)
    assert not own.holds(free.container.published)
