"""One service's builds with a scripted BuildKit: what is sent, after which failure, and what is told."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.facts import missing
from tests.fake_engine import FakeEngine
from watcher.builder import ImageBuilder, Recipe
from watcher.builder.base_images import DEFAULT_PATIENCE, PLACEHOLDER_LABEL, RegistryPatience
from watcher.builder.connection import BuildkitConnection
from watcher.buildkit import (
    ConnectError,
    ContextChanged,
    IgnorePatternError,
    ResolvedImage,
    SolveFailed,
    SolveRequest,
    SolveResult,
)
from watcher.buildkit.progress import Progress, StepFinished, StepStarted, parse_step
from watcher.dockerfile import Level, Platforms
from watcher.engine import EngineError
from watcher.errors import EngineTrouble, EngineUnavailable, RegistryTrouble, Superseded, UserError
from watcher.observers import events
from watcher.observers.events import Event
from watcher.reconcile.ports import Scan
from watcher.tree import Snapshot, Tree, revision

DOCKERFILE = """FROM golang:alpine AS builder
WORKDIR /w
COPY . .
RUN CGO_ENABLED=0 go build -a \\
    -o /app .
FROM alpine
COPY --from=builder /app /app
"""
RUN_LINE = 4
OFFLINE = "--network=none"
MOUNT = "--mount=type=cache"
NO_NETWORK = ("go: example.test/x@v1.0.0: Get …: dial tcp: lookup proxy.example.test: no such host",)
Answered = Callable[[], Awaitable[ResolvedImage]]
Answer = Callable[[SolveRequest, str, Callable[[Progress], None]], None]


def text_of(request: SolveRequest) -> str:
    with request.dockerfile.open("Dockerfile") as file:
        return file.read().decode()


def run_step(text: str) -> str:
    """The name that BuildKit gives the RUN over two lines."""
    first, _, second = text.partition("RUN ")[2].partition("\n")
    return f"[builder 4/4] RUN {first.removesuffix(chr(92))}{second.partition(chr(10))[0]}"


class Scripted:
    """Stands where a link and its client stand; `answers` are asked one after the other, then all is well."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.targets: list[str] = []
        self.answers: list[Answer] = []
        self.networks, self.standalone, self.closed = True, False, False
        self.reports_steps = True
        self.registry: dict[str, Answered] = {}
        self.resolved: list[str] = []

    async def client(self) -> Scripted:
        return self

    async def supports_run_network(self) -> bool:
        return self.networks

    async def platforms(self, target: str) -> Platforms:
        return Platforms.of("linux/amd64", target)

    def record_refused_network(self) -> None:
        self.networks = False

    async def resolve_image(self, reference: str, **_: object) -> ResolvedImage:
        self.resolved.append(reference)
        if (answer := self.registry.get(reference)) is None:
            raise SolveFailed("no such host")
        return await answer()

    async def solve(self, request: SolveRequest, tell: Callable[[Progress], None]) -> SolveResult:
        text = text_of(request)
        self.texts.append(text)
        self.targets.append(request.target)
        step = parse_step("sha256:1", run_step(text), RUN_LINE if request.locate else 0)
        if self.reports_steps:
            tell(StepStarted(step, 1.0))
        if self.answers:
            self.answers.pop(0)(request, step.name, tell)
        tell(StepFinished(step, 2.0, 1.0, cached=False, error=""))
        return SolveResult(f"sha256:{len(self.texts)}")

    @property
    def ways(self) -> list[str]:
        """How each text was: offline, accelerated, plain."""
        return [
            "offline" if OFFLINE in text else "accelerated" if MOUNT in text else "plain"
            for text in self.texts
        ]


