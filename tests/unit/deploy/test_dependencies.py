"""Dependencies of a compose project with an engine in memory: order, conditions, replacement, the end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from tests.facts import missing
from tests.fake_engine import FakeEngine, Program
from watcher import compose, labels
from watcher.backoff import Backoff
from watcher.deploy.dependencies import Dependencies
from watcher.deploy.dependency_graph import NodeState
from watcher.deploy.dependency_reports import DependencyReports
from watcher.deploy.dependency_watch import DependencyWatch
from watcher.engine import Container, EngineEvent
from watcher.errors import EngineUnavailable, UserError
from watcher.observers.events import (
    DependencyChanged,
    DependencyRemoved,
    Event,
    Fanout,
    InternalError,
    Notice,
)
from watcher.system import lock

CHAIN = """
  api: {build: ., depends_on: {cache: {condition: service_started}}}
  cache: {image: cache, depends_on: {migrate: {condition: service_completed_successfully}}}
  migrate: {image: migrate, depends_on: {db: {condition: service_healthy}}}
  db: {image: db}
"""
SIMPLE = """
  api: {build: ., depends_on: {db: {condition: service_started}}}
  db: {image: db, environment: {LEVEL: "LEVEL-OF-DB"}}
"""


class Rig:
    """A project and its dependencies; images named as their services are there."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.engine = folder, FakeEngine()
        self.reports = DependencyReports(self)
        self.events: list[Event] = []
        self.replaced: list[tuple[str, str]] = []
        self.former: list[tuple[str, str, frozenset[str]]] = []
        self.dependencies: Dependencies
        self.images: dict[str, str] = {}
        self.roots: tuple[str, ...] = ("api",)

    def load(
        self, services: str, managed: tuple[str, ...] = ("api",), owner: str = "id", **programs: Program
    ) -> Dependencies:
        project = self.read(services, *managed[1:])
        for spec in project.services.values():
            if spec.name not in managed and spec.image not in self.images:
                image = self.images[spec.image] = self.engine.add_image(tags=(spec.image,))
                self.engine.programs[image] = programs.get(spec.name, Program())
        self.dependencies = Dependencies(
            self.engine, self, project, owner, managed=managed, poll=0.002, reports=self.reports
        )
        self.dependencies.followers.on_replaced = lambda *names: self.replaced.append(names)
        self.dependencies.followers.on_former_owner = lambda *given: self.former.append(given)
        return self.dependencies

    def read(self, services: str, *others: str) -> compose.ComposeProject:
        file = self.folder / "compose.yaml"
        file.write_text(f"name: shop\nservices:{services}")
        return compose.load(file, services=("api", *others), env={})

    def notify(self, event: Event) -> None:
        assert not isinstance(event, InternalError), event.traceback
        self.events.append(event)

    @property
    def lines(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Notice)]

    def states(self, name: str) -> list[str]:
        shown = [e.state for e in self.events if isinstance(e, DependencyChanged) and e.name == name]
        return [state for place, state in enumerate(shown) if place == 0 or shown[place - 1] != state]

    async def names(self) -> list[str]:
        return sorted(each.name for each in await self.engine.containers())

    async def box(self, name: str) -> Container:
        found = await self.engine.container(name)
        assert found, name
        return found


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.002)


# Order and conditions.


async def test_each_service_waits_for_the_condition_of_the_one_before(rig: Rig) -> None:
    dependencies = rig.load(CHAIN, migrate=Program(exit_code=0), db=Program(health="starting"))
    task = asyncio.create_task(dependencies.require("api"))
    await until(lambda: rig.states("db")[-1:] == ["checking"])
    assert await rig.names() == ["shop-db-1"]
    rig.engine.set_health("shop-db-1", "healthy")
    await task
    assert await rig.names() == ["shop-cache-1", "shop-db-1", "shop-migrate-1"]
    assert rig.states("migrate")[-1] == "completed"
    last = [e for e in rig.events if isinstance(e, DependencyChanged) and e.name == "cache"]
    assert ("migrate",) in [event.waits_for for event in last]


async def test_the_failure_far_below_is_named_with_its_last_lines(rig: Rig) -> None:
    dependencies = rig.load(CHAIN, migrate=Program(exit_code=3, lines=("no such table",)))
    rig.engine.programs[rig.images["db"]] = Program(health="healthy")
    with pytest.raises(UserError) as caught:
        await dependencies.require("api")
    assert missing(caught.value.failure.summary, "migrate", "api", "status 3") == []
    assert caught.value.failure.lines == ("no such table",)
    assert "shop-cache-1" not in await rig.names()


async def test_a_service_without_a_health_check_never_becomes_healthy(rig: Rig) -> None:
    dependencies = rig.load(CHAIN)
    with pytest.raises(UserError, match="db, which api needs, runs without a health check"):
        await dependencies.require("api")


async def test_a_service_that_ends_never_becomes_healthy(rig: Rig) -> None:
    text = SIMPLE.replace("service_started", "service_healthy")
    with pytest.raises(UserError, match="db, which api needs, ended with status 0"):
        await rig.load(text, db=Program(exit_code=0)).require("api")


async def test_what_is_not_required_may_fail(rig: Rig) -> None:
    text = """
  api: {build: ., depends_on: {mail: {condition: service_healthy, required: false}}}
  mail: {image: mail}
"""
    await rig.load(text, mail=Program(exit_code=2)).require("api")
    assert any(missing(line, "api", "mail", "required: false", "status 2") == [] for line in rig.lines)


