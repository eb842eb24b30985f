from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from watcher.fswatch.inbox import Inbox, Mail

PATIENCE = 10.0  # seconds until a condition that should come true at once counts as never


@pytest.fixture
def root(tmp_path: Path) -> Path:
    project = tmp_path / "home" / "project"
    for path, text in (("Dockerfile", "FROM scratch\n"), ("main.go", "package main\n"), ("pkg/a.go", "a")):
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_text(text)
    return project


class Listener:
    """An inbox and what came into it."""

    def __init__(self) -> None:
        self._called = threading.Event()
        self.inbox = Inbox(self._called.set)
        self.touched: set[str] = set()
        self.paths: set[str] = set()
        self.mails: list[Mail] = []

    def until(self, condition: Callable[[Listener], bool]) -> None:
        """Take mail until the condition holds."""
        deadline = time.monotonic() + PATIENCE
        while not condition(self):
            assert self._called.wait(deadline - time.monotonic()), (self.touched, self.paths)
            self._called.clear()
            self.empty()

    def empty(self) -> Mail:
        mail = self.inbox.take_all()
        self.mails.append(mail)
        if mail.notification:
            self.touched |= mail.notification.touched or set()
            self.paths |= mail.notification.paths
        return mail

    def forget(self) -> None:
        self.empty()
        self.touched.clear()
        self.paths.clear()
        self.mails.clear()


@pytest.fixture
def listener() -> Listener:
    return Listener()
