"""The first deploy of a service waits for the managed services it depends on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.facts import missing
from watcher import compose
from watcher.compose import ComposeProject, ServiceSpec
from watcher.daemon.start_order import OrderedDeployer, StartOrder
from watcher.deploy import Live
from watcher.deploy.dependency_graph import NodeState
from watcher.engine import Container
from watcher.observers.events import DeployOutcome, Event
from watcher.reconcile.ports import Deployed


@dataclass
class Managed:
    container_id: str | None = None
    has_failed: bool = False
    is_current: bool = False


class Engine:
    def __init__(self) -> None:
        self.health: dict[str, str] = {}
        self.state = "running"

    async def container(self, name: str) -> Container | None:
        return Container(name, name, "i", {}, self.state, health=self.health.get(name, ""))


class Rig:
    def __init__(self, root: Path) -> None:
        self.root, self.engine, self.events = root, Engine(), list[Event]()
        self.shown = list[str]()
        self.states: dict[str, NodeState] = {}
        self.one_shots: frozenset[str] = frozenset()
        self.replaced = list[str]()
        self.followers = self  # of what stands in for the dependencies, too
        self.order = StartOrder(self.engine, self, pause=0.01)  # type: ignore[arg-type]
        self.api = Managed()
        self.order.add("api", self.api)

    def notify(self, event: Event) -> None:
        self.events.append(event)

    def report(self, service: str, state: NodeState) -> None:
        self.states[service] = state

    def report_replaced(self, service: str) -> None:
        self.replaced.append(service)

    @property
    def project(self) -> ComposeProject:
        return compose.load(self.root / "compose.yaml", env={})

    def spec(self, condition: str, *, required: bool = True) -> ServiceSpec:
        file = self.root / "compose.yaml"
        needs = f"{{api: {{condition: {condition}, required: {str(required).lower()}}}}}"
        file.write_text(f"services: {{web: {{build: ., depends_on: {needs}}}, api: {{build: .}}}}")
        return compose.load(file, env={}).services["web"]

    async def waits(self, spec: ServiceSpec, *, first: bool = True) -> bool:
        """Whether it still waits after some looks."""
        try:
            async with asyncio.timeout(0.1):
                await self.order.wait(spec, first=first, show=self.shown.append)
        except TimeoutError:
            return True
        return False


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


async def test_it_waits_until_the_other_is_live_and_says_so_once(rig: Rig) -> None:
    spec = rig.spec("service_started")
    assert await rig.waits(spec)
    (said,) = {*rig.shown} - {""}
    assert missing(said, "waiting", "api", "live", "depends_on") == []
    assert rig.shown[-1] == "", "the wait was cancelled"
    rig.api.container_id = "c"
    rig.shown.clear()
    assert not await rig.waits(spec)
    assert rig.shown == [""]


async def test_it_waits_until_the_other_is_healthy_where_that_is_asked_for(rig: Rig) -> None:
    rig.api.container_id = "c"
    rig.engine.health["c"] = "starting"
    assert not await rig.waits(rig.spec("service_started"))
    assert await rig.waits(rig.spec("service_healthy"))
    rig.engine.health["c"] = "healthy"
    assert not await rig.waits(rig.spec("service_healthy"))


async def test_one_that_may_fail_is_not_waited_for_once_it_has(rig: Rig) -> None:
    rig.api.has_failed = True
    assert await rig.waits(rig.spec("service_started"))
    assert not await rig.waits(rig.spec("service_started", required=False))
    assert rig.states == {"api": NodeState.BROKEN}


async def test_one_that_is_no_longer_managed_is_not_waited_for(rig: Rig) -> None:
    rig.order.remove("api")
    assert not await rig.waits(rig.spec("service_started"))


async def test_each_deploy_waits_for_a_job_of_the_same_tree(rig: Rig) -> None:
    rig.api.container_id = "c"
    job, other = rig.spec("service_completed_successfully"), rig.spec("service_started")
    assert await rig.waits(job, first=False)
    assert not await rig.waits(other, first=False)
    rig.api.is_current = True
    assert not await rig.waits(job, first=False)


def test_what_depends_on_a_job_learns_that_it_has_completed(rig: Rig) -> None:
    rig.order.report_live("api")
    assert rig.states == {"api": NodeState.HEALTHY}
    rig.one_shots = frozenset({"api"})
    rig.order.report_live("api")
    assert rig.states == {"api": NodeState.COMPLETED}


@pytest.mark.parametrize(
    "keys",
    ["network_mode: 'service:api'", "ipc: 'service:api'", "pid: 'service:api'", "volumes_from: [api]"],
)
async def test_each_deploy_waits_for_the_container_that_it_uses(rig: Rig, keys: str) -> None:
    (rig.root / "compose.yaml").write_text(f"services: {{web: {{build: ., {keys}}}, api: {{build: .}}}}")
    spec = rig.project.services["web"]
    assert await rig.waits(spec, first=False), "there is no container to join"
    rig.api.container_id = "c"
    assert await rig.waits(spec, first=False), "it has not got its name yet"
    rig.order.report_live("api")
    rig.engine.state = "exited"
    assert await rig.waits(spec, first=False), "the engine joins only what runs"
    rig.engine.state = "running"
    assert not await rig.waits(spec, first=False)
    assert rig.order.count_replacements(spec) == {"api": 0}
    rig.order.report_replaced("api")
    assert rig.order.count_replacements(spec) == {"api": 1}
    assert rig.replaced == ["api"]


class Deployer:
    """A deployer that makes a new container at each deploy, and lets a test act meanwhile."""

    def __init__(self) -> None:
        self.live: str | None = None
        self.container: Live | None = None
        self.meanwhile: Callable[[], None] = lambda: None
        self.given_up = list[str]()
        self.outcome = DeployOutcome.LIVE

    async def keep_unchanged(self, revision: str, image: str) -> Deployed | None:
        if self.outcome is DeployOutcome.UNCHANGED and self.container:
            return Deployed(self.container.id, self.outcome)
        return None

    async def deploy(self, revision: str, image: str) -> Deployed:
        self.meanwhile()
        if self.outcome is DeployOutcome.LIVE:
            self.container = Live(f"of {revision}", image, revision, "", {}, 0.0)
        assert self.container
        return Deployed(self.container.id, self.outcome)

    def replace_container(self, reason: str) -> None:
        self.given_up.append(reason)


async def test_a_deploy_that_replaced_the_container_is_reported_one_that_kept_it_is_not(rig: Rig) -> None:
    spec, deployer = rig.spec("service_started"), Deployer()
    rig.api.container_id = "c"
    ordered = OrderedDeployer(deployer, rig.order, lambda: spec, rig.shown.append)  # type: ignore[arg-type]
    await ordered.deploy("one", "i")
    assert rig.replaced == ["web"]
    deployer.outcome = DeployOutcome.UNCHANGED
    await ordered.deploy("two", "i")
    assert rig.replaced == ["web"]


async def test_what_stays_as_it_is_waits_for_no_job(rig: Rig) -> None:
    spec, deployer = rig.spec("service_completed_successfully"), Deployer()
    ordered = OrderedDeployer(deployer, rig.order, lambda: spec, rig.shown.append)  # type: ignore[arg-type]
    deployer.container, deployer.outcome = Live("c", "i", "one", "", {}, 0.0), DeployOutcome.UNCHANGED
    rig.api.has_failed = True
    async with asyncio.timeout(30):
        deployed = await ordered.deploy("two", "i")
    assert (deployed.container, deployed.outcome) == ("c", DeployOutcome.UNCHANGED)
    assert rig.states == {"web": NodeState.HEALTHY}
    assert rig.shown == []


async def test_a_wait_names_what_has_failed(rig: Rig) -> None:
    spec = rig.spec("service_completed_successfully")
    rig.api.has_failed = True
    assert await rig.waits(spec, first=False)
    assert any("api failed" in text for text in rig.shown)


async def test_a_container_that_joined_one_that_was_replaced_meanwhile_is_replaced(rig: Rig) -> None:
    (rig.root / "compose.yaml").write_text(
        "services: {web: {build: ., network_mode: 'service:api'}, api: {build: .}}"
    )
    spec, deployer = rig.project.services["web"], Deployer()
    rig.api.container_id = "c"
    rig.order.report_live("api")
    ordered = OrderedDeployer(deployer, rig.order, lambda: spec, rig.shown.append)  # type: ignore[arg-type]
    await ordered.deploy("one", "i")
    assert deployer.given_up == []
    deployer.meanwhile = lambda: rig.order.report_replaced("api")
    await ordered.deploy("two", "i")
    (reason,) = deployer.given_up
    assert missing(reason, "container", "uses", "replaced") == []