async def test_a_dependency_waits_for_a_managed_service(rig: Rig) -> None:
    text = """
  api: {build: ., depends_on: [proxy]}
  proxy: {image: proxy, depends_on: [web]}
  web: {build: .}
"""
    dependencies = rig.load(text, managed=("api", "web"))
    task = asyncio.create_task(dependencies.require("api"))
    await until(lambda: any(isinstance(e, DependencyChanged) and e.waits_for == ("web",) for e in rig.events))
    assert await rig.names() == []
    dependencies.report("web", NodeState.HEALTHY)
    await task
    assert await rig.names() == ["shop-proxy-1"]


async def test_a_long_wait_is_said(rig: Rig) -> None:
    rig.reports = DependencyReports(rig, say_after=0.0)
    text = SIMPLE.replace("service_started", "service_healthy")
    task = asyncio.create_task(rig.load(text, db=Program(health="starting")).require("api"))
    await until(lambda: any("api waits until db is healthy (starting), for " in line for line in rig.lines))
    rig.engine.set_health("shop-db-1", "healthy")
    await task


async def test_all_that_cannot_be_started_is_said_at_once(rig: Rig) -> None:
    text = """
  api: {build: ., depends_on: [db, mail]}
  db: {image: db, umask: '022'}
  mail: {image: mail, pull_policy: never}
"""
    dependencies = rig.load(text)
    rig.engine.forget(rig.images["mail"])
    await dependencies.check_startable()
    assert [line.split(":")[0] for line in rig.lines] == ["db", "mail"]
    assert all("; needed by api" in line for line in rig.lines)
    assert await rig.names() == []
    await dependencies.bring_up()
    assert len(rig.lines) == 2, "it was said already"


async def test_one_that_fails_does_not_prevent_the_others(rig: Rig) -> None:
    text = """
  api: {build: ., depends_on: [db, mail]}
  db: {image: db, depends_on: [queue]}
  queue: {image: queue}
  mail: {image: mail}
"""
    dependencies = rig.load(text)
    rig.engine.forget(rig.images["queue"])
    await dependencies.bring_up()
    assert await rig.names() == ["shop-mail-1"]
    assert any(missing(line, "queue", "image queue", "cannot be pulled", "db") == [] for line in rig.lines)


# Replacing.


async def test_a_changed_configuration_replaces_the_container_and_keeps_its_volumes(rig: Rig) -> None:
    dependencies = rig.load(SIMPLE, db=Program(volumes=("/data",)))
    await dependencies.require("api")
    before = await rig.box("shop-db-1")
    await dependencies.require("api")
    assert (await rig.box("shop-db-1")).id == before.id
    dependencies.reconfigure(rig.read(SIMPLE.replace("LEVEL-OF-DB", "two")), ["api"])
    await dependencies.bring_up()
    after = await rig.box("shop-db-1")
    assert after.id != before.id
    assert after.running
    assert after.generated_volumes == before.generated_volumes
    assert await rig.names() == ["shop-db-1"]


async def test_a_moved_tag_replaces_the_container(rig: Rig) -> None:
    dependencies = rig.load(SIMPLE)
    await dependencies.require("api")
    before = await rig.box("shop-db-1")
    rig.engine.add_image(tags=("db",))
    await dependencies.require("api")
    assert (await rig.box("shop-db-1")).id != before.id


async def test_a_container_of_docker_compose_is_adopted_until_the_file_changes(rig: Rig) -> None:
    dependencies = rig.load(SIMPLE)
    carried = {"com.docker.compose.project": "shop", "com.docker.compose.service": "db"}
    carried |= {"com.docker.compose.oneoff": "False", "com.docker.compose.config-hash": "f" * 64}
    box = await rig.engine.create("shop-db-1", {"Image": "db", "Labels": carried})
    await rig.engine.start(box)
    await dependencies.require("api")
    assert await rig.names() == ["shop-db-1"]
    assert (await rig.box("shop-db-1")).id == box
    dependencies.reconfigure(rig.read(SIMPLE.replace("LEVEL-OF-DB", "two")), ["api"])
    await dependencies.require("api")
    assert (await rig.box("shop-db-1")).id != box


@pytest.mark.parametrize(
    ("version", "hashed", "files", "replaced"),
    [
        ("2.40.3", "a" * 64, "compose.yaml", False),
        ("2.40.3", "f" * 64, "compose.yaml", True),
        ("2.39.1", "f" * 64, "compose.yaml", False),
        ("2.40.3", "f" * 64, "another.yaml", False),
    ],
    ids=["as in the file", "as it was before an edit", "of another version", "of other files"],
)
async def test_the_hash_of_docker_compose_says_whether_its_container_is_outdated(
    rig: Rig, version: str, hashed: str, files: str, replaced: bool
) -> None:
    dependencies = rig.load(SIMPLE)
    hashes = dependencies.containers.hashes
    spec = dependencies.project.services["db"]
    hashes._known, hashes._compose_version = {"db": (spec, "a" * 64)}, "2.40.3-3"
    carried = {"com.docker.compose.project": "shop", "com.docker.compose.service": "db"}
    carried |= {"com.docker.compose.oneoff": "False", "com.docker.compose.config-hash": hashed}
    carried |= {"com.docker.compose.version": version}
    carried |= {"com.docker.compose.project.config_files": str(rig.folder / files)}
    box = await rig.engine.create("shop-db-1", {"Image": "db", "Labels": carried})
    await rig.engine.start(box)
    await dependencies.require("api")
    after = await rig.box("shop-db-1")
    assert (after.id != box) is replaced
    if replaced:
        assert after.labels["com.docker.compose.config-hash"] == "a" * 64


