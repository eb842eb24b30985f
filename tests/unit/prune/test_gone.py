"""What projects that are gone left goes, by proof; what may come back, and what is somebody else's, stays."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.facts import missing
from tests.fake_engine import FakeEngine
from tests.unit.prune.test_build_records import COPY, build, record, step
from tests.unit.prune.test_marked_records import EARLIER, marked_by
from watcher import labels
from watcher.builder import BuildJournal, EngineConnection, build_cache_of
from watcher.buildkit import SolveRequest, UsageInfo
from watcher.engine import SystemInfo
from watcher.errors import EngineUnavailable, WatcherError
from watcher.prune import (
    CacheNames,
    Choice,
    EngineUse,
    GoneProjects,
    LeftProject,
    NamedCache,
    ProjectRecord,
    Registry,
    Removed,
    ServiceUse,
    gone_as_json,
    gone_rows,
    gone_summary,
    locate,
    project_rows,
    removal_summary,
    remove_gone,
)
from watcher.prune.gone_caches import GoneCaches
from watcher.prune.left_project import EngineLeftovers
from watcher.prune.model import Cause, ObjectKind, Reason, Verdict
from watcher.system import lock

IMAGE = "shop:latest"


class Named(FakeEngine):
    """An engine with an id of its own."""

    def __init__(self, name: str = "one") -> None:
        super().__init__()
        self.name = name

    async def info(self) -> SystemInfo:
        return replace(await super().info(), id=self.name, endpoint=f"fake://{self.name}")


@dataclass
class Buildkit:
    """A link and its client at once; cache mounts go when a build without cache names them."""

    records: dict[str, UsageInfo] = field(default_factory=dict)
    mounts: dict[str, UsageInfo] = field(default_factory=dict)  # by the id that steps give them
    forgets: bool = False
    built_on: set[str] = field(default_factory=set)  # records that cannot be removed
    readings: int = 0

    async def forgets_when_pruned(self) -> bool:
        return self.forgets

    async def image_tags(self) -> set[str]:
        return set()

    async def client(self) -> Buildkit:
        return self

    async def close(self) -> None:
        """Nothing is open."""

    async def disk_usage(self, filters: Sequence[str] = ()) -> list[UsageInfo]:
        self.readings += 1
        if filters == ("type==exec.cachemount",):
            return list(self.mounts.values())
        return [*self.records.values(), *self.mounts.values()]

    async def remove_records(self, ids: Sequence[str], *, shared: bool = False) -> list[UsageInfo]:
        return [self.records.pop(name) for name in ids if name in self.records and name not in self.built_on]

    async def solve(self, request: SolveRequest, _: object) -> None:
        assert request.no_cache
        source: Any = request.dockerfile
        text = source._files["Dockerfile"].decode()
        for name in list(self.mounts):
            if f"id={name}," in text:
                del self.mounts[name]


@dataclass
class Bench:
    """A machine with one engine, on which projects are watched, deleted, and looked for."""

    folder: Path
    engine: Named = field(default_factory=Named)
    buildkit: Buildkit = field(default_factory=Buildkit)
    others: dict[str, EngineConnection] = field(default_factory=dict)
    foreign: set[str] = field(default_factory=set)
    running: set[str] = field(default_factory=set)
    number: int = 0

    @property
    def registry(self) -> Registry:
        return Registry(self.folder / "state")

    def project(self, name: str = "shop", *, registered: bool = True, on: Sequence[EngineUse] = ()) -> Path:
        root = self.folder.resolve() / "src" / name
        root.mkdir(parents=True)
        if registered:
            self.registry.write(
                ProjectRecord(
                    id=labels.project_id(root),
                    location=locate(root),
                    services=(ServiceUse("web", IMAGE, "shop-web"),),
                    engines=tuple(on) or (EngineUse("one", "fake://one"),),
                    last_seen=1.0,
                )
            )
        return root

    def image(self, root: Path, *tags: str, kind: str = labels.FINAL, **values: Any) -> str:
        self.number += 1
        own = labels.image_labels(labels.project_id(root), "web", kind)
        tags = tags or (f"shop:rev-{self.number:012x}",)
        return self.engine.add_image(tags=tags, labels=own, layers={f"layer{self.number}": 100}, **values)

    async def container(self, root: Path, image: str, name: str = "shop-web", **config: Any) -> str:
        own = labels.app_labels(labels.project_id(root), "web", "1" * 64) | labels.proof_labels(image)
        box = await self.engine.create(name, {"Image": image, "Labels": own, **config})
        await self.engine.start(box)
        return box

    async def network(self, root: Path, name: str = "shop_default") -> None:
        own = labels.network_labels(labels.project_id(root), name)
        await self.engine.ensure_network({"Name": name, "Labels": own})

    async def everything(self, root: Path) -> None:
        """A container that runs, one that holds its network, a network, two images, build cache, caches."""
        project = labels.project_id(root)
        await self.network(root)
        image = self.image(root, "shop:rev-00000000aaaa", IMAGE)
        self.image(root, "shop:builder", kind=labels.BUILDER)
        own = labels.pause_labels(project, "web") | labels.proof_labels(image)
        endpoints: dict[str, Any] = {"NetworkingConfig": {"EndpointsConfig": {"shop_default": {}}}}
        holder = await self.engine.create("watcher-net-1", {"Image": image, "Labels": own, **endpoints})
        await self.engine.start(holder)
        await self.container(root, image, HostConfig={"NetworkMode": f"container:{holder}"})
        folder = self.registry.home / project
        folder.mkdir(parents=True, exist_ok=True)
        named = f"RUN --mount=type=cache,id={project}-gocache-cgo-1,target=/c go build"
        entry = build(1, step(1), step(1, f"[2/2] {named}", after=2))
        BuildJournal(folder, cache=build_cache_of("one")).update(lambda _: [entry])
        self.buildkit.records["a"] = record("a", 101.05, COPY)
        for name in (f"{project}-gocache", f"{project}-gocache-cgo-1", "other-gocache"):
            self.buildkit.mounts[name] = replace(record(f"m-{name}", 50.0, "m"), kind="exec.cachemount")

    def projects(self) -> GoneProjects:
        link: Any = self.buildkit

        async def open_engine(endpoint: str) -> EngineConnection:
            if endpoint not in self.others:
                raise EngineUnavailable(f"no engine answers at {endpoint}")
            return self.others[endpoint]

        return GoneProjects(
            EngineConnection(self.engine, link),
            self.registry,
            open_engine=open_engine,
            running=lambda project: project if project in self.running else None,
        )

    async def find(self, *named: str) -> dict[str, LeftProject]:
        return {left.id: left for left in await self.projects().find_projects(named)}

    async def remove(self, *named: str) -> Removed:
        """As the command does."""
        found = await self.projects().find_projects(named)
        choices = {Choice.OFFERED, Choice.BY_NAME} if named else {Choice.OFFERED}
        chosen = [left for left in found if left.choice in choices and (not named or left.is_named(named))]
        done = Removed()
        await remove_gone(self.projects(), chosen, done, named=bool(named))
        return done

    async def there(self) -> tuple[set[str], set[str], set[str]]:
        containers = {item.name for item in await self.engine.containers()}
        images = {tag for image in await self.engine.images() for tag in image.tags or (image.id,)}
        return containers, images, {each.name for each in await self.engine.networks()}


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    tmp_path.chmod(0o700)
    return Bench(tmp_path)


NOTHING: tuple[set[str], set[str], set[str]] = (set(), set(), set())


async def test_all_that_a_deleted_project_left_goes_and_it_is_forgotten(bench: Bench) -> None:
    root = bench.project()
    await bench.everything(root)
    root.rmdir()
    (left,) = (await bench.find()).values()
    assert (left.choice, left.path, left.why) == (Choice.OFFERED, str(root), "deleted")
    assert sorted(verdict.kind for verdict in left.to_remove) == sorted(
        ["container"] * 2 + ["network", "final", "builder", "step"] + ["go-cache"] * 3
    )
    done = await bench.remove()
    assert await bench.there() == NOTHING
    assert bench.buildkit.records == {}
    assert set(bench.buildkit.mounts) == {"other-gocache"}
    assert bench.registry.entries() == []
    assert done.forgotten == [left.id]
    assert done.freed is not None
    assert done.freed >= 200
    assert await bench.find() == {}


@pytest.mark.parametrize("used", [True, False])
async def test_a_shared_cache_goes_with_the_last_project_that_used_it(bench: Bench, used: bool) -> None:
    root = bench.project()
    await bench.everything(root)
    project = labels.project_id(root)
    shared = "watcher-0123456789ab-0123456789-gocache"
    bench.buildkit.mounts[shared] = replace(record(f"m-{shared}", 50.0, "m"), kind="exec.cachemount")
    for name in [project, "blog-0123456789"] if used else [project]:
        (bench.registry.home / name).mkdir(exist_ok=True)
        named = {shared: NamedCache("/c", time.time())}
        CacheNames(bench.registry.home / name).note("web", named, {shared})
    root.rmdir()
    (left,) = [left for left in (await bench.find()).values() if left.id == project]
    verdicts = [verdict for on in left.engines for verdict in on.verdicts if verdict.name == shared]
    assert [(verdict.remove, "blog-0123456789" in verdict.reason) for verdict in verdicts] == [
        (not used, used)
    ]
    done = await bench.remove()
    assert (shared in bench.buildkit.mounts) is used
    assert done.forgotten == [project]


async def test_finding_removes_nothing(bench: Bench) -> None:
    root = bench.project()
    await bench.everything(root)
    root.rmdir()
    before = await bench.there()
    for _ in range(2):
        await bench.find()
    assert (await bench.there(), bench.engine.removed) == (before, [])
    assert bench.buildkit.records


@pytest.mark.parametrize("how", ["here", "renamed", "moved", "parent", "link", "running"])
async def test_a_project_that_may_come_back_stays(bench: Bench, how: str) -> None:
    root = bench.project()
    await bench.everything(root)
    project = labels.project_id(root)
    match how:
        case "renamed":
            root.rename(root.with_name("store"))
        case "moved":
            new = bench.folder.resolve() / "elsewhere"
            root.rename(new)
            bench.registry.write(
                replace(_record(bench, project), id=labels.project_id(new), location=locate(new))
            )
        case "parent":
            shutil.rmtree(root.parent)
        case "link":
            root.rmdir()
            root.symlink_to("/nowhere")
        case "running":
            root.rmdir()
            bench.running.add(project)
    before = await bench.there()
    done = await bench.remove()
    assert done.projects == []
    assert await bench.there() == before
    by_name = {"renamed", "moved", "parent"}
    await bench.remove(project)
    assert (await bench.there() == NOTHING) is (how in by_name)


def _record(bench: Bench, project: str) -> ProjectRecord:
    found = bench.registry.entry(project).record
    assert found
    return found


async def test_a_project_that_comes_back_after_it_was_shown_stays(bench: Bench) -> None:
    root = bench.project()
    await bench.everything(root)
    root.rmdir()
    found = await bench.projects().find_projects()
    root.mkdir()
    before, done = await bench.there(), Removed()
    await remove_gone(bench.projects(), found, done)
    assert await bench.there() == before
    assert [left.choice for left in done.projects] == [Choice.REFUSED]
    assert any("is kept" in line for line in removal_summary(done))


async def test_a_project_whose_daemon_starts_meanwhile_stays(bench: Bench) -> None:
    root = bench.project()
    await bench.everything(root)
    root.rmdir()
    found = await bench.projects().find_projects()
    held = lock.ProjectLock.take(root, labels.project_id(root))
    before, done = await bench.there(), Removed()
    try:
        await remove_gone(bench.projects(), found, done)
    finally:
        held.release()
    assert await bench.there() == before


async def test_only_what_was_shown_goes(bench: Bench) -> None:
    root = bench.project()
    bench.image(root)
    root.rmdir()
    found = await bench.projects().find_projects()
    later = bench.image(root, "shop:rev-00000000bbbb")
    await remove_gone(bench.projects(), found, Removed())
    assert [image.id for image in await bench.engine.images()] == [later]
    assert bench.registry.entries() == []


async def test_what_others_made_from_it_stays(bench: Bench) -> None:
    root = bench.project()
    project = labels.project_id(root)
    image = bench.image(root)
    box = await bench.container(root, image)
    kept = {bench.image(root, "mine:1"), bench.image(root, "mine:rev-0123456789ab")}  # FROM an image of ours
    kept.add(bench.image(root, "shop:rev-00000000cccc", parent=image))
    kept.add(bench.engine.commit(box, "shop:rev-dddddddddddd"))
    kept |= {bench.image(root, IMAGE)}  # by compose's name alone
    kept.add(
        bench.engine.add_image(labels=labels.image_labels(project, "web", labels.FINAL))
    )  # lost its name
    user = await bench.engine.create("users", {"Image": image})  # labels of its image
    await bench.engine.ensure_network(
        {"Name": "copy", "Labels": labels.network_labels(project, "shop_default")}
    )
    root.rmdir()
    await bench.remove()
    containers, _, networks = await bench.there()
    assert (containers, networks) == ({"users"}, {"copy"})
    assert {each.id for each in await bench.engine.images()} == {*kept, image}  # `users` runs from it
    await bench.engine.remove(user)
    await bench.remove()
    assert {each.id for each in await bench.engine.images()} == kept


async def test_a_name_that_somebody_gave_stays_and_ours_goes(bench: Bench) -> None:
    root = bench.project()
    image = bench.image(root, "shop:rev-00000000aaaa", "keep:me")
    root.rmdir()
    await bench.remove()
    (left,) = await bench.engine.images()
    assert (left.id, left.tags) == (image, ("keep:me",))


async def test_a_network_that_a_stopped_container_of_others_has_stays(bench: Bench) -> None:
    root = bench.project()
    await bench.network(root)
    other = bench.engine.add_image(tags=("db:1",))
    endpoints: dict[str, Any] = {"NetworkingConfig": {"EndpointsConfig": {"shop_default": {}}}}
    box = await bench.engine.create("db", {"Image": other, **endpoints})
    root.rmdir()
    await bench.remove()
    assert (await bench.there())[2] == {"shop_default"}
    assert bench.registry.entries() != []  # something of its own is still there
    await bench.engine.remove(box)
    await bench.remove()
    assert (await bench.there())[2] == set()
    assert bench.registry.entries() == []


async def test_a_container_whose_network_others_use_stays(bench: Bench) -> None:
    root = bench.project()
    image = bench.image(root)
    box = await bench.container(root, image)
    other = bench.engine.add_image(tags=("side:1",))
    await bench.engine.create("side", {"Image": other, "HostConfig": {"NetworkMode": f"container:{box}"}})
    root.rmdir()
    await bench.remove()
    assert (await bench.there())[0] == {"shop-web", "side"}


# Projects that are in no registry.


async def test_an_unknown_project_goes_only_by_its_name(bench: Bench) -> None:
    root = bench.project(registered=False)
    await bench.everything(root)
    shutil.rmtree(bench.registry.home)
    root.rmdir()
    (left,) = (await bench.find()).values()
    assert left.choice is Choice.BY_NAME
    assert "not in the registry" in left.why
    before = await bench.there()
    await bench.remove()
    assert await bench.there() == before
    await bench.remove(left.id)
    containers, images, networks = await bench.there()
    # Nothing tells that the compose file named its image like this, so that name stays.
    assert (containers, images, networks) == (set(), {IMAGE}, set())
    assert await bench.find() == {}


async def test_an_unknown_project_whose_folder_is_there_stays(bench: Bench) -> None:
    root = bench.project(registered=False)
    image = bench.image(root)
    where = {"com.docker.compose.project.working_dir": str(root)}
    own = labels.app_labels(labels.project_id(root), "web", "1") | labels.proof_labels(image) | where
    await bench.engine.create("shop-web", {"Image": image, "Labels": own})
    (left,) = (await bench.find()).values()
    assert (left.choice, left.path) == (Choice.REFUSED, str(root))
    before = await bench.there()
    await bench.remove(left.id)
    assert await bench.there() == before


async def test_a_project_from_before_the_registry_has_its_journal(bench: Bench) -> None:
    root = bench.project(registered=False)
    await bench.everything(root)
    project = labels.project_id(root)
    root.rmdir()
    (left,) = (await bench.find()).values()
    assert (left.id, left.choice) == (project, Choice.BY_NAME)
    assert "it has no record" in left.why
    await bench.remove(project)
    assert bench.buildkit.records == {}
    assert bench.registry.entries() == []


async def test_a_name_that_nobody_has_is_said(bench: Bench) -> None:
    (left,) = (await bench.find("nothing-0123456789")).values()
    assert left.choice is Choice.REFUSED
    assert missing(left.why, "no project", "id") == []


# Several engines.


def other_engine(bench: Bench, name: str, endpoint: str) -> Named:
    engine, link = Named(name), Buildkit()
    linked: Any = link
    bench.others[endpoint] = EngineConnection(engine, linked)
    return engine


async def test_an_engine_that_is_away_is_said_and_the_project_not_forgotten(bench: Bench) -> None:
    away = EngineUse("two", "tcp://away:2375")
    root = bench.project(on=(EngineUse("one", "fake://one"), away))
    bench.image(root)
    root.rmdir()
    found = list((await bench.find()).values())
    assert any("tcp://away:2375" in line for line in gone_summary(found, found))
    done = await bench.remove()
    assert await bench.there() == NOTHING
    assert [entry.id for entry in bench.registry.entries()] == [labels.project_id(root)]
    assert any("tcp://away:2375" in line for line in removal_summary(done))
    engine = other_engine(bench, "two", away.endpoint)
    own = labels.image_labels(labels.project_id(root), "web", labels.FINAL)
    engine.add_image(tags=("shop:rev-00000000eeee",), labels=own)
    await bench.remove()
    assert await engine.images() == []
    assert bench.registry.entries() == []


async def test_the_build_cache_of_each_engine_goes_by_its_own_journal(bench: Bench) -> None:
    other = EngineUse("two", "tcp://two:2375")
    root = bench.project(on=(EngineUse("one", "fake://one"), other))
    await bench.everything(root)
    other_engine(bench, "two", other.endpoint)
    elsewhere: Any = bench.others[other.endpoint].built_in
    elsewhere.records["b"] = record("b", 501.05, COPY)
    journal = BuildJournal(bench.registry.home / labels.project_id(root), cache=other.build_cache)
    journal.update(lambda _: [build(5, step(5))])
    root.rmdir()
    done = await bench.remove()
    assert (bench.buildkit.records, elsewhere.records) == ({}, {})
    assert done.forgotten == [labels.project_id(root)]


async def test_a_buildkitd_that_is_away_is_said_and_the_project_not_forgotten(bench: Bench) -> None:
    use = EngineUse("one", "fake://one", buildkit=f"unix://{bench.folder}/nowhere.sock")
    root = bench.project(on=(use,))
    bench.image(root)
    folder = bench.registry.home / labels.project_id(root)
    BuildJournal(folder, cache=use.build_cache).update(lambda _: [build(1, step(1))])
    root.rmdir()
    found = list((await bench.find()).values())
    assert any("nowhere.sock" in line for line in gone_summary(found, found))
    done = await bench.remove()
    assert await bench.there() == NOTHING
    assert any("nowhere.sock" in line for line in removal_summary(done))
    assert done.forgotten == []


async def test_another_engine_at_the_same_address_is_left_alone(bench: Bench) -> None:
    root = bench.project(on=(EngineUse("two", "tcp://there:2375"),))
    engine = other_engine(bench, "three", "tcp://there:2375")
    own = labels.image_labels(labels.project_id(root), "web", labels.FINAL)
    engine.add_image(tags=("shop:rev-00000000eeee",), labels=own)
    root.rmdir()
    (left,) = (await bench.find()).values()
    assert any("another engine answers" in each.problem for each in left.engines)
    assert not (await bench.remove()).forgotten
    done = await bench.remove(left.id)
    assert (len(await engine.images()), done.forgotten) == (1, [left.id])
    assert bench.registry.entries() == []


async def test_an_engine_that_does_not_answer_is_not_forgotten_by_name_either(bench: Bench) -> None:
    root = bench.project(on=(EngineUse("two", "tcp://away:2375"), EngineUse("four", "tcp://there:2375")))
    other_engine(bench, "three", "tcp://there:2375")
    root.rmdir()
    assert not (await bench.remove(labels.project_id(root))).forgotten


async def test_a_pattern_names_the_projects_of_this_registry_only(bench: Bench) -> None:
    """Those that can be another user's, or that are there, are not meant by it."""
    gone, there, parent = bench.project("a"), bench.project("b"), bench.project("c/d")
    foreign = bench.project("e", registered=False)
    for root in (gone, there, parent, foreign):
        bench.image(root)
    for root in (gone, parent, foreign):
        root.rmdir()
    parent.parent.rmdir()
    unreadable = bench.registry.home / "x-0123456789"
    unreadable.mkdir()
    done = await bench.remove("*")
    assert {left.id for left in done.projects} == {labels.project_id(gone), labels.project_id(parent)}
    assert len(await bench.engine.images()) == 2
    assert unreadable.is_dir()