class Bench:
    """A builder of a tree on disk."""

    def __init__(
        self,
        root: Path,
        base_notices: set[str] | None = None,
        patience: RegistryPatience = DEFAULT_PATIENCE,
    ) -> None:
        self.root = root
        self.engine, self.connection, self.events = FakeEngine(), Scripted(), list[Event]()
        recipe = Recipe(service="s", project="p", image="s:latest")
        connection: BuildkitConnection = self.connection  # type: ignore[assignment]
        self.builder = ImageBuilder(
            recipe,
            engine=self.engine,
            connection=connection,
            observer=self,
            base_notices=base_notices,
            patience=patience,
        )
        self.write("Dockerfile", DOCKERFILE)
        self.write("main.go", "package main\n")
        self.write("go.mod", "module x\n")

    def notify(self, event: Event) -> None:
        self.events.append(event)

    def write(self, name: str, text: str) -> None:
        (self.root / name).write_text(text)

    def scan(self) -> Scan[Snapshot]:
        snapshot = Tree(self.root).scan()
        return Scan(revision(snapshot, {}), snapshot, 0.0)

    async def save(self, number: int = 0) -> str:
        """One more save and its build; the image."""
        self.write("main.go", f"package main // {number} {len(self.connection.texts)}\n")
        return (await self.builder.build(self.scan(), forced=False)).image

    @property
    def notices(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, events.Notice)]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def fails(*log: str, reason: str = "exit code: 1") -> Answer:
    def answer(request: SolveRequest, step: str, __: object) -> None:
        raise SolveFailed(reason, step=step, log=log, line=RUN_LINE if request.locate else 0)

    return answer


def raises(error: Exception) -> Answer:
    def answer(*_: object) -> None:
        raise error

    return answer


async def test_services_of_a_project_report_a_base_image_once(tmp_path: Path) -> None:
    shared, benches = set[str](), list[Bench]()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        bench = Bench(tmp_path / name, shared)
        bench.engine.add_image(tags=["golang:alpine"], labels={PLACEHOLDER_LABEL: ""})
        bench.engine.add_image(tags=["alpine:latest"])
        await bench.save()
        await bench.save()
        benches.append(bench)
    first, second = benches
    (notice,) = [event for event in first.events if isinstance(event, events.Notice)]
    assert (notice.service, notice.level) == ("", "warning"), "it is about no single service"
    assert notice.text.startswith("golang:alpine is a PLACEHOLDER image")
    assert second.notices == []


async def test_a_build_that_needs_none_of_the_context_sends_nothing(bench: Bench) -> None:
    built = await bench.builder.build(bench.scan(), forced=False)
    assert (built.context_bytes, built.steps, built.cached_steps) == (0, 1, 0)


async def test_the_second_build_compiles_without_a_network(bench: Bench) -> None:
    await bench.save()
    await bench.save()
    assert bench.connection.ways == ["accelerated", "offline"]


async def test_other_modules_get_a_network_first(bench: Bench) -> None:
    await bench.save()
    bench.write("go.sum", "example.test/x v1.0.0 h1:=\n")
    await bench.save()
    await bench.save()
    assert bench.connection.ways == ["accelerated", "accelerated", "offline"]


async def test_a_frontend_that_does_not_know_networks_is_not_asked_for_them(bench: Bench) -> None:
    bench.connection.networks = False
    await bench.save()
    await bench.save()
    assert bench.connection.ways == ["accelerated", "accelerated"]


async def test_a_frontend_that_says_nothing_of_its_version_is_asked_once(bench: Bench) -> None:
    await bench.save()
    bench.connection.answers = [raises(SolveFailed("dockerfile parse error line 4: Unknown flag: network"))]
    await bench.save()
    await bench.save()
    assert bench.connection.ways == ["accelerated", "offline", "accelerated", "accelerated"]
    first, second = bench.notices
    assert missing(first, "golang:alpine", "not here", "BuildKit") == []
    assert missing(second, "alpine", "not here", "BuildKit") == []


async def test_a_step_that_misses_the_network_is_built_again_with_one(bench: Bench) -> None:
    await bench.save()
    bench.connection.answers = [fails(*NO_NETWORK)]
    assert await bench.save() == "sha256:3"
    assert bench.connection.ways == ["accelerated", "offline", "accelerated"]
    assert any(text.startswith("built again with a network") for text in bench.notices)


async def test_a_compile_error_is_told_at_once(bench: Bench) -> None:
    await bench.save()
    bench.connection.answers = [fails("# example.test/a", "./main.go:1:14: undefined: x")]
    with pytest.raises(UserError, match="undefined: x"):
        await bench.save()
    assert len(bench.connection.texts) == 2


