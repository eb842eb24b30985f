"""Pruning on a real engine: hundreds of objects of ours and of others, while others build and tag.

Which object must go and which must stay is written down when it is made, not asked of the code under test.
Everything carries a label of this run and is removed by id in the end. The label that marks compile stages
is this run's own too, so that `--all-projects` is tried without a danger to what else is on the machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import threading
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import docker
import docker.errors
import pytest

from tests.images import Made, archive, build, containerd
from watcher import labels
from watcher.engine import DockerEngine
from watcher.observers.events import Event, Pruned, short
from watcher.prune import (
    Needed,
    NotMeasured,
    PrunePolicy,
    Pruner,
    PruneReport,
    ServiceScope,
    report_as_json,
    report_rows,
    summarize_report,
)

pytestmark = pytest.mark.engine

RUN = "watcher.test"
GRACE = 2.0
KEEP = 3
LONG_AGO = 1_000_000_000.0


class Heard:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def notify(self, event: Event) -> None:
        self.events.append(event)


@dataclass
class Machine:
    """The objects of one run: what each one is called, and whether it must stay."""

    api: docker.APIClient
    run: str
    dice: random.Random
    images: dict[str, bool] = field(default_factory=dict)  # id -> stays
    containers: dict[str, bool] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)  # tag that must stay -> id
    article: set[str] = field(default_factory=set)  # images that only `--all-projects` may take
    unproven: set[str] = field(default_factory=set)  # of ours, by their labels alone
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def stage(self) -> dict[str, str]:
        """What marks a compile stage in this run."""
        return {"stage": f"builder-{self.run}"}

    @property
    def scope(self) -> ServiceScope:
        """The service that is pruned."""
        repository = f"docker.io/library/torture-{self.run}"
        return ServiceScope(
            f"torture-{self.run}", "web", f"{repository}:latest", f"{repository}:builder", f"box-{self.run}"
        )

    def rev(self) -> str:
        """A fresh revision tag of ours."""
        return f"torture-{self.run}:rev-{next(self.numbers):012x}"

    def own(self, kind: str) -> dict[str, str]:
        """Labels of an image of ours."""
        stage = self.stage if kind == labels.BUILDER else {}
        return {RUN: self.run, **stage, **labels.image_labels(self.scope.project, self.scope.service, kind)}

    def theirs(self, project: str, service: str, kind: str) -> dict[str, str]:
        """Labels of an image of another watcher's."""
        return {RUN: self.run, **self.stage, **labels.image_labels(f"{project}-{self.run}", service, kind)}

    def load(self, made: list[tuple[Made, bool]]) -> list[str]:
        """Put images into the store, in this order; ids."""
        content, ids = archive([image for image, _ in made], containerd=containerd(self.api))
        api: Any = self.api
        told = api.load_image(content)
        failed = [part["errorDetail"] for part in told or () if "errorDetail" in part]
        assert not failed
        for image, (wanted, stays) in zip(ids, made, strict=True):
            self.images[image] = stays
            if stays:
                self.tags |= dict.fromkeys(wanted.tags, image)
        return ids

    def made(self, found: dict[str, str], *tags: str, created: float = LONG_AGO, base: str = "base") -> Made:
        """An image of a base that many share and a layer of its own."""
        own = self.dice.randrange(1_000, 60_000)
        return Made({f"{self.run} {base}": 90_000, uuid.uuid4().hex: own}, tags, found, created)

    def runnable(self, found: dict[str, str], tag: str, *, stays: bool) -> str:
        """An image whose containers run: built from the base image of the machine."""
        text = "FROM alpine:latest\nCOPY id /id\n"
        image = build(self.api, tag, text, {"id": uuid.uuid4().hex.encode()}, found)
        self.images[image] = stays
        if stays:
            self.tags[tag] = image
        return image

    def container(self, image: str, name: str, *, stays: bool, app: bool = False, **config: Any) -> str:
        """A container that is only created."""
        found = {RUN: self.run}
        if app:
            found |= labels.app_labels(
                self.scope.project, self.scope.service, "f" * 64
            ) | labels.proof_labels(image)
        body = {"Image": image, "Labels": found, "HostConfig": {"Init": True}, **config}
        body.setdefault("Cmd", ["sleep", "600"])
        api: Any = self.api
        made = api.create_container_from_config(body, name)
        self.containers[made["Id"]] = stays
        return str(made["Id"])

    def clean(self) -> None:
        """Remove everything of this run."""
        mine: Any = {"label": [f"{RUN}={self.run}"]}
        for item in self.api.containers(all=True, filters=mine):
            self.api.remove_container(item["Id"], force=True, v=True)
        while found := self.api.images(filters=mine):
            for item in found:
                with contextlib.suppress(docker.errors.APIError):  # one with children goes in the next round
                    self.api.remove_image(item["Id"], force=True)


