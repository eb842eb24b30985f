"""A daemon from start to end: a save goes live, a failure leaves the last version, an edit is in force."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.facts import missing
from tests.loopback import serve_on_loopback
from tests.unit.daemon.in_process import PATIENCE, House, Running, Seen
from watcher.daemon.once import deploy_once
from watcher.engine import EngineEvent
from watcher.errors import EngineUnavailable, WatcherError
from watcher.labels import project_id
from watcher.observers.events import (
    BuildFinished,
    ConfigurationRefused,
    DaemonStopping,
    DeployFinished,
    DeployOutcome,
    EngineDown,
    EngineUp,
    Notice,
    Paused,
    RevisionStateChanged,
    ServiceRemoved,
    ServiceStarted,
)
from watcher.observers.status_board import StatusBoard
from watcher.system import reexec
from watcher.system.lock import AlreadyRunning, find_running


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[House]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

    root = tmp_path / "project"
    root.mkdir()
    async with serve_on_loopback(answer) as port:
        yield House(root, port, monkeypatch)


def save(house: House, text: str) -> None:
    (house.root / "main.go").write_text(f"package main // {text}\n")


async def containers(house: House) -> list[tuple[str, bool]]:
    return [(each.image, each.running) for each in await house.engine.containers()]


async def test_a_tree_that_is_broken_at_the_start_leaves_the_version_of_the_run_before(house: House) -> None:
    async with house.daemon() as running:
        first = await running.until_live()
        ((image, _),) = await containers(house)
    assert await containers(house) == []
    save(house, "broken")
    (house.root / "broken").write_text("web")
    async with house.daemon() as running:
        broken = await running.until_failed()
        assert (await running.ask()).text == "hello"
        assert await containers(house) == [(image, True)]
        served = running.service()
        assert served.phase == "failed"
        assert served.live
        assert served.live.revision == first[:12]
        assert running.seen.of(BuildFinished)[0].revision == broken
        offered = [event.last_good for event in running.seen.of(RevisionStateChanged)]
        assert (offered[0], offered[-1]) == (first[:12], None)
        (house.root / "broken").unlink()
        save(house, "good again")
        assert await running.until_live() not in (first, broken)


async def test_a_container_that_was_to_stay_and_was_removed_is_not_started_from_its_image(
    house: House,
) -> None:
    async with house.daemon(deploy={"on_exit": "keep"}) as running:
        await running.until_live()
    for each in await house.engine.containers():
        await house.engine.stop(each.id, 0)
        await house.engine.remove(each.id)
    (house.root / "broken").write_text("web")
    async with house.daemon(deploy={"on_exit": "keep"}) as running:
        await running.until_failed()
        assert running.service().live is None
        assert await containers(house) == []


async def test_a_save_goes_live_and_the_end_leaves_no_container(house: House) -> None:
    async with house.daemon() as running:
        first = await running.until_live()
        assert (await running.ask()).text == "hello"
        assert len(await containers(house)) == 1
        save(house, "two")
        await running.seen.until(lambda: len(running.seen.of(DeployFinished)) == 2)
        second = await running.until_live()
        assert first != second
        assert [revision for _, revision in house.built] == [first, second]
        assert [event.outcome for event in running.seen.of(DeployFinished)] == [DeployOutcome.LIVE] * 2
        assert [event.version for event in running.seen.of(EngineUp)] == ["0"]
        (front,) = running.daemon.services["web"].fronts.values()
        urls = [url for event in running.seen.of(ServiceStarted) for url in event.urls]
        assert [urlsplit(url).port for url in urls] == [address.port for address in front.addresses]
        assert running.service().phase == "live"
    assert await containers(house) == []
    assert await house.engine.networks() == []
    assert [event.reason for event in running.seen.of(DaemonStopping)] == ["a test"]


async def test_a_failure_leaves_the_last_version_until_it_is_mended(house: House) -> None:
    async with house.daemon() as running:
        live = await running.until_live()
        (house.root / "broken").write_text("web")
        failed = await running.until_failed()
        status = running.service()
        assert status.live
        assert (status.live.revision, status.failed) == (live, failed)
        assert status.last_error
        assert "main.go:1: it is broken" in status.last_error.failure.summary
        service = running.daemon.services["web"]
        assert (service.has_failed, service.is_current) == (True, False)
        assert (await running.ask()).text == "hello"
        (house.root / "broken").unlink()
        await running.until_live()
        assert not running.daemon.services["web"].has_failed
        assert running.daemon.services["web"].is_current
        assert len(house.built) == 2  # the first version's image is still there


async def test_what_was_kept_is_adopted_without_a_build(house: House) -> None:
    keep = {"soak": 0, "drain": 0, "on_exit": "keep", "pause_container": False}
    async with house.daemon(deploy=keep) as running:
        await running.until_live()
    assert [alive for _, alive in await containers(house)] == [True]
    assert [each for each in running.seen.of(Notice) if "watcher down" in each.text]
    async with house.daemon(deploy=keep) as running:
        assert await running.until_live() == house.built[0][1]
        assert [event.outcome for event in running.seen.of(DeployFinished)] == [DeployOutcome.ADOPTED]
        container = running.daemon.services["web"].container_id
        assert [each.id for each in await house.engine.containers()] == [container]
    assert len(house.built) == 1


async def test_a_pause_holds_builds_until_it_is_over(house: House) -> None:
    async with house.daemon() as running:
        await running.until_live()
        running.daemon.pause("web")
        save(house, "two")
        await running.seen.until(lambda: bool(running.service().stale))
        assert running.daemon.services["web"].is_current
        assert running.service().paused
        assert [event.paused for event in running.seen.of(Paused)] == [True]
        running.daemon.resume("web")
        await running.until_live()
        assert len(house.built) == 2
        assert not running.service().paused


async def test_a_build_by_hand_builds_the_same_tree_again_and_there_is_nothing_to_cancel(
    house: House,
) -> None:
    async with house.daemon() as running:
        await running.until_live()
        assert running.daemon.cancel("web") is False
        running.daemon.rebuild("web")
        await running.seen.until(lambda: len(running.seen.of(BuildFinished)) == 2)
        assert len({revision for _, revision in house.built}) == 1
        assert await running.daemon.rescan("web") == house.built[0][1]


async def test_the_api_answers_at_the_address_that_is_announced(house: House) -> None:
    async with house.daemon() as running:
        await running.until_live()
        async with httpx.AsyncClient(base_url=running.url, timeout=PATIENCE) as client:
            status = (await client.get("/api/status")).json()
            assert [each["name"] for each in status["services"]] == ["web"]
            assert status["services"][0]["live"]["revision"] == house.built[0][1]
            metrics = (await client.get("/metrics")).text
            assert "watcher_builds_total{" in metrics
            waited = (await client.post("/api/wait", params={"timeout": 10, "service": "web"})).json()
            assert (waited["outcome"], waited["revision"]) == ("live", house.built[0][1])


async def test_a_service_that_joins_the_file_starts_and_one_that_leaves_it_ends(house: House) -> None:
    async with house.daemon() as running:
        await running.until_live()
        house.write_services("web", "api")
        await running.until_live("api")
        assert list(running.daemon.services) == ["web", "api"]
        assert {each.service for each in running.seen.of(ServiceStarted)} == {"web", "api"}
        kept = running.daemon.services["web"].container_id
        house.write_services("web")
        await running.seen.until(lambda: bool(running.seen.of(ServiceRemoved)))
        assert list(running.daemon.services) == ["web"]
        assert [each.service for each in running.seen.of(ServiceRemoved)] == ["api"]
        names = {each.labels["watcher.service"] for each in await house.engine.containers()}
        assert names == {"web"}
        assert kept in [each.id for each in await house.engine.containers()]


async def test_a_changed_environment_is_put_in_force_behind_the_same_port(house: House) -> None:
    async with house.daemon() as running:
        await running.until_live()
        addresses = [front.addresses for front in running.daemon.services["web"].fronts.values()]
        before = running.daemon.services["web"].container_id
        house.write_services("web", web="environment: {A: '1'}")
        await running.seen.until(lambda: running.daemon.services["web"].container_id != before)
        await running.until_live()
        assert [front.addresses for front in running.daemon.services["web"].fronts.values()] == addresses
        assert (await running.ask()).text == "hello"


async def test_a_container_that_ends_by_itself_is_started_again(house: House) -> None:
    async with house.daemon() as running:
        await running.until_live()
        (container,) = await house.engine.containers()
        house.engine.end(container.id, 3)
        await running.seen.until(lambda: len(running.seen.of(DeployFinished)) == 2)
        await running.until_live()
        assert (await running.ask()).text == "hello"
        assert len(house.built) == 1


async def test_a_secret_of_the_compose_file_is_hidden_in_every_event(house: House) -> None:
    house.write_services("web", web="environment: {API_TOKEN: 'correct-horse-battery'}")
    async with house.daemon() as running:
        await running.until_live()
        running.daemon.observers.notify(Notice(level="info", text="it said correct-horse-battery"))
        said = running.seen.of(Notice)[-1].text
        assert said.startswith("it said ")
        assert "horse" not in said


async def test_stopping_twice_says_why_once_and_remembers_the_second_reason(house: House) -> None:
    running: Running
    async with house.daemon() as running:
        await running.until_live()
        running.daemon.stop("SIGTERM")
        running.daemon.stop("SIGINT")
        assert running.daemon.interrupted == "SIGINT"
    assert [event.reason for event in running.seen.of(DaemonStopping)] == ["SIGTERM"]


async def test_a_compose_file_that_cannot_be_read_leaves_what_serves(house: House) -> None:
    async with house.daemon() as running:
        live = await running.until_live()
        (house.root / "compose.yaml").write_text("services: {web: {build: ., colour: red}}")
        await running.seen.until(lambda: any(each.reason for each in running.seen.of(ConfigurationRefused)))
        assert "colour" in running.seen.of(ConfigurationRefused)[-1].reason
        assert (await running.ask()).text == "hello"
        house.write_services("web")
        await running.seen.until(lambda: not running.seen.of(ConfigurationRefused)[-1].reason)
        assert await running.until_live() == live
    assert len(house.built) == 1


async def test_an_engine_that_goes_away_is_asked_until_it_is_back(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    events, away = house.engine.events, asyncio.Event()

    async def go_away(**arguments: Any) -> AsyncGenerator[EngineEvent]:
        if away.is_set():
            async for event in events(**arguments):
                yield event
        else:
            await leave.wait()
            away.set()
            raise EngineUnavailable("it went for a walk")

    leave = asyncio.Event()
    monkeypatch.setattr(house.engine, "events", go_away)
    async with house.daemon() as running:
        await running.until_live()
        leave.set()
        await running.seen.until(lambda: len(running.seen.of(EngineUp)) == 2)
        (down,) = running.seen.of(EngineDown)
        assert missing(down.reason, "went for a walk") == []
        assert 0 < down.retry_in < 2
        (container,) = await house.engine.containers()
        house.engine.end(container.id, 3)  # events are followed again
        await running.seen.until(lambda: len(running.seen.of(DeployFinished)) == 2)


async def test_a_save_in_a_mounted_folder_outside_the_context_replaces_the_container(house: House) -> None:
    """Its Go files are no part of the build, which says so; the program that runs can have read them."""
    source = house.root / "plugins" / "a.go"
    source.parent.mkdir()
    source.write_text("package a\n")
    (house.root / ".dockerignore").write_text("compose.yaml\nwatcher.toml\nplugins\n")
    house.write_services("web", web="volumes: ['./plugins:/plugins']")
    async with house.daemon() as running:
        first = await running.until_live()
        (before,) = await house.engine.containers()
        notices = [event.text for event in running.seen.of(Notice) if event.text.startswith("plugins:")]
        assert [missing(text, "save", "builds nothing") for text in notices] == [[]]
        house.same_image = before.image
        source.write_text("package a // saved\n")
        await running.seen.until(lambda: len(running.seen.of(DeployFinished)) == 2)
        assert await running.until_live() != first
        assert running.daemon.services["web"].container_id != before.id


async def test_an_upgrade_leaves_container_lock_and_listening_sockets_to_the_next_daemon(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def find_command() -> list[str]:
        return ["the next program"]

    monkeypatch.setattr(reexec, "find_command", find_command)
    async with house.daemon() as running:
        await running.until_live()
        (front,) = running.daemon.services["web"].fronts.values()
        expected = {urlsplit(running.url).port, *(address.port for address in front.addresses)}
        await running.daemon.upgrade()
        with pytest.raises(WatcherError, match="upgraded already"):
            await running.daemon.upgrade()
    handover = running.daemon.handover
    assert handover
    kept = [os.fdopen(descriptor, "rb", buffering=0) for descriptor in handover._descriptors]
    with contextlib.ExitStack() as files:
        for file in kept:
            files.enter_context(file)
        sockets = [
            socket.socket(fileno=os.dup(file.fileno()))
            for file in kept
            if stat.S_ISSOCK(os.fstat(file.fileno()).st_mode)
        ]
        for each in sockets:
            files.enter_context(each)
        assert {each.getsockname()[1] for each in sockets} == expected
        assert len(kept) > len(sockets), "the lock is passed on too"
        with pytest.raises(AlreadyRunning):
            async with house.daemon():
                pass
        assert [each.running for each in await house.engine.containers()] == [True]


async def test_what_a_successor_of_a_killed_daemon_needs_is_written_down(house: House) -> None:
    """Where it listens and what is paused: clients wait at the same ports until the next one is up."""
    async with house.daemon(http={"port": 0, "token": "x" * 32}) as running:
        await running.until_live()
        (front,) = running.daemon.services["web"].fronts.values()
        ports = {urlsplit(running.url).port, *(address.port for address in front.addresses)}
        found = find_running(project_id(house.root))
        assert found
        assert (found.url, {address.port for address in found.listening}) == (running.url, ports)
        assert (found.paused, found.token) == ((), "x" * 32)
        running.daemon.pause("web")
        found = find_running(project_id(house.root))
        assert found
        assert found.paused == ("web",)
    assert find_running(project_id(house.root)) is None


async def test_an_upgrade_that_could_not_read_the_configuration_is_refused_and_the_daemon_serves_on(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def find_command() -> list[str]:
        return ["the next program"]

    monkeypatch.setattr(reexec, "find_command", find_command)
    async with house.daemon() as running:
        await running.until_live()
        (house.root / "compose.yaml").write_text("services: [\n")
        with pytest.raises(WatcherError):
            await running.daemon.upgrade()
        assert running.daemon.handover is None
        assert (await running.ask()).text == "hello"


async def test_a_second_daemon_of_the_project_is_refused(house: House) -> None:
    async with house.daemon() as running:
        await running.until_live()
        with pytest.raises(AlreadyRunning):
            async with house.daemon():
                pass
        assert (await running.ask()).text == "hello"


async def once(house: House) -> tuple[bool, Seen]:
    seen = Seen()
    async with asyncio.timeout(PATIENCE):
        return await deploy_once(house.settings(), StatusBoard(), seen), seen


async def test_once_deploys_containers_that_publish_their_ports_and_stay(house: House) -> None:
    good, seen = await once(house)
    assert good
    assert [event.outcome for event in seen.of(DeployFinished)] == [DeployOutcome.LIVE]
    assert len(seen.of(EngineUp)) == 1
    (container,) = await house.engine.containers()
    assert (container.running, container.labels["watcher.service"]) == (True, "web")
    assert container.ports
    good, seen = await once(house)
    assert good
    assert [each.id for each in await house.engine.containers()] == [container.id]
    assert len(house.built) == 1


async def test_once_says_which_of_several_services_failed_and_which_waited_for_it(house: House) -> None:
    house.write_services("web", "api", "alone", api="depends_on: [web]", alone="command: x")
    (house.root / "broken").write_text("web")
    good, seen = await once(house)
    assert not good
    errors = {event.service: event.text for event in seen.of(Notice) if event.level == "error"}
    assert "depends on web" in errors["api"]
    assert "web" not in errors
    assert errors[""].startswith("2 of 3 services failed: web, api")


async def test_once_waits_for_the_size_of_an_image_with_a_bound(house: House) -> None:
    (house.root / "watcher.toml").write_text("[image]\nmax_size = 999\n")
    good, seen = await once(house)
    assert not good
    assert any("999" in event.text for event in seen.of(Notice) if event.level == "error")
    (house.root / "watcher.toml").write_text("[image]\nmax_size = 1000\n")
    assert (await once(house))[0]
