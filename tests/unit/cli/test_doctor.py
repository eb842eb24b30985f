"""What the doctor makes of what it measured."""

from __future__ import annotations

import gc
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.facts import missing
from tests.fake_engine import FakeEngine
from tests.unit.prune.test_gone import Buildkit
from watcher import labels
from watcher.builder import EngineConnection
from watcher.cli.doctor import Finding, Grade, examine_project, findings, worst_grade
from watcher.cli.doctor.examine import _check_ports, find_gone_projects
from watcher.daemon.compose_project import compose_project
from watcher.dockerfile import Accelerated, LineChange, LineNote
from watcher.engine import SystemInfo
from watcher.errors import ConfigError
from watcher.fswatch import SelfTest, self_test
from watcher.prune import EngineUse, ProjectRecord, Registry, ServiceUse, locate
from watcher.settings import Settings
from watcher.tree import Tree

# docker-py leaves the socket of a connection that could not be made to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    yield
    gc.collect()


INFO = SystemInfo("28.5.2", "1.45", "overlay2", "unix:///var/run/docker.sock", "x86_64")
COMPOSE = "services:\n  app:\n    build: .\n    ports: ['127.0.0.1:{port}:9000']\n"
ARTICLE = (
    "FROM golang:alpine AS builder\nCOPY . .\nRUN go build -a .\nFROM alpine\nCOPY --from=builder /go/app .\n"
)


def test_the_worst_of_nothing_is_good() -> None:
    assert worst_grade(()) is Grade.GOOD
    graded = [Finding("a", grade, "") for grade in (Grade.ADVICE, Grade.ERROR, Grade.GOOD)]
    assert worst_grade(graded) is Grade.ERROR


def test_a_slow_engine_is_worth_advice() -> None:
    assert findings.judge_engine(INFO, 0.01).grade is Grade.GOOD
    assert findings.judge_engine(INFO, 2.0).grade is Grade.ADVICE


def test_a_line_that_is_accelerated_already_is_slow_only_in_a_plain_build() -> None:
    changed = LineChange(3, "RUN go build -a .", "RUN go build .", ("-a compiles all",))
    done = Accelerated("", (changed,), (LineNote(7, "RUN x", "it is not clear"),))
    advice = (LineNote(2, "COPY . .", "modules first"), LineNote(3, "RUN go build -a .", "-a compiles all"))
    said = [finding.text for finding in findings.judge_dockerfile("Dockerfile", done, advice)]
    done_line, left, either_way, plain = said
    assert missing(done_line, 1, "line", "watcher dockerfile") == []
    assert missing(left, "line 7", "not accelerated", "it is not clear") == []
    assert missing(either_way, "line 2", "without the watcher", "modules first") == []
    assert missing(plain, "line 3", "plain docker build", "-a compiles all") == []


