"""One request to BuildKit: what it contains, who is informed, and where the image ends up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from tests.facts import missing
from tests.fake_engine import FakeEngine
from watcher import labels
from watcher.builder import BuildJournal, BuildkitConnection, Recipe
from watcher.builder.solver import SolveJob, Solver
from watcher.buildkit import CacheImport, ConnectError, SolveRequest, SolveResult
from watcher.buildkit.progress import Progress, StepFinished, StepStarted, parse_step
from watcher.engine import EngineError, Login
from watcher.errors import EngineUnavailable
from watcher.reconcile.ports import Scan
from watcher.tree import Tree, TreeWithContexts

NAME = "docker.io/library/s:rev-1"
CACHE = CacheImport(type="registry", attrs={"ref": "r/x"})
STEP = parse_step("sha256:1", "[b 2/2] RUN go build")


class Client:
    """A connection and its client: notes requests, and answers with one step and an image."""

    standalone = False

    def __init__(self) -> None:
        self.requests: list[SolveRequest] = []
        self.error: Exception | None = None

    async def client(self) -> Client:
        return self

    async def solve(self, request: SolveRequest, notify: Callable[[Progress], None]) -> SolveResult:
        self.requests.append(request)
        notify(StepStarted(STEP, 1.0))
        if self.error:
            raise self.error
        notify(StepFinished(STEP, 2.0, 1.0, cached=False, error=""))
        return SolveResult("sha256:image")


class Bench:
    def __init__(self, root: Path) -> None:
        self.root, self.client, self.engine = root, Client(), FakeEngine()
        self.journal = BuildJournal(root.parent / "state")
        self.progress = 0
        self.warnings: list[str] = []
        self.solver = Solver(
            engine=self.engine,
            connection=cast(BuildkitConnection, self.client),
            journal=self.journal,
            logins=self.login,
            progressed=self.count,
            warn=self.warnings.append,
        )
        (root / "Dockerfile").write_text("FROM alpine\n")

    def count(self) -> None:
        self.progress += 1

    def login(self, host: str) -> Login | None:
        if host == "broken.test":
            raise EngineError("the helper is missing")
        return Login(host, "secret")

    def job(self, **fields: object) -> SolveJob:
        recipe = Recipe(service="s", project="p", image="s:latest", cache_from=(CACHE,))
        scan = Scan("r", Tree(self.root).scan(), 0.0)
        job = SolveJob(recipe=recipe, scan=scan, text="FROM alpine\n", names=(NAME,), target=None)
        return replace(job, **fields)  # type: ignore[arg-type]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    (tmp_path / "tree").mkdir()
    return Bench(tmp_path / "tree")


def request(bench: Bench, **fields: object) -> SolveRequest:
    return bench.job(**fields).request(lambda _: None, import_caches=False)


def test_the_engines_copy_of_the_context_is_shared_unless_modes_of_folders_differ(bench: Bench) -> None:
    assert request(bench).shared_key == "p/s"
    (bench.root / "pkg").mkdir(mode=0o700)
    other = request(bench).shared_key
    assert other.startswith("p/s/")
    assert len(other) > len("p/s/")


def test_an_image_is_exported_only_with_a_name_and_compressed_only_as_a_builder(bench: Bench) -> None:
    assert (request(bench).exporter, request(bench, names=()).exporter) == ("moby", "")
    assert request(bench).exporter_attrs == {"compression": "uncompressed"}
    builder = request(bench, kind=labels.BUILDER, target="b")
    assert (builder.exporter_attrs, builder.target) == ({}, "b")
    assert builder.labels[labels.KIND] == labels.BUILDER


def test_only_the_ignore_file_of_the_dockerfile_is_sent_with_it(bench: Bench) -> None:
    (bench.root / ".dockerignore").write_text("a\n")
    assert set(files_of(request(bench))) == {"Dockerfile"}
    (bench.root / "Dockerfile.dockerignore").write_text("b\n")
    assert files_of(request(bench)) == {"Dockerfile": b"FROM alpine\n", "Dockerfile.dockerignore": b"b\n"}


def files_of(request: SolveRequest) -> dict[str, bytes]:
    found = {}
    for entry in request.dockerfile.entries():
        with request.dockerfile.open(entry.path) as file:
            found[entry.path] = file.read()
    return found


def test_other_folders_are_sent_under_the_names_that_the_text_reads_from(bench: Bench) -> None:
    shared = bench.root.parent / "shared"
    shared.mkdir()
    snapshot = TreeWithContexts(bench.root, contexts={"shared": Tree(shared)}).scan()
    recipe = Recipe(service="s", project="p", image="s:latest", contexts={"shared": shared})
    asked = request(bench, recipe=recipe, scan=Scan("r", snapshot, 0.0))
    assert asked.contexts == {".additional-context-0": snapshot.contexts["shared"]}
    assert asked.markers == {"/.additional-context-0": ".additional-context-0"}


async def test_every_event_shows_progress_and_is_passed_on(bench: Bench) -> None:
    events: list[Progress] = []
    assert await bench.solver.solve(bench.job(), events.append) == "sha256:image"
    assert bench.progress == len(events) == 2


@pytest.mark.parametrize("kind", [labels.FINAL, labels.BUILDER])
async def test_a_build_is_in_the_journal(bench: Bench, kind: str) -> None:
    await bench.solver.solve(bench.job(kind=kind, show=lambda _: "RUN as written"), lambda _: None)
    assert bench.journal.flush()
    (entry,) = bench.journal.entries()
    assert (entry.service, entry.revision, entry.ended) == ("s", "r", "ok")
    assert entry.final is (kind == labels.FINAL)
    assert [step.shown for step in entry.steps] == ["RUN as written"]


async def test_caches_are_imported_until_something_was_built_here(bench: Bench) -> None:
    bench.client.error = ConnectError("reset")
    with pytest.raises(EngineUnavailable, match="reset"):
        await bench.solver.solve(bench.job(), lambda _: None)
    bench.client.error = None
    for _ in range(2):
        await bench.solver.solve(bench.job(), lambda _: None)
    assert [request.cache_imports for request in bench.client.requests] == [(CACHE,), (CACHE,), ()]


async def test_a_timeout_of_its_own_is_no_limit_of_a_lookup(bench: Bench) -> None:
    bench.client.error = TimeoutError("of its own")
    with pytest.raises(TimeoutError, match="of its own"):
        await bench.solver.solve(bench.job(), lambda _: None)


async def test_a_buildkitd_loads_only_what_has_a_name(bench: Bench) -> None:
    bench.client.standalone = True
    assert await bench.solver.solve(bench.job(names=()), lambda _: None) == "sha256:image"
    with pytest.raises(EngineError):  # this client writes no archive
        await bench.solver.solve(bench.job(), lambda _: None)
    assert [request.exporter for request in bench.client.requests] == ["", "docker"]


async def test_a_login_that_cannot_be_read_is_reported_and_left_out(bench: Bench) -> None:
    find = bench.solver.credentials_finder()
    found = await asyncio.to_thread(find, "r.test")
    assert found
    assert (found.username, found.secret) == ("r.test", "secret")
    assert await asyncio.to_thread(find, "broken.test") is None
    await asyncio.sleep(0)
    (warning,) = bench.warnings
    assert missing(warning, "broken.test", "without a login", "the helper is missing") == []
