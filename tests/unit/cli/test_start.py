"""The start of `watcher run`: the first line comes before the daemon and its libraries are imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from watcher import __version__
from watcher.cli.main import main
from watcher.errors import EXIT_CONFIG

LARGE = "docker fastapi google h2 httpx prometheus_client starlette uvicorn uvloop watchdog".split()
PROGRAM = """
import sys
from watcher.cli import run
from watcher.cli.main import main
from watcher.observers.console import Console
from watcher.settings import Settings

def stop(console, event):
    built = [each for each in Settings.__subclasses__() if each.__pydantic_complete__]
    print(type(event).__name__, len(built), *sys.modules)
    sys.exit()

Console.notify = stop
main(["run", "--project", sys.argv[1]])
"""


def test_the_first_event_comes_before_any_large_library(tmp_path: Path) -> None:
    """The daemon takes half a second of imports, during which users would see nothing."""
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    event, built, *modules = done.stdout.split()
    assert (event, built) == ("DaemonStarting", "0")  # validators of the other commands: time and memory
    assert not set(modules) & set(LARGE)
    rooms = {name.split(".")[1] for name in modules if name.startswith("watcher.")}
    assert not rooms & {"builder", "compose", "daemon", "deploy", "engine", "front", "prune", "tree", "web"}


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_the_first_line_names_version_and_project(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], log_format: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", "--project", str(tmp_path), "--log-format", log_format])
    assert ended.value.code == EXIT_CONFIG  # there is no compose file
    first = capfd.readouterr().out.splitlines()[0]
    if log_format == "json":
        assert json.loads(first)["event"] == "daemon_starting"
        assert json.loads(first)["version"] == __version__
        assert json.loads(first)["project"] == str(tmp_path)
    else:
        assert first.endswith(f"watcher {__version__}, starting for {tmp_path}")


def test_nothing_starts_with_a_wrong_setting(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--project", str(tmp_path), "--http.port", "many"])
    assert capfd.readouterr().out == ""