@pytest.fixture
async def engine() -> AsyncIterator[DockerEngine]:
    opened = await DockerEngine.open()
    yield opened
    await opened.close()


@pytest.fixture
def machine() -> Iterator[Machine]:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    api = docker.from_env(version="auto").api
    found = Machine(api, uuid.uuid4().hex[:10], random.Random(seed))
    try:
        yield found
    finally:
        found.clean()
        api.close()


def populate(machine: Machine) -> None:
    """Some 500 objects. What the last calls load is newest, and stays for that."""
    dice, own = machine.dice, machine.own
    goes: list[tuple[Made, bool]] = []
    goes += [(machine.made(own(labels.FINAL), machine.rev()), False) for _ in range(60)]
    goes += [(machine.made(own(labels.FINAL), machine.rev(), machine.rev()), False) for _ in range(8)]
    builders = [machine.made(own(labels.BUILDER), base="go") for _ in range(60)]
    goes += [(made, False) for made in builders]
    stays: list[tuple[Made, bool]] = []
    stays += [  # without a name nothing but labels speaks for them, and those are inherited
        (machine.made(own(kind)), True) for kind in (labels.FINAL, labels.BUILDER) for _ in range(4)
    ]
    stays += [  # ours, but somebody gave them a name
        (machine.made(own(kind), *tags), True)
        for number in range(12)
        for kind, tags in [
            (labels.FINAL, (machine.rev(), f"bob-{machine.run}:{number}")),
            (labels.BUILDER, (f"debug-{machine.run}:{number}",)),
        ]
    ]
    young = time.time() + 3600
    stays += [(machine.made(own(labels.BUILDER), created=young - 3000), True) for _ in range(6)]
    stays += [  # somebody's, from ours: `docker commit` of our container
        (machine.made(own(labels.FINAL) | labels.app_labels(machine.scope.project, "web", "e" * 64)), True)
        for _ in range(8)
    ]
    article: list[tuple[Made, bool]] = []
    for number in range(40):  # other watchers' and other services'
        other = machine.theirs(dice.choice(["blog", "shop"]), "web", dice.choice(["final", "builder"]))
        service = machine.own(labels.BUILDER) | {labels.SERVICE: "worker"}
        article += [(machine.made(other), True), (machine.made(service), True)]
        stays.append((machine.made(other, f"blog-{machine.run}:{number}"), True))
    for number in range(40):  # strangers'
        article.append((machine.made({RUN: machine.run, **machine.stage}), True))
        stays.append(
            (machine.made({RUN: machine.run, **machine.stage}, f"tool-{machine.run}:{number}"), True)
        )
        stays.append((machine.made({RUN: machine.run, "stage": "builder-of-others"}), True))
    everything = goes + stays + article
    dice.shuffle(everything)
    ids = dict(zip((id(made) for made, _ in everything), machine.load(everything), strict=True))
    machine.article = {ids[id(made)] for made, _ in article}
    machine.unproven = {
        ids[id(made)] for made, _ in stays if made.labels == own(labels.BUILDER) and not made.tags
    }
    for made in builders:  # as the next export names the one before
        image = ids[id(made)]
        machine.api.tag(image, f"torture-{machine.run}", f"builder-{short(image)}")
    use(machine, [ids[id(made)] for made, _ in goes], [ids[id(made)] for made, _ in stays])
    # `docker load` does not say when it tagged, `docker tag` does: these are the newest of their kinds.
    newest: list[tuple[str, tuple[str, ...]]] = [(labels.FINAL, (machine.rev(),)) for _ in range(KEEP - 1)]
    newest.append((labels.FINAL, (machine.rev(), f"torture-{machine.run}:latest")))
    newest.append((labels.BUILDER, (f"torture-{machine.run}:builder",)))
    for kind, tags in newest:
        (image,) = machine.load([(machine.made(own(kind)), True)])
        for tag in tags:
            name, _, version = tag.rpartition(":")
            machine.api.tag(image, name, version)
            machine.tags[tag] = image


