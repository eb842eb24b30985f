"""Whose containers and images are whose, on a real engine: labels are inherited, ownership is not."""

from __future__ import annotations

import io
import tarfile
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import docker
import docker.errors
import pytest

from tests.images import build
from tests.unit.deploy.world import Recipe
from watcher import labels
from watcher.deploy import ContainerDeployer, DeployPolicy, Published
from watcher.deploy.owned import NotOurs
from watcher.engine import DockerEngine
from watcher.observers.events import Event
from watcher.prune import PrunePolicy, Pruner, ServiceScope

pytestmark = [pytest.mark.engine, pytest.mark.timeout(240)]
RUN = "watcher.test"


@dataclass
class Sleeps(Recipe):
    """A service without ports, which is ready as soon as it runs."""

    ports: tuple[int, ...] = ()

    def config(
        self, image: str, publish: Published, extra_labels: Mapping[str, str], joins: str = "", **named: bool
    ) -> Mapping[str, Any]:
        body = super().config(image, publish, {**extra_labels, RUN: self.project}, joins, **named)
        return {**body, "Cmd": ["sleep", "600"], "Volumes": {"/data": {}}, "HostConfig": {"Init": True}}


@dataclass
class Heard:
    events: list[Event] = field(default_factory=list)

    def notify(self, event: Event) -> None:
        self.events.append(event)


class Machine:
    """One service's objects and a stranger's, on the machine's engine."""

    def __init__(self, engine: DockerEngine) -> None:
        self.engine = engine
        self.api: Any = docker.from_env(version="auto").api
        self.run = uuid.uuid4().hex[:10]
        self.recipe = Sleeps(name=f"box-{self.run}", project=f"owned-{self.run}")
        self.ref = f"owned-{self.run}"
        self.volumes: list[str] = []

    def image(self, kind: str = labels.FINAL, tag: str = "rev-000000000001") -> str:
        """As a build of ours leaves it."""
        own = labels.image_labels(self.recipe.project, self.recipe.service, kind) | {RUN: self.recipe.project}
        text = "FROM alpine:latest\nCOPY id /id\n"
        return build(self.api, f"{self.ref}:{tag}", text, {"id": uuid.uuid4().hex.encode()}, own)

    def child(self, tag: str) -> str:
        """As `docker build` of somebody's Dockerfile that begins with our image leaves it."""
        text = f"FROM {self.ref}:rev-000000000001\nCOPY id /other\n"
        return build(self.api, tag, text, {"id": uuid.uuid4().hex.encode()}, {})

    def run_theirs(self, name: str, image: str, **labelled: str) -> str:
        """As `docker run -d -v /data`."""
        body = {
            "Image": image,
            "Cmd": ["sleep", "600"],
            "Volumes": {"/data": {}},
            "Labels": {**labelled, RUN: self.recipe.project},
            "HostConfig": {"Init": True},
        }
        made = str(self.api.create_container_from_config(body, name)["Id"])
        self.api.start(made)
        return made

    def volume(self, container: str) -> str:
        """The name of the container's anonymous volume."""
        (mount,) = self.api.inspect_container(container)["Mounts"]
        self.volumes.append(mount["Name"])
        return str(mount["Name"])

    def volume_exists(self, name: str) -> bool:
        return any(each["Name"] == name for each in self.api.volumes()["Volumes"] or ())

    def deployer(self) -> ContainerDeployer:
        """As a new process has it."""
        return ContainerDeployer(
            cast(Any, self.recipe),
            engine=self.engine,
            fronts={},
            policy=DeployPolicy(soak=0.0, drain=0.0),
            observer=Heard(),
            on_lost=lambda _: None,
            on_rolled_back=lambda _: None,
        )

    def pruner(self, *, builder_image: bool = True) -> Pruner:
        """As a new process has it."""
        scope = ServiceScope(
            self.recipe.project,
            self.recipe.service,
            f"docker.io/library/{self.ref}:latest",
            f"docker.io/library/{self.ref}:builder",
            self.recipe.name,
        )
        policy = PrunePolicy(keep=1, grace=0.0, builder_image=builder_image)
        return Pruner(self.engine, Heard(), scope=scope, policy=policy)

    def shown(self, container: str) -> tuple[Any, ...]:
        """All of a container that we could change."""
        raw = self.api.inspect_container(container)
        return raw["Name"], raw["State"]["Status"], raw["State"]["StartedAt"], raw["Mounts"]

    def clean(self) -> None:
        mine = {"label": [f"{RUN}={self.recipe.project}"]}
        for item in self.api.containers(all=True, filters=mine):
            self.api.remove_container(item["Id"], force=True, v=True)
        for _ in range(3):  # one with children goes in the next round
            for item in self.api.images(filters=mine):
                try:
                    self.api.remove_image(item["Id"], force=True)
                except docker.errors.APIError:
                    continue
        for name in self.volumes:
            if self.volume_exists(name):
                self.api.remove_volume(name)
        self.api.close()


@pytest.fixture
async def machine() -> AsyncIterator[Machine]:
    engine = await DockerEngine.open()
    made = Machine(engine)
    try:
        yield made
    finally:
        made.clean()
        await engine.close()


