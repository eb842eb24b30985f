"""Events folded into the status document."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.observers.conftest import told
from tests.unit.observers.scenes import many_services
from tests.unit.observers.story import COMPILE_ERROR, CRASH, SERVICE, Story, image, revision
from watcher.observers.events import (
    BuildFinished,
    BuildOutcome,
    BuildStarted,
    BuildStepOutput,
    Change,
    ConfigurationRefused,
    ContainerLost,
    ContainerOutput,
    ContainerPaused,
    DaemonStopping,
    DeployFinished,
    DeployOutcome,
    DeployStarted,
    DesiredChanged,
    EngineDown,
    EngineUp,
    Event,
    Failure,
    FrontExchange,
    FrontHeld,
    FrontRefused,
    Held,
    InternalError,
    Notice,
    Paused,
    SourceEvents,
    SourceGone,
)
from watcher.observers.service_status import BUILDS_KEPT
from watcher.observers.status_board import NOTICES_KEPT, StatusBoard
from watcher.observers.status_schema import ServiceStatus, Status


def service_of(board: StatusBoard) -> ServiceStatus:
    service = board.service(SERVICE)
    assert service is not None
    return service


def test_nothing_is_claimed_before_the_tree_is_known(story: Story) -> None:
    service = service_of(told(story))
    assert (service.phase, service.stale, service.live, service.desired) == ("starting", None, None, None)


def test_a_save_that_goes_live_is_live_and_not_stale(story: Story) -> None:
    service = service_of(told(story.cycle(1)))
    assert service.phase == "live"
    assert service.stale is False
    assert service.stale_since is None
    assert service.live is not None
    assert service.live.revision == revision(1)
    assert service.save_to_live == 1.86


def test_the_running_build_is_shown_step_by_step(story: Story) -> None:
    service = service_of(told(story.save(1).begin(1).steps(1, 4)))
    assert service.phase == "building"
    assert service.building is not None
    assert [(step.stage, step.cached) for step in service.building.steps] == [
        ("internal", False),
        ("builder", True),
        ("builder", True),
        ("builder", False),
    ]
    assert service.building.cached_steps == 2
    assert service.building.outcome is None


def test_a_save_makes_what_serves_stale_since_the_save(story: Story) -> None:
    story.cycle(1).save(2)
    service = service_of(told(story))
    desired = story.events[-1]
    assert isinstance(desired, DesiredChanged)
    assert (service.stale, service.stale_since) == (True, desired.saved_at)


def test_stale_since_does_not_move_with_later_saves(story: Story) -> None:
    first = service_of(told(story.cycle(1).save(2))).stale_since
    assert service_of(told(story.save(3).begin(3))).stale_since == first


def test_a_compile_error_is_kept_with_its_places_until_it_is_mended(story: Story) -> None:
    service = service_of(told(story.cycle(1).failing(2)))
    assert service.phase == "failed"
    assert service.failed == revision(2)
    assert service.live is not None
    assert service.live.revision == revision(1)
    assert service.last_error is not None
    assert service.last_error.resolved_at is None
    assert [place.line for place in service.last_error.failure.diagnostics] == [17, 9]
    assert service.last_error.failure.lines == list(COMPILE_ERROR.lines)

    mended = service_of(told(story.cycle(3)))
    assert mended.failed is None
    assert mended.last_error is not None
    assert mended.last_error.resolved_at == story.now


def test_going_back_to_the_live_tree_mends_the_error_without_a_build(story: Story) -> None:
    service = service_of(told(story.cycle(1).failing(2).save(1)))
    assert (service.phase, service.stale) == ("live", False)
    assert service.last_error is not None
    assert service.last_error.resolved_at is not None


def test_a_failed_deploy_leaves_the_old_version_live(story: Story) -> None:
    story.cycle(1).save(2).begin(2).steps(2).built(2).deploy(2, DeployOutcome.FAILED)
    service = service_of(told(story))
    assert service.live is not None
    assert (service.live.revision, service.failed, service.phase) == (revision(1), revision(2), "failed")
    assert service.last_error is not None
    assert service.last_error.stage == "deploy"


def test_a_roll_back_brings_the_one_before_back(story: Story) -> None:
    service = service_of(told(story.cycle(1).cycle(2).deploy(2, DeployOutcome.ROLLED_BACK)))
    assert service.live is not None
    assert (service.live.revision, service.live.container) == (revision(1), "c1")
    assert (service.stale, service.failed) == (True, revision(2))


def test_an_unchanged_image_keeps_its_container_under_the_new_revision(story: Story) -> None:
    story.cycle(1)
    before = service_of(told(story)).live
    story.save(2).begin(2).built(2).deploy(2, DeployOutcome.UNCHANGED)
    after = service_of(told(story)).live
    assert before is not None
    assert after is not None
    assert (after.container, after.since) == (before.container, before.since)
    assert after.revision == revision(2)


def test_a_lost_container_is_stale_and_an_error(story: Story) -> None:
    story.cycle(1).tell(ContainerLost, revision=revision(1), container="c1", failure=CRASH)
    service = service_of(told(story))
    assert (service.live, service.stale) == (None, True)
    assert service.last_error is not None
    assert service.last_error.failure.hint == CRASH.hint


def test_a_rebuild_of_a_failed_revision_is_not_failed_while_it_runs(story: Story) -> None:
    service = service_of(told(story.cycle(1).failing(2).tell(BuildStarted, revision=revision(2))))
    assert (service.failed, service.phase) == (None, "building")


def test_sizes_are_kept_by_stage_with_their_change(story: Story) -> None:
    story.cycle(1, size=23_300_000).cycle(2, size=23_301_500).sized(2, 602_000_000, "builder")
    images = service_of(told(story)).images
    assert (images["final"].size, images["final"].change) == (23_301_500, 1500)
    assert (images["builder"].size, images["builder"].change) == (602_000_000, None)


def test_the_history_holds_the_last_builds_newest_first_with_deploy_and_size(story: Story) -> None:
    for number in range(BUILDS_KEPT + 5):
        story.cycle(number, size=23_000_000 + number)
    builds = told(story).builds(SERVICE)
    assert len(builds) == BUILDS_KEPT
    assert builds[0].id == BUILDS_KEPT + 5
    assert builds[0].image_size == 23_000_000 + BUILDS_KEPT + 4
    assert builds[0].deploy is not None
    assert builds[0].deploy.phases == {"create": 0.02, "start": 0.21, "ready": 0.08}
    assert builds[0].summary == "internal/version/version.go changed"
    assert len(builds[0].steps) == 7


def test_a_size_belongs_to_its_build_whether_it_is_known_before_the_end_or_after(story: Story) -> None:
    story.save(1).begin(1).sized(1, 23_300_000).built(1).save(2).begin(2).built(2).deploy(2)
    story.sized(2, 24_000_000)
    assert [build.image_size for build in told(story).builds(SERVICE)] == [24_000_000, 23_300_000]


def test_a_cancelled_build_is_in_the_history_and_no_error(story: Story) -> None:
    board = told(story.cycle(1).save(2).begin(2).cancelled(2))
    assert board.builds(SERVICE)[0].outcome is BuildOutcome.CANCELLED
    assert service_of(board).last_error is None
    assert service_of(board).phase == "waiting"


def test_pause_and_hold_say_why_nothing_begins(story: Story) -> None:
    story.cycle(1).save(2).tell(Held, reason="a git operation is under way")
    assert service_of(told(story)).phase == "held"
    story.tell(Held, reason="").tell(Paused, paused=True)
    assert service_of(told(story)).phase == "paused"
    assert service_of(told(story.tell(Paused, paused=False))).phase == "waiting"


def test_a_paused_container_is_shown_as_paused_until_something_answers_again(story: Story) -> None:
    story.cycle(1)
    assert service_of(told(story)).phase == "live"
    story.tell(ContainerPaused, container="c", name="box", paused=True)
    assert (service_of(told(story)).phase, service_of(told(story)).container_paused) == ("held", True)
    assert (
        service_of(told(story.tell(ContainerPaused, container="c", name="box", paused=False))).phase == "live"
    )
    story.tell(ContainerPaused, container="c", name="box", paused=True).cycle(2)
    assert service_of(told(story)).phase == "live", "another container serves"


def test_an_engine_that_does_not_answer_is_seen_on_every_service(story: Story) -> None:
    story.cycle(1).tell(EngineDown, reason="connection refused", retry_in=0.5)
    board = told(story)
    assert board.status.engine.up is False
    assert board.status.engine.reason == "connection refused"
    assert service_of(board).phase == "down"
    board.notify(EngineUp(version="28", store="containerd", endpoint="unix:///x"))
    assert (board.status.engine.up, board.status.engine.reason) == (True, "")
    assert service_of(board).phase == "live"


def test_pruned_objects_are_listed_with_their_reasons(story: Story) -> None:
    prune = service_of(told(story.pruned())).last_prune
    assert prune is not None
    assert (prune.removed, prune.freed) == (2, 600_000_000)
    assert (prune.items[0].removed, prune.items[0].reason) == (False, "is live")


def test_the_disk_is_as_it_was_measured_last(story: Story) -> None:
    found = service_of(told(story.disk(steps_stay="one removal makes it forget all").disk(None))).disk
    assert found is not None
    assert (found.images, found.go_cache, found.steps_stay) == (31_000_000, None, "")


def test_traffic_is_counted_by_class(story: Story) -> None:
    story.traffic(200, 204, 404, 502, 101, 0).tell(FrontExchange, code=200, seconds=2.0, held=1.5)
    story.tell(FrontHeld, held=3).tell(FrontRefused, reason="timeout", code=503)
    front = service_of(told(story)).front
    assert front.requests == {"2xx": 3, "4xx": 1, "5xx": 1, "1xx": 1, "raw": 1}
    assert (front.held, front.held_total, front.longest_hold) == (3, 1, 1.5)
    assert front.refused == {"timeout": 1}


def test_the_source_is_described(story: Story) -> None:
    source = service_of(told(story.save(1).tell(SourceEvents, count=7))).source
    assert (source.mode, source.files, source.events, source.rescans) == ("events", 31, 7, 2)


def test_only_the_first_changes_are_listed_and_all_are_counted(story: Story) -> None:
    changes = tuple(Change(f"f{n}.go", "added", "go") for n in range(200))
    story.tell(DesiredChanged, revision=revision(1), changes=changes, summary="200 files", saved_at=story.now)
    desired = service_of(told(story)).desired
    assert desired is not None
    assert (len(desired.changes), desired.change_count) == (50, 200)


def test_the_newest_notices_are_kept(story: Story) -> None:
    for number in range(NOTICES_KEPT + 3):
        story.tell(Notice, level="warning", text=f"n{number}")
    notices = told(story).status.notices
    assert (len(notices), notices[-1].text) == (NOTICES_KEPT, f"n{NOTICES_KEPT + 2}")


def test_bugs_are_counted_and_a_stop_is_told(story: Story) -> None:
    story.tell(InternalError, where="build", traceback="…").tell(DaemonStopping, reason="SIGTERM")
    daemon = told(story).status.daemon
    assert (daemon.internal_errors, daemon.stopping) == (1, "SIGTERM")


def test_two_services_share_nothing() -> None:
    one, two = Story("one").start().cycle(1).traffic(200), Story("two").start().failing(2)
    board = told(one.events + two.events)
    first, second = board.service("one"), board.service("two")
    assert first is not None
    assert second is not None
    assert (first.phase, second.phase) == ("live", "failed")
    assert second.front.requests == {}
    assert board.builds("one")[0].revision != board.builds("two")[0].revision


def test_the_document_reads_back_as_itself(story: Story) -> None:
    board = told(story.cycle(1).failing(2).pruned())
    text = board.json()
    assert Status.model_validate_json(text) == board.status
    assert json.loads(text)["schema_version"] == 1


def test_the_document_is_made_once_between_two_events(story: Story) -> None:
    board = told(story.cycle(1))
    assert board.json() is board.json()
    before = board.json()
    board.notify(FrontExchange(service=SERVICE, code=200, seconds=0.1))
    assert board.json() != before


async def test_who_waits_is_woken_by_a_change_a_line_and_the_end(story: Story) -> None:
    board = told(story)

    async def woken_by(act: Any) -> bool:
        waiting = asyncio.create_task(board.changed(board.version, board.lines.last))
        await asyncio.sleep(0)
        assert not waiting.done()
        act()
        await asyncio.wait_for(waiting, 5)
        return True

    assert await woken_by(lambda: board.notify(Paused(service=SERVICE, paused=True)))
    assert await woken_by(lambda: board.notify(ContainerOutput(service=SERVICE, container="c", text="x")))
    assert await woken_by(lambda: board.notify(FrontExchange(service=SERVICE, code=200, seconds=0.1)))
    assert await woken_by(board.close)
    await asyncio.wait_for(board.changed(board.version, board.lines.last), 5)


async def test_counted_traffic_wakes_nobody_at_once_and_once_for_many(story: Story) -> None:
    board = told(story)
    version = board.version
    waiting = asyncio.create_task(board.changed(version, board.lines.last))
    await asyncio.sleep(0)
    for _ in range(1000):
        board.notify(FrontExchange(service=SERVICE, code=200, seconds=0.1))
    assert board.version == version
    await asyncio.wait_for(waiting, 5)
    assert board.version == version + 1


def test_an_end_of_a_build_without_its_beginning_is_still_a_build(story: Story) -> None:
    story.tell(BuildFinished, revision=revision(9), outcome=BuildOutcome.REUSED, seconds=0.0, image=image(9))
    builds = told(story).builds(SERVICE)
    assert (builds[0].outcome, builds[0].revision) == (BuildOutcome.REUSED, revision(9))


_WORK = ("save", "begin", "steps", "built", "broken", "cancelled")
_ACTS = st.sampled_from((*_WORK, "live", "failed", "unchanged", "rolled", "lost"))


def _act(story: Story, act: str, number: int) -> None:
    match act:
        case "live" | "failed" | "unchanged":
            story.deploy(number, DeployOutcome(act))
        case "rolled":
            story.deploy(number, DeployOutcome.ROLLED_BACK)
        case "lost":
            story.tell(ContainerLost, revision=revision(number), container=f"c{number}", failure=CRASH)
        case _:
            getattr(story, act)(number)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(_ACTS, st.integers(0, 3)), max_size=25))
def test_whatever_happens_the_document_is_consistent(acts: list[tuple[str, int]]) -> None:
    story = Story().start()
    for act, number in acts:
        _act(story, act, number)
    board = told(story)
    service = service_of(board)
    assert Status.model_validate_json(board.json()) == board.status
    live = service.live.revision if service.live else None
    assert service.stale == (None if service.desired is None else live != service.desired.revision)
    assert (service.stale_since is not None) == bool(service.stale)
    assert service.failed is None or (service.desired and service.failed == service.desired.revision)
    assert (service.phase == "live") <= (service.stale is False)
    assert all(build.outcome is not None for build in board.builds(SERVICE))


@given(st.lists(st.text(max_size=40), min_size=1, max_size=60), st.integers(0, 80))
def test_lines_are_numbered_without_a_gap_and_read_from_any_point(texts: list[str], after: int) -> None:
    board = StatusBoard()
    for text in texts:
        board.notify(BuildStepOutput(service=SERVICE, revision="r", step="s", text=text, stage="builder"))
    lines = board.lines.after(after)
    assert [line.seq for line in lines] == list(range(min(after, board.lines.last) + 1, board.lines.last + 1))
    assert all("\n" not in line.text and "\x1b" not in line.text for line in lines)


def test_lines_say_where_they_come_from_and_lose_their_colours(story: Story) -> None:
    story.failing(1).said("\x1b[32mGET\x1b[0m /health\n\x1b]0;title\x07200\r\n")
    board = told(story)
    assert [line.text for line in board.lines.tail(10, source="container")] == [
        "GET /health",
        r"\u001b]0;title\u0007200",
    ]
    build = board.lines.tail(10, source="build")
    assert {line.stage for line in build} == {"builder"}
    assert build[-1].revision == revision(1)


def test_old_lines_are_dropped_and_that_is_said() -> None:
    board = StatusBoard()
    for number in range(5000):
        board.notify(ContainerOutput(service=SERVICE, container="c", text=f"line {number}"))
    assert board.lines.dropped(0)
    assert not board.lines.dropped(4990)
    assert len(board.lines.after(0)) == 4000
    assert board.lines.after(0)[-1].text == "line 4999"


@pytest.mark.parametrize("event", [Event(), Event(service="x")], ids=["daemon", "service"])
def test_an_event_of_an_unknown_kind_does_no_harm(event: Event) -> None:
    board = StatusBoard()
    board.notify(event)
    assert Status.model_validate_json(board.json()) == board.status


def test_a_refused_configuration_is_not_live_until_it_is_mended(story: Story) -> None:
    board = told(story.cycle(1))
    service = service_of(board)
    board.notify(ConfigurationRefused(at=story.now, reason="services.app.ports = 'nine': is no port"))
    assert (service.phase, service.stale, service.stale_since) == ("failed", True, story.now)
    assert service.refused == "services.app.ports = 'nine': is no port"
    board.notify(BuildStarted(service=SERVICE, revision=revision(2)))
    assert service_of(board).phase == "building"
    board.notify(
        BuildFinished(service=SERVICE, revision=revision(2), outcome=BuildOutcome.CANCELLED, seconds=0.1)
    )
    board.notify(Paused(service=SERVICE, paused=True))
    assert service.phase == "failed"
    board.notify(Paused(service=SERVICE, paused=False))
    board.notify(ConfigurationRefused(reason=""))
    assert (service.phase, service.stale, service.stale_since) == ("live", False, None)


def test_a_tree_that_cannot_be_scanned_is_neither_live_nor_stale(story: Story) -> None:
    board = told(story.cycle(1))
    service = service_of(board)
    reason = "/src cannot be watched: No such file or directory"
    board.notify(SourceGone(service=SERVICE, reason=reason))
    assert (service.phase, service.stale) == ("held", None)
    assert service.source.gone == reason
    board.notify(SourceGone(service=SERVICE, reason=""))
    assert (service.phase, service.stale) == ("live", False)


@pytest.mark.parametrize("stage", ["build", "deploy"])
def test_what_was_cancelled_by_hand_is_failed_until_it_is_built_again(story: Story, stage: str) -> None:
    failure = Failure("cancelled", f"the {stage} was cancelled by hand")
    story.cycle(1).save(2).begin(2)
    if stage == "build":
        story.tell(
            BuildFinished, revision=revision(2), outcome=BuildOutcome.CANCELLED, seconds=1.0, failure=failure
        )
    else:
        story.built(2).tell(
            DeployFinished,
            revision=revision(2),
            image="i",
            outcome=DeployOutcome.CANCELLED,
            seconds=1.0,
            failure=failure,
        )
    board = told(story)
    service = service_of(board)
    assert (service.phase, service.failed) == ("failed", revision(2))
    assert service.live is not None
    assert service.live.revision == revision(1)
    assert service.last_error is not None
    assert service.last_error.failure.summary == failure.summary
    assert service_of(told(story.begin(2))).failed is None


def test_a_deploy_that_gave_way_is_no_failure(story: Story) -> None:
    story.cycle(1).save(2).begin(2).built(2).tell(DeployStarted, revision=revision(2), image="i")
    story.tell(DeployFinished, revision=revision(2), image="i", outcome=DeployOutcome.CANCELLED, seconds=1.0)
    service = service_of(told(story))
    assert (service.deploying, service.failed, service.phase) == (None, None, "waiting")
    assert service.last_error is None


def test_forty_services_fit_into_a_small_message_with_the_details_of_one() -> None:
    board = told(many_services())
    brief = json.loads(board.brief_json("service-05"))
    assert len(board.brief_json("service-05")) < 100_000
    details = [service["name"] for service in brief["services"] if "last_prune" in service]
    assert details == ["service-05"]
    whole = json.loads(board.json())
    same = [service for service in whole["services"] if service["name"] == "service-05"]
    assert [service for service in brief["services"] if service["name"] == "service-05"] == same
    assert board.brief_json("none") == board.brief_json("")
    assert len(board._brief) == 2


def test_the_only_service_is_never_in_brief(story: Story) -> None:
    board = told(story.cycle(1))
    assert board.brief_json("") == board.json()
