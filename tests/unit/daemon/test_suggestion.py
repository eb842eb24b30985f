"""What the doctor measured reaches status and metrics, and is never shown as if it were of the live tree."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from tests.facts import missing
from watcher.cli.status_text import render_lines
from watcher.daemon.suggestion_reader import SuggestionReader
from watcher.image.suggestion import SizeSuggestion, read_suggestion, suggestion_file, write_suggestion
from watcher.observers.events import Event, RevisionStateChanged, ServiceStarted, SuggestionMeasured
from watcher.observers.exposition import expose_metrics
from watcher.observers.metrics import Metrics
from watcher.observers.status_board import StatusBoard

FOUND = SizeSuggestion("a" * 64, 1000.0, 25_100_000, 8_880_000, ("-trimpath", "FROM scratch"))


class Events(list[Event]):
    """Every event."""

    def notify(self, event: Event) -> None:
        self.append(event)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return suggestion_file("p-0000000000", "api")


async def test_a_measurement_is_emitted_once_and_again_when_it_changes(file: Path) -> None:
    events = Events()
    reader = SuggestionReader("p-0000000000", "api", events)
    await reader.report()
    assert events == []
    write_suggestion(file, FOUND)
    await reader.report()
    await reader.report()
    (event,) = events
    assert isinstance(event, SuggestionMeasured)
    assert (event.revision, event.before, event.after) == (FOUND.revision, 25_100_000, 8_880_000)
    write_suggestion(file, SizeSuggestion("b" * 64, 2000.0, 1, 1, ()))
    await reader.report()
    assert len(events) == 2
    assert [each.name for each in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"revision": 1}', '{"measured_at": "x"}', "null", "1e999"])
def test_a_damaged_file_is_no_measurement(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert read_suggestion(file) is None


def live(revision: str) -> RevisionStateChanged:
    return RevisionStateChanged(service="api", desired=revision, live=revision, failed=None, saved_at=1.0)


def test_what_was_measured_on_another_revision_says_so_and_has_no_metric() -> None:
    board = StatusBoard()
    registry = CollectorRegistry()
    metrics = Metrics(registry, board)

    def notify(event: Event) -> None:
        board.notify(event)
        metrics.notify(event)

    def exposed() -> list[str]:
        text = expose_metrics(registry)[0].decode()
        return [line for line in text.splitlines() if line.startswith("watcher_image_suggested_bytes{")]

    notify(ServiceStarted(service="api", urls=(), compose_file="c", image="i", container="c"))
    notify(live("a" * 64))
    notify(
        SuggestionMeasured(
            service="api",
            revision="a" * 64,
            measured_at=1000.0,
            before=25_100_000,
            after=8_880_000,
            names=("x",),
        )
    )
    assert exposed() == ['watcher_image_suggested_bytes{service="api"} 8.88e+06']
    (line,) = [each for each in render_lines(board.status, 1060.0) if "smaller" in each]
    assert missing(line, "25.1 → 8.88 MB", "x", "live", "1 min 00 s ago") == []
    notify(live("b" * 64))
    assert exposed() == []
    (line,) = [each for each in render_lines(board.status, 1060.0) if "smaller" in each]
    assert missing(line, "aaaaaaaaaaaa", "not live") == []