async def test_a_container_with_copied_labels_is_left_alone(rig: Rig) -> None:
    """An image made from a dependency's container hands the labels down."""
    dependencies = rig.load(SIMPLE)
    await dependencies.require("api")
    copy = rig.engine.commit((await rig.box("shop-db-1")).id)
    box = await rig.engine.create("mine", {"Image": copy})
    await rig.engine.start(box)
    dependencies.reconfigure(rig.read(SIMPLE.replace("LEVEL-OF-DB", "two")), ["api"])
    await dependencies.require("api")
    await dependencies.close(stop=True)
    assert (await rig.box("mine")).running


async def test_a_job_runs_again_when_its_image_changes_and_not_otherwise(rig: Rig) -> None:
    text = SIMPLE.replace("service_started", "service_completed_successfully")
    dependencies = rig.load(text, db=Program(exit_code=0))
    await dependencies.require("api")
    before = await rig.box("shop-db-1")
    await dependencies.require("api")
    assert await rig.box("shop-db-1") == before
    rig.engine.programs[rig.engine.add_image(tags=("db",))] = Program(exit_code=1)
    with pytest.raises(UserError, match="db, which api needs, ended with status 1"):
        await dependencies.require("api")


async def test_what_depends_with_restart_is_replaced_too(rig: Rig) -> None:
    text = """
  api:
    build: .
    depends_on: {cache: {condition: service_started}, db: {condition: service_started, restart: true}}
  cache: {image: cache, depends_on: {db: {condition: service_started, restart: true}}}
  db: {image: db, environment: {LEVEL: "LEVEL-OF-DB"}}
"""
    dependencies = rig.load(text)
    await dependencies.require("api")
    before = await rig.box("shop-cache-1")
    assert rig.replaced == []
    dependencies.reconfigure(rig.read(text.replace("LEVEL-OF-DB", "two")), ["api"])
    await dependencies.bring_up()
    after = await rig.box("shop-cache-1")
    assert after.id != before.id
    await dependencies.bring_up()
    assert (await rig.box("shop-cache-1")).id == after.id, "once is enough"
    assert rig.replaced == [("api", "db")]


@pytest.mark.parametrize(
    "keys",
    [
        "network_mode: 'service:api'",
        "ipc: 'service:api'",
        "pid: 'service:api'",
        "volumes_from: ['api:ro']",
        "links: ['api:backend']",
        "depends_on: {api: {condition: service_started, restart: true}}",
    ],
)
async def test_what_uses_a_managed_service_is_replaced_with_it(rig: Rig, keys: str) -> None:
    text = f"""
  api: {{build: .}}
  worker: {{build: ., {keys}}}
  cache: {{image: cache, {keys}}}
  db: {{image: db, depends_on: [api]}}
  all: {{build: ., depends_on: [cache, db]}}
"""
    dependencies = rig.load(text, ("api", "worker", "all"))
    asked = list[str]()
    dependencies.followers.on_outdated = lambda: asked.append("bring_up")
    dependencies.report("api", NodeState.HEALTHY)
    await dependencies.bring_up()
    before, other = await rig.box("shop-cache-1"), await rig.box("shop-db-1")
    dependencies.followers.report_replaced("api")
    assert (rig.replaced, asked) == ([("worker", "api")], ["bring_up"])
    await dependencies.bring_up()
    assert (await rig.box("shop-cache-1")).id != before.id
    assert (await rig.box("shop-db-1")).id == other.id


async def test_a_dependency_that_left_the_file_is_removed_and_no_longer_shown(rig: Rig) -> None:
    dependencies = rig.load(SIMPLE)
    await dependencies.require("api")
    dependencies.reconfigure(rig.read("\n  api: {build: .}\n"), ["api"])
    await dependencies.bring_up()
    assert await rig.names() == []
    assert [event.name for event in rig.events if isinstance(event, DependencyRemoved)] == ["db"]


async def test_one_that_is_only_no_longer_needed_stays(rig: Rig) -> None:
    dependencies = rig.load(SIMPLE)
    await dependencies.require("api")
    dependencies.reconfigure(rig.read("\n  api: {build: .}\n  db: {image: db}\n"), ["api"])
    await dependencies.bring_up()
    assert (await rig.box("shop-db-1")).running


async def test_the_labels_are_those_of_compose_and_prove_who_created_it(rig: Rig) -> None:
    await rig.load(SIMPLE).require("api")
    box = await rig.box("shop-db-1")
    assert box.labels["com.docker.compose.project"] == "shop"
    assert box.labels["com.docker.compose.image"] == box.image
    assert box.labels[labels.DEPENDENCY] == "id"
    assert labels.is_proven(box.labels, box.name, box.image)


# The end of one, and of the watcher.