async def test_what_builds_only_as_it_is_is_left_alone_from_the_second_time_on(bench: Bench) -> None:
    for _ in range(2):
        bench.connection.answers = [fails("killed")]
        await bench.save()
    await bench.save()
    assert bench.connection.ways == ["accelerated", "plain", "accelerated", "plain", "plain"]
    assert bench.connection.texts[-1] == DOCKERFILE
    assert "tried again next time" in bench.notices[-2]
    assert missing(bench.notices[-1], "left alone") == []


async def test_a_module_that_only_the_image_has_is_found_without_a_mount_over_it(bench: Bench) -> None:
    no_module = "main.go:3:8: example.test/x@v1.0.0: Get …: dial tcp: lookup proxy.test: no such host"
    for _ in range(2):
        bench.connection.answers = [fails(no_module)]
        await bench.save()
    await bench.save()
    assert ["gomodcache" in text for text in bench.connection.texts] == [True, False, True, False, False]
    assert all("id=p-gocache" in text for text in bench.connection.texts)
    assert missing(bench.notices[-2], "without", "module cache") == []
    assert missing(bench.notices[-1], "no module cache") == []


@pytest.mark.parametrize(("platform", "arch"), [("", "amd64"), ("linux/arm64", "arm64")])
async def test_the_stage_of_the_services_platform_is_accelerated(
    bench: Bench, platform: str, arch: str
) -> None:
    stage = "FROM golang:alpine AS build-{}\nCOPY . .\nRUN CGO_ENABLED=0 go build -a -o /app .\n"
    text = stage.format("amd64") + stage.format("arm64")
    bench.write("Dockerfile", f"{text}FROM build-$TARGETARCH AS b\nFROM alpine\nCOPY --from=b /app /\n")
    bench.builder.recipe = replace(bench.builder.recipe, platform=platform)
    await bench.save()
    amd, arm = (MOUNT in part for part in bench.connection.texts[0].split("FROM golang")[1:3])
    assert (amd, arm) == (arch == "amd64", arch == "arm64")


async def test_a_failure_is_told_in_the_words_of_the_file(bench: Bench) -> None:
    bench.connection.answers = [fails("killed"), fails("killed")]
    with pytest.raises(UserError) as caught:
        await bench.save()
    summary = caught.value.failure.summary
    assert missing(summary, "[builder 4/4]", "RUN CGO_ENABLED=0 go build -a -o /app .", "killed") == []
    names = [event.name for event in bench.events if isinstance(event, events.BuildStepStarted)]
    assert set(names) == {"[builder 4/4] RUN CGO_ENABLED=0 go build -a -o /app ."}
    assert bench.connection.ways == ["accelerated", "plain"]
    bench.connection.answers = [fails("killed")]
    with pytest.raises(UserError):
        await bench.save()  # the same mistake again does not cost the slow build again
    assert len(bench.connection.texts) == 3


@pytest.mark.parametrize(
    "reason",
    [
        "executor failed running [/bin/sh -c {COMMAND}]: exit code: 1",
        'process "/bin/sh -c {COMMAND}" did not complete successfully: exit code: 1',
    ],
)
async def test_a_failure_without_a_word_shows_the_command_of_the_file(bench: Bench, reason: str) -> None:
    """BuildKit says which command failed, and that is ours: none of it reaches the user."""
    ours = "{ if [ -f /root/.cache/go-build/watcher-1 ]; then :; fi; } && GOGC=400 go build"
    reason = reason.replace("{COMMAND}", ours)
    bench.connection.answers = [fails(reason=reason), fails(reason=reason.replace(ours, "go build -a"))]
    with pytest.raises(UserError) as caught:
        await bench.save()
    assert bench.connection.ways == ["accelerated", "plain"]
    told = repr([caught.value.failure, bench.events])
    assert "GOGC" not in told
    assert "watcher-1" not in told


