"""What `watcher status` prints for a person."""

from __future__ import annotations

from tests.facts import missing
from tests.unit.observers.conftest import told
from tests.unit.observers.story import SERVICE, Story, revision
from watcher.cli import status_text
from watcher.cli.status_overview import list_overview
from watcher.errors import Failure
from watcher.observers.dependency_schema import DependencyInfo
from watcher.observers.events import BuildFinished, BuildOutcome, ConfigurationRefused, SourceGone
from watcher.observers.humanize import short


def test_a_failed_build_beside_a_live_tree_is_said_to_be_past(story: Story) -> None:
    failed = status_text.render_lines(told(story.cycle(1).failing(2)).status, story.now)
    assert not any("needed no build" in line for line in failed)
    mended = status_text.render_lines(told(story.save(1)).status, story.now)
    assert any("equal to the tree" in line for line in mended)
    (build,) = [line for line in mended if line.startswith("  build ")]
    assert "failed in" in build
    assert missing(build, "live tree", "no build") == []


def test_a_build_that_is_tried_again_gives_its_reason(story: Story) -> None:
    """The engine's own trouble fails no revision; `status` said only that the service waits."""
    board = told(story.cycle(1).save(2).begin(2))
    failure = Failure("engine", "no space left on device on the engine's machine", hint="`docker system df`")
    board.notify(
        BuildFinished(
            service=SERVICE,
            at=story.now,
            revision=revision(2),
            outcome=BuildOutcome.ERROR,
            seconds=1.0,
            failure=failure,
        )
    )
    lines = status_text.render_lines(board.status, story.now + 1)
    (error,) = [line for line in lines if line.strip().startswith("error")]
    assert not missing(error, short(revision(2)), "no space left on device")
    assert any("hint: `docker system df`" in line for line in lines)
    (service,) = board.status.services
    assert any("no space left" in line for line in list_overview([service], story.now))
    newer = status_text.render_lines(told(story.save(3)).status, story.now)
    assert not any("no space left" in line for line in newer)


def test_a_refused_configuration_and_a_tree_that_is_gone_are_not_called_equal(story: Story) -> None:
    board = told(story.cycle(1))
    board.notify(ConfigurationRefused(at=story.now, reason="prune.keep = 0: must be more"))
    lines = status_text.render_lines(board.status, story.now + 3)
    assert lines[0].startswith(f"{SERVICE}  failed")
    assert missing(lines[1], "configuration", "3.0 s") == []
    assert any(missing(line, "configuration", "prune.keep = 0") == [] for line in lines)
    board.notify(SourceGone(service=SERVICE, reason="/src cannot be watched"))
    assert missing(status_text.render_lines(board.status, 0.0)[1], "unknown", "/src") == []


def test_the_disk_line_says_which_layers_it_counts(story: Story) -> None:
    lines = status_text.render_lines(told(story.cycle(1, 23_300_000).disk()).status, story.now)
    assert any(missing(line, "final 23.3 MB", "layers") == [] for line in lines)
    at = next(number for number, line in enumerate(lines) if line.startswith("  disk "))
    layers = "image layers that no other image has 31.0 MB"
    own = lines[at]
    assert (
        missing(own, "disk", layers, "build steps 132 MB", "Go build cache 412 MB", "Go modules 96.0 MB")
        == []
    )
    assert lines[at + 1].strip().startswith("everything else on the engine 21.4 GB, with the layers")
    lines = status_text.render_lines(told(story.disk(None)).status, story.now)
    assert any(line.endswith("build steps 132 MB") for line in lines)


def test_the_first_line_names_dependencies_that_do_not_run_as_they_should(story: Story) -> None:
    (service,) = told(story.cycle(1)).status.services
    dependencies = [
        DependencyInfo(name=name, state=state, since=story.now)
        for name, state in (("db", "stopped"), ("cache", "healthy"), ("mail", "broken"))
    ]
    first = next(list_overview([service], story.now, dependencies))
    assert missing(first, "1 live", "db stopped", "mail broken") == []
    assert "cache" not in first