async def test_a_pattern_that_selects_nothing_is_said(bench: Bench) -> None:
    bench.project("b")
    bench.project("a").rmdir()
    found = await bench.find("a-*", "b-*")
    (refused,) = (left for left in found.values() if left.choice is Choice.REFUSED)
    assert refused.id == "b-*"
    assert len(found) == 2


async def test_the_build_cache_is_read_once_for_all_projects(bench: Bench) -> None:
    """A large one takes the engine seconds, and hundreds of projects can be gone."""
    for number in range(5):
        bench.project(f"p{number}").rmdir()
    assert len(await bench.find()) == 5
    assert bench.buildkit.readings == 1
    found = await bench.projects().find_deleted(time.time())
    assert (len(found), bench.buildkit.readings) == (5, 2)
    assert not await bench.projects().find_deleted(0.5)
    assert bench.buildkit.readings == 2


async def test_build_cache_that_everybody_would_lose_stays_and_is_said(bench: Bench) -> None:
    root = bench.project()
    await bench.everything(root)
    bench.buildkit.forgets = True
    bench.buildkit.records["base"] = record("base", 1.0, "")
    bench.buildkit.records["theirs"] = record("theirs", 2.0, "[2/2] RUN x", parents=("base",))
    root.rmdir()
    await bench.remove()
    assert await bench.there() == NOTHING
    assert set(bench.buildkit.records) == {"a", "base", "theirs"}
    (left,) = (await bench.find()).values()
    assert any(missing(row.reason, "forget 1 build step") == [] for row in gone_rows([left], done=False))
    del bench.buildkit.records["theirs"]  # nothing is left that would be forgotten
    await bench.remove()
    assert set(bench.buildkit.records) == {"base"}