@contextlib.asynccontextmanager
async def watching(rig: Rig, follow_after: float = 0.001) -> AsyncIterator[DependencyWatch]:
    quick = Backoff(first=0.001, most=0.001)
    watch = DependencyWatch(rig.dependencies, rig.engine, rig, quick, follow_after=follow_after)
    task = asyncio.create_task(watch.run())
    try:
        await until(lambda: bool(rig.engine._listeners) and "running" in rig.states("db"))
        yield watch
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_daemon_starts_dependencies_and_starts_one_that_ends_again(rig: Rig) -> None:
    rig.load(SIMPLE)
    async with watching(rig):
        rig.engine.end((await rig.box("shop-db-1")).id, 137)
        await until(lambda: "db was started again" in rig.lines)
        await until(lambda: rig.states("db")[-1] == "running")
        shown = [e for e in rig.events if isinstance(e, DependencyChanged)]
        assert shown[-1].restarts == 1
        assert any(missing(line, "db", "status 137", "1 ms") == [] for line in rig.lines)


INSIDE = """
  api: {build: ., depends_on: [side]}
  side: {image: side, network_mode: "service:db"}
  worker: {build: ., network_mode: "service:db"}
  db: {image: db}
  all: {image: all, depends_on: [api, worker]}
"""


async def test_what_is_in_the_network_of_a_dependency_is_replaced_when_that_restarts(rig: Rig) -> None:
    """It would run on in a network that leads nowhere."""
    dependencies = rig.load(INSIDE, ("api", "worker"))
    dependencies.report("worker", NodeState.HEALTHY)
    async with watching(rig) as watch:
        dependencies.followers.on_outdated = watch.apply_changes
        await until(lambda: "running" in rig.states("side"))
        side, db = await rig.box("shop-side-1"), await rig.box("shop-db-1")
        rig.engine.end(db.id, 137)
        await until(lambda: any(line.startswith("side was replaced") for line in rig.lines))
        await until(lambda: rig.states("side")[-1] == "running")
        assert (await rig.box("shop-db-1")).id == db.id
        assert (await rig.box("shop-side-1")).id != side.id
        assert rig.replaced == [("worker", "db")]
        assert len([line for line in rig.lines if line.startswith("side was replaced")]) == 1


async def test_one_in_a_network_that_is_gone_is_replaced(rig: Rig) -> None:
    """docker compose or a user created the other container again while no watcher ran."""
    dependencies = rig.load(INSIDE, ("api", "worker"))
    await dependencies.require("api")
    before, db = await rig.box("shop-side-1"), await rig.box("shop-db-1")
    await rig.engine.stop(db.id, 0)
    await rig.engine.remove(db.id)
    await dependencies.require("api")
    after = await rig.box("shop-side-1")
    assert after.id != before.id
    assert after.joined == (await rig.box("shop-db-1")).id
    await dependencies.require("api")
    assert (await rig.box("shop-side-1")).id == after.id, "once is enough"


async def create_again(rig: Rig, name: str) -> str:
    """As `docker compose up --force-recreate`: another container of the same service."""
    old = await rig.box(name)
    image, own = old.image, {key: text for key, text in old.labels.items() if not key.startswith("watcher.")}
    await rig.engine.stop(old.id, 0)
    await rig.engine.remove(old.id)
    new = await rig.engine.create(name, {"Image": image, "Labels": own})
    await rig.engine.start(new)
    return new


async def start_by_hand(rig: Rig, spec: compose.ServiceSpec, image: str) -> str:
    """Start a container as the watcher has it of a managed service."""
    own = compose.compose_labels(rig.dependencies.project, spec, config_hash="", image_id="")
    body = {"Image": image, "Labels": own, "HostConfig": {"NetworkMode": spec.network_mode}}
    made = await rig.engine.create(spec.default_name, body)
    await rig.engine.start(made)
    return made


USERS = [
    "network_mode: 'service:db'",
    "ipc: 'service:db'",
    "pid: 'service:db'",
    "volumes_from: ['db:ro']",
]


def users_of_db(keys: str) -> str:
    return f"""
  api: {{build: ., {keys}, depends_on: [side, other]}}
  side: {{image: side, {keys}}}
  other: {{image: other, depends_on: [db]}}
  db: {{image: db}}
"""


@pytest.mark.parametrize("keys", USERS)
async def test_what_uses_a_dependency_is_replaced_when_another_program_creates_it_again(
    rig: Rig, keys: str
) -> None:
    dependencies = rig.load(users_of_db(keys))
    dependencies.report("api", NodeState.HEALTHY)
    async with watching(rig) as watch:
        dependencies.followers.on_outdated = watch.apply_changes
        await until(lambda: all("running" in rig.states(name) for name in ("side", "other")))
        spec = dependencies.project.services["api"]
        api = await start_by_hand(rig, spec, (await rig.box("shop-db-1")).image)
        side, other = await rig.box("shop-side-1"), await rig.box("shop-other-1")
        await create_again(rig, "shop-db-1")
        await until(lambda: any(line.startswith("side was replaced") for line in rig.lines))
        assert (await rig.box("shop-side-1")).id != side.id
        assert (await rig.box("shop-other-1")).id == other.id
        assert rig.former == [("api", "db", frozenset({api}))]


LINKED = ["links: ['db:other-name']", "depends_on: {db: {condition: service_started, restart: true}}"]


