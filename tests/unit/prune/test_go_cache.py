"""The Go caches are measured, trimmed and emptied by one step that mounts exactly ours."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from watcher.builder import BuildJournal, Recipe
from watcher.buildkit import ConnectError, MemorySource, SolveFailed, SolveRequest, StepLog, parse_step
from watcher.dockerfile import Platforms
from watcher.dockerfile.cache_mounts import cache_names
from watcher.errors import EngineUnavailable
from watcher.prune import CacheNames, NamedCache, NotMeasured
from watcher.prune.go_cache import GoCaches

SCOPE = "watcher-0123456789ab"
SHARED, FORMER = f"{SCOPE}-0123456789-gocache", f"{SCOPE}-0123456789-gocache-cgo-0123456789"
BUILDS, MODULES = (f"{name}x" for name in cache_names("p-1"))
TEXT = f"""\
FROM golang:alpine AS builder
RUN --mount=type=cache,id={BUILDS},target=/root/.cache/go-build \
    --mount=type=cache,id={MODULES},target=/go/pkg/mod go build
"""
PLAIN = "FROM golang:alpine\nRUN go build\n"


class World:
    """Variants, connection and client in one; `sizes` are kilobytes by mount, as `du` prints them."""

    def __init__(
        self, text: str = TEXT, names: CacheNames | None = None, services: Collection[str] = ()
    ) -> None:
        self.text, self.recent = text, {TEXT} if text == TEXT else set[str]()
        self.sizes, self.asked = [300, 50, 20], list[SolveRequest]()
        self.failure: Exception | None = None
        self.names = names or CacheNames(None)
        recipe = Recipe(service="web", project="p-1", image="web:latest", cache_scope=SCOPE)
        it = cast(Any, self)
        self.caches = GoCaches(recipe, it, it, BuildJournal(None), self.names, services=services)

    async def make_variant(self, *_: object) -> Any:
        return SimpleNamespace(plan=SimpleNamespace(text=self.text))

    async def platforms(self, platform: str) -> Platforms:
        return Platforms(build="linux/amd64", target=platform or "linux/amd64")

    async def client(self) -> World:
        return self

    async def solve(self, request: SolveRequest, hear: Callable[[Any], None]) -> None:
        self.asked.append(request)
        if self.failure:
            raise self.failure
        if "du -sk" in self.step:
            count = self.step.count("--mount=")
            lines = [f"{size}\t/watcher-caches/{at}" for at, size in enumerate(self.sizes[:count])]
            hear(StepLog(parse_step("d", "[2/2] RUN du"), 1.0, 1, "\n".join(lines)))

    @property
    def step(self) -> str:
        source = self.asked[-1].dockerfile
        assert isinstance(source, MemorySource)
        return source.open("Dockerfile").read().decode()


def snapshot(text: str | None = PLAIN) -> Any:
    return SimpleNamespace(dockerfile=None if text is None else text.encode())


async def test_each_mount_is_measured_by_one_step_without_network_or_result() -> None:
    it = World()
    found = await it.caches.measure(snapshot())
    assert not isinstance(found, NotMeasured)
    assert [(mount.target, mount.size, mount.modules) for mount in found] == [
        ("/root/.cache/go-build", 300 * 1024, False),
        ("/go/pkg/mod", 50 * 1024, True),
    ]
    (request,) = it.asked
    assert (request.network, request.exporter, request.no_cache) == ("none", "", False)
    assert it.step.startswith("FROM golang:alpine\nUSER 0:0\nRUN --mount=type=cache,sharing=shared,id=")


async def test_a_mount_is_measured_with_its_owner_because_another_owner_is_another_cache() -> None:
    it = World(TEXT.replace("target=/root/.cache/go-build", "target=/c,uid=1000"))
    await it.caches.measure(snapshot())
    assert f"id={BUILDS},target=/watcher-caches/0,uid=1000 " in it.step


@pytest.mark.parametrize("used", [True, False])
async def test_a_shared_cache_is_emptied_only_if_no_other_project_uses_it(tmp_path: Path, used: bool) -> None:
    ours = CacheNames(tmp_path / "p-0123456789")
    other = CacheNames(tmp_path / "q-0123456789")
    for number in "pq":
        (tmp_path / f"{number}-0123456789").mkdir()
    if used:
        other.note("web", {SHARED: NamedCache("/c", time.time())}, {SHARED})
    it = World(TEXT.replace(BUILDS, SHARED), names=ours)
    found = await it.caches.measure(snapshot(), empty=True)
    assert not isinstance(found, NotMeasured)
    emptied = it.step
    assert it.asked[-1].no_cache
    assert (f"id={SHARED}," in emptied) is not used
    assert f"id={MODULES}," in emptied
    assert [bool(mount.users) for mount in found] == [used, False]
    assert (SHARED in ours.known()) is used


@pytest.mark.parametrize("used", [True, False])
async def test_a_former_shared_cache_is_left_to_the_projects_that_use_it(tmp_path: Path, used: bool) -> None:
    for number in "pq":
        (tmp_path / f"{number}-0123456789").mkdir()
    ours, other = CacheNames(tmp_path / "p-0123456789"), CacheNames(tmp_path / "q-0123456789")
    ours.note("web", {FORMER: NamedCache("/old", time.time() - 30 * 86_400)}, ())
    if used:
        other.note("web", {FORMER: NamedCache("/c", time.time())}, {FORMER})
    it = World(names=ours)
    found = await it.caches.trim(snapshot(), 1 << 40)
    assert not isinstance(found, NotMeasured)
    assert {mount.id for mount in found.mounts} == {BUILDS, MODULES}
    assert any(request.no_cache for request in it.asked) is not used
    assert (FORMER in ours.known()) is used


async def test_a_file_without_our_mounts_needs_no_step() -> None:
    it = World(PLAIN)
    assert await it.caches.measure(snapshot(), empty=True) == ()
    assert it.asked == []


async def test_emptying_builds_without_cache_and_forgets_the_names() -> None:
    it = World()
    await it.caches.measure(snapshot(), empty=True)
    assert it.asked[-1].no_cache
    assert f"id={BUILDS}," in it.step
    assert it.step.endswith(" true\n")
    assert not it.names.known()


async def test_a_former_mount_is_emptied_and_the_current_one_trimmed() -> None:
    names = CacheNames(None)
    names.note("web", {"former": NamedCache("/old", time.time() - 30 * 86_400)}, ())
    it = World(names=names)
    found = await it.caches.trim(snapshot(), 100 * 1024)
    assert not isinstance(found, NotMeasured)
    first, emptied, trimmed = it.asked
    assert "former" in cast(MemorySource, first.dockerfile).open("Dockerfile").read().decode()
    assert emptied.no_cache
    assert "-mmin" in it.step
    assert "xargs rm -f" in it.step
    assert trimmed.network == "none"
    assert {mount.id for mount in found.mounts} == {BUILDS, MODULES}
    assert found.freed == 20 * 1024
    assert names.known().keys() == {BUILDS, MODULES}


@pytest.mark.parametrize(("services", "stays"), [(("web", "api"), True), (("web",), False)])
async def test_the_mount_of_another_service_is_no_former_one_while_that_service_exists(
    services: tuple[str, ...], stays: bool
) -> None:
    names = CacheNames(None)
    names.note("api", {"theirs": NamedCache("/t", time.time() - 30 * 86_400)}, {"theirs"})
    it = World(names=names, services=services)
    found = await it.caches.trim(snapshot(), 100 * 1024)
    assert not isinstance(found, NotMeasured)
    assert ("theirs" in {mount.id for mount in found.mounts}) is stays
    assert any(request.no_cache for request in it.asked) is not stays
    assert ("theirs" in names.known()) is stays


async def test_caches_within_the_size_are_left_alone() -> None:
    it = World()
    found = await it.caches.trim(snapshot(), 1 << 30)
    assert not isinstance(found, NotMeasured)
    assert (found.freed, len(it.asked)) == (0, 1)


@pytest.mark.parametrize(
    ("text", "failure", "sizes", "reason"),
    [
        (None, None, [1, 2], "there is no Dockerfile"),
        (PLAIN, SolveFailed("no such image\nmore"), [1, 2], "no such image"),
        (PLAIN, None, [1], "golang:alpine has no usable `du`"),
    ],
)
async def test_what_cannot_be_measured_is_told_with_its_reason(
    text: str | None, failure: Exception | None, sizes: list[int], reason: str
) -> None:
    it = World()
    it.failure, it.sizes = failure, sizes
    assert await it.caches.measure(snapshot(text)) == NotMeasured(reason)
    assert await it.caches.trim(snapshot(text), 1) == NotMeasured(reason)


async def test_a_text_that_is_no_dockerfile_is_told_with_its_reason() -> None:
    it = World("FROM\n")
    for found in (await it.caches.measure(snapshot()), await it.caches.trim(snapshot(), 1)):
        assert isinstance(found, NotMeasured)
        assert found.why.startswith("Dockerfile: ")


async def test_a_lost_connection_is_the_engines() -> None:
    it = World()
    it.failure = ConnectError("gone")
    with pytest.raises(EngineUnavailable, match="the connection to BuildKit was lost: gone"):
        await it.caches.measure(snapshot())