async def test_what_shows_no_project_is_not_this_ones(bench: Bench) -> None:
    root = bench.project()
    bench.image(root)
    bench.buildkit.records["old"] = record("old", 50.0, EARLIER)
    root.rmdir()
    (left,) = (await bench.find()).values()
    assert "earlier" not in " ".join(row.name for row in gone_rows([left], done=False))
    done = await bench.remove()
    assert set(bench.buildkit.records) == {"old"}
    assert done.forgotten == [left.id]


async def test_build_cache_without_a_journal_goes_by_its_mark(bench: Bench) -> None:
    root = bench.project(registered=False)
    bench.image(root)
    project = labels.project_id(root)
    bench.buildkit.records["ours"] = record("ours", 50.0, marked_by(project))
    bench.buildkit.records["theirs"] = record("theirs", 50.0, marked_by("shop-9876543210"))
    root.rmdir()
    await bench.remove(project)
    assert set(bench.buildkit.records) == {"theirs"}


# Interrupted, and told.


async def test_an_interruption_leaves_what_is_told_true(bench: Bench) -> None:
    root = bench.project()
    for _ in range(6):
        bench.image(root)
    root.rmdir()
    found, done = await bench.projects().find_projects(), Removed()
    task = asyncio.create_task(remove_gone(bench.projects(), found, done))
    while len(bench.engine.removed) < 2:
        await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()
    left = 6 - len(bench.engine.removed)
    assert 0 < left < 6
    assert len(done.verdicts) == len(bench.engine.removed)
    assert len(await bench.engine.images()) == left
    assert bench.registry.entries() != []
    await bench.remove()
    assert await bench.there() == NOTHING


