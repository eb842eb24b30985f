"""Base images that are not here: fetched with the user's login, or refused in a sentence that names them."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import docker
import pytest

from tests.facts import missing
from tests.registry import Registry, registry, small_image
from watcher.builder import BaseImages, BuildkitConnection, ImageBuilder, Recipe
from watcher.buildkit import Credentials
from watcher.engine import DockerEngine, EngineError, Login
from watcher.errors import RegistryTrouble, UserError
from watcher.observers.events import BuildStepProgress, Event, Notice
from watcher.reconcile.ports import Scan
from watcher.tree import Tree, revision

pytestmark = [pytest.mark.engine, pytest.mark.timeout(120)]

ENGINE = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")


class Bench:
    """Builds an image on a base of some registry."""

    def __init__(self, root: Path, engine: DockerEngine) -> None:
        self.root, self.engine = root, engine
        self.name = f"wt-{uuid.uuid4().hex[:10]}"
        self.connection = BuildkitConnection(engine.endpoint, engine)
        self.events: list[Event] = []
        self.asked: list[str] = []
        self.coming = threading.Event()
        self.login: Login | EngineError | None = None

    def notify(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, BuildStepProgress) and event.done > 100_000:
            self.coming.set()

    def logins(self, host: str) -> Login | None:
        self.asked.append(host)
        if isinstance(self.login, EngineError):
            raise self.login
        return self.login

    async def build(self, base: str) -> str:
        (self.root / "Dockerfile").write_text(f"FROM {base}\nCOPY main.go /\n")
        (self.root / "main.go").write_text("package main\n")
        recipe = Recipe(service="s", project=self.name, image=f"{self.name}:latest")
        builder = ImageBuilder(
            recipe, engine=self.engine, connection=self.connection, observer=self, logins=self.logins
        )
        snapshot = Tree(self.root).scan()
        image = (await builder.build(Scan(revision(snapshot, {}), snapshot, 0.0), forced=False)).image
        await builder.sizes.wait()
        return image


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    engine = await DockerEngine.open(ENGINE)
    made = Bench(tmp_path, engine)
    yield made
    await made.connection.close()
    await engine.close()
    client = docker.DockerClient(base_url=ENGINE)
    for image in client.images.list(made.name):
        for tag in image.tags:
            client.images.remove(tag)
    client.close()


def own(served: Registry) -> str:
    """What the test's registry gave out: nothing that the engine could have had already."""
    return " ".join(served.asked)


async def test_a_base_image_is_fetched_with_the_users_login(bench: Bench) -> None:
    with registry(small_image(bench.name), login="me:secret") as served:
        bench.login = Login("me", "secret")
        assert await bench.build(served.image)
        assert served.host in bench.asked
        assert "/v2/base/manifests/" in own(served)
        assert "/v2/base/blobs/" in own(served)


async def test_without_the_login_the_image_and_a_way_out_are_named(bench: Bench) -> None:
    with registry(small_image(bench.name), login="me:secret") as served:
        with pytest.raises(UserError) as caught:
            await bench.build(served.image)
        assert missing(caught.value.failure.summary, served.image, "not found") == []
        assert "docker login" in caught.value.failure.hint
        assert not served.asked


async def test_a_login_that_cannot_be_had_is_told_and_the_registry_asked_without(bench: Bench) -> None:
    with registry(small_image(bench.name)) as served:
        bench.login = EngineError("the keychain is locked")
        assert await bench.build(served.image)
    if bench.asked:  # BuildKit 0.8 asks for a login in any case, newer ones where a registry wants one
        texts = [event.text for event in bench.events if isinstance(event, Notice)]
        assert any(missing(line, served.host, "without", "keychain is locked") == [] for line in texts)


async def test_an_image_that_a_registry_does_not_have_is_named(bench: Bench) -> None:
    with registry(small_image(bench.name)) as served:
        with pytest.raises(UserError) as caught:
            await bench.build(f"{served.host}/base:nosuch")
        assert missing(caught.value.failure.summary, f"{served.host}/base:nosuch", "not found") == []


async def test_a_registry_that_refuses_connections_fails_at_once(bench: Bench) -> None:
    with registry(small_image(bench.name)) as served:
        pass
    with pytest.raises(RegistryTrouble, match=f"base image {served.image} was not found .*refused"):
        await bench.build(served.image)


async def test_how_much_of_a_base_image_has_come_is_told_while_it_comes(bench: Bench) -> None:
    with registry(small_image(bench.name, 4_000_000)) as served:
        served.half = bench.coming  # the registry waits until the first word was told
        assert await bench.build(served.image)
    told = [event for event in bench.events if isinstance(event, BuildStepProgress)]
    assert told
    for event in told:
        assert served.image in event.name
        assert 0 <= event.done <= event.total
    assert max(event.total for event in told) >= 4_000_000
    assert 0 < min(event.done for event in told if event.done) < 4_000_000


async def test_what_a_base_image_sets_is_known_before_it_is_here(bench: Bench) -> None:
    def bases(login: Credentials | None) -> BaseImages:
        return BaseImages(bench.engine, bench.connection, lambda: lambda _: login)

    with registry(small_image(bench.name), login="me:secret") as served:
        refused = await bases(None).find_image(served.image)
        assert refused.config is None
        assert refused.problem
        found = await bases(Credentials("me", "secret")).find_image(served.image)
        assert not found.here
        assert found.config is not None
        assert found.config.env == {"SET": "by the base"}
        assert (found.config.user, found.config.workdir) == ("somebody", "/base")
        assert found.config.id.startswith("sha256:")
        other = await bases(Credentials("me", "secret")).find_image(f"{served.host}/base:nosuch")
        assert (other.config, other.here) == (None, False)
