"""The entry of the open project in the registry of projects."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.facts import missing
from tests.loaded_settings import load
from watcher import compose, labels
from watcher.daemon import registration
from watcher.daemon.registration import Registration
from watcher.engine import SystemInfo
from watcher.observers.events import Event, Notice
from watcher.prune import ProjectRecord, Registry

INFO = SystemInfo("28.0", "1.45", "overlay2", "unix:///nowhere", "x86_64")


class Heard:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def notify(self, event: Event) -> None:
        self.events.append(event)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


def register(root: Path, heard: Heard) -> Registration:
    """Begin to write the entry of a project in `root`."""
    root.mkdir(exist_ok=True)
    (root / "compose.yaml").write_text("name: shop\nservices: {web: {build: .}}\n")
    made = Registration(root, labels.project_id(root), INFO, heard)
    made.begin(compose.load(root / "compose.yaml", env={}), load(project=root))
    return made


def entry(root: Path) -> ProjectRecord:
    found = Registry().entry(labels.project_id(root))
    assert found.record, found.problem
    return found.record


async def test_the_end_of_a_daemon_is_the_last_time_that_its_project_was_watched(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registration, "time", lambda: 1000.0)
    heard = Heard()
    await register(tmp_path / "project", heard).end()
    found = entry(tmp_path / "project")
    assert (found.compose_project, [each.service for each in found.services]) == ("shop", ["web"])
    assert found.first_seen == 1000.0
    assert found.last_seen > 1000.0
    assert heard.events == []


async def test_an_entry_that_cannot_be_written_is_said_once(state: Path, tmp_path: Path) -> None:
    state.write_text("a file, not a folder")
    heard = Heard()
    await register(tmp_path / "project", heard).end()
    (notice,) = heard.events
    assert isinstance(notice, Notice)
    assert notice.level == "warning"
    assert missing(notice.text, "watcher prune --gone", str(state)) == []
