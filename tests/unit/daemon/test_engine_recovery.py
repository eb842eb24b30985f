"""An engine that is said to be down and yet works is up."""

from __future__ import annotations

import pytest

from tests.unit.observers.story import Story, revision
from watcher.daemon.engine_recovery import EngineRecovery
from watcher.observers.events import BuildFinished, BuildOutcome, DeployOutcome, EngineDown, Fanout
from watcher.observers.status_board import StatusBoard


@pytest.fixture
def story() -> Story:
    return Story().start()


def told(story: Story) -> StatusBoard:
    board = StatusBoard()
    observers = Fanout(board)
    observers.add(EngineRecovery(observers))
    for event in story.events:
        observers.notify(event)
    return board


def down(story: Story) -> Story:
    return story.tell(EngineDown, reason="connection refused", retry_in=1.0)


def test_work_that_was_done_says_that_the_engine_is_back(story: Story) -> None:
    board = told(down(story).cycle(1))
    assert (board.status.engine.up, board.status.engine.version) == (True, "20.10.24")
    assert board.status.services[0].phase == "live"


@pytest.mark.parametrize("outcome", [BuildOutcome.CANCELLED, BuildOutcome.ERROR])
def test_a_build_that_says_nothing_about_the_engine_leaves_it_down(
    story: Story, outcome: BuildOutcome
) -> None:
    down(story).save(1).begin(1)
    story.tell(BuildFinished, revision=revision(1), outcome=outcome, seconds=1.0)
    assert told(story).status.engine.up is False


def test_a_compile_error_is_the_engines_work_too(story: Story) -> None:
    assert told(down(story).failing(1)).status.engine.up is True


def test_a_deploy_that_could_not_reach_it_leaves_it_down(story: Story) -> None:
    assert (
        told(down(story.save(1).begin(1).built(1)).deploy(1, DeployOutcome.ERROR)).status.engine.up is False
    )


def test_an_engine_that_was_never_seen_is_not_made_up() -> None:
    assert told(down(Story()).cycle(1)).status.engine.up is False
