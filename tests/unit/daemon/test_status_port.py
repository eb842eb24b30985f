"""The port of the status page, and the file by which Prometheus finds it."""

from __future__ import annotations

import json
import os
import socket
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.facts import missing
from tests.loaded_settings import load
from watcher.daemon import target_file
from watcher.daemon.port_holder import name_both
from watcher.daemon.status_port import candidate_ports, explain_other_port, is_explicit
from watcher.daemon.target_file import TargetFile, remove_stale_files, render_targets
from watcher.engine import Container
from watcher.front import PortInUse
from watcher.observers.events import Event
from watcher.settings import HttpSettings, Settings
from watcher.web.server import PortTaken, listen_at_first


@given(st.sets(st.integers(9001, 9100)))
def test_a_default_port_is_the_first_that_no_service_publishes(published: set[int]) -> None:
    ports = candidate_ports(HttpSettings(), published, None)
    assert ports == sorted(set(range(9001, 9101)) - published)


@pytest.mark.parametrize("port", [0, 80, 9001])
def test_an_explicit_port_is_the_only_one(port: int) -> None:
    assert candidate_ports(HttpSettings(port=port), {9001}, None) == [port]
    assert explain_other_port(HttpSettings(port=port), 9005, (), "") == ""


@pytest.mark.parametrize("given_by", ["command line", "environment", "file"])
def test_a_port_is_explicit_wherever_it_is_set(
    given_by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert not is_explicit(load().http)
    assert not is_explicit(load(http={"host": "127.0.0.1"}).http)
    if given_by == "file":
        (tmp_path / "watcher.toml").write_text("[http]\nport = 9001\n")
    elif given_by == "environment":
        monkeypatch.setenv("WATCHER_HTTP__PORT", "9001")
    found = Settings(http={"port": 9001}) if given_by == "command line" else load()
    assert is_explicit(found.http)


def test_it_is_said_why_the_port_is_another_one() -> None:
    http = HttpSettings()
    assert explain_other_port(http, http.port, (), "") == ""
    assert missing(explain_other_port(http, 9002, {9001}, ""), "service of this project") == []
    assert missing(explain_other_port(http, 9002, (), "the watcher of /src/a"), "watcher of /src/a") == []
    assert missing(explain_other_port(http, 9002, (), ""), "page", "9002") == []


def test_the_next_port_is_taken_and_an_error_names_the_first() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with listen_at_first("127.0.0.1", [port, 0]) as other:
            assert other.getsockname()[1] != port
        with pytest.raises(PortTaken, match=str(port)):
            listen_at_first("127.0.0.1", [port, port])


class Recorder:
    """An observer that keeps what it is notified of."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def notify(self, event: Event) -> None:
        self.events.append(event)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "watcher" / "targets"


async def test_the_file_is_there_while_the_watcher_runs(state: Path) -> None:
    before = os.umask(0o077)
    try:
        async with TargetFile("shop-1", Path("/src/shop"), "http://127.0.0.1:9002/", Recorder()).keep(
            lambda: False
        ):
            (entry,) = json.loads((state / "shop-1.json").read_text())
            assert entry == {"targets": ["127.0.0.1:9002"], "labels": {"project": "/src/shop"}}
            assert [stat.S_IMODE(path.stat().st_mode) for path in (state, state / "shop-1.json")] == [
                0o755,
                0o644,
            ]
    finally:
        os.umask(before)
    assert list(state.iterdir()) == []


async def test_a_successor_keeps_the_file(state: Path) -> None:
    async with TargetFile("shop-1", Path("/src/shop"), "http://[::1]:9002/", Recorder()).keep(lambda: True):
        pass
    assert "[::1]:9002" in (state / "shop-1.json").read_text()


async def test_a_state_folder_that_cannot_be_written_is_a_notice(state: Path) -> None:
    state.parent.mkdir()
    state.write_text("")
    recorder = Recorder()
    async with TargetFile("shop-1", Path("/src/shop"), "http://127.0.0.1:1/", recorder).keep(lambda: False):
        assert missing(recorder.events[0].text, "Prometheus", "cannot") == []  # type: ignore[attr-defined]


def test_only_files_of_watchers_that_are_gone_for_long_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target_file, "find_running", lambda name: name == "runs" or None)
    for name, age in (("runs", 1e6), ("killed", 60), ("gone", 1e6)):
        path = tmp_path / f"{name}.json"
        path.write_text(render_targets(Path("/src"), "http://127.0.0.1:1/"))
        os.utime(path, (1e9 - age, 1e9 - age))
    remove_stale_files(tmp_path, 1e9)
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["killed", "runs"]


def test_the_label_is_short_in_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    (entry,) = json.loads(render_targets(Path("/home/ann/src/shop"), "http://127.0.0.1:1/"))
    assert entry["labels"] == {"project": "~/src/shop"}


async def test_a_clash_of_published_ports_names_both_projects(tmp_path: Path) -> None:
    class Engine:
        async def containers(self) -> list[Container]:
            labels = {
                "com.docker.compose.project": "shop",
                "com.docker.compose.project.working_dir": "/src/shop",
            }
            ports = {"80/tcp": (("0.0.0.0", 9000),), "53/udp": (("", 9001),)}
            return [Container("1", "shop-web", "", labels, "running", ports=ports)]

    engine, config = cast(Any, Engine()), cast(Any, SimpleNamespace())
    config.spec, config.settings = SimpleNamespace(name="web"), SimpleNamespace(root=Path("/src/copy"))
    known = PortInUse("", 9000, "the watcher of /src/shop (process 7, http://127.0.0.1:1/)")
    assert missing(str(await name_both(known, engine, config)), "watcher of /src/shop", "7") == []
    text = str(await name_both(PortInUse("", 9000), engine, config))
    assert missing(text, "shop-web", "project shop", "/src/shop") == []
    assert "for web of /src/copy" in text
    assert missing(str(await name_both(PortInUse("", 9001), engine, config)), "another process") == []
