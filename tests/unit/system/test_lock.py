"""The lock of a project, and the directory that it lies in: whom a client believes."""

from __future__ import annotations

import json
import os
import stat
import tempfile
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from tests.facts import missing
from watcher.errors import ConfigError
from watcher.system import lock, runtime_dir
from watcher.system.inherited_sockets import ListenAddress
from watcher.system.lock import AlreadyRunning, ProjectLock


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    base = tmp_path / "run"
    base.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base))
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    return base / "watcher"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_directory_and_file_are_for_this_user_alone(tmp_path: Path, runtime: Path) -> None:
    before = os.umask(0)
    try:
        held = ProjectLock.take(tmp_path, "p")
    finally:
        os.umask(before)
    held.announce(lock.Running(os.getpid(), "http://127.0.0.1:1/", "secret"))
    assert (mode(runtime), mode(runtime / "p.lock")) == (0o700, 0o600)
    assert lock.find_running("p") == lock.Running(os.getpid(), "http://127.0.0.1:1/", "secret")
    held.release()
    assert lock.find_running("p") is None
    assert (runtime / "p.lock").read_text() == ""


def test_modes_that_were_loose_are_made_tight(tmp_path: Path, runtime: Path) -> None:
    runtime.mkdir(mode=0o755)
    (runtime / "p.lock").touch(mode=0o644)
    ProjectLock.take(tmp_path, "p").release()
    assert (mode(runtime), mode(runtime / "p.lock")) == (0o700, 0o600)


def test_a_longer_announcement_before_leaves_nothing(tmp_path: Path, runtime: Path) -> None:
    held = ProjectLock.take(tmp_path, "p")
    held.announce(lock.Running(os.getpid(), "http://127.0.0.1:1/" + "x" * 200))
    held.announce(lock.Running(os.getpid(), "http://127.0.0.1:2/"))
    assert json.loads((runtime / "p.lock").read_text())["url"] == "http://127.0.0.1:2/"
    held.release()


@pytest.mark.parametrize("planted", ["link to a folder", "a file", "a dangling link"])
def test_a_planted_directory_is_refused(tmp_path: Path, runtime: Path, planted: str) -> None:
    target = tmp_path / "elsewhere"
    if planted == "link to a folder":
        target.mkdir()
        runtime.symlink_to(target)
    elif planted == "a file":
        runtime.touch()
    else:
        runtime.symlink_to(target)
    with pytest.raises(ConfigError, match="run directory"):
        ProjectLock.take(tmp_path, "p")
    assert lock.find_running("p") is None
    assert not target.exists() or not list(target.iterdir())


@pytest.mark.parametrize("planted", ["link", "hard link", "fifo", "folder", "writable"])
def test_a_planted_lock_file_is_not_believed(tmp_path: Path, runtime: Path, planted: str) -> None:
    runtime.mkdir(mode=0o700)
    victim, path = tmp_path / "victim", runtime / "p.lock"
    victim.write_text("precious")
    match planted:
        case "link":
            path.symlink_to(victim)
        case "hard link":
            path.hardlink_to(victim)
        case "fifo":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case _:
            path.touch()
            path.chmod(0o666)
    with pytest.raises(ConfigError, match="cannot hold the lock"):
        ProjectLock.take(tmp_path, "p")
    assert lock.find_running("p") is None
    assert victim.read_text() == "precious"


def test_what_belongs_to_another_user_is_not_believed(
    tmp_path: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = ProjectLock.take(tmp_path, "p")
    held.announce(lock.Running(os.getpid(), "http://127.0.0.1:1/"))
    own = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: own + 1)
    with (
        pytest.raises(ConfigError, match="belongs to another user"),
        runtime_dir.open_directory(runtime, create=False),
    ):
        pass
    monkeypatch.setattr(runtime_dir, "list_candidates", lambda: iter((runtime,)))
    assert lock.find_running("p") is None
    monkeypatch.undo()
    held.release()


def test_a_runtime_directory_that_others_write_to_is_not_used(
    tmp_path: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime.parent.chmod(0o777)
    assert runtime not in runtime_dir.list_candidates()


def test_sessions_with_other_variables_find_the_same_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr(runtime_dir, "_is_own", lambda base: base.startswith(str(tmp_path)))
    held = ProjectLock.take(tmp_path, "p")  # started by cron
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    assert lock.find_running("p") is not None
    with pytest.raises(AlreadyRunning):
        ProjectLock.take(tmp_path, "p")
    held.release()


def test_somebody_who_asks_does_not_keep_a_daemon_from_starting(tmp_path: Path) -> None:
    ProjectLock.take(tmp_path, "p").release()
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            lock.find_running("p")

    asking = [threading.Thread(target=ask) for _ in range(3)]
    for thread in asking:
        thread.start()
    try:
        for _ in range(20):
            ProjectLock.take(tmp_path, "p").release()
    finally:
        stop.set()
        for thread in asking:
            thread.join()


def test_a_second_daemon_is_told_who_the_first_is(tmp_path: Path) -> None:
    held = ProjectLock.take(tmp_path, "p")
    held.announce(lock.Running(os.getpid(), "http://127.0.0.1:7/"))
    with pytest.raises(AlreadyRunning, match=rf"process {os.getpid()}, http://127\.0\.0\.1:7/"):
        ProjectLock.take(tmp_path, "p", patience=0.0)
    held.release()


def test_the_watcher_that_has_a_port_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_dir, "list_candidates", lambda: [tmp_path])  # no watcher beside the test
    held = ProjectLock.take(tmp_path, "p")
    address = ListenAddress("127.0.0.1", 9000)
    held.announce(lock.Running(os.getpid(), "http://127.0.0.1:1/", listening=(address,)))
    assert lock.watcher_at(9000) == "this watcher itself"
    assert lock.watcher_at(9001) == ""
    held.announce(lock.Running(os.getpid() + 1, "http://127.0.0.1:1/", listening=(address,)))
    process = f"process {os.getpid() + 1}"
    assert missing(lock.watcher_at(9000), "another project", process, "http://127.0.0.1:1/") == []
    held.announce(replace(held.running, project="/src/shop", url=""))
    assert missing(lock.watcher_at(9000), "/src/shop", process, "starting") == []
    held.release()
    assert lock.watcher_at(9000) == ""


def test_the_running_watchers_are_listed_with_their_projects(
    tmp_path: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime_dir, "list_candidates", lambda: iter([runtime]))
    assert lock.list_running() == {}
    first, second = ProjectLock.take(tmp_path / "a", "a-1"), ProjectLock.take(tmp_path / "b", "b-1")
    assert {name: running.project for name, running in lock.list_running().items()} == {
        "a-1": str(tmp_path / "a"),
        "b-1": str(tmp_path / "b"),
    }
    first.release()
    assert list(lock.list_running()) == ["b-1"]
    second.release()


def test_an_announcement_of_a_newer_version_is_understood(tmp_path: Path, runtime: Path) -> None:
    held = ProjectLock.take(tmp_path, "p")
    (runtime / "p.lock").write_text(json.dumps({"pid": 7, "url": "http://x/", "mood": "good"}))
    assert lock.find_running("p") == lock.Running(7, "http://x/")
    held.release()
