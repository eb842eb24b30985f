"""`watcher doctor --measure` and `--fix`: what is tried, what counts as the same, what is written."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import subprocess
import threading
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import pytest

from tests.facts import missing
from tests.fake_engine import FakeEngine
from tests.platforms import AMD64
from watcher import compose
from watcher.builder import Recipe
from watcher.cli.doctor import trial
from watcher.cli.doctor.findings import Figures, Finding, Grade, Measured
from watcher.cli.doctor.idle_turn import IdleTurn
from watcher.cli.doctor.image_facts import find_extra_files, read_facts
from watcher.cli.doctor.measure import SizeMeasurement
from watcher.cli.doctor.suggested_files import suggest_dockerfile, suggest_ignore_file, suggest_patterns
from watcher.cli.doctor.trial import Answer, TrialRun, Trials, find_difference, get_answer
from watcher.cli.doctor.variants import BuiltVariant
from watcher.cli.main import main
from watcher.deploy import DeployPolicy
from watcher.dockerfile import ImageConfig, ImageFacts, Level, Runs, ShrinkInput
from watcher.errors import EngineUnavailable, Failure, UserError
from watcher.image.build_info import GoBuild, GoModule
from watcher.image.go_binary import GoBinary, GoPart
from watcher.image.go_layout import PartKind
from watcher.image.model import ImageContent, ImageFile, ImageLayer
from watcher.tree import Snapshot, Tree

TEXT = (
    "FROM golang AS b\nRUN CGO_ENABLED=0 go build -o /app .\nFROM alpine\n"
    'COPY --from=b /app /app\nCMD ["/app"]\n'
)


def run_of(*answers: Answer, health: int | None = None) -> TrialRun:
    return TrialRun(0.1, answers, health)


def test_what_differs_between_two_runs_of_one_image_is_not_compared() -> None:
    first = run_of(Answer("/health", 200, "text/plain", "a"), Answer("/", 200, "text/html", "host-1"))
    second = run_of(Answer("/health", 200, "text/plain", "a"), Answer("/", 200, "text/html", "host-2"))
    same = run_of(Answer("/health", 200, "text/plain", "a"), Answer("/", 200, "text/html", "host-3"))
    assert find_difference(first, second, same) == ""
    body = run_of(Answer("/health", 200, "text/plain", "b"), same.answers[1])
    assert find_difference(first, second, body) == "GET /health is answered with another body"
    status = run_of(same.answers[0], Answer("/", 500, "text/html", "x"))
    assert missing(find_difference(first, second, status), "GET /", 500, 200) == []
    silent = run_of(Answer("/health", 0), same.answers[1])
    assert missing(find_difference(first, second, silent), "GET /health", "nothing", 200) == []
    kind = run_of(Answer("/health", 200, "text/html", "a"), same.answers[1])
    assert "content type 'text/html'" in find_difference(first, second, kind)


def test_answers_are_compared_by_path_also_if_one_is_missing() -> None:
    health, root = Answer("/health", 200, digest="a"), Answer("/", 200, digest="b")
    both = run_of(health, root)
    assert find_difference(both, both, run_of(root, health)) == ""
    assert missing(find_difference(both, both, run_of(root)), "GET /health", "nothing", 200) == []
    assert missing(find_difference(both, both, run_of()), "GET /health", "nothing", 200) == []
    assert find_difference(both, both, run_of(Answer("/status", 200), health, root)) == ""


def test_a_health_check_that_is_gone_is_a_difference() -> None:
    well = run_of(health=0)
    assert missing(find_difference(well, well, run_of()), "no health check", 0) == []


def test_a_health_check_that_cannot_be_run_any_more_is_a_difference() -> None:
    well = run_of(health=0)
    assert missing(find_difference(well, well, run_of(health=-1)), "status -1", "0") == []


def project_of(tmp_path: Path, text: str) -> compose.ComposeProject:
    (tmp_path / "compose.yaml").write_text(text)
    (tmp_path / "Dockerfile").write_text(TEXT)
    return compose.load(tmp_path / "compose.yaml", env={})


SERVICES = """
services:
  db: {image: postgres}
  job: {build: .}
  api:
    build: .
    ports: ["9000:9000", "5353:5353/udp"]
    volumes: ["data:/data", "./x:/x"]
  web:
    build: .
    depends_on: {db: {condition: service_started}, job: {condition: service_completed_successfully}}
