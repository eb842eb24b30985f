"""The short way into the commands that ask a daemon: the same as the long one, and quick."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from watcher.cli import main as whole
from watcher.cli import quick, remote, remote_commands
from watcher.observers import api_schema, status_schema

COMMANDS = ("status", "logs", "wait", "rebuild", "request_action", "upgrade")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the commands were called with."""
    found: list[Any] = []

    def recorder(name: str) -> Callable[..., int]:
        def record(place: remote.ProjectSelection, *arguments: Any, **options: Any) -> int:
            found.append((name, place.root, place.service, arguments, options))
            return 0

        return record

    for name in COMMANDS:
        monkeypatch.setattr(remote_commands, name, recorder(name))
    return found


def by_both_ways(arguments: list[str], called: list[Any]) -> tuple[Any, Any]:
    with pytest.raises(SystemExit):
        quick.run_quickly(arguments)
    with pytest.raises(SystemExit):
        whole.main(arguments)
    assert len(called) == 2
    return called[0], called[1]


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["status", "--json"],
        ["status", "-f"],
        ["status", "--watch", "--json"],
        ["status", "--service", "web"],
        ["status", "--service=web", "--project", "sub"],
        ["status", "--project=/tmp"],
        ["logs"],
        ["logs", "-f", "--tail", "7", "--source", "build"],
        ["logs", "--tail=4000", "--source=container", "--json"],
        ["wait"],
        ["wait", "--timeout", "3", "--start-timeout", "0.5"],
        ["wait", "--timeout=0", "--json"],
        ["rebuild"],
        ["rebuild", "--wait", "--timeout", "20.25"],
        ["cancel"],
        ["pause", "--json"],
        ["resume", "--service", "web"],
        ["upgrade", "--project", "sub"],
    ],
)
def test_both_ways_call_the_same(arguments: list[str], called: list[Any]) -> None:
    short, long = by_both_ways(arguments, called)
    assert short == long


@pytest.mark.parametrize("toml", ["", 'service = "api"\n', "[http]\nport = 1\n[deploy]\nsoak = 1.0\n"])
@pytest.mark.parametrize("variable", ["", "web"])
def test_a_service_may_stand_in_the_file_and_the_environment(
    toml: str, variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, called: list[Any]
) -> None:
    (tmp_path / "watcher.toml").write_text(toml)
    if variable:
        monkeypatch.setenv("WATCHER_SERVICE", variable)
    short, long = by_both_ways(["status"], called)
    assert short == long
    other = tmp_path / "other"
    other.mkdir()
    (other / "watcher.toml").write_text('service = "third"\n')
    monkeypatch.setenv("WATCHER_PROJECT", str(other))
    called.clear()
    short, long = by_both_ways(["wait"], called)
    assert short == long
    assert short[1] == other


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["run"],
        ["once"],
        ["help"],
        ["--version"],
        ["status", "--help"],
        ["status", "-h"],
        ["status", "--help-settings"],
        ["status", "--http.port", "1"],
        ["status", "--no-json"],
        ["status", "--fol"],
        ["status", "web"],
        ["status", "--project"],
        ["status", "--project", "--json"],
        ["status", "--project="],
        ["upgrade", "--json"],
        ["wait", "--timeout", "soon"],
        ["wait", "--timeout", "-1"],
        ["wait", "--timeout", "nan"],
        ["wait", "--timeout", "1e3"],
        ["wait", "--timeout", "٣"],
        ["logs", "--tail", "0"],
        ["logs", "--tail", "4001"],
        ["logs", "--source", "nowhere"],
        ["cancel", "--timeout", "1"],
    ],
)
def test_what_it_does_not_know_is_left_to_the_whole_command_line(arguments: list[str]) -> None:
    assert quick.parse_arguments(arguments, {}) is None


@pytest.mark.parametrize("name", ["WATCHER_HTTP__PORT", "watcher_plain", "WATCHER_NOTHING"])
def test_other_settings_of_the_environment_are_left_to_it_too(name: str) -> None:
    assert quick.parse_arguments(["status"], {name: "1"}) is None
    assert quick.parse_arguments(["status"], {"WATCHER_PROJECT": "/", "HOME": "/"}) is not None


WRONG_FILES = ["service = 1\n", "= x\n", 'project = "x"\n', "\xff", "a = " + "[" * 5000]


@pytest.mark.parametrize("toml", WRONG_FILES)
def test_a_wrong_file_is_left_to_it_too(toml: str, tmp_path: Path) -> None:
    (tmp_path / "watcher.toml").write_bytes(toml.encode("latin-1"))
    quick.run_quickly(["status"])  # else it ends the process
    asked = quick.parse_arguments(["status", "--project", str(tmp_path)], {})
    assert asked is not None
    assert quick.find_target(asked, {}) is None


def test_no_large_library_is_imported() -> None:
    """`watcher status` must not take longer than the answer (`./dev bench cli` measures it)."""
    imported = "watcher.__main__, watcher.cli.quick, watcher.cli.remote_commands, watcher.cli.list_daemons"
    code = f"import sys, {imported}; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    modules = set(done.stdout.split())
    large = "pydantic httpx rich docker fastapi google watchdog prometheus_client asyncio"
    assert not modules & set(large.split())
    rooms = {name.split(".")[1] for name in modules if name.startswith("watcher.")}
    assert rooms <= {"__main__", "cli", "errors", "labels", "observers", "regex", "system"}


def test_a_document_has_its_fields_as_attributes() -> None:
    document = remote.parse_document('{"a": {"b": [{"c": null}]}}')
    assert document.a.b[0].c is None
    with pytest.raises(AttributeError):
        _ = document.nothing
    assert json.dumps(document) == '{"a": {"b": [{"c": null}]}}'


@pytest.mark.parametrize("schema", [status_schema, api_schema])
def test_no_field_of_the_api_is_hidden_by_a_method_of_a_dict(schema: Any) -> None:
    models = [one for one in vars(schema).values() if isinstance(one, type) and issubclass(one, BaseModel)]
    assert models
    hidden = {
        f"{model.__name__}.{name}" for model in models for name in model.model_fields.keys() & set(dir(dict))
    }
    assert hidden <= {"PruneInfo.items"}  # which no command shows


@pytest.mark.parametrize("toml", WRONG_FILES)
def test_a_watcher_that_runs_is_asked_whatever_became_of_the_file(
    toml: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has refused the file, and its status says so: a status that says nothing else hides the services."""
    (tmp_path / "watcher.toml").write_bytes(toml.encode("latin-1"))
    monkeypatch.setattr("watcher.cli.remote.is_running", lambda place: place.root == tmp_path)
    asked = quick.parse_arguments(["status", "--project", str(tmp_path)], {})
    assert asked is not None
    assert quick.find_target(asked, {}) == quick.Target(tmp_path)


def test_a_folder_that_cannot_be_resolved_is_left_to_it_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "watcher.toml").write_text("= x")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    monkeypatch.setattr("watcher.cli.quick._read_service", lambda _: int("no"))
    asked = quick.parse_arguments(["status", "--project", str(tmp_path / "loop" / "x")], {})
    assert asked is not None
    assert quick.find_target(asked, {}) is None
