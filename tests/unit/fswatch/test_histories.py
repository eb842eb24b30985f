"""Real events, whatever happens: looking only where notifications point leads to what a full look finds."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from tests.unit.tree.test_incremental import USABLE, apply
from watcher.fswatch import NotificationSource, ScanReport
from watcher.observers.events import Event
from watcher.reconcile.debounce import Debouncer
from watcher.reconcile.git_state import Git
from watcher.reconcile.tree_notifications import TreeNotifications
from watcher.tree import Tree, TreeGone, diff

PATIENCE = 20.0


class Nobody:
    def notify(self, event: Event) -> None:
        """Nothing is told to anybody."""


class Following:
    """A tree that is followed by real events alone: no timer looks at everything."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tree = Tree(root)
        self.source = NotificationSource(root, observer=Nobody(), mode="events", full_scan=0.0)
        self.notifications = TreeNotifications(self.tree, Debouncer(self.source, Git(root)))
        self.digest = ""
        self.looks: list[tuple[str, str, float]] = []  # reason, what changed, seconds since the first event
        self._moved = asyncio.Event()

    async def run(self) -> None:
        notification = await self.notifications.next_notification()
        old = None
        while True:
            began = time.monotonic()
            try:
                snapshot = await asyncio.to_thread(self.tree.scan, notification.touched)
            except TreeGone:
                await self.notifications.report_gone()
                notification = await self.notifications.next_notification()
                continue
            found = diff(old, snapshot)
            old = snapshot
            self.looks.append(
                (notification.reason, found.summary(), time.monotonic() - notification.first_seen)
            )
            self.digest = snapshot.digest
            self._moved.set()
            changed = [change.path for change in found.changes]
            await self.notifications.report_scan(
                ScanReport(notification, time.monotonic() - began, changed, snapshot.unsettled)
            )
            notification = await self.notifications.next_notification()

    async def until_up_to_date(self) -> None:
        wanted = Tree(self.root).scan().digest
        async with asyncio.timeout(PATIENCE):
            while self.digest != wanted:
                self._moved.clear()
                await self._moved.wait()

    async def __aenter__(self) -> Following:
        await self.source.start()
        self._task = asyncio.create_task(self.run())
        await self.until_up_to_date()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self.source.stop()


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # a failure takes long, so shrinking would for ever
)
@given(st.lists(st.lists(USABLE, min_size=1, max_size=5), min_size=1, max_size=5))
def test_following_events_finds_what_a_full_look_finds(history: list[list[tuple[str, str, str]]]) -> None:
    note(ascii(history))

    async def follow(root: Path) -> None:
        async with Following(root) as following:
            for operations in history:
                for operation in operations:
                    apply(root, operation)
                await following.until_up_to_date()

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(follow(Path(directory)))


async def test_directories_that_arrive_with_contents_are_found_and_followed(root: Path) -> None:
    async with Following(root) as following:
        for number in range(20):
            place = root / f"new{number}/a/b/c"
            place.mkdir(parents=True)
            (place / "x.go").write_text("x")
        await following.until_up_to_date()
        (root / "new7/a/b/c/x.go").write_text("changed")
        await following.until_up_to_date()
        shutil.move(root / "new7", root / "pkg/moved")
        await following.until_up_to_date()
        (root / "pkg/moved/a/b/c/x.go").write_text("changed again")
        await following.until_up_to_date()


async def test_a_tree_that_is_unpacked_while_it_is_followed_is_found_whole(root: Path) -> None:
    async with Following(root) as following:

        def unpack() -> None:
            for number in range(400):
                file = root / f"big/{number % 7}/{number % 5}/{number}.go"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(str(number))

        await asyncio.to_thread(unpack)
        await following.until_up_to_date()


async def test_a_project_that_is_deleted_and_made_again_is_followed_on(root: Path) -> None:
    async with Following(root) as following:
        root.rename(root.with_name("away"))
        root.mkdir()
        (root / "main.go").write_text("package other\n")
        await following.until_up_to_date()
        (root / "main.go").write_text("package again\n")
        await following.until_up_to_date()
        shutil.rmtree(root)
        (root / "sub").mkdir(parents=True)
        (root / "sub/x.go").write_text("x")
        await following.until_up_to_date()
        (root / "sub/x.go").write_text("y")
        await following.until_up_to_date()


async def test_an_ignore_file_that_changes_changes_what_is_followed(root: Path) -> None:
    (root / ".dockerignore").write_text("pkg\n")
    async with Following(root) as following:
        assert "pkg" not in following.tree.watch_dirs
        (root / ".dockerignore").write_text("nothing\n")
        await following.until_up_to_date()
        (root / "pkg/a.go").write_text("seen now")
        await following.until_up_to_date()


@pytest.mark.parametrize("editor", ["vim", "in place", "rename", "jetbrains", "emacs"])
async def test_a_save_by_an_editor_is_one_look(root: Path, editor: str) -> None:
    file = root / "main.go"

    def save() -> None:
        if editor == "vim":  # probe, back up by renaming, write anew, remove the backup
            (root / "4913").touch()
            (root / "4913").unlink()
            file.rename(root / "main.go~")
            file.write_text("package vim\n")
            (root / "main.go~").unlink()
        elif editor == "emacs":  # a lock, unsaved text, a backup
            (root / ".#main.go").symlink_to("me@here.123")
            (root / "#main.go#").write_text("package em")
            shutil.copy(file, root / "main.go~")
            file.write_text("package emacs\n")
            (root / "#main.go#").unlink()
            (root / ".#main.go").unlink()
        elif editor == "jetbrains":
            (root / "main.go___jb_tmp___").write_text("package jetbrains\n")
            file.rename(root / "main.go___jb_old___")
            (root / "main.go___jb_tmp___").rename(file)
            (root / "main.go___jb_old___").unlink()
        elif editor == "rename":
            (root / ".main.go.12345").write_text("package rename\n")
            (root / ".main.go.12345").rename(file)
        else:
            file.write_text("package inplace\n")

    async with Following(root) as following:
        async with asyncio.timeout(PATIENCE):
            while following.looks[-1][0] != "subscribed":
                await asyncio.sleep(0.001)
        before = len(following.looks)
        await asyncio.to_thread(save)
        await following.until_up_to_date()
        assert [(reason, what) for reason, what, _ in following.looks[before:]] == [
            ("event", "main.go changed")
        ]


async def test_touching_and_temporary_files_lead_to_no_change(root: Path) -> None:
    async with Following(root) as following:
        digest = following.digest
        (root / "main.go").touch()
        (root / "pkg/a.go~").write_text("x")
        (root / "pkg/.a.go.swp").write_text("x")
        (root / "marker").write_text("x")
        await following.until_up_to_date()
        (root / "marker").unlink()
        await following.until_up_to_date()
        assert following.digest == digest
