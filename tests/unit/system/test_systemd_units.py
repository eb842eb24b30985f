"""The systemd units that come with the project are ones that systemd takes."""

from __future__ import annotations

import os
import plistlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from watcher.cli.service_unit import quote_command, quote_unit, render_agent, render_unit
from watcher.errors import EXIT_CONFIG, EXIT_USAGE, ConfigError
from watcher.system.loop_watchdog import STUCK

UNITS = Path(__file__).parents[3] / "deploy" / "systemd"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not here")
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    """A wrong key is only a warning to systemd, and is ignored by it."""
    for unit in UNITS.glob("watcher.*"):
        text = unit.read_text().replace("%h/.local/bin/watcher", "/bin/true")  # it must exist
        (tmp_path / unit.name).write_text(text)
    assert analyze(tmp_path, "--user", "verify", *map(str, tmp_path.glob("watcher.*"))) == ""


def analyze(folder: Path, *arguments: str) -> str:
    """Return what systemd-analyze prints; it must succeed."""
    runtime = folder / "run"
    runtime.mkdir(mode=0o700, exist_ok=True)
    done = subprocess.run(
        ["systemd-analyze", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "XDG_RUNTIME_DIR": str(runtime)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not here")
def test_systemd_finds_nothing_wrong_with_the_unit_of_a_machine(tmp_path: Path) -> None:
    unit = tmp_path / "watcher@srv-shop.service"
    text = (UNITS / "watcher@.service").read_text()
    unit.write_text(text.replace("/usr/local/bin/watcher", "/bin/true").replace("docker.service ", ""))
    assert "watcher@" not in analyze(tmp_path, "verify", "--recursive-errors=no", "--man=no", str(unit))


ODD = Path('/home/ann/50% $HOME/a "b" \\c')


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not here")
@pytest.mark.parametrize("root", [Path("/home/ann/src/shop"), ODD])
def test_systemd_finds_nothing_wrong_with_an_installed_unit(tmp_path: Path, root: Path) -> None:
    unit = tmp_path / "watcher-shop.service"
    environ = {"PATH": "/bin", "DOCKER_HOST": "unix:///run/user/1000/docker 1.sock", "HOME": "/"}
    unit.write_text(render_unit(root, ["/bin/true"], ["web", "--build.args", "A=$B %n"], environ))
    assert "HOME" not in unit.read_text().replace("$$HOME", "").replace("$HOME", "")
    assert analyze(tmp_path, "--user", "verify", "--man=no", str(unit)) == ""
    rated = analyze(tmp_path, "--user", "security", "--offline=true", "--threshold=70", str(unit))
    assert "Overall exposure level" in rated


def test_words_of_a_unit_are_taken_as_they_are() -> None:
    assert quote_unit('a "b" 50% \\') == '"a \\"b\\" 50%% \\\\"'
    assert quote_command(["run", "$HOME"]) == '"run" "$$HOME"'
    with pytest.raises(ConfigError, match="line break"):
        quote_unit("a\nExecStartPre=/bin/false")


def test_the_agent_of_macos_has_the_same_command() -> None:
    text = render_agent(
        Path("/Users/ann/shop"),
        ["/bin/python", "-m", "watcher"],
        ["web"],
        {"PATH": "/bin"},
        label="watcher.shop",
        log=Path("/log"),
    )
    found = plistlib.loads(text)
    assert found["ProgramArguments"][-3:] == ["web", "--project", "/Users/ann/shop"]
    assert found["KeepAlive"] == {"SuccessfulExit": False}
    assert found["EnvironmentVariables"] == {"PATH": "/bin"}


# launchd.plist(5); launchd ignores a key that it does not know, and refuses one of another type.
AGENT_KEYS: dict[str, type] = {
    "Label": str,
    "ProgramArguments": list,
    "WorkingDirectory": str,
    "EnvironmentVariables": dict,
    "RunAtLoad": bool,
    "KeepAlive": dict,
    "ThrottleInterval": int,
    "ExitTimeOut": int,
    "ProcessType": str,
    "StandardOutPath": str,
    "StandardErrorPath": str,
}


@pytest.mark.parametrize("root", [Path("/Users/ann/src/shop"), ODD, Path("/Users/ann/<&> ü")])
def test_the_agent_of_macos_is_one_that_launchd_can_read(root: Path) -> None:
    """As `plutil -lint` and launchd check it; neither is run here."""
    environ = {"PATH": "/bin", "DOCKER_HOST": "unix:///a b.sock", "HOME": "/", "WATCHER_HTTP__TOKEN": "x"}
    text = render_agent(
        root, ["/bin/python", "-P"], ["--a", "<&>"], environ, label="watcher.shop", log=Path("/l/daemon.log")
    )
    assert text.startswith(b'<?xml version="1.0" encoding="UTF-8"?>')
    found = plistlib.loads(text, fmt=plistlib.FMT_XML)
    assert {key: type(value) for key, value in found.items()} == AGENT_KEYS
    assert all(isinstance(word, str) for word in found["ProgramArguments"])
    assert all(type(value) is str for value in found["EnvironmentVariables"].values())
    assert set(found["EnvironmentVariables"]) == {"PATH", "DOCKER_HOST"}
    paths = (found["ProgramArguments"][0], found["WorkingDirectory"], found["StandardOutPath"])
    assert all(Path(path).is_absolute() for path in paths), "launchd looks for nothing and expands no ~"
    assert found["WorkingDirectory"] == found["ProgramArguments"][-1] == str(root)
    assert found["KeepAlive"].keys() <= {"SuccessfulExit", "Crashed", "NetworkState", "PathState"}
    assert found["ProcessType"] in {"Background", "Standard", "Adaptive", "Interactive"}


@pytest.mark.parametrize(
    ("name", "rule"), [("a\x01b", "control"), ("a\nb", "line break"), ("\udcff", "UTF-8")]
)
def test_a_path_that_no_service_can_have_is_refused_by_name(name: str, rule: str) -> None:
    root = Path("/src") / name
    with pytest.raises(ConfigError, match=rule):
        render_unit(root, ["/bin/true"], [], {})
    with pytest.raises(ConfigError, match=rule):
        render_agent(root, ["/bin/true"], [], {}, label="x", log=Path("/log"))


def test_every_unit_waits_for_the_user_after_a_wrong_setting() -> None:
    texts = [path.read_text() for path in UNITS.glob("*.service")]
    texts.append(render_unit(Path("/src"), ["watcher"], [], {}))
    for text in texts:
        assert f"RestartPreventExitStatus={EXIT_USAGE} {EXIT_CONFIG}" in text
        assert "Type=notify" in text
        seconds = int(text.partition("WatchdogSec=")[2].partition("s")[0])
        assert seconds > 2 * STUCK  # the watcher's own guard comes first: it prints what hangs


def test_the_machine_wide_unit_can_write_where_its_commands_look_for_it() -> None:
    """`ProtectHome` in any form makes /run/user read-only too (systemd.exec(5)): then no watcher starts."""
    text = (UNITS / "watcher@.service").read_text()
    assert "\nProtectHome=" not in text
    assert "\nReadWritePaths=/tmp -/run/user\n" in text


def test_the_last_error_has_its_priority_in_the_journal(tmp_path: Path) -> None:
    with (tmp_path / "journal").open("w+") as file:
        found = os.fstat(file.fileno())
        environ = {**os.environ, "JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
        command = [sys.executable, "-m", "watcher", "run", "--project", str(tmp_path / "gone")]
        subprocess.run(command, stderr=file, stdout=subprocess.DEVNULL, env=environ, check=False, timeout=60)
        file.seek(0)
        assert file.read().startswith("<3>watcher: ")
