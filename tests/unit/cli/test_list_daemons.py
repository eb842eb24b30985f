"""`watcher list`, and the search for the daemon that a command is about."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.observers.story import Story
from tests.unit.web.support import site
from watcher import labels
from watcher.cli import list_daemons, project_options, remote
from watcher.cli.git_branch import read_branch
from watcher.errors import NotRunning
from watcher.settings import Settings
from watcher.system import runtime_dir
from watcher.system.lock import ProjectLock, Running


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run").mkdir(mode=0o700)
    monkeypatch.setattr(runtime_dir, "list_candidates", lambda: iter([tmp_path / "run" / "watcher"]))
    remote._name_project.cache_clear()


@pytest.fixture
def held() -> Iterator[list[ProjectLock]]:
    locks: list[ProjectLock] = []
    yield locks
    for lock in locks:
        lock.release()


def hold(locks: list[ProjectLock], project: Path, url: str = "") -> None:
    project.mkdir(parents=True, exist_ok=True)
    locks.append(ProjectLock.take(project, labels.project_id(project)))
    if url:
        locks[-1].announce(Running(1, url, project=str(project), since=1.0))


def test_nothing_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert list_daemons.list_daemons(as_json=False) == 0
    assert "no watcher is running" in capsys.readouterr().out
    list_daemons.list_daemons(as_json=True)
    assert json.loads(capsys.readouterr().out) == {"schema_version": 1, "daemons": []}


async def test_each_daemon_has_a_line_whatever_its_state(
    tmp_path: Path, held: list[ProjectLock], capsys: pytest.CaptureFixture[str]
) -> None:
    async with site(Story().start().cycle(1)) as at:
        hold(held, tmp_path / "answers", at.url)
        hold(held, tmp_path / "silent", "http://127.0.0.1:9/")
        hold(held, tmp_path / "starts")
        found = await asyncio.to_thread(list_daemons.find_daemons)
    by_name = {Path(each.project).name: each for each in found}
    assert by_name["answers"].state == "live"
    assert [each.name for each in by_name["answers"].services] == ["go-server"]
    assert by_name["silent"].state.startswith("unknown: ")
    assert by_name["starts"].state == "starting"
    lines = list(list_daemons.render_table([each.as_row(61.0) for each in found]))
    assert len(lines) == 3


def test_columns_without_a_value_are_left_out() -> None:
    rows = [("A", "B", "C"), ("a", "", "long"), ("aa", "", "c")]
    assert list(list_daemons.render_table(rows)) == ["A   C", "a   long", "aa  c"]


def test_the_branch_of_clones_and_worktrees(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(one)]
    one.mkdir()
    assert read_branch(one) == ""
    subprocess.run([*git, "init", "-q", "-b", "main"], check=True)
    assert read_branch(one) == "main"
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    subprocess.run([*git, "worktree", "add", "-q", "-b", "feature/x", str(two)], check=True)
    (two / "sub").mkdir()
    assert read_branch(two / "sub") == "feature/x"
    subprocess.run([*git, "checkout", "-q", "--detach"], check=True)
    assert read_branch(one)[0] == "("
    assert len(read_branch(one)) == 9


def test_a_daemon_above_is_nearer_than_one_below(tmp_path: Path, held: list[ProjectLock]) -> None:
    here = tmp_path / "a" / "b"
    hold(held, here / "c")
    hold(held, tmp_path / "a")
    assert remote.find_project_folder(here) == tmp_path / "a"


def test_the_only_daemon_below_is_taken_and_named(
    tmp_path: Path, held: list[ProjectLock], capsys: pytest.CaptureFixture[str]
) -> None:
    hold(held, tmp_path / "repo" / "examples" / "server")
    hold(held, tmp_path / "repo-two")
    for _ in range(2):
        assert remote.find_project_folder(tmp_path / "repo") == tmp_path / "repo" / "examples" / "server"
    assert capsys.readouterr().err.count("the only watched project below") == 1


@pytest.mark.parametrize(
    "command",
    [project_options.ImageCommand, project_options.DoctorCommand, project_options.DockerfileCommand],
)
def test_commands_that_examine_take_the_only_daemon_below_unless_the_folder_is_a_project(
    tmp_path: Path, held: list[ProjectLock], monkeypatch: pytest.MonkeyPatch, command: type[Settings]
) -> None:
    server = tmp_path / "repo" / "examples" / "server"
    hold(held, server)
    (server / "internal").mkdir()
    monkeypatch.chdir(tmp_path / "repo")
    assert command.default_project() == server
    monkeypatch.chdir(server / "internal")
    assert command.default_project() == server
    monkeypatch.chdir(tmp_path / "repo")
    (tmp_path / "repo" / "compose.yaml").write_text("services: {}\n")
    assert command.default_project() == Path()


def test_of_several_daemons_below_none_is_taken_and_all_are_named(
    tmp_path: Path, held: list[ProjectLock], capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        hold(held, tmp_path / name)
    assert remote.find_project_folder(tmp_path) == tmp_path
    assert capsys.readouterr().err == ""
    from watcher.cli.quick import Target

    with pytest.raises(NotRunning, match="choose one with --project") as caught:
        remote.find_daemon(Target(tmp_path))
    assert str(tmp_path / "a") in str(caught.value)
    with pytest.raises(NotRunning, match="`watcher list` shows those that run"):
        remote.find_daemon(Target(tmp_path / "run"))
