"""Save a file and the new version answers: the main job, in the order in which a day goes."""

from __future__ import annotations

import json
import signal
import threading
from typing import Any

import docker
import httpx
import pytest

from tests.e2e.conftest import Project, constant_load, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def test_the_first_version_is_built_and_answers(project: Project, engine: docker.DockerClient) -> None:
    project.start()
    assert project.wait()["outcome"] == "live", "".join(project.output)
    assert project.health()["environment"] == "dev"
    assert engine.containers.get(f"{project.id}-box").status == "running"
    assert project.status()["stale"] is False


def test_the_log_goes_on_across_the_containers(project: Project) -> None:
    def shown() -> str:
        return project.watcher("logs", "--source", "container", "--tail", "1000").stdout

    for number in range(2):  # before there is any load: a line per request soon fills what is kept
        project.set_version(f"1.9.{number}")
        assert project.wait()["outcome"] == "live"
    for number in range(2):
        until(lambda: f"version=1.9.{number}" in shown(), "what each version said")  # noqa: B023
    until(lambda: "stopping" in shown(), "what the replaced ones said at their end")
    assert "go build" not in shown()


def test_saves_go_live_and_no_request_fails(project: Project) -> None:
    with constant_load(project) as failures:
        for number in range(3):
            project.set_version(f"2.0.{number}")
            assert project.wait()["outcome"] == "live"
            assert project.health()["version"] == f"2.0.{number}"
    assert failures == []


def test_a_compile_error_is_shown_while_the_last_good_version_serves(project: Project) -> None:
    good = project.version.read_text()
    project.version.write_text(good + "func broken( {\n")
    settled = project.wait()
    assert settled["outcome"] == "failed"
    assert settled["failure"]["diagnostics"][0]["file"] == "internal/version/version.go"
    assert project.health()["version"] == "2.0.2"
    assert project.status()["stale"] is True
    assert project.metrics()['watcher_stale{service="go-server"}'] == 1
    assert any("version.go:" in line for line in project.output)
    told = project.watcher("wait", "--timeout", "60")
    assert told.returncode == 1
    assert "version.go:" in told.stderr
    project.version.write_text(good.replace("2.0.2", "2.1.0"))
    assert project.wait()["outcome"] == "live"
    assert project.health()["version"] == "2.1.0"


def test_an_environment_edit_goes_live(project: Project) -> None:
    file = project.folder / "_envs" / "env_dev.yaml"
    file.write_text(file.read_text().replace("Hello", "Hallo"))
    assert project.wait()["outcome"] == "live"
    assert "Hallo" in project.health()["greeting"]


def test_what_does_not_alter_the_image_replaces_no_container(
    project: Project, engine: docker.DockerClient
) -> None:
    before = engine.containers.get(f"{project.id}-box").id
    for name in ("_envs/env_prod.yaml", "internal/notes/store_test.go", "README.md"):
        file, revision = project.folder / name, project.status()["desired"]["revision"]
        mark = {".yaml": "# prod", ".go": "// test", ".md": "more"}[file.suffix]
        file.write_text(file.read_text() + f"\n{mark}\n")
        settled = project.wait()
        assert settled["outcome"] == "live"
        assert settled["revision"] != revision
        assert engine.containers.get(f"{project.id}-box").id == before, name


def test_a_tree_that_comes_back_is_live_without_a_build(project: Project) -> None:
    project.set_version("2.2.0")
    assert project.wait()["outcome"] == "live"
    built = project.metrics()['watcher_builds_total{outcome="built",service="go-server"}']
    project.set_version("2.1.0")
    assert project.wait()["outcome"] == "live"
    assert project.health()["version"] == "2.1.0"
    assert project.metrics()['watcher_builds_total{outcome="built",service="go-server"}'] == built


def test_a_save_that_changes_nothing_builds_nothing(project: Project) -> None:
    before = project.status()["desired"]["revision"]
    project.version.write_bytes(project.version.read_bytes())
    assert project.wait()["revision"] == before