@pytest.mark.parametrize(
    "reason",
    [
        "executor failed running [/bin/sh -c GOGC=400 go build]: exit code: 1",
        'process "/bin/sh -c GOGC=400 go build" did not complete successfully: exit code: 1',
    ],
)
async def test_a_step_that_failed_for_another_build_runs_again_for_its_output(
    bench: Bench, reason: str
) -> None:
    bench.connection.answers = [raises(SolveFailed(reason)), fails("main.go:1:1: expected 'package'")]
    with pytest.raises(UserError) as caught:
        await bench.save()
    assert "main.go:1:1" in repr(caught.value.failure)
    assert bench.connection.ways == ["accelerated", "accelerated"]
    bench.connection.answers = [raises(SolveFailed(reason))] * 4
    with pytest.raises(UserError) as caught:
        await bench.save()  # BuildKit never says which step: at least nothing of ours is shown
    assert bench.connection.ways[2:] == ["accelerated"] * 3 + ["plain"]
    assert "GOGC" not in repr(caught.value.failure)
    assert "exit code: 1" in caught.value.failure.summary


async def test_a_step_that_always_fails_for_another_build_is_tried_without_acceleration(
    bench: Bench,
) -> None:
    """Nothing shows which step failed, so it can be one that acceleration changed."""
    bench.connection.reports_steps = False
    unseen = raises(SolveFailed("executor failed running [/bin/sh -c go build ./shop]: exit code: 1"))
    bench.connection.answers = [unseen] * 3
    await bench.save()
    assert bench.connection.ways == ["accelerated"] * 3 + ["plain"]


async def test_the_command_in_an_error_does_not_decide_what_is_tried_next(bench: Bench) -> None:
    reason = "executor failed running [/bin/sh -c GOFLAGS=-p=2 go build -o /modules]: exit code: 1"
    bench.connection.answers = [fails("killed", reason=reason)]
    await bench.save()
    assert bench.connection.ways == ["accelerated", "plain"]
    assert not any("a module is missing" in text for text in bench.notices)


async def test_a_variable_in_a_changed_step_does_not_take_the_second_try_away(bench: Bench) -> None:
    """BuildKit puts values into the names of steps, so no name is that of a line."""
    bench.write("Dockerfile", DOCKERFILE.replace("WORKDIR /w", "ARG V=1.2").replace("-o /app", "-o /app$V"))

    def answer(request: SolveRequest, step: str, tell: Callable[[Progress], None]) -> None:
        fails("killed")(request, step.replace("$V", "1.2"), tell)

    bench.connection.answers = [answer]
    await bench.save()
    assert bench.connection.ways == ["accelerated", "plain"]
    names = {event.name for event in bench.events if isinstance(event, events.BuildStepStarted)}
    assert names == {"[builder 4/4] RUN CGO_ENABLED=0 go build -a -o /app$V ."}


async def test_only_the_steps_of_the_last_try_are_counted(bench: Bench) -> None:
    bench.connection.answers = [fails("killed")]
    bench.write("main.go", "package x\n")
    assert (await bench.builder.build(bench.scan(), forced=False)).steps == 1


@pytest.mark.parametrize(
    ("error", "wanted"),
    [(ContextChanged("main.go"), Superseded), (ConnectError("gone"), EngineUnavailable)],
)
async def test_what_is_nobodys_fault_is_not_tried_again(
    bench: Bench, error: Exception, wanted: type[Exception]
) -> None:
    bench.connection.answers = [raises(error)]
    with pytest.raises(wanted):
        await bench.save()
    assert len(bench.connection.texts) == 1


async def test_a_step_that_went_with_another_build_is_built_again(bench: Bench) -> None:
    lost = raises(SolveFailed("failed to get edge: inconsistent graph state"))
    bench.connection.answers = [lost, lost]
    await bench.save()
    assert bench.connection.ways == ["accelerated"] * 3


async def test_a_build_that_the_engine_stops_again_and_again_waits_for_the_engine(bench: Bench) -> None:
    """As an engine does that shuts down; the tree has no fault, and its revision is tried again later."""
    bench.connection.answers = [raises(SolveFailed("failed to solve: context canceled"))] * 3
    with pytest.raises(EngineUnavailable, match="the engine stopped the build"):
        await bench.save()
    assert bench.connection.ways == ["accelerated"] * 3


async def test_a_full_disk_of_the_engines_is_nobodys_mistake(bench: Bench) -> None:
    bench.connection.answers = [raises(SolveFailed("write /x: no space left on device"))]
    with pytest.raises(EngineTrouble, match=r"^no space left on device on the engine's machine$"):
        await bench.save()
    assert len(bench.connection.texts) == 1, "the file as it is would not fit either"