def use(machine: Machine, stale: list[str], others: list[str]) -> None:
    """Containers in all states, of stale images (which stay for that) and of others'."""
    dice = machine.dice
    used, left = stale[::6], stale[1::6]
    for number, image in enumerate(used):
        machine.container(image, f"user-{machine.run}-{number}", stays=True)
        machine.images[image] = True
    for number, image in enumerate(left):  # left by a killed daemon: they go, and their images too
        machine.container(image, f"box-{machine.run}.{number:012x}", stays=False, app=True)
    for number, image in enumerate(dice.sample(others, 30)):
        machine.container(image, f"theirs-{machine.run}-{number}", stays=True)
    machine.container(others[0], f"box-{machine.run}", stays=True, app=True)  # has the service's own name
    states = ["running", "paused", "exited", "restarting", "own running", "own exited"]
    for number, state in enumerate(states):
        image = machine.runnable(machine.own(labels.FINAL), machine.rev(), stays=state != "own exited")
        policy: Any = {"RestartPolicy": {"Name": "always"}} if state == "restarting" else {}
        own = state.startswith("own")
        name = f"box-{machine.run}.old-{number}" if own else f"state-{machine.run}-{number}"
        command = ["false"] if state in ("exited", "restarting", "own exited") else ["sleep", "600"]
        box = machine.container(
            image, name, stays=state != "own exited", app=own, Cmd=command, HostConfig=policy
        )
        machine.api.start(box)
        if state == "paused":
            machine.api.pause(box)
        if "exited" in state:
            machine.api.wait(box)


class Others:
    """Strangers who build, tag and untag in threads of their own while pruning goes on."""

    def __init__(self, machine: Machine) -> None:
        self._machine, self._stop = machine, threading.Event()
        self._threads = [
            threading.Thread(target=self._guard, args=(job,)) for job in (self._build, self._tag)
        ]
        self.built: set[str] = set()
        self.last = ""
        self.tagged: dict[str, str] = {}
        self.busy = threading.Event()
        self.failures: list[BaseException] = []

    def __enter__(self) -> Others:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _guard(self, job: Any) -> None:
        api = docker.from_env(version="auto").api
        try:
            job(api)
        except BaseException as error:
            self.failures.append(error)
        finally:
            api.close()

    def _build(self, api: docker.APIClient) -> None:
        """The same tag again and again: each build leaves an untagged image with the stage label behind."""
        run, stage = self._machine.run, self._machine.stage
        while not self._stop.is_set():
            files = {"id": uuid.uuid4().hex.encode()}
            image = build(
                api, f"busy-{run}:latest", "FROM scratch\nCOPY id /id\n", files, {RUN: run, **stage}
            )
            self.built.add(image)
            self.last = image
            self.busy.set()

    def _tag(self, api: Any) -> None:
        """Gives a quarter of the stale finals another name, one by one; what gets one in time must stay."""
        machine = self._machine
        stale = [
            item["Id"]
            for item in api.images(filters={"label": [f"{RUN}={machine.run}", f"{labels.KIND}=final"]})
            if item["RepoTags"] and not machine.images.get(item["Id"], True)
        ]
        for number, image in enumerate(stale[::4]):
            if self._stop.wait(0.1):
                return
            ref = f"late-{machine.run}:{number}"
            # It may be gone already, or going: the engine itself takes a tag while it deletes an image.
            with contextlib.suppress(docker.errors.NotFound):
                api.tag(image, f"late-{machine.run}", str(number))
                if ref in api.inspect_image(image)["RepoTags"]:
                    self.tagged[ref] = image