@pytest.mark.parametrize("keys", LINKED)
async def test_what_is_linked_is_replaced_after_a_recreation_but_not_after_a_restart(
    rig: Rig, keys: str
) -> None:
    text = f"""
  api: {{build: ., {keys}}}
  side: {{image: side, {keys}}}
  other: {{image: other, depends_on: [db]}}
  db: {{image: db}}
  all: {{build: ., depends_on: [side, other, api]}}
"""
    dependencies = rig.load(text, ("api", "all"))
    dependencies.report("api", NodeState.HEALTHY)
    async with watching(rig) as watch:
        dependencies.followers.on_outdated = watch.apply_changes
        await until(lambda: all("running" in rig.states(name) for name in ("side", "other")))
        db = await rig.box("shop-db-1")
        api = await start_by_hand(rig, dependencies.project.services["api"], db.image)
        side, other = await rig.box("shop-side-1"), await rig.box("shop-other-1")
        rig.engine.end(db.id, 137)
        await rig.engine.start(db.id)
        await dependencies.followers.check_followers("db")
        assert (rig.former, (await rig.box("shop-side-1")).id) == ([], side.id), "compose does not either"
        await create_again(rig, "shop-db-1")
        await until(lambda: any(line.startswith("side was replaced") for line in rig.lines))
        assert (await rig.box("shop-side-1")).id != side.id
        assert (await rig.box("shop-other-1")).id == other.id
        assert rig.former == [("api", "db", frozenset((api,)))]


@pytest.mark.parametrize("keys", [*LINKED, *USERS])
async def test_what_follows_a_dependency_is_replaced_when_the_watcher_creates_it_again(
    rig: Rig, keys: str
) -> None:
    """Another program has removed it, and a deploy or a start brought it back."""
    text = f"""
  api: {{build: ., {keys}, depends_on: [side]}}
  side: {{image: side, {keys}}}
  db: {{image: db}}
"""
    if "depends_on" in keys:
        text = text.replace(", depends_on: [side]", "")
        text += "  all: {build: ., depends_on: [side]}\n"
    dependencies = rig.load(text, ("api", "all") if "all:" in text else ("api",))
    await dependencies.bring_up()
    db, side = await rig.box("shop-db-1"), await rig.box("shop-side-1")
    api = await start_by_hand(rig, dependencies.project.services["api"], db.image)
    await rig.engine.stop(db.id, 0)
    await rig.engine.remove(db.id)
    await asyncio.sleep(0.01)
    await dependencies.bring_up()
    await dependencies.bring_up()
    assert rig.former[:1] == [("api", "db", frozenset((api,)))]
    assert (await rig.box("shop-side-1")).id != side.id


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("keys", USERS)
async def test_what_uses_a_managed_service_is_replaced_when_another_program_creates_or_restarts_it(
    rig: Rig, keys: str, restarts: bool
) -> None:
    """A volume outlives a restart of the container that it comes from, a namespace does not."""
    text = f"""
  api: {{build: .}}
  worker: {{build: ., {keys.replace("db", "api")}}}
  side: {{image: side, {keys.replace("db", "api")}}}
  db: {{image: db}}
  all: {{build: ., depends_on: [side, db]}}
"""
    dependencies = rig.load(text, ("api", "worker", "all"))
    services = dependencies.project.services
    image = rig.engine.add_image()
    api = await start_by_hand(rig, services["api"], image)
    worker = await start_by_hand(rig, services["worker"], image)
    dependencies.report("api", NodeState.HEALTHY)
    async with watching(rig) as watch:
        dependencies.followers.on_outdated = watch.apply_changes
        await until(lambda: "running" in rig.states("side"))
        side = await rig.box("shop-side-1")
        if restarts:
            rig.engine.end(api, 137)
            await rig.engine.start(api)
        else:
            await create_again(rig, "shop-api-1")
        if restarts and "volumes" in keys:
            await dependencies.followers.check_followers("api")
            assert (rig.former, (await rig.box("shop-side-1")).id) == ([], side.id)
            return
        await until(lambda: any(line.startswith("side was replaced") for line in rig.lines))
        assert rig.lines[-1].endswith("what it depends on was replaced or has restarted")
        assert (await rig.box("shop-side-1")).id != side.id
        assert rig.former == [("worker", "api", frozenset({worker}))]


@pytest.mark.parametrize("keys", USERS)
async def test_what_uses_a_managed_service_uses_its_live_container_whatever_its_name(
    rig: Rig, keys: str
) -> None:
    """`docker compose up` over it leaves a container that has the name, and possibly does not run."""
    text = f"""
  api: {{build: .}}
  worker: {{build: ., {keys.replace("db", "api")}}}
  side: {{image: side, {keys.replace("db", "api")}}}
  all: {{build: ., depends_on: [side]}}
"""
    dependencies = rig.load(text, ("api", "worker", "all"))
    services = dependencies.project.services
    live = await start_by_hand(
        rig, replace(services["api"], container_name="shop-api-1.f00"), rig.engine.add_image()
    )
    await start_by_hand(rig, services["api"], rig.engine.add_image())
    dependencies.followers.find_live = {"api": live}.get
    dependencies.report("api", NodeState.HEALTHY)
    await dependencies.bring_up()
    side = await rig.box("shop-side-1")
    body = dependencies.followers.with_owner_ids(services["worker"])
    used = (body.network_mode, body.ipc, body.pid, *body.volumes_from)
    assert any(live in part for part in used)
    assert not any("shop-api-1" in part for part in used)
    if "network" in keys:
        assert side.joined == live
    await dependencies.bring_up()
    assert (await rig.box("shop-side-1")).id == side.id, (
        "it is not taken for one that uses a former container"
    )


