"""What compose file and settings make of a service, and which fronts stay when they change."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from tests.facts import missing
from tests.fake_engine import FakeEngine
from tests.loaded_settings import load
from watcher import compose
from watcher.builder import BuildJournal, BuildkitConnection
from watcher.daemon.recipe import check_dockerfile, recipe_of
from watcher.daemon.service_config import ServiceConfig, SharedResources, assemble_service
from watcher.daemon.service_notices import ServiceNotices
from watcher.daemon.shared_images import SharedImages
from watcher.daemon.start_order import StartOrder
from watcher.deploy.dependencies import Dependencies
from watcher.deploy.host_ports import HostPorts
from watcher.dockerfile import Runs
from watcher.engine import SystemInfo
from watcher.errors import ConfigError
from watcher.front import Front, Unavailable
from watcher.observers.events import Event, Fanout, Notice, ServiceStarted
from watcher.prune import CacheNames
from watcher.reconcile.build_slots import BuildSlots


class Rig:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.build = "."
        self.site = SharedResources(
            project="p-1",
            engine=FakeEngine(),
            connection=BuildkitConnection("unix:///nowhere", FakeEngine()),
            journal=BuildJournal(None),
            host_ports=HostPorts(FakeEngine(), "project", None),
            dependencies=cast(Dependencies, None),
            order=StartOrder(FakeEngine(), cast(Dependencies, None)),
            slots=BuildSlots(1),
            images=SharedImages(),
            cache_names=CacheNames(None),
            kept_builds={},
            pruning=asyncio.Lock(),
            observer=Fanout(),
            explain=lambda _: Unavailable(),
            info=SystemInfo("28.0", "1.45", "overlay2", "unix:///nowhere", "x86_64"),
        )

    def fit(self, ports: str, fronts: Mapping[int, Front] | None = None, **settings: Any) -> ServiceConfig:
        file = self.root / "compose.yaml"
        file.write_text(f"services: {{app: {{build: {self.build}, ports: {ports}}}}}")
        project = compose.load(file, env={})
        return assemble_service(
            self.site, project.managed_services[0], project, load(project=self.root, **settings), fronts
        )


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_what_the_compose_file_runs_is_told_to_the_builder(tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    health = "healthcheck: {test: [CMD, go, run, ./health]}, post_start: [{command: go run ./seed}]"
    file.write_text(f"services: {{app: {{build: ., command: go run ., entrypoint: [sh, -c], {health}}}}}")
    project = compose.load(file, env={})
    runs = recipe_of(project.managed_services[0], load(project=tmp_path), "p-1", "").runs
    assert runs == Runs(
        ("go", "run", "."), ("sh", "-c"), ("CMD", "go", "run", "./health"), (("go", "run", "./seed"),)
    )


def test_what_the_compose_file_says_of_a_build_is_asked_of_buildkit(tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(
        "services: {app: {build: {context: ., shm_size: 64m, pull: true, no_cache_filter: [base, test],"
        " ulimits: {nproc: 9, nofile: {soft: 1, hard: 2}}, extra_hosts: ['db:10.0.0.1']}}}"
    )
    project = compose.load(file, env={})
    attrs = recipe_of(project.managed_services[0], load(project=tmp_path), "p-1", "").frontend_attrs
    assert dict(attrs) == {
        "shm-size": str(64 * 2**20),
        "ulimit": "nproc=9:9,nofile=1:2",
        "add-hosts": "db=10.0.0.1",
        "no-cache": "base,test",
        "image-resolve-mode": "pull",
    }


def test_a_front_whose_address_stays_is_the_same_one(rig: Rig) -> None:
    old = rig.fit("['9000:9000', '9100:9100']").fronts
    new = rig.fit("['9000:9000', '9101:9100']", old).fronts
    assert new[9000] is old[9000]
    assert new[9100] is not old[9100]


def test_a_front_stays_when_the_container_listens_elsewhere(rig: Rig) -> None:
    old = rig.fit("['9000:9000']").fronts
    new = rig.fit("['9000:8080']", old).fronts
    assert new[8080] is old[9000]
    swapped = rig.fit("['1001:1', '1002:2']").fronts
    other = rig.fit("['1002:1', '1001:2']", swapped).fronts
    assert (other[1], other[2]) == (swapped[2], swapped[1])


def test_a_port_that_is_to_be_listened_on_at_other_addresses_is_refused(rig: Rig) -> None:
    old = rig.fit("['9000:9000']").fronts
    with pytest.raises(ConfigError, match=r"services\.app\.ports = '127\.0\.0\.1:9000:9000'"):
        rig.fit("['127.0.0.1:9000:9000']", old)


def test_two_ports_of_any_number_keep_their_own_front(rig: Rig) -> None:
    old = rig.fit("['1', '2']").fronts
    new = rig.fit("['2', '1']", old).fronts
    assert (new[1], new[2]) == (old[1], old[2])


def test_without_a_front_the_container_publishes_its_ports(rig: Rig) -> None:
    assert rig.fit("['9000:9000']", deploy={"strategy": "recreate"}).fronts == {}


def test_what_decides_the_revision(rig: Rig) -> None:
    first = rig.fit("['9000:9000']").inputs
    assert rig.fit("['9000:9000']", prune={"keep": 9}, deploy={"soak": 1}).inputs == first
    assert rig.fit("['9001:9000']").inputs != first
    assert rig.fit("['9000:9000']", build={"args": {"A": "1"}}).inputs != first


def test_a_dockerfile_that_is_missing_is_named_at_the_start_only(rig: Rig) -> None:
    fitted = rig.fit("['9000:9000']")
    with pytest.raises(ConfigError, match=r"services\.app\.build\.dockerfile = 'Dockerfile'"):
        check_dockerfile(fitted.spec, rig.root)
    (rig.root / "Dockerfile").mkdir()
    with pytest.raises(ConfigError, match="it is not a regular file"):
        check_dockerfile(fitted.spec, rig.root)
    (rig.root / "Dockerfile").rmdir()
    (rig.root / "Dockerfile").write_text("FROM scratch\n")
    check_dockerfile(fitted.spec, rig.root)


@pytest.mark.parametrize("inline", ["", ", dockerfile_inline: FROM scratch"])
def test_a_context_that_is_missing_is_named_at_the_start(rig: Rig, inline: str) -> None:
    rig.build = f"{{context: api{inline}}}"
    fitted = rig.fit("['9000:9000']")
    with pytest.raises(
        ConfigError, match=r"services\.app\.build\.context = 'api': there is no such directory"
    ):
        check_dockerfile(fitted.spec, rig.root)
    (rig.root / "api").write_text("")
    with pytest.raises(ConfigError, match="it is not a directory"):
        check_dockerfile(fitted.spec, rig.root)


def test_an_ssh_agent_is_that_of_the_environment_or_the_socket_that_is_named(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.build = "{context: ., ssh: [default, work=other]}"
    monkeypatch.setenv("SSH_AUTH_SOCK", "/run/agent")
    assert rig.fit("['9000:9000']").recipe.ssh == {"default": Path("/run/agent"), "work": rig.root / "other"}
    monkeypatch.delenv("SSH_AUTH_SOCK")
    with pytest.raises(
        ConfigError, match=r"build\.ssh = 'default': needs an SSH agent, and SSH_AUTH_SOCK names"
    ):
        rig.fit("['9000:9000']")


def test_who_does_not_build_needs_no_ssh_agent(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", "/run/agent")
    rig.build = "{context: ., ssh: [default]}"
    spec = rig.fit("['9000:9000']").spec
    monkeypatch.delenv("SSH_AUTH_SOCK")
    assert recipe_of(spec, load(project=rig.root), "p-1", "").ssh == {}


def test_a_private_key_is_no_agent(rig: Rig) -> None:
    (rig.root / "id_ed25519").write_text("key")
    rig.build = "{context: ., ssh: [default=id_ed25519]}"
    with pytest.raises(
        ConfigError, match=r"build\.ssh = 'default=.*/id_ed25519': is no agent's socket; give an"
    ):
        rig.fit("['9000:9000']")


class Heard:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def notify(self, event: Event) -> None:
        self.events.append(event)


def test_what_is_known_of_mounted_sources_is_said_once_with_the_start(rig: Rig) -> None:
    (rig.root / "plugins").mkdir()
    (rig.root / "plugins/a.go").write_text("package a\n")
    config = rig.fit("[], volumes: ['./plugins:/plugins']")
    heard = Heard()
    notices = ServiceNotices(replace(rig.site, observer=heard))
    notices.emit(config)
    notices.emit(config)
    started, *said = heard.events
    assert isinstance(started, ServiceStarted)
    (notice,) = said
    assert isinstance(notice, Notice)
    assert (notice.service, notice.level) == ("app", "info")
    assert missing(notice.text, "/plugins", "save", "replaces") == []
