"""The commands that ask a running daemon, against a served one that is told stories."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.facts import missing
from tests.loaded_settings import load
from tests.unit.observers.story import SERVICE, Story, revision
from tests.unit.web.support import Site, site
from watcher import labels
from watcher.cli import remote, remote_commands, status_text
from watcher.cli.daemon_options import RunCommand, StatusCommand
from watcher.errors import (
    EXIT_CONFIG,
    EXIT_FAILED,
    EXIT_NOT_RUNNING,
    EXIT_PAUSED,
    EXIT_TIMEOUT,
    EXIT_UNKNOWN,
    ConfigError,
    NotRunning,
)
from watcher.observers.events import DaemonStarted, DaemonStopping, DeployOutcome, EngineDown, Held, Paused
from watcher.observers.status_board import StatusBoard
from watcher.settings import Settings
from watcher.system import lock
from watcher.system.lock import ProjectLock, Running


@asynccontextmanager
async def running(
    story: Story, project: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[tuple[Site, Settings]]:
    """A daemon's API for `project`, as its lock announces it."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(project))
    settings = load(project=project)
    lock = ProjectLock.take(settings.root, labels.project_id(settings.root))
    try:
        async with site(story) as at:
            lock.announce(Running(os.getpid(), at.url))
            yield at, settings
    finally:
        lock.release()


class Out:
    """What was printed so far."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys, self.text = capsys, ""

    async def until(self, text: str) -> None:
        """The test's own time limit ends a wait in vain."""
        while text not in self.text:
            self.text += self._capsys.readouterr().out
            await asyncio.sleep(0.01)


@pytest.fixture
def story() -> Story:
    return Story().start()


@pytest.fixture
def out(capsys: pytest.CaptureFixture[str]) -> Out:
    return Out(capsys)


def tell(at: Site, story: Story) -> None:
    for event in story.events:
        at.board.notify(event)


def begin(function: Callable[..., int], *arguments: Any, **options: Any) -> asyncio.Future[int]:
    return asyncio.ensure_future(asyncio.to_thread(function, *arguments, **options))


async def test_status_says_what_is_live_and_what_is_wanted(
    story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: Out
) -> None:
    async with running(story.cycle(1), tmp_path, monkeypatch) as (_, settings):
        assert await begin(remote_commands.status, settings, watch=False, as_json=False) == 0
    await out.until(f"live      {revision(1)[:12]}  equal to the tree")
    assert out.text.startswith("go-server  live  http://localhost:9000\n")