async def test_a_managed_service_in_a_network_that_was_left_while_no_watcher_ran_is_replaced(
    rig: Rig,
) -> None:
    dependencies = rig.load(users_of_db("network_mode: 'service:db'"))
    await dependencies.bring_up()
    spec = dependencies.project.services["api"]
    api = await start_by_hand(rig, spec, (await rig.box("shop-db-1")).image)
    await create_again(rig, "shop-db-1")
    rig.load(users_of_db("network_mode: 'service:db'"))
    async with watching(rig):
        await until(lambda: bool(rig.former))
    assert rig.former == [("api", "db", frozenset({api}))]


@pytest.mark.parametrize("keys", USERS)
async def test_what_uses_a_dependency_is_replaced_if_that_was_created_again_while_no_watcher_ran(
    rig: Rig, keys: str
) -> None:
    await rig.load(users_of_db(keys)).bring_up()
    side = await rig.box("shop-side-1")
    await create_again(rig, "shop-db-1")
    dependencies = rig.load(users_of_db(keys))
    await dependencies.bring_up()
    after = await rig.box("shop-side-1")
    assert after.id != side.id
    await dependencies.bring_up()
    assert (await rig.box("shop-side-1")).id == after.id, "once is enough"


async def test_what_another_program_has_created_after_it_stays(rig: Rig) -> None:
    """`docker compose up --force-recreate` without a name does that."""
    dependencies = rig.load(users_of_db("ipc: 'service:db'"))
    await dependencies.bring_up()
    await create_again(rig, "shop-db-1")
    side = await create_again(rig, "shop-side-1")
    asked: list[str] = []
    dependencies.followers.on_outdated = lambda: asked.append("again")
    await dependencies.followers.check_followers("db")
    assert (asked, rig.replaced) == ([], [])
    assert (await rig.box("shop-side-1")).id == side


async def test_one_that_is_being_replaced_has_not_ended(rig: Rig) -> None:
    dependencies = rig.load(SIMPLE, db=Program(exit_code=3))
    await dependencies.bring_up()
    assert len(await dependencies.find_ended("db")) == 1
    dependencies._start_one("db")
    assert await dependencies.find_ended("db") == []
    assert await dependencies.find_ended("gone") == []


@pytest.mark.parametrize("again", [False, True])
async def test_one_that_another_program_restarts_or_creates_again_is_not_called_stopped(
    rig: Rig, again: bool
) -> None:
    """`docker restart`, or `docker compose up --force-recreate`: the next deploy need not start it."""
    dependencies = rig.load(SIMPLE)
    async with watching(rig, follow_after=0.3) as watch:
        db = await rig.box("shop-db-1")
        rig.engine.stop_by_hand(db.id)
        await until(lambda: db.id in dependencies._stopped)
        await (create_again(rig, "shop-db-1") if again else rig.engine.start(db.id))
        await until(lambda: rig.states("db")[-1] == "running" and not watch._tasks)
        assert not [line for line in rig.lines if "through the engine" in line]


async def test_one_that_was_stopped_on_purpose_waits_for_a_deploy(rig: Rig) -> None:
    dependencies = rig.load(SIMPLE)
    async with watching(rig):
        rig.engine.stop_by_hand((await rig.box("shop-db-1")).id)
        await until(lambda: rig.states("db")[-1] == "stopped")
        await until(lambda: any("db was stopped through the engine" in line for line in rig.lines))
        assert not (await rig.box("shop-db-1")).running
        await dependencies.require("api")
        assert (await rig.box("shop-db-1")).running


async def test_one_that_ends_again_and_again_is_started_after_longer_and_longer_pauses(rig: Rig) -> None:
    rig.load(SIMPLE, db=Program())
    watch = DependencyWatch(rig.dependencies, rig.engine, rig, Backoff(first=0.002, most=0.008))
    task = asyncio.create_task(watch.run())
    await until(lambda: bool(rig.engine._listeners) and "running" in rig.states("db"))
    for number in range(1, 4):
        rig.engine.end((await rig.box("shop-db-1")).id, 137)
        await until(lambda: rig.lines.count("db was started again") == number)  # noqa: B023 - awaited here
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    said = [line.rpartition(" in ")[2] for line in rig.lines if "it is started again in" in line]
    assert said == ["2 ms", "4 ms", "8 ms"]


async def test_one_that_was_stopped_and_started_again_by_hand_is_as_any_other(rig: Rig) -> None:
    rig.load(SIMPLE)
    async with watching(rig):
        container = (await rig.box("shop-db-1")).id
        rig.engine.stop_by_hand(container)
        await until(lambda: rig.states("db")[-1] == "stopped")
        await rig.engine.start(container)
        await until(lambda: rig.states("db")[-1] == "running")
        rig.engine.end(container, 137)
        await until(lambda: "db was started again" in rig.lines)
        await until(lambda: rig.states("db")[-1] == "running")


async def test_a_start_by_hand_that_no_event_told_of_counts_too(rig: Rig) -> None:
    dependencies = rig.load(SIMPLE)
    await dependencies.bring_up()
    container = (await rig.box("shop-db-1")).id
    rig.engine.stop_by_hand(container)
    dependencies.note_stop(container)
    await dependencies.publish_states()
    await rig.engine.start(container)
    await dependencies.publish_states()
    rig.engine.end(container, 1)
    assert await dependencies.start_ended("db")
    await dependencies.publish_states()
    assert rig.states("db")[-2:] == ["stopped", "running"]


