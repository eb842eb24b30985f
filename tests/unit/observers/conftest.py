from __future__ import annotations

from typing import Any, TextIO

import pytest
from prometheus_client import CollectorRegistry

from tests.unit.observers.story import Story
from watcher.observers.console import Console
from watcher.observers.events import Event, Fanout
from watcher.observers.metrics import Metrics
from watcher.observers.status_board import StatusBoard


@pytest.fixture
def story() -> Story:
    return Story().start()


def told(story: Story | list[Event]) -> StatusBoard:
    """A board that has heard all of `story`."""
    board = StatusBoard()
    for event in story.events if isinstance(story, Story) else story:
        board.notify(event)
    return board


def measured(story: Story) -> CollectorRegistry:
    """A registry whose metrics have heard all of `story`."""
    registry, board = CollectorRegistry(), StatusBoard()
    observer = Fanout(board, Metrics(registry, board))
    for event in story.events:
        observer.notify(event)
    return registry


class Screen(Console):
    """A console together with the board that hears each event before it."""

    def __init__(self, file: TextIO, **options: Any) -> None:
        self.board = StatusBoard()
        super().__init__(file, self.board, **options)

    def notify(self, event: Event) -> None:
        self.board.notify(event)
        super().notify(event)
