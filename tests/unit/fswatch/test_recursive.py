"""The backend for systems with recursive watches, with watchdog's own observer of this system under it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from tests.unit.fswatch.conftest import Listener
from watcher.fswatch import EventsUnavailable
from watcher.fswatch.recursive import Recursive
from watcher.tree import Rules

# Of watchdog's own inotify, which is under this backend in tests only: a directory made while its parent is
# listed is watched twice, and watchdog says that the second watch took the place of the first.
pytestmark = pytest.mark.filterwarnings("ignore:Callback with id:RuntimeWarning")


@pytest.fixture
def recursive(root: Path, listener: Listener) -> Iterator[Recursive]:
    backend = Recursive(str(root), listener.inbox, Observer)
    backend.start()
    assert backend.watch(["", "pkg"]) == {""}
    yield backend
    backend.stop()


def test_changes_anywhere_below_name_their_directory(
    root: Path, recursive: Recursive, listener: Listener
) -> None:
    assert recursive.probe(0.0)
    (root / "pkg/a.go").write_text("x")
    listener.until(lambda seen: "pkg" in seen.touched)
    (root / "pkg/b.go").write_text("x")
    (root / "pkg/b.go").rename(root / "moved.go")
    listener.until(lambda seen: "moved.go" in seen.paths)
    (root / "moved.go").unlink()
    (root / "new/deep").mkdir(parents=True)
    listener.until(lambda seen: "new" in seen.paths)
    assert recursive.watch(["", "pkg", "new", "new/deep"]) == set()


@pytest.mark.usefixtures("recursive")
def test_what_lies_below_ignored_directories_wakes_nobody(root: Path, listener: Listener) -> None:
    listener.inbox.listen_for(Rules(docker=["bin"]), [])
    for name in (".git", "bin"):
        (root / name).mkdir()
        (root / name / "x").write_text("x")
    (root / "main.go").write_text("x")
    listener.until(lambda seen: "main.go" in seen.paths)
    assert {path for path in listener.paths if "/" in path} == set()


@pytest.mark.usefixtures("recursive")
def test_reading_the_tree_is_no_event(root: Path, listener: Listener) -> None:
    (root / "pkg/a.go").read_text()
    (root / "main.go").write_text("x")
    listener.until(lambda seen: "main.go" in seen.paths)
    assert "pkg/a.go" not in listener.paths


@pytest.mark.usefixtures("recursive")
def test_losing_the_root_is_told(root: Path, listener: Listener) -> None:
    shutil.rmtree(root)
    listener.until(lambda seen: any(mail.root_lost for mail in seen.mails))


def test_what_lies_outside_is_watched_for_itself(
    root: Path, recursive: Recursive, listener: Listener
) -> None:
    outside = root.parent / "docker"
    (outside / "deep").mkdir(parents=True)
    listener.inbox.listen_for(Rules(always=frozenset({"../docker/Dockerfile"})), [])
    assert recursive.watch(["", "../docker"]) == {"../docker"}
    (outside / "Dockerfile").write_text("x")
    listener.until(lambda seen: "../docker/Dockerfile" in seen.paths)
    assert recursive.watch([""]) == set()


def test_after_forgetting_everything_is_new(recursive: Recursive) -> None:
    recursive.forget()
    assert recursive.watch([""]) == {""}


def test_an_observer_that_cannot_start_or_has_ended_is_explained(root: Path, listener: Listener) -> None:
    class Broken:
        def start(self) -> None:
            raise OSError("no such thing here")

        def is_alive(self) -> bool:
            return False

    def make() -> BaseObserver:
        return Broken()  # type: ignore[return-value]

    backend = Recursive(str(root), listener.inbox, make)
    with pytest.raises(EventsUnavailable, match="no such thing here"):
        backend.start()
    with pytest.raises(EventsUnavailable, match="has ended"):
        backend.watch([""])
    backend.stop()
    assert not backend.probe(0.0)


def test_a_place_that_cannot_be_watched_is_named(root: Path, recursive: Recursive) -> None:
    with pytest.raises(EventsUnavailable, match="nowhere"):
        recursive.watch(["", "../nowhere"])