async def test_one_that_ends_well_is_not_started_again(rig: Rig) -> None:
    dependencies = rig.load(SIMPLE)
    async with watching(rig):
        rig.engine.end((await rig.box("shop-db-1")).id, 0)
        await until(lambda: any("ended with exit status 0" in line for line in rig.lines))
        await dependencies.require("api")
        assert not (await rig.box("shop-db-1")).running


async def test_a_job_that_another_program_starts_is_left_to_the_next_deploy(rig: Rig) -> None:
    text = SIMPLE.replace("{db: {", "{migrate: {condition: service_completed_successfully}, db: {")
    dependencies = rig.load(text + "  migrate: {image: migrate}\n", migrate=Program(exit_code=0))
    await dependencies.require("api")
    job = await rig.box("shop-migrate-1")
    async with watching(rig):
        rig.engine.programs[job.image] = Program()
        for status in (0, 3):
            await rig.engine.start(job.id)
            await until(lambda: rig.states("migrate")[-1] == "running")
            rig.engine.end(job.id, status)
            await until(lambda: rig.states("migrate")[-1] != "running")
    said = [line for line in rig.lines if "exit status" in line]
    assert [missing(line, "migrate", "exit status 3", "next deploy") for line in said] == [[]]
    assert "migrate was started again" not in rig.lines


async def test_at_the_end_only_what_the_watcher_started_is_stopped_in_reverse_order(rig: Rig) -> None:
    dependencies = rig.load(CHAIN, migrate=Program(exit_code=0), db=Program(health="healthy"))
    carried = {"com.docker.compose.project": "shop", "com.docker.compose.service": "db"}
    carried["com.docker.compose.oneoff"] = "False"
    await rig.engine.start(await rig.engine.create("shop-db-1", {"Image": "db", "Labels": carried}))
    await dependencies.require("api")
    await dependencies.close(stop=False)
    assert (await rig.box("shop-cache-1")).running
    await dependencies.close(stop=True)
    assert not (await rig.box("shop-cache-1")).running
    assert (await rig.box("shop-db-1")).running


async def test_what_stopped_with_the_watcher_has_not_completed(rig: Rig) -> None:
    dependencies = rig.load(SIMPLE)
    await dependencies.require("api")
    rig.engine.end((await rig.box("shop-db-1")).id, 0)
    await dependencies.publish_states()
    assert rig.states("db")[-1] == "absent"
    await dependencies.require("api")
    assert rig.states("db")[-1] == "running"


async def test_dependents_are_stopped_before_what_they_depend_on(rig: Rig) -> None:
    dependencies = rig.load(CHAIN, migrate=Program(exit_code=0), db=Program(health="healthy"))
    await dependencies.require("api")
    before = len(rig.engine._past)
    await dependencies.close(stop=True)
    died = [e.attributes["name"] for _, _, e in rig.engine._past[before:] if e.action == "die"]
    assert died == ["shop-cache-1", "shop-db-1"]


async def test_a_dependency_that_is_managed_from_now_on_makes_way(rig: Rig) -> None:
    services = "\n  api: {build: ., depends_on: [db]}\n  db: {image: db}"
    dependencies = rig.load(services)
    await dependencies.require("api")
    db = dependencies.project.services["db"]
    dependencies.reconfigure(dependencies.project, ["api", "db"])
    await dependencies.release(db)
    assert await rig.names() == []
    assert rig.lines[-1] == "db is managed now: shop-db-1 makes way"


async def test_a_container_of_another_program_does_not_make_way(rig: Rig) -> None:
    dependencies = rig.load("\n  api: {build: ., depends_on: [db]}\n  db: {image: db}")
    found = {"com.docker.compose.project": "shop", "com.docker.compose.service": "db"}
    await rig.engine.create(
        "shop-db-1", {"Image": "db", "Labels": {**found, "com.docker.compose.oneoff": "False"}}
    )
    await dependencies.release(dependencies.project.services["db"])
    assert await rig.names() == ["shop-db-1"]


# After a restart of the watcher, and beside others.


async def test_a_change_while_no_watcher_ran_replaces_the_container(rig: Rig) -> None:
    await rig.load(SIMPLE).require("api")
    before = await rig.box("shop-db-1")
    await rig.load(SIMPLE).require("api")
    assert (await rig.box("shop-db-1")).id == before.id
    await rig.load(SIMPLE.replace("LEVEL-OF-DB", "two")).require("api")
    assert (await rig.box("shop-db-1")).id != before.id