async def test_containers_that_inherit_our_labels_outlive_a_start_a_deploy_and_an_end(
    machine: Machine,
) -> None:
    api, recipe = machine.api, machine.recipe
    image = machine.image()
    first = machine.deployer()
    live = (await first.deploy("r1", image)).container
    ours = machine.volume(live)

    commit = api.commit(live, repository=f"{machine.ref}-x", tag="latest")["Id"]
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:  # `docker export` of ours, much shorter
        archive.addfile(tarfile.TarInfo("data"))
    carried = api.inspect_container(live)["Config"]["Labels"]
    changes = [f'LABEL {name}="{value}"' for name, value in carried.items()]
    api.import_image_from_data(
        content.getvalue(), repository=f"{machine.ref}-imported", tag="latest", changes=changes
    )
    theirs = {
        "commit": machine.run_theirs(f"x-{machine.run}", commit),
        "commit with a candidate's name": machine.run_theirs(f"{recipe.name}.0123456789ab", commit),
        "commit with a name of one that stepped aside": machine.run_theirs(f"{recipe.name}.old-1", commit),
        "child": machine.run_theirs(f"child-{machine.run}", machine.child(f"{machine.ref}-child:1")),
        "our image": machine.run_theirs(f"plain-{machine.run}", image),
        "import": str(
            api.create_container_from_config(
                {"Image": f"{machine.ref}-imported", "Cmd": ["/none"]}, f"imported-{machine.run}"
            )["Id"]
        ),
    }
    volumes = [machine.volume(box) for name, box in theirs.items() if name != "import"]
    before = {name: machine.shown(box) for name, box in theirs.items()}

    second = machine.deployer()  # after `kill -9` of the first
    await second.remove_conflicting()
    assert await second.adopt() == "r1"
    assert second.container
    assert second.container.id == live
    await second.deploy("r2", machine.image(tag="rev-000000000002"))
    for box in theirs.values():
        with pytest.raises(NotOurs):
            await second._own.remove(box)
    last = second.container.id
    machine.volume(last)
    await second.close(stop=True)

    assert {name: machine.shown(box) for name, box in theirs.items()} == before
    assert all(map(machine.volume_exists, volumes)), "a stranger lost data"
    for box in (live, last):
        assert await machine.engine.container(box) is None
    assert not machine.volume_exists(ours), "what nobody named and nobody uses goes with the container"


async def test_an_anonymous_volume_that_another_container_uses_outlives_ours(machine: Machine) -> None:
    deployer = machine.deployer()
    live = (await deployer.deploy("r1", machine.image())).container
    volume = machine.volume(live)
    body = {"Image": "alpine:latest", "Cmd": ["true"], "Labels": {RUN: machine.recipe.project}}
    machine.api.create_container_from_config(
        {**body, "HostConfig": {"VolumesFrom": [live]}}, f"uses-{machine.run}"
    )
    await deployer.close(stop=True)
    assert await machine.engine.container(live) is None
    assert machine.volume_exists(volume)


async def test_an_untagged_compile_stage_of_an_earlier_version_goes_and_its_child_stays(
    machine: Machine,
) -> None:
    step = "RUN : -newer /root/.cache/go-build/watcher-c683e71ef5f8 -print -quit && touch /app"
    own = labels.image_labels(machine.recipe.project, machine.recipe.service, labels.BUILDER)
    own[RUN] = machine.recipe.project
    ref = f"{machine.ref}:builder"
    child_text = f"FROM {ref}\nLABEL further=yes\n"
    stage = build(machine.api, ref, f"FROM alpine:latest\n{step}\n", {"id": b"1"}, own)
    child = build(machine.api, f"{machine.ref}-child:1", child_text, {"id": b"1"}, {})
    for name in (ref, f"{machine.ref}-child:1"):  # another image takes the name, as the next export does
        build(machine.api, name, "FROM alpine:latest\nCOPY id /id\n", {"id": b"2"}, {RUN: own[RUN]})
    there = {
        each["Id"] for each in machine.api.images(filters={"label": [f"{RUN}={machine.recipe.project}"]})
    }
    if not {stage, child} <= there:
        pytest.skip("the containerd store keeps no image without a name")
    report = await machine.pruner(builder_image=False).prune()
    assert [verdict.id for verdict in report.verdicts if verdict.remove] == [stage]
    assert await machine.engine.image(stage) is None
    assert await machine.engine.image(child)


async def test_untagged_images_with_inherited_labels_outlive_a_prune(machine: Machine) -> None:
    final = machine.image()
    stage = machine.image(labels.BUILDER, "builder")
    child = machine.child(f"{machine.ref}-child:1")
    machine.api.remove_image(f"{machine.ref}-child:1", noprune=True)
    if not machine.api.images(filters={"label": [f"{RUN}={machine.recipe.project}"], "dangling": True}):
        child = ""  # the containerd store keeps no image without a name
    report = await machine.pruner().prune()
    assert [verdict for verdict in report.verdicts if verdict.remove] == []
    assert await machine.engine.image(final)
    assert await machine.engine.image(stage)
    assert not child or await machine.engine.image(child)
