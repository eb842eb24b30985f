from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from tests.unit.observers.story import Story
from watcher.observers.events import Event
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
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    for event in story.events:
        metrics.notify(event)
    return registry