@pytest.mark.parametrize("runs", [True, False])
async def test_what_a_running_copy_of_the_project_uses_is_not_replaced(
    rig: Rig, runs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.load(SIMPLE, owner="copy").require("api")
    before = await rig.box("shop-db-1")
    monkeypatch.setattr(lock, "find_running", lambda project: lock.Running(1) if runs else None)
    await rig.load(SIMPLE.replace("LEVEL-OF-DB", "two")).require("api")
    assert ((await rig.box("shop-db-1")).id == before.id) is runs


async def test_commands_run_in_each_new_container(rig: Rig) -> None:
    text = SIMPLE.replace("image: db,", "image: db, post_start: [{command: [init, db]}],")
    dependencies = rig.load(text)
    await dependencies.require("api")
    dependencies.reconfigure(rig.read(text.replace("LEVEL-OF-DB", "two")), ["api"])
    await dependencies.require("api")
    assert [command.words for _, command in rig.engine.executed] == [("init", "db")] * 2


async def test_commands_run_in_each_running_container_before_it_stops(rig: Rig) -> None:
    text = SIMPLE.replace("image: db,", "image: db, pre_stop: [{command: [save, db]}],")
    dependencies = rig.load(text)
    await dependencies.require("api")
    first = await rig.box("shop-db-1")
    dependencies.reconfigure(rig.read(text.replace("LEVEL-OF-DB", "two")), ["api"])
    await dependencies.require("api")
    second = await rig.box("shop-db-1")
    await dependencies.close(stop=True)
    assert [(box, command.words) for box, command in rig.engine.executed] == [
        (first.id, ("save", "db")),
        (second.id, ("save", "db")),
    ]


async def test_a_command_before_the_stop_that_fails_is_told_and_the_container_stops(rig: Rig) -> None:
    rig.engine.answers["save"] = (7, ("no room",))
    dependencies = rig.load(SIMPLE.replace("image: db,", "image: db, pre_stop: [{command: [save, db]}],"))
    await dependencies.require("api")
    await dependencies.close(stop=True)
    assert not (await rig.box("shop-db-1")).running
    warned = [each.text for each in rig.events if isinstance(each, Notice) and each.level == "warning"]
    assert [missing(line, "db", "pre_stop", "save db", "7") for line in warned] == [[]]


@pytest.mark.parametrize(
    ("program", "state", "reason"),
    [
        (Program(exit_code=3), "failed", "ended with status 3"),
        (Program(exit_code=0), "completed", ""),
        (Program(health="unhealthy"), "unhealthy", "unhealthy"),
    ],
)
async def test_the_reason_of_a_state_is_shown(rig: Rig, program: Program, state: str, reason: str) -> None:
    text = SIMPLE.replace("service_started", "service_completed_successfully")
    dependencies = rig.load(text, db=program)
    await dependencies.bring_up()
    last = [event for event in rig.events if isinstance(event, DependencyChanged)][-1]
    assert (last.state, last.reason) == (state, reason)


async def test_the_same_failure_is_said_again_after_it_was_overcome(rig: Rig) -> None:
    rig.images["db"] = ""
    dependencies = rig.load(SIMPLE)
    for _ in range(2):
        await dependencies.bring_up()
    image = rig.engine.add_image(tags=("db",))
    await dependencies.bring_up()
    await rig.engine.remove_by_force((await rig.box("shop-db-1")).id)
    rig.engine._images.pop(image)
    await dependencies.bring_up()
    assert len([line for line in rig.lines if line.startswith("db: ")]) == 2


# The engine, while dependencies are watched.


async def test_one_that_ended_while_the_engine_was_away_is_started_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.load(SIMPLE)
    events, away = rig.engine.events, asyncio.Event()

    async def cut(*, labels: Sequence[str], since: float) -> AsyncIterator[EngineEvent]:
        if not away.is_set():
            await away.wait()
            raise EngineUnavailable("gone")
        async for event in events(labels=labels, since=since):
            yield event

    monkeypatch.setattr(rig.engine, "events", cut)
    task = asyncio.create_task(
        DependencyWatch(rig.dependencies, rig.engine, rig, Backoff(first=0.001, most=0.001), pause=0.01).run()
    )
    try:
        await until(lambda: rig.states("db")[-1:] == ["running"])
        rig.engine.end((await rig.box("shop-db-1")).id, 1)
        away.set()
        await until(lambda: "db was started again" in rig.lines)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_an_engine_that_is_away_is_asked_again_after_pauses(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.load(SIMPLE)
    asked: list[float] = []
    clock = asyncio.get_running_loop().time

    async def refuse(*, labels: Sequence[str], since: float) -> AsyncIterator[EngineEvent]:
        asked.append(clock())
        if len(asked) == 5:
            await asyncio.Event().wait()
        raise EngineUnavailable("gone")
        yield  # type: ignore[unreachable]

    monkeypatch.setattr(rig.engine, "events", refuse)
    task = asyncio.create_task(DependencyWatch(rig.dependencies, rig.engine, rig, pause=2.0).run())
    await until(lambda: len(asked) == 5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert min(later - sooner for sooner, later in pairwise(asked)) >= 1.9


async def test_an_error_of_the_watcher_itself_is_shown_and_it_goes_on(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    dependencies = rig.load(SIMPLE)
    shown: list[Event] = []
    watch = DependencyWatch(dependencies, rig.engine, Fanout(_Listener(shown)))

    async def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(dependencies, "check_startable", fail)
    task = asyncio.create_task(watch.run())
    try:
        await until(lambda: bool(shown) and rig.states("db")[-1:] == ["running"])
        assert isinstance(shown[0], InternalError)
        assert "ZeroDivisionError" in shown[0].traceback
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class _Listener:
    def __init__(self, shown: list[Event]) -> None:
        self._shown = shown

    def notify(self, event: Event) -> None:
        self._shown.append(event)


async def test_events_of_a_renamed_project_are_followed(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    dependencies = rig.load(SIMPLE)
    async with watching(rig):
        file = rig.folder / "compose.yaml"
        file.write_text(file.read_text().replace("name: shop", "name: other"))
        dependencies.reconfigure(compose.load(file, services=("api",), env={}), ["api"])
        rig.engine.end((await rig.box("shop-db-1")).id, 0)
        await dependencies.bring_up()
        await until(lambda: any("other" in labels[0] for labels, _ in rig.engine._listeners))
        rig.engine.end((await rig.box("other-db-1")).id, 7)
        await until(lambda: "db was started again" in rig.lines)