@pytest.mark.parametrize(
    ("put", "said"),
    [
        (lambda path: None, "Dockerfile: there is no such Dockerfile"),
        (lambda path: path.mkdir(), "Dockerfile is not a regular file and is not read"),
        (os.mkfifo, "Dockerfile is not a regular file and is not read"),
        (lambda path: path.write_bytes(b"#" * (4 << 20) + b"\n"), "Dockerfile is larger than 4 MiB"),
        (lambda path: path.symlink_to("nowhere"), "Dockerfile: there is no such Dockerfile"),
    ],
    ids=["nothing", "folder", "fifo", "too large", "dangling link"],
)
async def test_why_there_is_no_dockerfile_to_build_is_told(
    bench: Bench, put: Callable[[Path], None], said: str
) -> None:
    (bench.root / "Dockerfile").unlink()
    put(bench.root / "Dockerfile")
    with pytest.raises(UserError, match=f"^{said}"):
        await bench.save()


async def test_an_ignore_file_that_cannot_be_used_is_the_users(bench: Bench) -> None:
    bench.write(".dockerignore", "[\n")
    with pytest.raises(UserError, match=r"^\.dockerignore: '\[': \[ is not closed by \]$"):
        await bench.save()
    assert bench.connection.texts == [], "nothing is built with the last good one"


async def test_a_pattern_that_only_buildkit_hands_back_is_the_users(bench: Bench) -> None:
    bench.write(".dockerignore", "a\n")
    bench.connection.answers = [raises(IgnorePatternError("[", "[ is not closed by ]"))]
    with pytest.raises(UserError, match=r"^\.dockerignore: '\[': \[ is not closed by \]$"):
        await bench.save()
    assert len(bench.connection.texts) == 1


async def test_a_cancelled_build_is_not_tried_again(bench: Bench) -> None:
    bench.connection.answers = [raises(asyncio.CancelledError())]  # type: ignore[arg-type]
    with pytest.raises(asyncio.CancelledError):
        await bench.save()
    assert len(bench.connection.texts) == 1


async def test_the_builder_image_is_exported_from_the_text_that_was_built(bench: Bench) -> None:
    await bench.save()
    scan = bench.scan()
    await bench.builder.compile_stage.export_image(scan)
    assert bench.connection.targets == ["", "builder"]
    assert bench.connection.texts[0] == bench.connection.texts[1]


async def test_a_file_that_is_not_understood_here_is_the_engines_to_refuse(bench: Bench) -> None:
    bench.write("Dockerfile", "FROM golang:alpine\nFLY me\nRUN go build \\\n .\n")
    assert await bench.save() == "sha256:1"
    (notice,) = bench.notices
    assert notice.startswith(
        "Dockerfile is built as it is, because it was not understood here: line 2, 'FLY me'"
    )
    bench.connection.answers = [
        raises(SolveFailed("dockerfile parse error line 2: unknown instruction: FLY"))
    ]
    with pytest.raises(UserError, match=r"^Dockerfile:2: FLY is not an instruction"):
        await bench.save()
    assert bench.connection.ways == ["plain", "plain"]


async def test_a_bug_in_the_acceleration_is_told_and_harms_nobody(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise IndexError("bug")

    monkeypatch.setattr("watcher.dockerfile.accelerate", broken)
    assert await bench.save() == "sha256:1"
    assert bench.connection.texts == [DOCKERFILE]
    assert [event.where for event in bench.events if isinstance(event, events.InternalError)] == [
        "acceleration"
    ]


async def test_any_file_in_a_tree_with_cgo_names_another_cache(bench: Bench) -> None:
    bench.connection.networks = False
    bench.write("c.go", 'package main\n\n// #include "include/numbers"\nimport "C"\n')
    bench.write("Dockerfile", DOCKERFILE.replace("CGO_ENABLED=0 ", ""))
    (bench.root / "include").mkdir()
    for number in (1, 2, 1):
        bench.write("include/numbers", f"#define N {number}\n")
        await bench.save()
    one, two, again = bench.connection.texts
    assert MOUNT in one
    assert one != two
    assert one == again


async def test_a_registry_that_does_not_answer_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, patience=RegistryPatience(first=0.05))
    name = "[internal] load metadata for docker.io/library/golang:alpine"

    async def solve(_: SolveRequest, tell: Callable[[Progress], None]) -> SolveResult:
        tell(StepStarted(parse_step("sha256:1", name), 1.0))
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    monkeypatch.setattr(bench.connection, "solve", solve)
    with pytest.raises(
        RegistryTrouble,
        match=r"golang:alpine was not found locally and .*no answer within",
    ):
        await bench.save()