volumes: {data: {}}
"""


def test_a_trial_takes_no_port_volume_or_network_of_the_project(tmp_path: Path) -> None:
    project = project_of(tmp_path, SERVICES)
    api = trial.prepare_trial(project.services["api"], beside=False)
    assert [(port.container_port, port.host_ip, port.host_port) for port in api.ports] == [
        (9000, "127.0.0.1", None)
    ]
    assert api.networks == ()
    assert {each.target: bool(each.source) for each in api.mounts} == {"/data": False, "/x": True}
    assert trial.prepare_trial(project.services["api"], beside=True).mounts == project.services["api"].mounts


def test_what_cannot_run_beside_another_is_not_tried(tmp_path: Path) -> None:
    project = project_of(tmp_path, SERVICES)

    def obstacle(name: str, *, beside: bool) -> str:
        return trial.find_trial_obstacle(project, project.services[name], beside=beside)

    assert "it publishes 5353" in obstacle("api", beside=True)
    assert obstacle("api", beside=False) == ""
    assert missing(obstacle("web", beside=False), "depends", "db, job", "start") == []
    assert obstacle("web", beside=True) == ""
    assert "it is a job" in obstacle("job", beside=True)


async def test_the_container_of_a_trial_is_removed(tmp_path: Path) -> None:
    project = project_of(tmp_path, "services: {api: {build: .}}\n")
    engine = FakeEngine()
    image = engine.add_image(tags=("x:1",))
    trials = Trials(
        engine, project, project.services["api"], DeployPolicy(), project_id="p-0000000000", beside=False
    )
    assert trials.obstacle == ""
    found = await trials.run(image)
    assert found.answers == ()
    assert await engine.containers() == []
    with pytest.raises(UserError, match="cannot be run"):
        await trials.run("sha256:none")
    assert await engine.containers() == []


async def test_a_health_check_that_does_not_end_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = project_of(tmp_path, "services: {api: {build: .}}\n")
    engine = FakeEngine()

    async def hang(*_: object) -> tuple[int, tuple[str, ...]]:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(engine, "execute", hang)
    policy, service = DeployPolicy(), project.services["api"]
    trials = Trials(
        engine, project, service, policy, project_id="p-0000000000", beside=False, health_seconds=0.01
    )
    async with asyncio.timeout(10):
        assert await trials._check_health("c", ("CMD", "/app", "health")) == -1


async def test_work_is_cancelled_by_a_save_and_done_again() -> None:
    busy, begun, ended = [True, False, True, True, False, False], 0, asyncio.Event()

    def is_busy() -> bool:
        answer = busy.pop(0) if busy else False
        if not busy:
            ended.set()
        return answer

    async def work() -> int:
        nonlocal begun
        begun += 1
        await ended.wait()
        return begun

    turn = IdleTurn(is_busy, poll=0.001)
    assert await turn.run(work) == 2
    assert turn.interrupted == 1


async def test_cancelled_from_outside_the_work_ends_too() -> None:
    began, cancelled = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    task = asyncio.create_task(IdleTurn(lambda: False, poll=0.001).run(work))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cancelled.is_set()


def content_of(packages: tuple[str, ...] = ("net/http",), *, dynamic: bool = False) -> ImageContent:
    parts = tuple(GoPart(PartKind.CODE, package, "std", 10) for package in packages)
    build = GoBuild("go1.24", modules=(GoModule("github.com/gin-gonic/gin", "v1"),))
    files = (
        ImageFile("/app", 100, 2),
        ImageFile("/etc/ssl/certs/ca-certificates.crt", 7, 1),
        ImageFile("/etc/passwd", 7, 1),
        ImageFile("/usr/share/zoneinfo/UTC", 7, 1),
        ImageFile("/docs/manual.pdf", 900_000, 2),
    )
    layers = (ImageLayer(1, "ADD base", 21, 3), ImageLayer(2, "COPY . /", 900_100, 2))
    binary = GoBinary(100, False, build, parts, dynamic=dynamic)
    return ImageContent("sha256:1", (), layers, files, (), {"/app": binary})


def test_the_needs_of_a_program_are_read_off_its_image() -> None:
    facts = read_facts(content_of(("net/http", "crypto/tls")), Runs())
    assert facts.needs.static
    assert facts.needs.certificates
    assert facts.needs.zones
    assert facts.needs.accounts == ("/etc/passwd",)
    assert facts.modules == {"github.com/gin-gonic/gin"}
    own = read_facts(content_of(("time/tzdata",)), Runs())
    assert not own.needs.zones
    assert not own.needs.certificates
    assert not read_facts(content_of(dynamic=True), Runs()).needs.static
    assert "os/exec" in read_facts(content_of(("os/exec",)), Runs()).needs.others
    assert "runs sh" in read_facts(content_of(), Runs(command=("sh", "-c", "/app"))).needs.others
    assert "for a shell" in read_facts(content_of(), Runs(health=("CMD-SHELL", "x"))).needs.others
    assert read_facts(content_of(), Runs(health=("CMD", "/app", "health"))).needs.others == ""


def test_what_a_copy_brings_besides_the_program_is_found() -> None:
    (found,) = find_extra_files(content_of())
    assert missing(found, "COPY . /", "1 file", "900 kB", "/docs/manual.pdf", "900 kB") == []


class World:
    """Builds and trials that answer by the text of the Dockerfile."""

    obstacle = ""

    def __init__(self, size_of: Callable[[str], int]) -> None:
        self.size_of, self.texts = size_of, list[str]()
        self.fast = Figures(25_000_000, 1.45)  # at level fast: no gain
        self.broken: set[str] = set()  # what a container of an image with it does not survive

    async def build(self, text: str, snapshot: Snapshot, *, level: Level | None = None) -> BuiltVariant:
        if level is Level.FAST:
            if "fast" in self.broken:
                raise UserError(Failure("build", "it does not compile"))
            return BuiltVariant("fast", self.fast.size, self.fast.link)
        self.texts.append(text)
        if "-tags" in text and "no build" in self.broken:
            raise UserError(Failure("build", "it does not compile"))
        return BuiltVariant(text, self.size_of(text), 1.5)

    async def run(self, image: str) -> TrialRun:
        if "down" in self.broken:
            raise EngineUnavailable("the engine is away")
        status = 500 if any(each in image for each in self.broken) else 200
        return TrialRun(0.2, (Answer("/health", status),))

    async def read(self, image: str) -> ImageContent:
        return content_of(("net/http", "github.com/ugorji/go/codec"))


def gains(text: str) -> int:
    size = 25_000_000
    size -= 7_000_000 if "-s -w" in text else 0
    size -= 6_000_000 if "nomsgpack" in text else 0
    return size - (3_000_000 if "FROM scratch" in text else 0)


async def measure(
    world: World, tmp_path: Path, level: Level = Level.EXACT
) -> tuple[SizeMeasurement, list[Finding]]:
    (tmp_path / "Dockerfile").write_text(TEXT)
    found = SizeMeasurement(
        Recipe(service="api", project="p-0000000000", image="api:latest", level=level),
        Tree(tmp_path).scan(),
        ShrinkInput({}, None, AMD64, {"alpine": ImageConfig()}, ImageFacts()),
        cast(Any, None),
        cast(Any, world),
        cast(Any, world),
        IdleTurn(lambda: False, poll=0.001),
    )
    found._reader = cast(Any, world)
    return found, [finding async for finding in found.measure(TEXT)]


async def test_each_change_is_measured_on_top_of_those_before(tmp_path: Path) -> None:
    measurement, found = await measure(World(gains), tmp_path)
    suggestion = measurement.suggestion
    assert suggestion is not None
    assert suggestion.names == ('-ldflags="-s -w"', "-tags=nomsgpack", "-trimpath", "FROM scratch")
    assert (suggestion.before.size, suggestion.after.size) == (25_000_000, 9_000_000)
    assert suggestion.answers == "/health 200"
    measured = [finding.measured.gain for finding in found if finding.measured]
    assert measured == [0, 7_000_000, 6_000_000, 0, 3_000_000]
    assert [finding.grade for finding in found if finding.measured] == [
        Grade.GOOD,
        Grade.ADVICE,
        Grade.ADVICE,
        Grade.TASTE,
        Grade.ADVICE,
    ]


async def test_a_change_that_fails_is_dropped_and_said(tmp_path: Path) -> None:
    world = World(gains)
    world.broken = {"FROM scratch", "no build"}
    measurement, found = await measure(world, tmp_path)
    assert measurement.suggestion is not None
    assert measurement.suggestion.names == ('-ldflags="-s -w"', "-trimpath")
    assert "FROM scratch" not in measurement.suggestion.text
    texts = [finding.text for finding in found]
    assert any(missing(text, "tags=nomsgpack", "not suggested", "not compile") == [] for text in texts)
    assert any(missing(text, "FROM scratch", "not suggested", "/health", 500, 200) == [] for text in texts)


async def test_a_change_that_saves_nothing_is_not_suggested(tmp_path: Path) -> None:
    measurement, found = await measure(World(lambda _: 1_000_000), tmp_path)
    assert measurement.suggestion is not None
    assert measurement.suggestion.names == ("-trimpath",)
    assert any(missing(finding.text, "changes the size") == [] for finding in found)


def of_fast(found: list[Finding]) -> Finding:
    (finding,) = (each for each in found if "build.accelerate" in each.text)
    return finding


@pytest.mark.parametrize("fast", [Figures(17_000_000, 1.5), Figures(25_000_000, 1.0)])
async def test_what_level_fast_gives_is_measured_and_its_price_is_said(tmp_path: Path, fast: Figures) -> None:
    world = World(gains)
    world.fast = fast
    _, found = await measure(world, tmp_path)
    told = of_fast(found)
    assert (told.grade, told.measured) == (Grade.TASTE, Measured(Figures(25_000_000, 1.5, 0.2), fast))
    assert missing(told.text, "25.0 MB →", "links in 1.5") == []
    assert "debugger" in told.advice


async def test_level_fast_that_gives_nothing_or_fails_is_not_advised(tmp_path: Path) -> None:
    world = World(gains)
    _, found = await measure(world, tmp_path)
    assert (of_fast(found).grade, of_fast(found).advice) == (Grade.GOOD, "")
    world.broken = {"fast"}
    _, found = await measure(world, tmp_path)
    assert missing(of_fast(found).text, "was not tried", "it does not compile") == []
    assert of_fast(found).advice == ""


@pytest.mark.parametrize("level", [Level.OFF, Level.FAST])
async def test_level_fast_is_not_tried_where_another_was_chosen(tmp_path: Path, level: Level) -> None:
    _, found = await measure(World(gains), tmp_path, level)
    assert not [each for each in found if "build.accelerate" in each.text]


async def test_without_a_trial_nothing_is_suggested(tmp_path: Path) -> None:
    world = World(gains)
    world.obstacle = "it is a job"
    measurement, found = await measure(world, tmp_path)
    assert measurement.suggestion is None
    assert "it is a job" in found[-1].text


async def test_a_lost_engine_is_no_fault_of_a_change(tmp_path: Path) -> None:
    world = World(gains)
    world.broken = {"down"}
    with pytest.raises(EngineUnavailable):
        await measure(world, tmp_path)


def test_an_ignore_file_names_only_what_is_there() -> None:
    assert suggest_patterns(["main.go", "Dockerfile", "README.md"], None) == (
        ".git",
        "Dockerfile*",
        "README*",
    )
    assert suggest_patterns(["main.go"], "bin\n") == (".git",)
    assert suggest_patterns(["main.go"], ".git\n") == ()


def test_a_link_with_the_name_of_a_suggestion_leads_to_no_write(tmp_path: Path) -> None:
    own, link = tmp_path / "Dockerfile", tmp_path / "Dockerfile.watcher-suggested"
    own.write_text("FROM a\n")
    link.symlink_to(own)
    suggest_dockerfile(own, "FROM a\n", "FROM b\n").write()
    assert (own.read_text(), link.read_text(), link.is_symlink()) == ("FROM a\n", "FROM b\n", False)
    link.unlink()
    link.mkdir()
    with pytest.raises(Exception, match="cannot be written"):
        suggest_dockerfile(own, "FROM a\n", "FROM b\n").write()
    assert sorted(each.name for each in tmp_path.iterdir()) == [own.name, link.name]


class StreamHandler(BaseHTTPRequestHandler):
    """`/` is a stream of events without an end; `/long` a body in many pieces."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(OSError):
            for _ in range(100):
                self.wfile.write(b"data: tick\n\n")
            while self.path == "/" and not self.server.ended.wait(0.005):  # type: ignore[attr-defined]
                self.wfile.write(b"data: tick\n\n")

    def log_message(self, *_: object) -> None:
        pass


