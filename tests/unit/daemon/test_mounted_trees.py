"""Mounted sources beside the build context: they are watched, and a part of the revision."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from watcher.compose import BuildSpec, MountSpec, ServiceSpec
from watcher.daemon.mounted_trees import MountedTrees
from watcher.fswatch import NotificationSource
from watcher.observers.events import Event
from watcher.reconcile.debounce import Debouncer
from watcher.reconcile.git_state import Git
from watcher.reconcile.tree_notifications import TreeNotifications
from watcher.tree import Tree


class Rig:
    """A project whose context is a folder of it, while the sources beside it are mounted."""

    def __init__(self, root: Path) -> None:
        self.root, self.told = root, list[tuple[str, ...]]()
        for name in ("docker/Dockerfile", "app/main.go", "app/tmp/main", "app/data/app.db"):
            self.write(name)
        mount = MountSpec(type="bind", source=str(root / "app"), target="/usr/src/app")
        build = BuildSpec(context=root / "docker")
        spec = ServiceSpec(name="svc", project_name="p", image="svc", build=build, mounts=(mount,))
        self.tree = Tree(root / "docker")
        self.side = MountedTrees(spec, root, ignore=(), listen=self._listen, tell=self.told.append)

    def _listen(self, tree: Tree) -> TreeNotifications:
        source = NotificationSource(tree.root, observer=self, service="svc", mode="auto", full_scan=60.0)
        return TreeNotifications(tree, Debouncer(source, Git(tree.root)))

    def notify(self, event: Event) -> None:
        pass

    def write(self, name: str, text: str = "package x") -> None:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(text)

    async def digest(self) -> str:
        found = await self.side.refresh(self.tree.scan())
        assert list(found) == ["mounted app"]
        return found["mounted app"]


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


async def test_a_change_of_a_mounted_source_is_another_revision_and_of_data_is_none(rig: Rig) -> None:
    before = await rig.digest()
    assert rig.told == [("app",)]
    rig.write("app/tmp/main", "built by the reloader")
    rig.write("app/data/app.db", "written by the program")
    rig.write("app/run.log", "written by the program")
    assert await rig.digest() == before
    rig.write("app/main.go", "package y")
    after = await rig.digest()
    assert after != before
    rig.write("app/main.go", "package x")
    assert await rig.digest() == before
    assert rig.told == [("app",)], "it is told once"


async def test_the_ignore_file_of_the_context_is_of_no_effect_there(rig: Rig) -> None:
    rig.write("app/.dockerignore", "*\n")
    before = await rig.digest()
    rig.write("app/main.go", "package y")
    assert await rig.digest() != before


async def test_a_folder_that_is_gone_is_another_revision(rig: Rig) -> None:
    before = await rig.digest()
    (rig.root / "app").rename(rig.root / "away")
    assert await rig.digest() != before


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_save_in_a_mounted_folder_is_noticed(rig: Rig) -> None:
    calls: list[str] = []
    first = await rig.digest()
    task = asyncio.create_task(rig.side.run(lambda: calls.append("changed")))
    try:
        await until(lambda: bool(calls))  # the first look
        calls.clear()
        rig.write("app/main.go", "package y")
        await until(lambda: bool(calls))
        assert await rig.digest() != first
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
