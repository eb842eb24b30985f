"""The registry of projects: crash-safe, believed only when it is this user's own and whole."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.facts import missing
from watcher import labels
from watcher.errors import ConfigError, WatcherError
from watcher.prune import EngineUse, ProjectRecord, Registry, ServiceUse, locate

FIRST = EngineUse("id-1", "unix:///run/one.sock", "host", last_seen=1.0)
SECOND = EngineUse("id-2", "tcp://other:2375", last_seen=2.0)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path.resolve() / "shop"
    path.mkdir()
    return path


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "state")


def record(root: Path, **values: Any) -> ProjectRecord:
    given: dict[str, Any] = {
        "compose_project": "shop",
        "services": (ServiceUse("web", "shop:latest", "shop-web"),),
        "engines": (FIRST,),
        "first_seen": 10.0,
        "last_seen": 20.0,
    }
    return ProjectRecord(id=labels.project_id(root), location=locate(root), **{**given, **values})


def test_what_is_written_is_read(registry: Registry, root: Path) -> None:
    registry.write(record(root))
    (entry,) = registry.entries()
    assert (entry.id, entry.record, entry.problem) == (labels.project_id(root), record(root), "")


def test_a_path_of_any_bytes_is_kept(registry: Registry, tmp_path: Path) -> None:
    path = tmp_path.resolve() / os.fsdecode(b"sh\xff\n op")
    path.mkdir()
    registry.write(record(path))
    (entry,) = registry.entries()
    assert entry.record
    assert entry.record.location.path == str(path)


def test_earlier_names_and_engines_are_not_forgotten(registry: Registry, root: Path) -> None:
    registry.write(record(root))
    other = ServiceUse("web", "renamed:latest", "shop-web")
    registry.write(record(root, services=(other,), engines=(SECOND,), first_seen=99.0, last_seen=99.0))
    found = registry.entry(labels.project_id(root)).record
    assert found
    assert {use.image for use in found.services} == {"shop:latest", "renamed:latest"}
    assert found.engines == (SECOND, FIRST)
    assert (found.first_seen, found.last_seen) == (10.0, 99.0)


def test_an_engine_is_one_wherever_it_is_reached(registry: Registry, root: Path) -> None:
    registry.write(record(root))
    registry.write(record(root, engines=(replace(FIRST, endpoint="tcp://localhost:1"),)))
    found = registry.entry(labels.project_id(root)).record
    assert found
    assert [use.endpoint for use in found.engines] == ["tcp://localhost:1"]
    registry.write(record(root, engines=(replace(FIRST, buildkit="tcp://buildkitd:1"),)))
    found = registry.entry(labels.project_id(root)).record
    assert found
    assert len(found.engines) == 2


def test_touching_moves_only_the_time(registry: Registry, root: Path) -> None:
    registry.touch(labels.project_id(root))  # not registered: nothing happens
    assert registry.entries() == []
    registry.write(record(root))
    registry.touch(labels.project_id(root))
    found = registry.entry(labels.project_id(root)).record
    assert found
    assert found.last_seen > 20.0
    assert replace(found, last_seen=20.0) == record(root)


def test_forgetting_takes_the_journal_along_and_nothing_else(registry: Registry, root: Path) -> None:
    registry.write(record(root))
    project = labels.project_id(root)
    (registry.home / project / "builds.jsonl").write_text("")
    (registry.home / "other-0123456789").mkdir()
    registry.forget(project)
    assert [entry.id for entry in registry.entries()] == ["other-0123456789"]
    for name in ("..", ".", "", "x"):
        with pytest.raises(OSError, match="not the folder of a project"):
            registry.forget(name)
    link = registry.home / "link-0123456789"
    link.symlink_to(root)
    with pytest.raises(OSError, match="not the folder of a project"):
        registry.forget(link.name)
    assert root.is_dir()


def damaged(registry: Registry, root: Path, text: bytes) -> str:
    registry.write(record(root))
    (registry.home / labels.project_id(root) / "project.json").write_bytes(text)
    (entry,) = registry.entries()
    assert entry.record is None
    return entry.problem


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"{}", b"\xff\xfe", b'{"schema": 1}'])
def test_a_damaged_record_is_an_unknown_project(registry: Registry, root: Path, text: bytes) -> None:
    assert damaged(registry, root, text) == "its record is damaged"


@given(st.integers(0, 2000), st.binary(max_size=3))
def test_a_record_with_any_damage_is_whole_or_unknown(
    tmp_path_factory: pytest.TempPathFactory, at: int, instead: bytes
) -> None:
    folder = tmp_path_factory.mktemp("registry")
    root = folder.resolve() / "shop"
    root.mkdir()
    registry = Registry(folder / "state")
    registry.write(record(root))
    path = registry.home / labels.project_id(root) / "project.json"
    data = path.read_bytes()
    path.write_bytes(data[:at] + instead + data[at + len(instead) :])
    (entry,) = registry.entries()
    assert entry.record is None or entry.record.location.path == str(root)


def test_a_record_of_another_folder_is_not_believed(registry: Registry, root: Path) -> None:
    registry.write(record(root))
    path = registry.home / labels.project_id(root) / "project.json"
    values = json.loads(path.read_text())
    values["location"]["path"] = "/etc"
    assert damaged(registry, root, json.dumps(values).encode()) == "its record is damaged"


def test_a_record_of_another_user_is_not_believed(registry: Registry, root: Path) -> None:
    registry.write(record(root, user=os.getuid() + 1))
    (entry,) = registry.entries()
    assert entry.record is None
    assert "another user" in entry.problem


@pytest.mark.parametrize("kind", ["link", "fifo", "large"])
def test_only_a_regular_file_is_read(registry: Registry, root: Path, kind: str) -> None:
    registry.write(record(root))
    path = registry.home / labels.project_id(root) / "project.json"
    data = path.read_bytes()
    path.unlink()
    if kind == "link":
        (root / "x").write_bytes(data)
        path.symlink_to(root / "x")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.write_bytes(data + b" " * (1 << 20))
    (entry,) = registry.entries()
    assert entry.record is None


def test_several_daemons_write_at_once(registry: Registry, root: Path) -> None:
    def write(number: int) -> None:
        registry.write(record(root, engines=(EngineUse(f"id-{number}", "unix:///x"),)))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(24)))
    found = registry.entry(labels.project_id(root)).record
    assert found
    assert {use.id for use in found.engines} == {f"id-{number}" for number in range(24)}
    assert sorted(each.name for each in (registry.home / found.id).iterdir()) == [
        "project.json",
        "project.lock",
    ]


def test_without_a_home_a_variable_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setattr(Path, "home", fail)
    with pytest.raises(ConfigError, match="XDG_STATE_HOME"):
        Registry()


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    """Without its records all projects would seem to belong to others."""
    assert Registry(tmp_path / "none").entries() == []
    (tmp_path / "file").write_text("")
    with pytest.raises(WatcherError) as raised:
        Registry(tmp_path / "file").entries()
    assert not missing(str(raised.value), "registry", tmp_path / "file", "Not a directory")