async def past_grace(engine: DockerEngine) -> None:
    """Return when everything that exists now is older than the grace period."""
    start = (await engine.info()).clock
    while (await engine.info()).clock <= start + GRACE:
        await asyncio.sleep(0.05)


def pruner(machine: Machine, engine: DockerEngine, heard: Heard, *, all_projects: bool = False) -> Pruner:
    policy = PrunePolicy(
        keep=KEEP,
        grace=GRACE,
        builder_label=f"stage={machine.stage['stage']}",
        all_projects=all_projects,
    )
    return Pruner(
        engine,
        heard,
        scope=machine.scope,
        policy=policy,
        needed=Needed,
        space=lambda _: NotMeasured("not looked at"),
    )


def present(machine: Machine) -> tuple[dict[str, list[str]], set[str]]:
    """Images of this run with their tags, and its containers."""
    mine: Any = {"label": [f"{RUN}={machine.run}"]}
    images = {
        item["Id"]: [tag for tag in item["RepoTags"] or () if tag != "<none>:<none>"]
        for item in machine.api.images(filters=mine)
    }
    return images, {item["Id"] for item in machine.api.containers(all=True, filters=mine)}


async def test_among_hundreds_of_objects_everything_stale_goes_and_nothing_else(
    engine: DockerEngine, machine: Machine
) -> None:
    await asyncio.to_thread(populate, machine)
    await past_grace(engine)
    before, boxes = await asyncio.to_thread(present, machine)
    assert set(before) >= set(machine.images)
    assert boxes == set(machine.containers)
    heard = Heard()
    with Others(machine) as others:
        await asyncio.to_thread(others.busy.wait)
        report = await pruner(machine, engine, heard).prune()
        during = len(others.built)
    assert others.failures == []
    after, boxes_after = await asyncio.to_thread(present, machine)

    late = set(others.tagged.values())
    stale = {image for image, stays in machine.images.items() if not stays}
    assert not (stale - late) & set(after), "something stale is still there"
    verdicts = {verdict.id: verdict for verdict in report.verdicts}
    lost = [verdicts.get(image, image) for image in machine.images.keys() - stale - after.keys()]
    assert not lost, "something was lost"
    # On the containerd store the engine itself removes an image whose tag moves on.
    built = {others.last} if containerd(machine.api) else others.built
    assert built <= set(after), "an image that was being built was lost"
    named = {tag: image for image, tags in after.items() for tag in tags}
    assert named.items() >= machine.tags.items(), "a name was lost"
    assert named.items() >= others.tagged.items(), "a name that somebody gave meanwhile was lost"
    assert boxes_after == {box for box, stays in machine.containers.items() if stays}

    (told,) = (event for event in heard.events if isinstance(event, Pruned))
    removed = {item.id for item in told.items if item.removed}
    assert removed <= stale | {box for box, stays in machine.containers.items() if not stays}
    assert removed >= stale - late
    assert all(item.reason for item in told.items)
    figures(machine, report, during)

    again = await pruner(machine, engine, Heard()).prune()
    assert not [verdict for verdict in again.verdicts if verdict.remove], "a second prune finds more"

    everyone = await pruner(machine, engine, Heard(), all_projects=True).prune()
    finally_there, _ = await asyncio.to_thread(present, machine)
    unnamed = {image for image in others.built if image in after and not after[image]}
    gone = {verdict.id for verdict in everyone.verdicts if verdict.remove}
    assert gone >= machine.article - in_use(machine)
    assert gone <= machine.article | machine.unproven | unnamed
    assert set(machine.images) - stale - machine.article - machine.unproven <= set(finally_there)


