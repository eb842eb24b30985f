"""What a service's container takes of the host beside the ports that a front serves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from tests.facts import missing
from tests.fake_engine import FakeEngine
from watcher import compose, labels
from watcher.compose import ComposeProject
from watcher.deploy.compose_container import ComposeContainer
from watcher.deploy.dependencies import Dependencies
from watcher.deploy.own_container import OwnContainer
from watcher.engine import Engine, EngineError
from watcher.errors import EngineTrouble, UserError
from watcher.observers.events import Event, Fanout, Notice, Observer
from watcher.system import lock


def of_project(
    project: ComposeProject, engine: Engine, observer: Observer, owner: str = "id"
) -> ComposeContainer:
    dependencies = Dependencies(engine, observer, project, owner, managed=project.managed)
    return ComposeContainer(project, project.managed_services[0], owner, engine, observer, dependencies)


@pytest.mark.parametrize(
    ("ports", "direct", "exclusive"),
    [
        ("'9000:9000'", (), False),
        ("'9000:9000', '9001:9001/tcp'", (), False),
        ("'9000:9000', '5353:53/udp'", ("5353/udp",), True),
        ("'9000:9000', '53/udp'", ("53/udp",), False),
        ("'7000:7000/sctp', '5353:53/udp'", ("7000/sctp", "5353/udp"), True),
    ],
)
def test_a_port_that_no_front_serves_has_one_user(
    tmp_path: Path, ports: str, direct: tuple[str, ...], exclusive: bool
) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(f"services: {{app: {{build: ., ports: [{ports}]}}}}\n")
    project = compose.load(file, env={})
    container = of_project(project, cast(Engine, None), Fanout())
    assert (container.direct, container.exclusive) == (direct, exclusive)


@pytest.mark.parametrize(
    ("keys", "exclusive"),
    [
        ("networks: {lab: {ipv4_address: 172.31.0.9}}", True),
        ("networks: {lab: {link_local_ips: [169.254.1.1]}}", True),
        ("networks: {lab: {mac_address: '02:42:0:0:0:9'}}", True),
        ("mac_address: '02:42:0:0:0:9'", True),
        ("network_mode: host", True),
        ("network_mode: 'container:box'", True),
        ("networks: {lab: {aliases: [api.local]}}", False),
        ("network_mode: none", False),
    ],
)
def test_an_address_has_one_user(tmp_path: Path, keys: str, exclusive: bool) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(f"services: {{app: {{build: ., {keys}}}}}\nnetworks: {{lab: }}\n")
    project = compose.load(file, env={})
    container = of_project(project, cast(Engine, None), Fanout())
    assert container.exclusive is exclusive


@pytest.mark.parametrize(
    ("keys", "network", "facts"),
    [
        ("networks: {lab: {ipv4_address: 172.31.0.9}}", "", ("fixed address", "lab")),
        ("networks: [lab]", "enable_ipv6: true", ("lab", "IPv6")),
        ("networks: [lab]", "driver: macvlan", ("lab", "macvlan")),
        ("networks: [lab]", "", ()),
        ("network_mode: host", "", ()),
        ("network_mode: none", "", ()),
    ],
)
def test_a_service_without_an_address_container_is_named_with_the_reason(
    tmp_path: Path, keys: str, network: str, facts: tuple[str, ...]
) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(
        f"services: {{app: {{build: ., {keys}}}, db: {{image: db}}, all: {{build: ., depends_on: [db]}}}}\n"
        f"networks: {{lab: {{{network}}}}}\n"
    )
    project = compose.load(file, env={})
    container = replace(of_project(project, cast(Engine, None), Fanout()), address=True)
    assert bool(container.address_endpoints) is (not facts and "networks" in keys)
    assert bool(container.address_notice) is bool(facts)
    assert missing(container.address_notice, *facts) == []
    assert replace(container, address=False).address_notice == ""


# What the service depends on.


class Rig:
    """A service `app` that depends on `db`, with the keys that a test gives to `db`."""

    def __init__(self, root: Path) -> None:
        self.root, self.engine, self.told = root, FakeEngine(), list[str]()

    def container(self, db: str, app: str = "depends_on: [db]", top: str = "") -> ComposeContainer:
        file = self.root / "compose.yaml"
        file.write_text(f"name: p\nservices:\n  app: {{build: ., {app}}}\n  db: {{image: db, {db}}}\n{top}")
        project = compose.load(file, services=("app",), env={"TOKEN": "s3cret"})
        return of_project(project, self.engine, self)

    def notify(self, event: Event) -> None:
        if isinstance(event, Notice):
            self.told.append(event.text)

    async def names(self) -> list[str]:
        return sorted(each.name for each in await self.engine.containers())


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


async def test_as_many_of_a_dependency_as_are_asked_for_are_started(rig: Rig) -> None:
    rig.engine.add_image(tags=("db:latest",))
    container = rig.container("deploy: {replicas: 3}")
    await container.prepare()
    assert await rig.names() == ["p-db-1", "p-db-2", "p-db-3"]
    await rig.engine.remove("p-db-2")
    await container.prepare()
    assert await rig.names() == ["p-db-1", "p-db-2", "p-db-3"]


async def test_none_of_a_dependency_is_started_when_none_is_asked_for(rig: Rig) -> None:
    await rig.container("scale: 0").prepare()
    assert await rig.names() == []


async def test_what_only_compose_can_start_is_used_when_it_runs(rig: Rig) -> None:
    rig.engine.add_image(tags=("db:latest",))
    container = rig.container("umask: '022'")
    with pytest.raises(UserError) as caught:
        await container.prepare()
    assert missing(caught.value.failure.summary, "app", "db", "services.db.umask") == []
    assert missing(caught.value.failure.hint, "docker compose up -d db") == []
    labels = {"com.docker.compose.project": "p", "com.docker.compose.service": "db"}
    labels["com.docker.compose.oneoff"] = "False"
    box = await rig.engine.create("by-compose", {"Image": "db:latest", "Labels": labels})
    await rig.engine.start(box)
    await container.prepare()
    assert await rig.names() == ["by-compose"]


async def test_what_this_engine_would_drop_is_not_started(rig: Rig) -> None:
    rig.engine.add_image(tags=("db:latest",))
    keys = "networks: {default: {gw_priority: 1}}"
    with pytest.raises(UserError, match="needs API"):
        await rig.container(keys).prepare()
    assert await rig.names() == []


async def test_files_and_commands_of_a_dependency(rig: Rig) -> None:
    rig.engine.add_image(tags=("db:latest",))
    keys = "configs: [{source: c, target: /c, mode: 0440}], secrets: [s], post_start: [{command: [init, db]}]"
    top = "configs: {c: {content: text}}\nsecrets: {s: {environment: TOKEN}}\n"
    await rig.container(keys, top=top).prepare()
    (files,) = rig.engine.files.values()
    assert {path: (file.content, file.mode) for path, file in files.items()} == {
        "/c": (b"text", 0o440),
        "/run/secrets/s": (b"s3cret", 0o444),
    }
    assert [command.words for _, command in rig.engine.executed] == [("init", "db")]


async def test_a_command_that_fails_fails_the_start_and_only_warns_at_a_stop(rig: Rig) -> None:
    rig.engine.add_image(tags=("app:latest",))
    rig.engine.answers["bad"] = (3, ("no", "table"))
    hooks = "post_start: [{command: bad}], pre_stop: [{command: bad}]"
    container = rig.container("tty: true", app=hooks)
    box = await rig.engine.create("box", {"Image": "app:latest"})
    await rig.engine.start(box)
    with pytest.raises(UserError, match="post_start `bad` failed with status 3") as caught:
        await container.started(box)
    assert caught.value.failure.lines == ("no", "table")
    await container.stopping(box)
    assert rig.told == ["pre_stop `bad` failed with status 3"]


@pytest.mark.parametrize(
    ("keys", "there", "error"),
    [
        ("pull_policy: never", False, "db: its image db is missing, and pull_policy: never"),
        ("pull_policy: always", True, "pull access denied"),
        ("pull_policy: daily", True, ""),
        ("pull_policy: every_0s", True, "pull access denied"),
        ("pull_policy: missing", True, ""),
        ("pull_policy: missing", False, "pull access denied"),
    ],
)
async def test_an_image_is_pulled_when_the_policy_says_so(
    rig: Rig, keys: str, there: bool, error: str
) -> None:
    if there:
        rig.engine.add_image(tags=("db:latest",))
    if error:
        with pytest.raises(UserError, match=error):
            await rig.container(keys).prepare()
    else:
        await rig.container(keys).prepare()
        assert await rig.names() == ["p-db-1"]


# Its networks.


def of_networks(folder: Path, engine: FakeEngine, project: str = "id") -> ComposeContainer:
    file = folder / "compose.yaml"
    file.write_text("name: shop\nservices: {web: {image: web, build: .}}\n")
    loaded = compose.load(file, env={})
    return of_project(loaded, engine, Fanout(), project)


async def names(engine: FakeEngine) -> set[str]:
    return {each.name for each in await engine.networks()}


async def test_a_network_that_the_watcher_created_goes_when_it_stops(tmp_path: Path) -> None:
    engine = FakeEngine()
    container = of_networks(tmp_path, engine)
    await container.prepare()
    (made,) = await engine.networks()
    assert labels.is_own_network(made.labels, made.name)
    assert made.labels["com.docker.compose.network"] == "default"
    await container.remove_networks()
    assert await names(engine) == set()


async def test_networks_of_compose_and_others_stay(tmp_path: Path) -> None:
    engine = FakeEngine()
    composes = {"com.docker.compose.project": "shop", "com.docker.compose.network": "default"}
    await engine.ensure_network({"Name": "shop_default", "Labels": composes})
    copied = {**composes, **labels.network_labels("id", "shop_default")}
    await engine.ensure_network({"Name": "shop_copy", "Labels": copied})
    await engine.ensure_network({"Name": "other", "Labels": labels.network_labels("id", "other")})
    container = of_networks(tmp_path, engine)
    await container.prepare()
    await container.remove_networks()
    assert await names(engine) == {"shop_default", "shop_copy", "other"}


@pytest.mark.parametrize("runs", [True, False])
async def test_a_network_that_any_container_has_stays(tmp_path: Path, runs: bool) -> None:
    engine = FakeEngine()
    container = of_networks(tmp_path, engine)
    await container.prepare()
    image = engine.add_image(tags=("db:latest",))
    body = {"Image": image, "NetworkingConfig": {"EndpointsConfig": {"shop_default": {}}}}
    box = await engine.create("db", body)
    if runs:
        await engine.start(box)
    await container.remove_networks()
    assert await names(engine) == {"shop_default"}
    await engine.remove_by_force(box)
    await container.remove_networks()
    assert await names(engine) == set()


@pytest.mark.parametrize("running", [True, False])
async def test_a_network_of_a_copy_goes_unless_its_watcher_runs(
    tmp_path: Path, running: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine()
    await of_networks(tmp_path, engine, "copy").prepare()
    monkeypatch.setattr(lock, "find_running", lambda project: lock.Running(1) if running else None)
    await of_networks(tmp_path, engine).remove_networks()
    assert await names(engine) == ({"shop_default"} if running else set())


async def test_the_want_of_address_pools_is_the_engines_and_names_the_command(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.pools = 0
    with pytest.raises(EngineTrouble, match="no address pool is free") as caught:
        await of_networks(tmp_path, engine).prepare()
    assert "watcher prune --gone" in caught.value.hint


def test_a_service_that_others_wait_for_to_complete_is_a_job(tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    needs = "depends_on: {job: {condition: service_completed_successfully}}"
    file.write_text(f"services: {{job: {{build: .}}, web: {{build: ., {needs}}}}}")
    project = compose.load(file, env={})
    jobs = {}
    for spec in project.managed_services:
        dependencies = Dependencies(FakeEngine(), Fanout(), project, "id", managed=project.managed)
        made = ComposeContainer(project, spec, "id", FakeEngine(), Fanout(), dependencies)
        jobs[spec.name] = made.completes
    assert jobs == {"job": True, "web": False}


async def test_the_configs_of_a_managed_service_are_in_its_container_before_it_starts(tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(
        "services: {app: {build: ., configs: [{source: limits, target: /etc/limits, mode: 0440}]}}\n"
        "configs: {limits: {content: 'most = 3'}}\n"
    )
    engine = FakeEngine()
    managed = of_project(compose.load(file, env={}), cast(Engine, engine), Fanout())
    body = {"Image": engine.add_image(), "NetworkingConfig": {"EndpointsConfig": {}}}
    container = await engine.create("app", body)
    await managed.created(container)
    written = engine.files[container]["/etc/limits"]
    assert (written.content, written.mode) == (b"most = 3", 0o440)


class JoinedNetworks:
    """The watcher's own container, when the watcher runs in one."""

    def __init__(self, error: EngineError | None = None) -> None:
        self.joined, self.error = list[str](), error

    async def join(self, network: str) -> None:
        if self.error:
            raise self.error
        self.joined.append(network)


async def test_a_watcher_in_a_container_joins_the_network_of_its_service(rig: Rig) -> None:
    own = JoinedNetworks()
    await replace(rig.container("", app="expose: []"), own=cast(OwnContainer, own)).prepare()
    assert own.joined == ["p_default"]
    assert [each.name for each in await rig.engine.networks()] == ["p_default"]


async def test_a_network_that_the_watcher_cannot_join_fails_the_deploy_by_name(rig: Rig) -> None:
    own = cast(OwnContainer, JoinedNetworks(EngineError("no such endpoint", 500)))
    with pytest.raises(UserError, match=r"p_default.*no such endpoint"):
        await replace(rig.container("", app="expose: []"), own=own).prepare()