@pytest.mark.parametrize(
    ("why", "error"),
    [
        ("failed to do request: dial tcp: lookup registry.example: no such host", RegistryTrouble),
        ("unexpected status from GET request: 503 Service Unavailable", RegistryTrouble),
        ("pull access denied, repository does not exist or may require authorization", UserError),
        ("docker.io/library/golang:alpine: not found", UserError),
    ],
)
async def test_a_base_image_that_is_not_to_be_had_is_the_users_fault_only_if_a_registry_says_so(
    bench: Bench, why: str, error: type[Exception]
) -> None:
    def refuse(*_: object) -> None:
        raise SolveFailed(why, step="[internal] load metadata for docker.io/library/golang:alpine")

    bench.connection.answers = [refuse] * 5
    with pytest.raises(error, match="base image golang:alpine was not found locally and could not be pulled"):
        await bench.save()
    bench.connection.answers = []
    assert await bench.save()


DIGEST = "sha256:" + "ab" * 32
FULL = "docker.io/own/base:latest"
ON_OWN_BASE = DOCKERFILE.replace("golang:alpine", "own/base")


def on_a_base(bench: Bench, *, env: str = "GOLANG_VERSION=1.26.0") -> list[str]:
    """Put the project on a base image that only its registry has; what is appended makes it fail."""
    down: list[str] = []

    async def answer() -> ResolvedImage:
        if down:
            raise SolveFailed(down[0])
        config = {"Env": [env, "GOPATH=/go"], "User": "", "WorkingDir": "/go"}
        return ResolvedImage(DIGEST, {"os": "linux", "config": config})

    bench.connection.registry[FULL] = answer
    bench.write("Dockerfile", ON_OWN_BASE)
    return down


async def test_a_base_image_that_is_not_here_is_looked_at_through_buildkit_once(bench: Bench) -> None:
    on_a_base(bench)
    await bench.save()
    await bench.save()
    assert bench.connection.ways == ["accelerated", "offline"]
    assert bench.connection.resolved.count(FULL) == 1
    assert any(missing(line, "own/base", "pulls") == [] for line in bench.notices)


async def test_such_a_base_is_named_by_digest_so_that_no_build_asks_its_registry(bench: Bench) -> None:
    on_a_base(bench)
    await bench.save()
    assert bench.connection.texts[0].startswith(f"FROM own/base@{DIGEST} AS builder\n")
    bench.builder.recipe = replace(bench.builder.recipe, level=Level.OFF)
    await bench.save()
    assert bench.connection.texts[1].startswith("FROM own/base AS builder\n")
    bench.builder.recipe = replace(
        bench.builder.recipe, level=Level.EXACT, frontend_attrs={"image-resolve-mode": "pull"}
    )
    await bench.save()
    assert bench.connection.texts[2].startswith("FROM own/base AS builder\n")


async def test_a_step_that_failed_for_another_build_leaves_the_digest_in_place(bench: Bench) -> None:
    on_a_base(bench)
    unseen = raises(SolveFailed("executor failed running [/bin/sh -c go build]: exit code: 1"))
    bench.connection.answers = [unseen]
    await bench.save()
    assert [DIGEST in text for text in bench.connection.texts] == [True, True]


async def test_a_digest_that_cannot_be_fetched_is_built_by_tag_at_once(bench: Bench) -> None:
    on_a_base(bench)
    gone = fails(reason="not found")
    bench.connection.answers = [lambda request, _, tell: gone(request, "[builder 1/4] FROM own/base", tell)]
    await bench.save()
    assert bench.connection.ways == ["accelerated", "accelerated"]
    by_digest, by_tag = bench.connection.texts
    assert by_tag == by_digest.replace(f"@{DIGEST}", "") != by_digest
    await bench.save()
    assert DIGEST in bench.connection.texts[2]
    assert bench.connection.resolved.count(FULL) == 2


