"""What a project that is gone left on a real engine goes, and nothing that others made."""

from __future__ import annotations

import asyncio
import io
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import docker.errors
import pytest

from watcher import labels
from watcher.builder import BuildJournal, EngineConnection
from watcher.buildkit import MemorySource, SolveRequest
from watcher.engine import DockerEngine
from watcher.prune import (
    Choice,
    EngineUse,
    GoneProjects,
    ProjectRecord,
    Registry,
    Removed,
    ServiceUse,
    locate,
    remove_gone,
)

pytestmark = pytest.mark.engine


@dataclass
class Machine:
    """A project of this run, and what stands on the engine beside it."""

    api: docker.APIClient
    engine: DockerEngine
    reached: EngineConnection
    folder: Path
    run: str

    @property
    def root(self) -> Path:
        return self.folder.resolve() / "src" / f"gone-{self.run}"

    @property
    def project(self) -> str:
        return labels.project_id(self.root)

    @property
    def projects(self) -> GoneProjects:
        return GoneProjects(self.reached, Registry(self.folder / "state"), running=lambda _: None)

    def make(self, repository: str, tag: str, **own: str) -> str:
        """An image with a shell that is built on no other one, as ours are; its id."""
        box = self.api.create_container("alpine", ["true"], labels={"gone.run": self.run})["Id"]
        data = b"".join(self.api.export(box))
        self.api.remove_container(box)
        found = {**own, "gone.run": self.run}
        changes = [f"LABEL {name}={value}" for name, value in found.items()] + ["CMD sleep 600"]
        self.api.import_image_from_data(data, repository=repository, tag=tag, changes=changes)
        return str(self.api.inspect_image(f"{repository}:{tag}")["Id"])  # type: ignore[no-untyped-call]

    def build(self, tag: str, text: str) -> None:
        """An image, by the engine's own builder."""
        file = io.BytesIO(f"{text}\nLABEL gone.run={self.run}".encode())
        for _ in self.api.build(fileobj=file, tag=tag, rm=True):
            pass

    def network(self, name: str, **own: str) -> str:
        return str(self.api.create_network(name, labels={"gone.run": self.run, **own})["Id"])

    def there(self, reference: str) -> bool:
        try:
            self.api.inspect_image(reference)  # type: ignore[no-untyped-call]
        except docker.errors.ImageNotFound:
            return False
        return True


@pytest.fixture
async def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Machine]:
    tmp_path.chmod(0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    engine, api = await DockerEngine.open(), docker.APIClient()
    made = Machine(api, engine, EngineConnection.over(engine), tmp_path, uuid.uuid4().hex[:12])
    made.root.mkdir(parents=True)
    yield made
    mine: Any = {"label": [f"gone.run={made.run}"]}
    for box in api.containers(all=True, filters=mine):
        api.remove_container(box["Id"], force=True)
    for network in api.networks(filters=mine):
        api.remove_network(network["Id"])
    for image in api.images(filters=mine):
        for tag in image["RepoTags"] or [image["Id"]]:
            api.remove_image(tag, force=True)
    api.close()
    await made.reached.close()


async def test_everything_of_it_goes_and_nothing_of_others(machine: Machine) -> None:
    run, project, api = machine.run, machine.project, machine.api
    own_image = labels.image_labels(project, "web", labels.FINAL)
    name, network = f"gone-{run}", f"gone-{run}_default"
    machine.network(network, **labels.network_labels(project, network))
    composes = f"gone-{run}_compose"
    machine.network(composes, **{"com.docker.compose.project": name, labels.PROJECT: project})
    image = machine.make(name, f"rev-{run}", **own_image)
    api.tag(image, name, "latest")
    machine.build(f"{name}-child:latest", f"FROM {name}:rev-{run}\nENV a=b")
    own = {**labels.app_labels(project, "web", "1" * 64), **labels.proof_labels(image), "gone.run": run}
    host = api.create_host_config(network_mode=network)
    box = api.create_container(image, name=name, labels=own, host_config=host, volumes=["/data"])["Id"]
    api.start(box)
    (volume,) = [each["Name"] for each in api.inspect_container(box)["Mounts"]]
    # With the labels of the image, and of a committed container of ours.
    committed = api.commit(box, f"{name}-kept", "v1")["Id"]
    user = api.create_container(committed, name=f"{name}-user", labels={"gone.run": run})["Id"]
    info = await machine.engine.info()
    assert info.id
    record = ProjectRecord(
        id=project,
        location=locate(machine.root),
        services=(ServiceUse("web", f"{name}:latest", name),),
        engines=(EngineUse.of(info),),
        last_seen=time.time(),
    )
    machine.projects.registry.write(record)
    cached = await _build_with_cache(machine, record)

    assert project not in {left.id for left in await machine.projects.find_projects()}
    machine.root.rmdir()
    (left,) = [left for left in await machine.projects.find_projects() if left.id == project]
    assert left.choice is Choice.OFFERED
    done = Removed()
    await remove_gone(machine.projects, [left], done)

    assert {item["Id"] for item in api.containers(all=True, filters={"label": f"gone.run={run}"})} == {user}
    assert [each["Name"] for each in api.networks(filters={"label": f"gone.run={run}"})] == [composes]
    assert machine.there(f"{name}-child:latest")
    assert machine.there(f"{name}-kept:v1")
    assert not machine.there(f"{name}:rev-{run}")
    assert not machine.there(f"{name}:latest")
    assert api.inspect_volume(volume)["Name"] == volume  # volumes never go
    api.remove_volume(volume)
    client = await machine.reached.built_in.client()
    left_over = {record.id for record in await client.disk_usage()}
    assert not cached["mount"] & left_over
    if await machine.reached.built_in.forgets_when_pruned():
        assert cached["step"] <= left_over
    else:
        assert not cached["step"] & left_over
        assert done.forgotten == [project]


async def _build_with_cache(machine: Machine, record: ProjectRecord) -> dict[str, set[str]]:
    """A build of the project's with a Go cache; the ids of the records that it made."""
    link, project = machine.reached.built_in, machine.project
    folder = machine.projects.registry.home / project
    journal = BuildJournal(folder, cache=record.engines[0].build_cache)
    text = (
        f"FROM alpine\nRUN --mount=type=cache,id={project}-gocache,target=/c "
        f"echo {machine.run} > /c/x && echo {machine.run} > /y\n"
    )
    client = await link.client()
    before = {each.id for each in await client.disk_usage()}
    request = SolveRequest(
        context=MemorySource({}),
        dockerfile=MemorySource({"Dockerfile": text.encode()}),
        shared_key=f"{project}/gone",
        exporter="",
    )
    with journal.build("web", "1" * 64, final=True) as write_down:
        await client.solve(request, write_down)
    assert await asyncio.to_thread(journal.flush)
    journal.close()
    made = [each for each in await client.disk_usage() if each.id not in before]
    found = {
        "mount": {
            each.id for each in made if each.kind == "exec.cachemount" and machine.run in each.description
        },
        "step": {each.id for each in made if each.kind == "regular" and machine.run in each.description},
    }
    assert all(len(ids) == 1 for ids in found.values())
    return found
