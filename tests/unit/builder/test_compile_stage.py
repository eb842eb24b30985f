"""The compile stage: exported once, measured, and its binaries saved, while no save waits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from tests.fake_engine import FakeEngine
from watcher import labels
from watcher.builder import BuildkitConnection, Recipe
from watcher.builder.compile_stage import CompileStage
from watcher.builder.image_sizes import ImageSizes
from watcher.builder.solver import SolveJob, Solver
from watcher.buildkit import ContextChanged, SolveFailed, Step, StepLog
from watcher.buildkit.progress import Progress
from watcher.dockerfile import EMPTY_CACHE, SAVE_STAGE, Accelerated, Platforms, Program
from watcher.errors import RegistryTrouble
from watcher.observers.events import Event, ImageSized, Notice
from watcher.reconcile.ports import Scan
from watcher.tree import Snapshot, Tree

DOCKERFILE = """FROM golang:alpine AS builder
LABEL stage=builder
COPY . .
RUN go build -o /app .
FROM alpine
COPY --from=builder /app /app
"""


class Connection:
    async def platforms(self, target: str) -> Platforms:
        return Platforms.of("linux/amd64", target)


class Solves:
    """A solver that adds an image to the engine for each name."""

    def __init__(self, engine: FakeEngine) -> None:
        self.engine, self.jobs = engine, list[SolveJob]()
        self.error: Exception | None = None
        self.printed = ""  # by the step that saves

    async def solve(self, job: SolveJob, on_progress: Callable[[Progress], None]) -> str:
        self.jobs.append(job)
        if self.printed and job.target == SAVE_STAGE:
            on_progress(StepLog(Step("sha256:1", "RUN", "", 1, 1), 0.0, 1, self.printed))
        if self.error:
            raise self.error
        ours = labels.image_labels(job.recipe.project, job.recipe.service, job.kind)
        return self.engine.add_image(tags=["s:builder"] if job.names else [], labels=ours)


class Bench:
    def __init__(self, root: Path) -> None:
        self.root, self.engine, self.events = root, FakeEngine(), list[Event]()
        self.recipe = Recipe(service="s", project="p", image="s:latest")
        self.solves, self.plan = Solves(self.engine), Accelerated("the accelerated text")
        self.planned = True
        self.stage = CompileStage(
            lambda: self.recipe,
            self.plan_again,
            engine=self.engine,
            connection=cast(BuildkitConnection, Connection()),
            solver=cast(Solver, self.solves),
            sizes=ImageSizes("s", self.engine, self),
        )
        (root / "Dockerfile").write_text(DOCKERFILE)

    async def plan_again(self, _: Scan[Snapshot], text: str) -> Accelerated | None:
        assert text == (self.root / "Dockerfile").read_text()
        return self.plan if self.planned else None

    def notify(self, event: Event) -> None:
        self.events.append(event)

    def scan(self) -> Scan[Snapshot]:
        return Scan("r", Tree(self.root).scan(), 0.0)

    @property
    def sizes(self) -> list[tuple[str, str, int]]:
        return [(each.stage, each.image, each.size) for each in self.events if isinstance(each, ImageSized)]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def added(_: str) -> int | None:
    return 7


async def unknown(_: str) -> int | None:
    return None


async def test_the_stage_is_its_base_and_what_its_steps_added(bench: Bench) -> None:
    await bench.stage.report_base_size(bench.scan())
    await bench.stage.report_size(bench.scan(), added)
    assert bench.sizes == [], "the engine does not have the base"
    base = bench.engine.add_image(tags=["golang:alpine"])
    size = await bench.engine.image_size(base)
    assert size is not None
    await bench.stage.report_base_size(bench.scan())
    await bench.stage.report_size(bench.scan(), unknown)
    await bench.stage.report_size(bench.scan(), added)
    assert bench.sizes == [("base", base, size), ("builder", "r", size + 7)]


@pytest.mark.parametrize("text", ["FROM scratch\nFLY me\n", "FROM alpine\nCMD x\n", None])
async def test_a_dockerfile_without_such_a_stage_has_nothing_to_do(bench: Bench, text: str | None) -> None:
    bench.engine.add_image(tags=["golang:alpine"])
    bench.engine.add_image(tags=["alpine"])
    bench.planned = False
    if text is None:
        (bench.root / "Dockerfile").unlink()
    else:
        (bench.root / "Dockerfile").write_text(text)
    await bench.stage.report_base_size(bench.scan())
    await bench.stage.report_size(bench.scan(), added)
    assert not await bench.stage.save_binaries(bench.scan())
    assert await bench.stage.export_image(bench.scan()) is None
    assert bench.sizes == []
    assert bench.solves.jobs == []


async def test_the_stage_is_exported_once_for_each_dockerfile_and_base(bench: Bench) -> None:
    assert await bench.stage.export_image(bench.scan())
    (job,) = bench.solves.jobs
    assert (job.text, job.target, job.kind) == ("the accelerated text", "builder", labels.BUILDER)
    assert job.names == ("docker.io/library/s:builder",)
    assert await bench.stage.export_image(bench.scan()) is None
    bench.engine.add_image(tags=["golang:alpine"])
    assert await bench.stage.export_image(bench.scan())
    (bench.root / "Dockerfile").write_text(DOCKERFILE + "CMD x\n")
    assert await bench.stage.export_image(bench.scan())
    assert len(bench.solves.jobs) == 3


@pytest.mark.parametrize("error", [SolveFailed("no"), ContextChanged("main.go"), RegistryTrouble("no")])
async def test_an_export_that_fails_is_tried_again(bench: Bench, error: Exception) -> None:
    bench.solves.error = error
    assert await bench.stage.export_image(bench.scan()) is None
    bench.solves.error = None
    assert await bench.stage.export_image(bench.scan())
    bench.planned = False
    (bench.root / "Dockerfile").write_text(DOCKERFILE + "CMD x\n")
    assert await bench.stage.export_image(bench.scan()) is None
    assert len(bench.solves.jobs) == 2


async def test_the_last_exported_image_keeps_a_name_and_a_foreign_one_gets_none(bench: Bench) -> None:
    ours = labels.image_labels("p", "s", labels.BUILDER)
    old = bench.engine.add_image(tags=["s:builder"], labels=ours)
    await bench.stage.export_image(bench.scan())
    image = await bench.engine.image(old)
    assert image
    assert image.tags == (bench.recipe.builder_name(old),)


async def test_a_foreign_image_under_the_builders_tag_gets_no_name(bench: Bench) -> None:
    foreign = bench.engine.add_image(tags=["s:builder"], labels={labels.PROJECT: "q"})
    await bench.stage.export_image(bench.scan())
    image = await bench.engine.image(foreign)
    assert image is None or image.tags == ()


async def test_binaries_are_saved_if_there_are_any(bench: Bench) -> None:
    assert not await bench.stage.save_binaries(bench.scan()), "the plan has no binaries"
    assert bench.solves.jobs == []
    program = Program("builder", "golang:alpine", "/app", "app", "type=cache,target=/kept")
    bench.plan = replace(bench.plan, programs=(program,))
    assert await bench.stage.save_binaries(bench.scan())
    (job,) = bench.solves.jobs
    assert (job.target, job.names) == (SAVE_STAGE, ())
    assert await bench.stage.save_binaries(bench.scan()), "the same tree has come back"
    assert bench.solves.jobs[1].text != job.text, "BuildKit would find the step cached and save nothing"
    bench.recipe = replace(bench.recipe, no_cache=True)
    assert not await bench.stage.save_binaries(bench.scan()), "nothing would look them up"


async def test_an_emptied_cache_is_filled_once(bench: Bench) -> None:
    """Whatever go does with it: a compile of everything after each deploy would be worse."""
    program = Program("builder", "golang:alpine", "/app", "/kept/app", "type=cache,target=/kept")
    text = "FROM golang:alpine AS builder\nRUN --network=none cp /kept/app /app; go build -o /app .\n"
    bench.plan = Accelerated(text, programs=(program,), no_network_lines=(2,))
    assert await bench.stage.save_binaries(bench.scan())
    assert len(bench.solves.jobs) == 1
    bench.solves.printed = f"first\n{EMPTY_CACHE}"
    assert await bench.stage.save_binaries(bench.scan())
    _, _, filling = bench.solves.jobs
    assert (filling.target, filling.names, filling.no_network_lines) == ("builder", (), ())
    assert "ENV WATCHER_FILLS=" in filling.text
    assert "--network=none" not in filling.text
    assert await bench.stage.save_binaries(bench.scan())
    assert len(bench.solves.jobs) == 4


async def test_a_size_is_reported_in_the_background_and_its_failure_too(bench: Bench) -> None:
    sizes = ImageSizes("s", bench.engine, bench)
    image = bench.engine.add_image(tags=["s:1"])
    sizes.report_later("r", image)
    await sizes.wait()
    assert [(stage, found) for stage, found, _ in bench.sizes] == [("final", image)]
    sizes.report_later("r", "sha256:gone")
    await sizes.wait()
    assert len(bench.sizes) == 1
    assert [event for event in bench.events if isinstance(event, Notice)] == []


async def test_the_recipe_of_the_moment_is_used(bench: Bench) -> None:
    bench.recipe = replace(bench.recipe, image="other:latest")
    await bench.stage.export_image(bench.scan())
    assert bench.solves.jobs[0].names == ("docker.io/library/other:builder",)