async def test_rows_and_json_say_what_is_found_and_done(bench: Bench) -> None:
    root = bench.project()
    await bench.everything(root)
    root.rmdir()
    found = list((await bench.find()).values())
    (row,) = project_rows(found)
    assert (row.state, row.path) == ("gone", str(root))
    assert missing(row.left, "2 containers", "1 network", "2 images") == []
    document = gone_as_json(found, None)
    assert document["dry_run"] is True
    (one,) = document["projects"]
    assert (one["path"], one["choice"], one["last_seen"]) == (str(root), "offered", 1.0)
    assert {each["verdict"] for each in one["engines"][0]["objects"]} == {"remove"}
    done = await bench.remove()
    document = gone_as_json(found, done)
    assert document["dry_run"] is False
    assert document["forgotten"] == [labels.project_id(root)]
    assert {row.verdict for row in gone_rows(done.projects, done=True)} == {"removed"}
    assert any("freed" in line for line in removal_summary(done))
    assert gone_summary([], []) == ("none of your projects is gone",)


# Whatever is on an engine.

PROJECT = "shop-0123456789"
LABELS = st.fixed_dictionaries(
    {},
    optional={
        labels.PROJECT: st.sampled_from([PROJECT, "other-0123456789"]),
        labels.SERVICE: st.sampled_from(["web", "db"]),
        labels.KIND: st.sampled_from(["final", "builder", "app", "sandbox", "network", "x"]),
        labels.REVISION: st.just("1"),
        labels.NETWORK: st.sampled_from(["n0", "n1"]),
        labels.CREATION: st.sampled_from(["a", "b"]),
        labels.IMAGE: st.sampled_from(["sha256:0", "sha256:1"]),
    },
)
TAGS = st.sets(
    st.sampled_from(
        ["shop:rev-00000000aaaa", "shop:latest", "shop:builder", "shop:rev-x", "mine:rev-00000000aaaa", "k:1"]
    )
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_nothing_foreign_ever_goes(data: st.DataObject) -> None:
    from watcher.engine import Container, Image, Network
    from watcher.prune import ServiceScope
    from watcher.prune.select_gone import Holdings, guess_scopes, select_gone

    images = tuple(
        Image(
            f"sha256:{number}",
            tuple(sorted(data.draw(TAGS))),
            data.draw(LABELS),
            parent=data.draw(st.sampled_from(["", "p"])),
            digests=data.draw(st.sampled_from([(), ("k@sha256:1",), ("shop@sha256:1",)])),
        )
        for number in range(2)
    )
    containers = tuple(
        Container(
            f"c{number}",
            f"c{number}",
            data.draw(st.sampled_from(["sha256:0", "sha256:1"])),
            data.draw(LABELS),
            data.draw(st.sampled_from(["running", "exited", "created", "paused", "removing"])),
            changed=data.draw(st.sampled_from([1.0, 2.0])),
            networks=data.draw(st.sampled_from([frozenset(), frozenset({"n0"}), frozenset({"id-n1"})])),
        )
        for number in range(3)
    )
    networks = tuple(Network(f"id-n{number}", f"n{number}", data.draw(LABELS)) for number in range(2))
    holdings = Holdings(containers, images, networks)
    known = data.draw(st.booleans())
    scope = ServiceScope(
        PROJECT, "web", "docker.io/library/shop:latest", "docker.io/library/shop:builder", "c0"
    )
    scopes = (scope,) if known else guess_scopes(holdings, PROJECT)
    verdicts = [verdict for verdict in select_gone(holdings, PROJECT, scopes) if verdict.remove]
    leaving = {verdict.id for verdict in verdicts}
    staying = [item for item in containers if item.id not in leaving]
    for verdict in verdicts:
        match verdict.kind:
            case "container":
                (item,) = [item for item in containers if item.id == verdict.id]
                assert item.labels[labels.PROJECT] == PROJECT
                assert item.labels[labels.IMAGE] == item.image
                creation = item.labels.get(labels.CREATION, item.id)
                twins = [each for each in containers if each.labels.get(labels.CREATION) == creation]
                proven = [each for each in twins if labels.is_proven(each.labels, each.name, each.image)]
                assert all(each is item or each.changed > item.changed for each in proven)
            case "network":
                (net,) = [net for net in networks if net.id == verdict.id]
                assert labels.is_own_network(net.labels, net.name)
                assert net.labels[labels.PROJECT] == PROJECT
                assert not any(item.networks & {net.id, net.name} for item in staying)
            case _:
                (image,) = [image for image in images if image.id == verdict.id]
                assert image.labels[labels.PROJECT] == PROJECT
                assert not image.parent
                assert labels.REVISION not in image.labels
                assert not any(item.image == image.id for item in staying)
                assert "k:1" not in verdict.tags
                assert "shop:rev-x" not in verdict.tags
                assert known is False or "mine:rev-00000000aaaa" not in verdict.tags
                assert known or "shop:latest" not in verdict.tags
                assert verdict.kind == "tag" or verdict.tags == image.tags


@pytest.mark.parametrize(("size", "said"), [(0, "nothing was left to remove"), (44, "2 Go caches removed")])
def test_go_caches_that_gave_no_byte_back_are_not_counted(size: int, said: str) -> None:
    """BuildKit does not say whether a cache exists."""
    why = Reason(Cause.PROJECT_GONE, "its project is gone")
    found = tuple(
        Verdict(ObjectKind.GO_CACHE, name, name, bytes_, remove=True, why=why)
        for name, bytes_ in (("a", size), ("b", 0))
    )
    left = LeftProject(
        "shop-1", "/src/shop", Choice.OFFERED, "", engines=(EngineLeftovers("unix:///a", found),)
    )
    (line,) = removal_summary(Removed(projects=[left]))
    assert line.startswith(said)


async def test_a_folder_of_builds_that_cannot_be_read_is_said_and_not_taken_for_empty(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    (bench.folder / "file").write_text("")
    monkeypatch.setattr(Path, "is_dir", closed)
    link: Any = bench.buildkit
    caches = GoneCaches(link, "shop-0123456789", bench.folder / "file" / "shop-0123456789", "cache")
    with pytest.raises(WatcherError) as raised:
        await caches.judge(low=False)
    assert not missing(str(raised.value), "journal", "cannot be read")
