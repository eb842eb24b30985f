"""What `watcher status` prints for a person."""

from __future__ import annotations

from tests.unit.observers.conftest import told
from tests.unit.observers.story import SERVICE, Story
from watcher.cli import status_text
from watcher.observers.events import ConfigurationRefused, SourceGone


def test_a_failed_build_beside_a_live_tree_is_said_to_be_past(story: Story) -> None:
    failed = status_text.lines(told(story.cycle(1).failing(2)).status, story.now)
    assert not any("needed no build" in line for line in failed)
    mended = status_text.lines(told(story.save(1)).status, story.now)
    assert any("equal to the tree" in line for line in mended)
    (build,) = [line for line in mended if line.startswith("  build ")]
    assert "failed in" in build
    assert "the tree that is live needed no build" in build


def test_a_refused_configuration_and_a_tree_that_is_gone_are_not_called_equal(story: Story) -> None:
    board = told(story.cycle(1))
    board.notify(ConfigurationRefused(at=story.now, reason="prune.keep = 0: must be more"))
    lines = status_text.lines(board.status, story.now + 3)
    assert lines[0].startswith(f"{SERVICE}  failed")
    assert "not what the configuration files say for 3.0 s" in lines[1]
    assert any("the configuration: prune.keep = 0: must be more" in line for line in lines)
    board.notify(SourceGone(service=SERVICE, reason="/src cannot be watched"))
    assert "unknown whether it is the tree: /src cannot be watched" in status_text.lines(board.status, 0.0)[1]


def test_what_the_project_holds_on_the_disk_is_told(story: Story) -> None:
    text = "images 31.0 MB, steps 132 MB, Go cache 412 MB, modules 96.0 MB; all others 21.4 GB"
    assert f"  disk     {text}" in status_text.lines(told(story.disk()).status, story.now)
    lines = status_text.lines(told(story.disk(None)).status, story.now)
    assert any("images 31.0 MB, steps 132 MB; all others" in line for line in lines)