async def test_a_step_that_fails_on_such_a_base_fails_as_ever(bench: Bench) -> None:
    on_a_base(bench)
    bench.connection.answers = [
        lambda request, _, tell: fails("no")(request, "[builder 3/4] RUN own", tell)
    ] * 6
    for _ in range(2):
        with pytest.raises(UserError):
            await bench.save()
    assert bench.connection.resolved.count(FULL) == 1


async def test_a_rebuild_looks_at_the_bases_again(bench: Bench) -> None:
    on_a_base(bench)
    await bench.save()
    await bench.builder.build(bench.scan(), forced=True)
    assert bench.connection.resolved.count(FULL) == 2


async def test_a_registry_that_says_nothing_more_leaves_what_it_said(tmp_path: Path) -> None:
    bench = Bench(tmp_path, patience=RegistryPatience(fresh=0.0))
    down = on_a_base(bench)
    await bench.save()
    down.append("no such host")
    await bench.save()
    assert bench.connection.ways == ["accelerated", "offline"]
    assert bench.connection.resolved.count(FULL) == 2


async def test_a_base_image_that_nobody_knows_is_built_on_as_the_file_says(bench: Bench) -> None:
    on_a_base(bench).append("pull access denied")
    await bench.save()
    assert bench.connection.ways == ["plain"]


async def test_a_registry_that_is_silent_when_asked_for_a_base_is_not_waited_for(tmp_path: Path) -> None:
    bench = Bench(tmp_path, patience=RegistryPatience(first=0.05))
    on_a_base(bench)

    async def silent() -> ResolvedImage:
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    bench.connection.registry[FULL] = silent
    with pytest.raises(
        RegistryTrouble,
        match=r"own/base was not found locally and .*no answer within 0.05 s",
    ):
        await bench.save()
    # What is done in idle time, such as after a start with a network that is gone, waits for the next deploy.
    assert await bench.builder.compile_stage.export_image(bench.scan()) is None
    assert not await bench.builder.compile_stage.save_binaries(bench.scan())
    assert bench.connection.texts == []


async def test_a_buildkitd_is_asked_for_bases_even_where_the_engine_has_them(bench: Bench) -> None:
    bench.engine.add_image(tags=["own/base:latest"])
    bench.write("Dockerfile", ON_OWN_BASE)
    await bench.save()
    assert FULL not in bench.connection.resolved
    bench.connection.standalone = True
    with pytest.raises(EngineError):  # the scripted client loads nothing
        await bench.save()
    assert FULL in bench.connection.resolved


async def test_who_builds_fast_is_told_once_what_a_debugger_loses(bench: Bench) -> None:
    bench.builder.recipe = replace(bench.builder.recipe, level=Level.FAST)
    await bench.save()
    await bench.save()
    (told,) = (text for text in bench.notices if "fast" in text)
    assert missing(told, "build.accelerate", "fast", "line 4", "without DWARF", "debugger") == []
    assert "-ldflags=-w" in bench.connection.texts[0]


async def test_what_a_buildkitd_built_is_loaded_into_the_engine(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.connection.standalone = True
    asked: list[SolveRequest] = []

    async def solve(request: SolveRequest, _: object) -> SolveResult:
        asked.append(request)
        assert request.output is not None
        request.output.write("\n".join(request.names).encode())
        return SolveResult("sha256:of-the-buildkitd")

    monkeypatch.setattr(bench.connection, "solve", solve)
    bench.builder.recipe = replace(bench.builder.recipe, ssh={"default": Path("/run/agent")})
    image = await bench.engine.image(await bench.save())
    assert image is not None
    assert image.id != "sha256:of-the-buildkitd"
    assert asked[0].ssh == {"default": Path("/run/agent")}
    assert asked[0].exporter == "docker"


async def test_an_image_of_the_revision_is_found_unless_a_build_is_forced(bench: Bench) -> None:
    scan = bench.scan()
    image = bench.engine.add_image(tags=(bench.builder.recipe.tag(scan.revision),))
    built = await bench.builder.build(scan, forced=False)
    assert (built.image, built.reused, bench.connection.texts) == (image, True, [])
    built = await bench.builder.build(scan, forced=True)
    assert (built.image, built.reused, len(bench.connection.texts)) == ("sha256:1", False, 1)
