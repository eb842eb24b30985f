"""`watcher service` with a service manager that only answers."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from watcher import labels
from watcher.cli.service_manager import ServiceFailed, ServiceManager, run_program
from watcher.errors import UsageError
from watcher.system import runtime_dir
from watcher.system.lock import ProjectLock


class Manager:
    """Answers of systemctl, and the commands that were run."""

    def __init__(self) -> None:
        self.commands: list[str] = []
        self.fails = ""
        self.shown = "ActiveState=inactive\n"

    def __call__(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        text = " ".join(command)
        self.commands.append(text)
        failed = bool(self.fails) and self.fails in text
        out = self.shown if " show " in text else ""
        return subprocess.CompletedProcess(command, int(failed), out, "no bus\n" if failed else "")


@pytest.fixture
def manager() -> Manager:
    return Manager()


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "run").mkdir(mode=0o700)
    monkeypatch.setattr(runtime_dir, "list_candidates", lambda: iter([tmp_path / "run" / "watcher"]))
    (tmp_path / "shop").mkdir()
    return tmp_path / "shop"


def service(root: Path, manager: Manager, platform: str = "linux") -> ServiceManager:
    environ = {"XDG_CONFIG_HOME": str(root.parent / "config"), "PATH": "/bin"}
    return ServiceManager(root, environ=environ, run=manager, platform=platform)


def test_installing_writes_enables_and_starts_and_uninstalling_removes(root: Path, manager: Manager) -> None:
    one = service(root, manager)
    for _ in range(2):
        assert one.install(["web"]) == 0
    assert one.path.name == f"watcher-{labels.project_id(root)}.service"
    assert '"run" "--plain" "web" "--project"' in one.path.read_text()
    assert [text.split()[2] for text in manager.commands[-3:]] == ["daemon-reload", "enable", "restart"]
    manager.commands.clear()
    for _ in range(2):
        assert one.uninstall() == 0
    assert list(one.path.parent.iterdir()) == []
    assert [text.split()[2] for text in manager.commands] == ["disable", "daemon-reload", "show"]


def test_a_watcher_that_runs_outside_of_the_service_is_not_fought(root: Path, manager: Manager) -> None:
    held = ProjectLock.take(root, labels.project_id(root))
    try:
        with pytest.raises(UsageError, match="watcher down"):
            service(root, manager).install([])
        assert not service(root, manager).path.exists()
        manager.shown = "ActiveState=active\n"  # it is the service's own: installed again with other options
        assert service(root, manager).install([]) == 0
    finally:
        held.release()


def test_what_the_manager_refuses_is_named_with_its_words(root: Path, manager: Manager) -> None:
    manager.fails = "daemon-reload"
    with pytest.raises(ServiceFailed, match="`systemctl --user daemon-reload` failed: no bus"):
        service(root, manager).install([])


@pytest.mark.parametrize(
    ("shown", "status", "words"),
    [
        (
            "ActiveState=active\nSubState=running\nMainPID=7\nNRestarts=2\nStatusText=web: live\n",
            0,
            "web: live",
        ),
        ("ActiveState=failed\nSubState=failed\nMainPID=0\nResult=exit-code\n", 3, "exit-code"),
        ("ActiveState=inactive\nSubState=dead\nMainPID=0\nStatusText=stopping\n", 3, "inactive (dead)\n"),
        ("", 3, "unknown"),
    ],
)
def test_the_state_is_the_managers(
    root: Path,
    manager: Manager,
    *,
    shown: str,
    status: int,
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert service(root, manager).show() == 3  # not installed
    service(root, manager).install([])
    manager.shown = shown
    assert service(root, manager).show() == status
    out = capsys.readouterr().out
    assert words in out
    assert "stopping" not in out, "systemd keeps the last line of what has ended"


def test_it_is_started_by_the_manager(root: Path, manager: Manager) -> None:
    one = service(root, manager)
    assert one.start() == f"journalctl --user -u {one.name} -f"
    assert manager.commands == [f"systemctl --user start {one.name}"]
    manager.fails = "start"
    with pytest.raises(ServiceFailed, match="no bus"):
        one.start()


def test_an_agent_is_loaded_and_started(
    root: Path, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(root.parent))
    monkeypatch.setenv("XDG_STATE_HOME", str(root.parent / "state"))
    manager.fails = "bootstrap"  # it is loaded already
    assert service(root, manager, "darwin").start().startswith("tail -f ")
    assert [text.split()[1] for text in manager.commands] == ["bootstrap", "kickstart"]


def test_a_variable_of_ours_is_said_to_be_left_out(
    root: Path, manager: Manager, capsys: pytest.CaptureFixture[str]
) -> None:
    environ = {"XDG_CONFIG_HOME": str(root.parent), "WATCHER_HTTP__TOKEN": "secret"}
    one = ServiceManager(root, environ=environ, run=manager, platform="linux")
    one.install([])
    assert "WATCHER_HTTP__TOKEN" in capsys.readouterr().out
    assert "secret" not in one.path.read_text()


def test_on_macos_it_is_an_agent(root: Path, manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(root.parent))
    monkeypatch.setenv("XDG_STATE_HOME", str(root.parent / "state"))
    one = service(root, manager, "darwin")
    assert one.install([]) == 0
    assert one.path.parent == root.parent / "Library" / "LaunchAgents"
    assert any(text.startswith("launchctl bootstrap gui/") for text in manager.commands)
    assert one.show() == 0
    assert one.uninstall() == 0
    assert not one.path.exists()


def test_a_manager_that_is_not_there_is_no_traceback() -> None:
    assert run_program(["/nowhere/systemctl"]).returncode == 127