async def test_status_of_a_service_that_is_not_kept_names_those_that_are(
    story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(story, tmp_path, monkeypatch) as (_, settings):
        other = settings.model_copy(update={"service": "wbe"})
        with pytest.raises(ConfigError, match="known: go-server"):
            await begin(remote_commands.status, other, watch=False, as_json=False)


async def test_watching_shows_each_change_and_ends_with_the_daemon(
    story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: Out
) -> None:
    async with running(story.cycle(1), tmp_path, monkeypatch) as (at, settings):
        watching = begin(remote_commands.status, settings, watch=True, as_json=False)
        await out.until("equal to the tree")
        tell(at, Story().failing(2))
        await out.until("undefined: versoin")
        at.board.close()
        with pytest.raises(NotRunning, match="has stopped"):
            await watching


async def test_watching_as_json_gives_one_document_a_line(
    story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: Out
) -> None:
    async with running(story.cycle(1), tmp_path, monkeypatch) as (at, settings):
        watching = begin(remote_commands.status, settings, watch=True, as_json=True)
        await out.until("\n")
        at.board.close()
        with pytest.raises(NotRunning):
            await watching
    assert json.loads(out.text.splitlines()[0])["services"][0]["phase"] == "live"


async def test_logs_shows_the_newest_lines_of_builds_and_containers(
    story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: Out
) -> None:
    story.failing(1).said("one").said("two")
    async with running(story, tmp_path, monkeypatch) as (_, settings):
        options = {"follow": False, "as_json": False}
        assert await begin(remote_commands.logs, settings, tail=3, source=None, **options) == 0
        await out.until("app │ two\n")
        assert out.text.splitlines()[0].startswith("builder │ ")
        out.text = ""
        assert await begin(remote_commands.logs, settings, tail=3, source="container", **options) == 0
        await out.until("two")
        assert out.text == "one\ntwo\n"


async def test_logs_goes_on_across_containers_of_its_service_only(
    story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: Out
) -> None:
    async with running(story.said("before"), tmp_path, monkeypatch) as (at, settings):
        one = settings.model_copy(update={"service": SERVICE})
        following = begin(remote_commands.logs, one, follow=True, tail=10, source="container", as_json=False)
        await out.until("before")
        tell(at, Story().failing(2).said("after"))
        tell(at, Story("other").said("of another"))
        tell(at, Story().said("last"))
        await out.until("last")
        at.board.close()
        with pytest.raises(NotRunning, match="has stopped"):
            await following
    assert out.text == "before\nafter\nlast\n"


async def test_a_daemon_that_goes_away_is_said_in_one_line(
    story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(story, tmp_path, monkeypatch) as (_, settings):
        monkeypatch.setattr(lock, "find_running", lambda _: lock.Running(1, "http://127.0.0.1:1/"))
        with pytest.raises(NotRunning, match="does not answer"):
            await begin(remote_commands.status, settings, watch=False, as_json=False)


def test_without_a_daemon_there_is_a_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with pytest.raises(NotRunning, match="start one with `watcher run`"):
        remote_commands.rebuild(load(project=tmp_path), wait=False, timeout=None, as_json=False)


@pytest.mark.parametrize(
    ("then", "status", "says"),
    [
        ("live", 0, f"live {revision(1)[:12]}"),
        ("failed", EXIT_FAILED, "undefined: versoin"),
        ("paused", EXIT_PAUSED, "until `watcher resume`"),
        ("gone", EXIT_UNKNOWN, "folder is gone"),
        ("nothing", EXIT_TIMEOUT, "not live in time"),
        ("waiting", EXIT_TIMEOUT, "a build slot"),
    ],
)
async def test_each_end_of_a_wait_has_its_own_exit_status(
    story: Story,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    then: str,
    status: int,
    says: str,
) -> None:
    match then:
        case "live":
            story.cycle(1)
        case "failed":
            story.failing(1)
        case "paused":
            story.save(1).tell(Paused, paused=True)
        case "waiting":
            story.save(1).tell(Held, reason="waiting for a build slot: api builds")
        case _:
            story.save(1)
    timeout = 0.05 if then in ("nothing", "waiting") else 20.0
    async with running(story, tmp_path, monkeypatch) as (at, settings):
        at.desk.gone = then == "gone"
        options = {"timeout": timeout, "start_timeout": 0.0}
        assert await begin(remote_commands.wait, settings, as_json=False, **options) == status
        shown = capsys.readouterr()
        assert says in shown.out + shown.err
        assert await begin(remote_commands.wait, settings, as_json=True, **options) == status
        document = json.loads(capsys.readouterr().out)
    assert document["outcome"] == {"gone": "unknown", "nothing": "timeout", "waiting": "timeout"}.get(
        then, then
    )


@pytest.mark.parametrize(
    ("code", "status"), [(404, EXIT_CONFIG), (409, EXIT_FAILED), (500, EXIT_NOT_RUNNING)]
)
def test_a_refusal_is_told_apart_from_a_build_that_failed(code: int, status: int) -> None:
    with pytest.raises(remote.Refused) as refused:
        remote.read_body(remote.ApiResponse(code, b'{"detail": "no"}'))
    assert refused.value.exit_status == status
    with pytest.raises(remote.Refused, match=f"HTTP {code}: oops"):
        remote.read_body(remote.ApiResponse(code, b"oops"))


async def test_a_wait_for_a_daemon_that_stops_is_not_a_failed_build(
    story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(story.save(1), tmp_path, monkeypatch) as (at, settings):
        waiting = begin(remote_commands.wait, settings, timeout=None, start_timeout=0.0, as_json=False)
        while not at.desk.asked:
            await asyncio.sleep(0.01)
        at.board.notify(DaemonStopping(reason="SIGTERM"))
        with pytest.raises(NotRunning, match="has stopped"):
            await waiting


async def test_a_wait_may_begin_before_the_daemon(
    story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    settings = load(project=tmp_path)
    with pytest.raises(NotRunning):
        remote_commands.wait(settings, timeout=None, start_timeout=0.0, as_json=False)
    waiting = begin(remote_commands.wait, settings, timeout=None, start_timeout=30.0, as_json=False)
    async with running(story.cycle(1), tmp_path, monkeypatch):
        assert await waiting == 0


def test_a_daemon_that_starts_is_not_called_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    settings = load(project=tmp_path)
    lock = ProjectLock.take(settings.root, labels.project_id(settings.root))
    with pytest.raises(NotRunning, match="is still starting"):
        remote_commands.status(settings, watch=False, as_json=False)
    lock.release()


async def test_a_rebuild_that_is_waited_for_is_not_what_was_live_before(
    story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(story.cycle(1), tmp_path, monkeypatch) as (at, settings):
        waiting = begin(remote_commands.rebuild, settings, wait=True, timeout=None, as_json=False)
        while ("rescan", SERVICE) not in at.desk.asked:
            await asyncio.sleep(0.01)
        assert not waiting.done()
        tell(at, Story(now=story.now).begin(1).steps(1).built(1))
        assert not (await asyncio.wait({waiting}, timeout=0.3))[0]  # built, and not yet deployed
        tell(at, Story(now=story.now).deploy(1))
        assert await waiting == 0


async def test_a_rebuild_that_fails_is_said_with_the_status_of_a_wait(
    story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(story.failing(1), tmp_path, monkeypatch) as (at, settings):
        waiting = begin(remote_commands.rebuild, settings, wait=True, timeout=None, as_json=True)
        while ("rescan", SERVICE) not in at.desk.asked:
            await asyncio.sleep(0.01)
        assert not waiting.done()  # that it failed before is no answer
        tell(at, Story(now=story.now).begin(1).broken(1))
        assert await waiting == EXIT_FAILED


async def test_a_command_in_a_subfolder_finds_the_project_above(
    story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = tmp_path / "internal" / "handler"
    below.mkdir(parents=True)
    async with running(story.cycle(1), tmp_path, monkeypatch):
        assert remote.find_project_folder(below) == tmp_path.resolve()
        monkeypatch.chdir(below)
        assert StatusCommand().root == tmp_path.resolve()
        assert RunCommand.default_project() == Path()  # what is to be run is not guessed
    assert remote.find_project_folder(below) == below


async def test_services_are_known_from_the_first_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon that has only just begun: nothing but its name is known of the service."""
    story = Story()
    story.events.append(DaemonStarted(version="1", project="/p", url="http://x/", services=(SERVICE,)))
    async with running(story, tmp_path, monkeypatch) as (at, settings):
        waiting = begin(remote_commands.wait, settings, timeout=20.0, start_timeout=0.0, as_json=False)
        while not at.desk.asked:
            await asyncio.sleep(0.01)
        tell(at, Story().start().cycle(1))
        assert await waiting == 0


# The status in words.


def reported(story: Story, **options: Any) -> str:
    board = StatusBoard()
    for event in story.events:
        board.notify(event)
    return "\n".join(status_text.render_lines(board.status, story.now + 5, **options))


def test_a_stale_service_says_since_when_and_why(story: Story) -> None:
    text = reported(story.cycle(1).failing(2))
    assert f"live      {revision(1)[:12]}  stale for " in text
    assert missing(text, "failed", revision(2)[:12], "internal/handler/health.go:17:21", "versoin") == []


def test_what_runs_now_is_named(story: Story) -> None:
    assert "building" in reported(story.save(1).begin(1))
    assert "nothing answers yet" in reported(story)
    assert missing(reported(story.tell(Held, reason="git is at work")), "waiting", "git") == []
    slot = "waiting for a build slot: api and worker build"
    assert missing(reported(story.tell(Held, reason=slot)), "waiting", "slot", "api", "worker") == []


def test_a_failed_deploy_has_its_hint(story: Story) -> None:
    story.save(3).begin(3).steps(3).built(3).deploy(3, DeployOutcome.FAILED)
    assert missing(reported(story), "hint", "environment file") == []


def test_an_engine_that_is_down_and_a_daemon_that_stops_come_first(story: Story) -> None:
    story.events.append(EngineDown(reason="connection refused", retry_in=1.0))
    story.events.append(DaemonStopping(reason="SIGTERM"))
    first, second, *_ = reported(story).splitlines()
    assert first == "the watcher is stopping: SIGTERM"
    assert second == "the engine does not answer: connection refused"


def test_several_services_have_a_line_each_and_one_is_shown_in_full(story: Story) -> None:
    story.cycle(1).events.extend(Story("worker").start().cycle(2).failing(3).events)
    first, one, two, last = reported(story).splitlines()
    assert first == "2 services: 1 live, 1 failed"
    assert one.split()[:3] == [SERVICE, "live", revision(1)[:12]]
    assert one.endswith("http://localhost:9000")
    assert two.split()[:3] == ["worker", "failed", revision(2)[:12]]
    assert "undefined: versoin" in two
    assert "--service NAME" in last
    assert "worker" not in reported(story, service=SERVICE)
    assert "desired" in reported(story, service="worker")


async def test_the_lines_of_several_services_are_named(
    story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    story.said("one").events.extend(Story("worker").start().said("two").events)
    options: dict[str, Any] = {"follow": False, "tail": 10, "source": None, "as_json": False}
    async with running(story, tmp_path, monkeypatch) as (_, settings):
        assert await begin(remote_commands.logs, settings, **options) == 0
        assert capsys.readouterr().out == "go-server  app │ one\nworker     app │ two\n"
        only = settings.model_copy(update={"service": "worker"})
        assert await begin(remote_commands.logs, only, **options) == 0
        assert capsys.readouterr().out == "app │ two\n"


async def test_a_rebuild_of_all_waits_for_each(
    story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    story.cycle(1).events.extend(Story("worker").start().cycle(1).events)
    async with running(story, tmp_path, monkeypatch) as (at, settings):
        waiting = begin(remote_commands.rebuild, settings, wait=True, timeout=None, as_json=False)
        while len(at.desk.asked) < 2:
            await asyncio.sleep(0.01)
        for service in ("go-server", "worker"):
            tell(at, Story(service).begin(1).built(1).deploy(1))
        assert await waiting == 0
    shown = capsys.readouterr().out
    assert "go-server: live" in shown
    assert "worker: live" in shown


def test_the_status_of_a_version_that_is_too_old_is_one_sentence() -> None:
    with pytest.raises(remote_commands.OtherVersion) as caught:
        remote_commands._render_status(json.dumps({"services": [{"name": "web", "phase": 1}]}), None)
    assert missing(str(caught.value), "another version", "watcher down", "watcher up", "--json") == []