def in_use(machine: Machine) -> set[str]:
    mine: Any = {"label": [f"{RUN}={machine.run}"]}
    return {item["ImageID"] for item in machine.api.containers(all=True, filters=mine)}


def figures(machine: Machine, report: PruneReport, built: int) -> None:
    removed = [verdict for verdict in report.verdicts if verdict.remove]
    kinds = {
        kind: sum(verdict.kind == kind for verdict in removed) for kind in ("final", "builder", "container")
    }
    print(
        f"{len(machine.images)} images and {len(machine.containers)} containers, "
        f"{built} builds of others meanwhile: removed {kinds} in {report.seconds:.2f} s"
    )
    print(*summarize_report(report), sep="\n")
    assert len(report_rows(report)) == len(report_as_json(report)["objects"]) == len(report.verdicts)


async def test_freed_bytes_are_those_that_neither_an_image_nor_the_cache_holds(
    engine: DockerEngine, machine: Machine
) -> None:
    while True:
        superseded(machine)
        await past_grace(engine)
        around = strangers(machine)
        report = await pruner(machine, engine, Heard()).prune()
        if around == strangers(machine):
            break
        machine.clean()  # somebody made or removed images meanwhile, which the engine's sums show too
    removed = sorted(verdict.size for verdict in report.verdicts if verdict.remove)
    freed, cached = report.freed or 0, report.cached or 0
    if not containerd(machine.api):
        assert [*removed, freed, cached] == [4_000_000, 5_000_000, 3_000_000, 4_000_000]
        return
    # It has each layer twice: packed (the built one hardly takes room so), and as files in whole blocks. Its
    # sum of layers grows with builds that go on meanwhile: the figure may be too small, never too large.
    for size, least in zip([*removed, cached], (4_000_000, 10_000_000, 4_000_000), strict=True):
        assert least <= size <= least + 60_000
    assert 0 < freed <= 6_060_000


def superseded(machine: Machine) -> None:
    """A loaded builder image that shares 2 of its 5 MB with the newest one, and one whose 4 MB are cached."""
    own, ref = machine.own(labels.BUILDER), f"torture-{machine.run}"
    shared = {f"{machine.run} go": 2_000_000}
    content, (loaded, newest) = archive(
        [
            Made({**shared, uuid.uuid4().hex: 3_000_000}, (), own, LONG_AGO),
            Made({**shared, uuid.uuid4().hex: 1_000}, (), own, LONG_AGO + 1),
        ],
        containerd=containerd(machine.api),
    )
    api: Any = machine.api
    told = api.load_image(content)
    assert not [part for part in told if "errorDetail" in part]
    machine.api.tag(loaded, ref, f"builder-{short(loaded)}")
    text = "FROM scratch\nCOPY work /work\n"
    built = build(machine.api, f"{ref}:builder", text, {"work": uuid.uuid4().bytes * 250_000}, own)
    machine.api.tag(built, ref, f"builder-{short(built)}")
    machine.api.tag(newest, ref, "builder", force=True)
    assert len(api.inspect_image(built)["RepoTags"]) == 1


def strangers(machine: Machine) -> set[str]:
    """Ids of the images that are not of this run."""
    labelled = {item["Id"]: (item["Labels"] or {}) for item in machine.api.images()}
    return {image for image, found in labelled.items() if found.get(RUN) != machine.run}