def test_a_large_tree_names_what_makes_it_large(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with (tmp_path / "data" / "dump.sql").open("wb") as file:
        file.truncate(findings.LARGE_CONTEXT)
    (tmp_path / "Dockerfile").write_text("FROM alpine\n")
    found = findings.judge_tree(Tree(tmp_path).scan(), 0.01)
    assert found[0].grade is Grade.ADVICE
    assert "data/ 50.0 MB" in found[0].advice


def test_events_that_do_not_arrive_mean_polling() -> None:
    assert "polling" in findings.judge_events(3, SelfTest(None, "", "", None)).text
    assert "limit" in findings.judge_events(3, SelfTest(None, "the limit is reached", "", 10)).text
    assert findings.judge_events(3, SelfTest(0.001, "", "nfs4", 10)).grade is Grade.ADVICE
    assert findings.judge_events(3, SelfTest(0.001, "", "", 10)).grade is Grade.GOOD


def test_an_event_caused_on_purpose_arrives(tmp_path: Path) -> None:
    tested = self_test(tmp_path, [""], 5.0)
    assert tested.seconds is not None
    assert tested.trouble == ""


def test_little_room_is_worth_advice() -> None:
    assert findings.judge_disk("/", findings.LOW_DISK - 1).grade is Grade.ADVICE
    assert findings.judge_disk("/", findings.LOW_DISK).grade is Grade.GOOD


async def test_without_an_engine_the_rest_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(ARTICLE)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (tmp_path / "compose.yaml").write_text(COMPOSE.format(port=port))
        settings = Settings(project=tmp_path, engine=f"unix://{tmp_path}/none.sock", http={"port": 0})
        found = {finding.topic: finding async for finding in examine_project(settings)}
    assert found["engine"].grade is Grade.ERROR
    assert found["port"].grade is Grade.ERROR
    assert str(port) in found["port"].text
    assert {"tree", "events", "Dockerfile", "base image"} <= found.keys()


async def test_a_dockerfile_that_is_none_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FORM alpine\n")
    (tmp_path / "compose.yaml").write_text(COMPOSE.format(port=0))
    settings = Settings(project=tmp_path, engine=f"unix://{tmp_path}/none.sock", http={"port": 0})
    found = {finding.topic: finding async for finding in examine_project(settings)}
    assert found["Dockerfile"].grade is Grade.ERROR


async def test_a_missing_env_file_is_an_error_among_the_other_findings(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM alpine\n")
    (tmp_path / "here.env").write_text("A=1\n")
    compose = COMPOSE.format(port=0) + "    env_file: [here.env, dev.env, {path: own.env, required: false}]\n"
    (tmp_path / "compose.yaml").write_text(compose)
    settings = Settings(project=tmp_path, engine=f"unix://{tmp_path}/none.sock", http={"port": 0})
    found = [finding async for finding in examine_project(settings)]
    (lacks,) = [finding for finding in found if finding.topic == "compose.yaml"]
    assert lacks.grade is Grade.ERROR
    assert missing(lacks.text, "services.app.env_file[1]", str(tmp_path / "dev.env"), "no such file") == []
    assert "Dockerfile" in {finding.topic for finding in found}, "the rest is examined too"


async def test_a_folder_without_a_compose_file_is_a_wrong_setting(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="compose"):
        [finding async for finding in examine_project(Settings(project=tmp_path))]


async def test_a_port_of_the_projects_own_container_is_not_taken_by_another(tmp_path: Path) -> None:
    """`watcher once` leaves a container that publishes the port."""
    (tmp_path / "Dockerfile").write_text("FROM alpine\n")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (tmp_path / "compose.yaml").write_text(COMPOSE.format(port=port))
        settings = Settings(project=tmp_path)
        project = compose_project(settings)
        spec = project.services["app"]
        for mark, grade in (("another", Grade.ERROR), (labels.project_id(tmp_path), Grade.GOOD)):
            engine = FakeEngine()
            bindings = {"9000/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}]}
            config = {
                "Image": engine.add_image(),
                "Labels": {labels.PROJECT: mark},
                "HostConfig": {"PortBindings": bindings},
            }
            await engine.start(await engine.create(f"box-{mark}", config))
            (found,) = [each async for each in _check_ports(spec, project, settings, engine)]
            assert found.grade is grade, found.text
            assert ("own container" in found.text) == (grade is Grade.GOOD)


async def test_what_gone_projects_left_is_told_after_its_age(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    root = tmp_path.resolve() / "src" / "shop"
    root.mkdir(parents=True)
    engine = FakeEngine()
    own = labels.image_labels(labels.project_id(root), "web", labels.FINAL)
    engine.add_image(tags=("shop:rev-00000000aaaa",), labels=own, layers={"layer": 5_000_000})
    record = ProjectRecord(
        id=labels.project_id(root),
        location=locate(root),
        services=(ServiceUse("web", "shop:latest", "shop-web"),),
        engines=(EngineUse("", "fake://"),),
        last_seen=time.time() - 100.0,
    )
    Registry().write(record)
    link: Any = Buildkit()
    own_engine = EngineConnection(engine, link)
    assert [each async for each in find_gone_projects(own_engine, 0.0)] == []  # it is there
    root.rmdir()
    assert [each async for each in find_gone_projects(own_engine, 1000.0)] == []
    (finding,) = [each async for each in find_gone_projects(own_engine, 50.0)]
    assert finding.grade is Grade.ADVICE
    assert missing(finding.text, "1 project", "gone", "1 image", "2 Go caches", "5.00 MB") == []
    assert "watcher prune --gone" in finding.advice


async def test_with_several_services_a_finding_names_its_own_and_a_broken_one_stops_nothing(
    tmp_path: Path,
) -> None:
    (tmp_path / "Dockerfile").write_text(ARTICLE)
    services = "  app: {build: .}\n  broken: {build: {context: ., dockerfile: sub}}\n  other: {build: .}\n"
    (tmp_path / "sub").mkdir()
    (tmp_path / "compose.yaml").write_text(f"services:\n{services}")
    settings = Settings(project=tmp_path, engine=f"unix://{tmp_path}/none.sock", http={"port": 0})
    found = [finding async for finding in examine_project(settings)]
    trees = [finding.service for finding in found if finding.topic == "tree"]
    assert {"app", "other"} <= set(trees)
    assert [finding.service for finding in found if finding.grade is Grade.ERROR and finding.service] == [
        "broken"
    ]
    assert {finding.service for finding in found if finding.topic in ("daemon", "engine")} == {""}
