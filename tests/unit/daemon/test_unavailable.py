"""What a client is told while nothing can answer, and when."""

from __future__ import annotations

import json

import pytest

from tests.facts import missing
from tests.unit.front.support import fronted, get, true
from tests.unit.observers.conftest import told
from tests.unit.observers.story import COMPILE_ERROR, CRASH, SERVICE, Story, revision
from watcher.daemon.unavailable import HeldRequestReleaser, unavailable
from watcher.front import Unavailable
from watcher.observers.events import (
    BuildFinished,
    BuildOutcome,
    ContainerLost,
    ContainerPaused,
    DeployOutcome,
    DeployStarted,
    EngineDown,
    Failure,
    Fanout,
    Held,
    Paused,
)
from watcher.observers.status_board import StatusBoard


def said(story: Story) -> Unavailable:
    board = told(story)
    return unavailable(board.service(SERVICE), board.status.engine)


def lost(story: Story, number: int) -> Story:
    return story.tell(ContainerLost, revision=revision(number), container="c1", failure=CRASH)


STARTING = {
    "no tree yet": (Story().start(), "The watcher has just started."),
    "a build": (Story().start().save(1).begin(1), f"Revision {revision(1)[:12]} is being built."),
    "a deploy": (
        Story().start().save(1).begin(1).built(1).tell(DeployStarted, revision=revision(1), image="x"),
        f"Revision {revision(1)[:12]} is coming up.",
    ),
    "a held build": (
        Story().start().save(1).tell(Held, reason="git is in the middle of a rebase"),
        "Nothing is built for the moment: git is in the middle of a rebase.",
    ),
    "between two steps": (Story().start().save(1), "The new version is on its way."),
    "the last good version, after a failure": (
        Story().start().find_last_good(7).failing(1),
        f"Revision {revision(7)[:12]}, which was live last, is coming up.",
    ),
    "a new try after a failure": (
        Story().start().failing(1).save(2).begin(2),
        f"Revision {revision(2)[:12]} is being built.",
    ),
}


@pytest.mark.parametrize(("story", "text"), STARTING.values(), ids=STARTING.keys())
def test_what_is_under_way_is_waited_for(story: Story, text: str) -> None:
    assert said(story) == Unavailable(text=text)


def test_a_service_that_is_not_known_is_starting() -> None:
    assert unavailable(None, StatusBoard().status.engine).wait


def test_nobody_waits_for_a_tree_that_does_not_compile() -> None:
    what = said(Story().start().failing(1))
    assert not what.wait
    assert what.title == "The build failed"
    assert what.lines == COMPILE_ERROR.lines


def test_nobody_waits_for_a_container_that_does_not_run_and_the_hint_is_told() -> None:
    what = said(Story().start().save(1).begin(1).built(1).deploy(1, DeployOutcome.FAILED))
    assert not what.wait
    assert what.title == "The container does not run"
    assert missing(what.text, "environment file", "missing") == []
    assert what.lines == CRASH.lines


def test_nobody_waits_while_building_is_paused() -> None:
    assert said(Story().start().save(1).tell(Paused, paused=True)) == Unavailable(
        "Building is paused", "`watcher resume` goes on.", wait=False
    )


def test_a_live_container_that_is_silent_is_waited_for_whatever_the_tree_is_like() -> None:
    what = said(Story().start().cycle(1).failing(2))
    assert what.wait
    assert what.title == "The service does not answer"


@pytest.mark.parametrize("story", [Story().start().cycle(1), Story().start().cycle(1).failing(2)])
def test_a_container_that_ended_is_named_while_it_is_put_back(story: Story) -> None:
    what = said(lost(story, 1))
    assert what.wait
    assert what.title == "The container ended"
    assert what.lines == CRASH.lines


def test_an_engine_that_does_not_answer_is_named() -> None:
    story = lost(Story().start().cycle(1), 1).tell(EngineDown, reason="connection refused", retry_in=1.0)
    what = Unavailable("The container engine does not answer", "Connection refused.", private=True)
    assert said(story) == what


async def test_those_who_wait_get_the_compilers_lines_as_soon_as_the_first_build_has_failed() -> None:
    story = Story().start().save(1).begin(1)
    board, mark = told(story), len(story.events)

    def explain() -> Unavailable:
        return unavailable(board.service(SERVICE), board.status.engine)

    async with fronted(explain=explain) as it:
        observers = Fanout(board, HeldRequestReleaser(lambda name: [it.front] if name == SERVICE else []))
        client = await it.connect()
        await client.send(get("/", "Accept: application/json").replace(b"Host: test", b"Host: localhost"))
        await true(lambda: it.front.stats.held == 1)
        for event in story.broken(1).events[mark:]:
            observers.notify(event)
        head, _, body = (await client.rest()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert json.loads(body)["lines"] == list(COMPILE_ERROR.lines)
        await it.front.close()
        for event in story.events[mark:]:  # nobody waits any more; it does not fail
            observers.notify(event)


def test_a_paused_container_is_waited_for_and_that_is_said() -> None:
    what = said(Story().start().cycle(1).tell(ContainerPaused, container="c", name="box", paused=True))
    assert what.wait
    assert what.title == "The container is paused"


def test_nobody_waits_for_what_was_cancelled_by_hand() -> None:
    failure = Failure("cancelled", "the build was cancelled by hand")
    story = Story().start().save(1).begin(1)
    story.tell(
        BuildFinished, revision=revision(1), outcome=BuildOutcome.CANCELLED, seconds=1.0, failure=failure
    )
    what = said(story)
    assert (what.title, what.wait) == ("The new version was cancelled", False)
    assert what.text == "The build was cancelled by hand."
