"""`watcher up` and `watcher down` without an engine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.facts import missing
from tests.loaded_settings import load
from watcher import labels
from watcher.cli import background, quick, remote, remote_commands
from watcher.cli.background import DidNotStart, split_arguments
from watcher.cli.down import print_report, stop_and_report
from watcher.cli.ending import exit_on_failure
from watcher.cli.quick import Target
from watcher.cli.service_files import service_file
from watcher.cli.service_manager import ServiceFailed, ServiceManager
from watcher.errors import ConfigError, NotRunning
from watcher.prune import Cause, DownReport, ObjectKind, Reason, Verdict
from watcher.system import lock

HOLD = """
import os, sys, time
from pathlib import Path
from dataclasses import replace
from watcher import labels
from watcher.system.lock import ProjectLock
root = Path(sys.argv[sys.argv.index("--project") + 1])
print("arguments", *sys.argv[1:], flush=True)
if "--fail" in sys.argv:
    print("watcher: http.port = 99999: too large", file=sys.stderr)
    sys.exit(78)
held = ProjectLock.take(root, labels.project_id(root))
held.announce(replace(held.running, url="http://127.0.0.1:9/"))
time.sleep(120)
"""


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "run").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    program = tmp_path / "program.py"
    program.write_text(HOLD)
    real = subprocess.Popen
    started: list[subprocess.Popen[bytes]] = []

    def start(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        assert command[:4] == [sys.executable, "-P", "-m", "watcher"]
        started.append(real([sys.executable, str(program), *command[4:]], **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.setenv("PYTHONPATH", str(Path(background.__file__).parents[2]))
    yield
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    return folder


def start(project: Path, *arguments: str, as_json: bool = True) -> int:
    return background.up(Target(project), arguments, detach=True, timeout=1.0, as_json=as_json)


def test_it_starts_once_with_a_log_and_is_stopped(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert start(project, "web", "--prune.keep", "2") == 0
    first = json.loads(capsys.readouterr().out)
    assert first["started"]
    log = Path(first["log"])
    assert log.read_text().startswith(f"arguments run --plain web --prune.keep 2 --project {project}")
    assert (log.stat().st_mode & 0o777, log.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert start(project) == 0
    again = json.loads(capsys.readouterr().out)
    assert (again["started"], again["pid"]) == (False, first["pid"])
    start(project, "web", as_json=False)
    assert missing(capsys.readouterr().out, "keeps", "options") == []
    assert os.getsid(first["pid"]) == first["pid"]  # no terminal, so no SIGHUP
    assert background.stop_daemon(project) == first["pid"]
    assert background.stop_daemon(project) is None
    start(project)
    assert log.with_suffix(".log.1").exists()


def test_one_that_does_not_start_gives_its_status_and_its_words(project: Path) -> None:
    with pytest.raises(DidNotStart, match="did not start") as caught:
        start(project, "--fail")
    assert caught.value.exit_status == 78
    assert [line for line in caught.value.details if "http.port = 99999" in line]


def test_the_words_of_one_that_does_not_start_are_lines_of_their_own(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit), exit_on_failure(as_json=False):
        raise DidNotStart(78, project / "log", ("one\x1b[2J", "two"))
    assert capsys.readouterr().err.splitlines()[1:] == ["one\\u001b[2J", "two"]


def test_one_that_dies_during_the_wait_gives_its_status(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object, **__: object) -> int:
        running = lock.find_running(labels.project_id(project))
        assert running
        os.kill(running.pid, signal.SIGKILL)
        until = time.monotonic() + 30
        while lock.find_running(labels.project_id(project)) and time.monotonic() < until:
            time.sleep(0.01)
        raise NotRunning("gone")

    monkeypatch.setattr(remote_commands, "wait", die)
    with pytest.raises(DidNotStart) as caught:
        background.up(Target(project), (), detach=False, timeout=1.0, as_json=False)
    assert caught.value.exit_status == 128 + signal.SIGKILL


def test_one_that_stops_to_answer_and_ends_a_moment_later_gives_its_status(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop_answering(*_: object, **__: object) -> int:
        running = lock.find_running(labels.project_id(project))
        assert running
        threading.Timer(0.2, os.kill, (running.pid, signal.SIGTERM)).start()
        raise NotRunning("it does not answer")

    monkeypatch.setattr(remote_commands, "wait", stop_answering)
    with pytest.raises(DidNotStart):
        background.up(Target(project), (), detach=False, timeout=1.0, as_json=False)


def test_ctrl_c_leaves_it_running_and_says_how_to_go_on(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object, **__: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(remote_commands, "wait", interrupt)
    assert background.up(Target(project), (), detach=False, timeout=1.0, as_json=False) == 130
    assert "watcher down" in capsys.readouterr().err
    assert lock.find_running(labels.project_id(project))


def test_a_folder_that_is_not_there_starts_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        start(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("arguments", "own", "passed"),
    [
        ("web api", {}, "web api"),
        ("--timeout 5 web --detach", {"--timeout": "5", "--detach": ""}, "web"),
        ("--timeout=5 --project /x --http.port 1", {"--timeout": "5", "--project": "/x"}, "--http.port 1"),
        ("--json --deploy.startup-timeout 3", {"--json": ""}, "--deploy.startup-timeout 3"),
        ("--timeout", {"--timeout": ""}, ""),
    ],
)
def test_own_options_are_told_from_those_of_run(arguments: str, own: dict[str, str], passed: str) -> None:
    assert split_arguments(arguments.split()) == (own, passed.split())


@pytest.mark.parametrize("arguments", ["-h", "--help", "--timeout soon", "--timeout", "--det", "--no-json"])
def test_what_the_quick_way_cannot_judge_is_left_to_the_whole_one(
    arguments: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    quick.run_quickly(["up", *arguments.split()], {})  # else it ends the process
    assert lock.find_running(labels.project_id(project)) is None


def verdict(kind: ObjectKind, *, size: int = 0, remove: bool = True) -> Verdict:
    return Verdict(kind, "1", "name", size, remove=remove, why=Reason(Cause.IN_USE, "in use by box"))


def test_the_report_names_what_is_left_and_no_cache_that_perhaps_never_was(
    capsys: pytest.CaptureFixture[str],
) -> None:
    unknown = verdict(ObjectKind.GO_CACHE)
    assert print_report(DownReport((unknown,)), None, as_json=False) == 0
    assert capsys.readouterr().out == "there was nothing to remove\n"
    print_report(DownReport((unknown,)), 7, as_json=True)
    assert json.loads(capsys.readouterr().out)["removed"] == []
    removed = (verdict(ObjectKind.CONTAINER), verdict(ObjectKind.GO_CACHE, size=2_000_000))
    kept = verdict(ObjectKind.NETWORK, remove=False)
    assert print_report(DownReport(removed, (kept,)), 7, as_json=False) == 1
    out = capsys.readouterr().out
    assert missing(out, "1 container", "Go caches", "2.00 MB") == []
    assert missing(out, "kept", "network name", "box") == []
    spared = (verdict(ObjectKind.STEP, remove=False),) * 2
    assert print_report(DownReport(removed, (), spared), 7, as_json=False) == 0
    assert missing(capsys.readouterr().out, "2 cache records", "box") == []
    print_report(DownReport(removed, (), spared), 7, as_json=True)
    assert [each["kind"] for each in json.loads(capsys.readouterr().out)["spared"]] == ["step", "step"]


def test_an_installed_service_is_started_and_no_second_watcher(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(project.parent / "config"))
    unit = service_file(project)
    unit.parent.mkdir(parents=True)
    unit.touch()
    with pytest.raises(NotRunning, match="its service is installed: `watcher up` starts it"):
        remote.find_daemon(Target(project))
    held = list[lock.ProjectLock]()

    def start_unit(_: object) -> str:
        taken = lock.ProjectLock.take(project, labels.project_id(project))
        taken.announce(replace(taken.running, url="http://127.0.0.1:9/"))
        held.append(taken)
        return "journalctl -u it"

    monkeypatch.setattr(ServiceManager, "start", start_unit)
    assert start(project, as_json=False) == 0
    out = capsys.readouterr().out
    assert f"started for {project}" in out
    assert missing(out, "service", "journalctl -u it") == []
    held.pop().release()
    assert start(project, "--prune.keep", "2", as_json=False) == 0  # a service has options of its own
    assert (held, "`watcher service install OPTIONS`" in capsys.readouterr().err) == ([], True)


def test_a_service_that_does_not_start_is_not_replaced(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(project.parent / "config"))
    service_file(project).parent.mkdir(parents=True)
    service_file(project).touch()

    def fail(_: object) -> str:
        raise ServiceFailed("systemctl --user start it", "no bus")

    monkeypatch.setattr(ServiceManager, "start", fail)
    with pytest.raises(ServiceFailed, match="no bus"):
        start(project)
    assert lock.find_running(labels.project_id(project)) is None


def test_the_end_names_the_service_that_starts_it_again(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(project.parent / "config"))
    settings = load(project=project)
    assert stop_and_report(settings, as_json=False) is None
    assert "its service" not in capsys.readouterr().out
    service_file(project).parent.mkdir(parents=True)
    service_file(project).touch()
    stop_and_report(settings, as_json=False)
    assert missing(capsys.readouterr().out, "watcher service uninstall") == []