def test_superseded_builds_leave_nothing_and_foreign_images_stay(
    project: Project, engine: docker.DockerClient
) -> None:
    foreign = engine.api.import_image_from_data(b"\0" * 1024, repository=f"{project.id}-foreign", tag="1")
    named = json.loads(foreign)["status"]
    container = engine.api.create_container(
        named, command="x", name=f"{project.id}-user", labels=["stage=builder"]
    )
    kept = engine.containers.get(container["Id"]).commit(
        changes="LABEL stage=builder", repository=f"{project.id}-foreign"
    )
    for number in range(5):
        project.set_version(f"2.3.{number}")
        assert project.wait()["outcome"] == "live"

    def compile_steps() -> list[dict[str, Any]]:
        foretold = project.watcher("prune", "--dry-run", "--json", "--prune.cache-keep-storage", "1TB")
        assert foretold.returncode == 0, foretold.stderr
        document = json.loads(foretold.stdout)
        assert (document["build_cache"]["keep"], document["build_cache"]["over"]) == (10**12, 0)
        objects = document["services"]["go-server"]["objects"]
        return [item for item in objects if item["kind"] == "step" and "go build" in item["name"]]

    steps = until(lambda: (found := compile_steps()) and len(found) <= 3 and found, "old steps went", 60)
    assert {step["verdict"] for step in steps} == {"keep"}
    newest = project.status()["live"]["revision"]
    until(
        lambda: project.status()["images"].get("builder", {}).get("revision") == newest, "its size is known"
    )
    assert project.status()["images"]["builder"]["size"] > project.status()["images"]["base"]["size"]
    report = project.watcher("prune", "--json", "--prune.grace", "0")
    assert report.returncode == 0, report.stderr
    assert engine.images.list(filters={"label": ["stage=builder", project.label()]}) == []
    engine.images.get(str(kept.id))
    engine.images.get(named)


def test_a_second_watcher_is_refused(project: Project) -> None:
    refused = project.watcher("run", "--http.port", "0")
    assert refused.returncode == 1
    assert "already running" in refused.stderr


def test_a_killed_daemon_leaves_the_service_to_its_successor(
    project: Project, engine: docker.DockerClient
) -> None:
    project.set_version("2.4.0")
    assert project.wait()["outcome"] == "live"
    before = engine.containers.get(f"{project.id}-box").id
    project.stop(signal.SIGKILL)
    project.start()
    assert project.wait()["outcome"] == "live"
    assert engine.containers.get(f"{project.id}-box").id == before
    assert project.health()["version"] == "2.4.0"


def test_an_upgrade_refuses_no_request(project: Project, engine: docker.DockerClient) -> None:
    assert project.process
    pid = project.process.pid
    before = engine.containers.get(f"{project.id}-box").id
    assert project.watcher("pause").returncode == 0
    with constant_load(project) as failures:
        upgraded = project.watcher("upgrade")
        assert project.wait()["outcome"] == "live"
    assert project.status()["paused"]  # a pause by hand is not forgotten
    assert project.watcher("resume").returncode == 0
    assert upgraded.returncode == 0, upgraded.stderr + "".join(project.output[-20:])
    assert failures == []
    assert project.process.poll() is None
    assert project.process.pid == pid
    assert engine.containers.get(f"{project.id}-box").id == before


def test_the_port_of_a_killed_daemon_is_back_before_the_program_is_imported(project: Project) -> None:
    project.stop(signal.SIGKILL)
    with pytest.raises(httpx.ConnectError):
        project.health()
    starting = threading.Thread(target=project.start)
    starting.start()
    try:
        until(lambda: project.connects() or not starting.is_alive(), "the port takes connections", 30)
        assert starting.is_alive()  # that is: before its API answered
        assert project.health()["version"] == "2.4.0"
    finally:
        starting.join()


def test_sigterm_ends_in_good_order(project: Project, engine: docker.DockerClient) -> None:
    assert project.stop() == 0
    assert engine.containers.list(all=True, filters={"name": f"{project.id}-box"}) == []


def test_once_deploys_and_run_takes_over(project: Project, engine: docker.DockerClient) -> None:
    done = project.watcher("once", "--plain")
    assert done.returncode == 0, done.stdout + done.stderr
    assert project.health()["version"] == "2.4.0"
    project.start()
    assert project.wait()["outcome"] == "live"
    assert project.health()["version"] == "2.4.0"
    assert len(engine.containers.list(all=True, filters={"name": f"{project.id}-box"})) == 1
    assert project.stop() == 0


def test_once_says_by_its_status_that_the_build_failed(project: Project) -> None:
    project.version.write_text('package version\n\nvar Number int = "x"\n')
    done = project.watcher("once", "--plain")
    assert done.returncode == 1
    assert "version.go:3" in done.stdout


def test_the_doctor_finds_nothing_in_the_way(project: Project) -> None:
    done = project.watcher("doctor", "--json", "--http.port", "0")
    found = json.loads(done.stdout)
    assert done.returncode == 0, found
    assert {"grade": "good"}.items() <= next(one for one in found if one["topic"] == "events").items()
    assert any("accelerated" in one["text"] for one in found if one["topic"] == "Dockerfile")
