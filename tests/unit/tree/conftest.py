from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from watcher.tree import Snapshot

NOBODY = 65534


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small project."""
    project = tmp_path / "project"
    project.mkdir()
    write(project, "Dockerfile", "FROM scratch\n")
    write(project, "main.go", "package main\n")
    write(project, "go.mod", "module example\n")
    write(project, "_envs/env_dev.yaml", "a: 1\n")
    write(project, "pkg/a/a.go", "package a\n")
    write(project, "pkg/b/b.go", "package b\n")
    return project


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A directory that every user can reach, which pytest's own is not."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.fixture
def unprivileged(reachable: Path) -> Iterator[Callable[[], None]]:
    """Permissions mean nothing to root: be nobody, who owns `reachable`, from the call to the test's end."""

    def become() -> None:
        if os.geteuid() == 0:
            for path in (reachable, *reachable.rglob("*")):
                os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
            os.seteuid(NOBODY)

    was = os.geteuid()
    yield become
    os.seteuid(was)


def write(project: Path, path: str, text: str) -> Path:
    file = project / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def paths(snapshot: Snapshot) -> list[str]:
    return [entry.path for entry in snapshot.entries()]