def test_a_body_without_an_end_is_an_answer_without_a_digest() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), StreamHandler) as server:
        server.ended = threading.Event()  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            port = server.server_address[1]
            assert get_answer("127.0.0.1", port, "/", 0.05) == Answer("/", 200)
            whole = get_answer("127.0.0.1", port, "/long", 5.0)
            assert whole.digest == hashlib.sha256(b"data: tick\n\n" * 100).hexdigest()
        finally:
            server.ended.set()  # type: ignore[attr-defined]
            server.shutdown()


def test_the_users_own_files_are_never_written(tmp_path: Path) -> None:
    own = tmp_path / "Dockerfile"
    own.write_text("FROM a\n")
    file = suggest_dockerfile(own, "FROM a\n", "FROM b\n")
    file.write()
    file.write()  # its own it replaces
    assert own.read_text() == "FROM a\n"
    assert (tmp_path / "Dockerfile.watcher-suggested").read_text() == "FROM b\n"
    ignore = suggest_ignore_file(tmp_path, "bin", [".git"])
    assert (ignore.path.name, ignore.text) == (".dockerignore.watcher-suggested", "bin\n.git\n")
    new = suggest_ignore_file(tmp_path, None, [".git"])
    new.write()
    with pytest.raises(Exception, match="cannot be written"):
        new.write()
    assert [each.path for each in Tree(tmp_path).scan().entries() if "suggested" in each.path] == []


@pytest.mark.parametrize("ends", ["\n", ""])
def test_a_patch_can_be_applied(tmp_path: Path, ends: str) -> None:
    own = tmp_path / "sub" / "Dockerfile"
    own.parent.mkdir()
    own.write_text(f"FROM a\nRUN x{ends}")
    patch = suggest_dockerfile(own, own.read_text(), f"FROM b\nRUN y{ends}").render_patch(tmp_path)
    patch += suggest_ignore_file(tmp_path, None, [".git"]).render_patch(tmp_path)
    subprocess.run(["git", "apply", "-p1"], input=patch.encode(), cwd=tmp_path, check=True)
    assert own.read_text() == f"FROM b\nRUN y{ends}"
    assert (tmp_path / ".dockerignore").read_text() == ".git\n"


def test_figures_are_shown_before_and_after() -> None:
    before = Figures(25_100_000, 1.2, 0.05)
    told = Measured(before, replace(before, size=18_300_000, link=None)).describe()
    assert missing(told, "25.1 MB", "18.3 MB", "−6.80 MB", "50 ms", "50 ms") == []
    assert "link" not in told


@pytest.mark.parametrize("options", [("--quick", "--fix"), ("--fix", "--patch"), ("--quick", "--measure")])
def test_options_that_exclude_each_other_are_refused(
    options: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--project", str(tmp_path), *options])
    assert ended.value.code
    assert options[0] in capsys.readouterr().err


async def test_what_does_not_make_a_program_static_is_dropped(tmp_path: Path) -> None:
    class CgoWorld(World):
        async def read(self, image: str) -> ImageContent:
            return content_of(("runtime/cgo",), dynamic="-extldflags=-static" not in image)

    measurement, found = await measure(CgoWorld(gains), tmp_path)
    assert measurement.suggestion is not None
    static = '-tags=netgo,osusergo -ldflags="-linkmode=external -extldflags=-static"'
    assert measurement.suggestion.names == ('-ldflags="-s -w"', static, "-trimpath", "FROM scratch")
    told = "-tags=netgo,osusergo was tried and is not suggested: a program still needs a C library"
    assert told in [finding.text for finding in found]
