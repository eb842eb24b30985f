"""Histories of inputs against a model of the world, and the single decisions that they are made of."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from watcher.reconcile import state_machine as plan
from watcher.reconcile import transition_events as inputs
from watcher.reconcile.debounce import LONGEST
from watcher.reconcile.transition import transition

HISTORIES = int(os.environ.get("WATCHER_HISTORIES", "10000"))
SEARCHED = 500  # of those that Hypothesis makes, which shrinks what fails and remembers it
LIMITS = plan.BuildLimits(max_cancels=3, max_wait=10.0)

Op = tuple[str, float]


class World:
    """What is true outside of the state machine, and a check of each thing that it decides."""

    def __init__(self) -> None:
        self.state = plan.State()
        self.now = 100.0
        self.wanted: str | None = None
        self.building: str | None = None
        self.since = 0.0
        self.cancelling = False
        self.progress = 0.0
        self.silences = 0
        self.by_force = False  # the running build was asked for
        self.deploying: tuple[str, str] | None = None
        self.waits = False  # deploys only wait for their containers
        self.yielding = False
        self.serving: str | None = None
        self.previous: str | None = None
        self.hold = self.paused = False
        self.failed: str | None = None  # the wanted revision, since it was seen to fail
        self.seen: dict[str, int] = {}
        self.troubled = False  # a build or a deploy met trouble that was not the tree's
        self.served = False  # something did, until it was lost
        self.asked = False  # a rebuild that no build has answered
        self.disk = self.known = self.source = 0  # stamps: on disk, of the newest snapshot, of the build's
        self.in_vain = 0  # builds in a row that found a change of which the scan after it knew nothing
        self.changes = self.retries = self.builds = self.cancels = 0

    def tell(self, event: inputs.TransitionEvent) -> None:
        self.state = transition(self.state, event, self.now)

    def act(self) -> plan.Wait:
        """Do what is decided until it is to wait: never more than a few things without an input between."""
        for _ in range(3):
            action = plan.decide(self.state, self.now, LIMITS)
            match action:
                case plan.Wait(until):
                    assert until is None or until > self.now
                    return action
                case plan.Build(revision, forced):
                    assert self.building is None
                    assert not self.hold
                    assert not self.paused
                    assert revision == self.wanted
                    assert forced == self.asked
                    assert forced or revision not in (self.serving, self.failed), "a build without need"
                    assert forced or not self.deploying or revision != self.deploying[0]
                    self.building, self.since, self.cancelling = revision, self.now, False
                    self.progress, self.by_force = self.now, forced
                    self.builds += 1
                    self.source = self.known
                    self.tell(inputs.BuildBegun(revision, forced))
                case plan.Deploy(revision, image):
                    if self.state.last_good == (revision, image):
                        assert self.serving is None
                        assert self.wanted == self.failed or self.troubled
                    elif self.state.lost != (revision, image):
                        self.begins()
                    assert self.building is None
                    assert self.deploying is None
                    older = self.serving is not None and self.seen[revision] < self.seen[self.serving]
                    assert not older, "an older revision over a newer"
                    self.deploying = (revision, image)
                    self.tell(inputs.DeployBegun(revision))
                case plan.CancelBuild():
                    self.may_cancel()
                    self.cancelling = True
                    self.tell(inputs.BuildCancelRequested())
                case plan.CancelDeploy():
                    assert self.deploying is not None
                    assert not self.yielding
                    back = self.wanted == self.serving is not None
                    assert back or self.state.built, "there is nothing newer"
                    assert back or not (self.paused or self.hold)
                    if not self.waits:
                        return plan.Wait()
                    self.yielding = True
                    self.tell(inputs.DeployCancelRequested())
        raise AssertionError(f"no end of actions: {self.state}")

    def may_cancel(self) -> None:
        assert self.building is not None
        assert not self.cancelling
        silent = (
            self.building != self.wanted and self.now - self.progress >= plan.SILENT_AFTER * 2**self.silences
        )
        self.silences += silent
        by_hand = self.paused or (self.asked and not self.by_force and self.building == self.wanted)
        if by_hand or self.wanted == self.serving:
            return
        assert self.building != self.wanted
        if not silent:
            assert self.cancels < LIMITS.max_cancels
            assert self.now - self.since < LIMITS.max_wait

    def begins(self) -> None:
        assert self.building is None
        assert self.deploying is None
        assert not self.hold
        assert not self.paused

    # What happens outside. What cannot happen now changes nothing.

    def save(self, number: float) -> None:
        revision = f"r{number:.0f}"
        if revision != self.wanted:
            self.changes += 1
            self.failed = None
        self.wanted = revision
        self.seen[revision] = self.changes
        self.disk += 1
        self.scan()

    def find_last_good(self, number: float) -> None:
        """The image that an earlier daemon had live is found before the first scan, or never."""
        if self.wanted is None and self.serving is None:
            revision = f"r{number:.0f}"
            self.seen.setdefault(revision, 0)
            self.tell(inputs.LastGoodFound(revision, f"image of {revision}"))

    def scan(self) -> None:
        """The newest snapshot is told, whether or not its revision is new; the same one is not."""
        if self.known != self.disk and self.wanted:
            self.known, self.in_vain = self.disk, 0
            self.tell(inputs.TreeScanned(self.wanted))

    def rewrite(self, scanned: float) -> None:
        """The same content is written again; a scan may come before or after the build reads it."""
        self.disk += 1
        self.retries += 1
        if scanned:
            self.scan()

    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    def build_ends(self, how: float) -> None:
        revision, self.building = self.building, None
        if revision is None:
            return
        cancelled, self.cancelling = self.cancelling, False
        answered = revision == self.wanted
        if how == 0 and answered and self.source != self.disk and not cancelled:
            self.retries += 1
            self.tell(inputs.BuildCancelled(revision))
            self.scan()
        elif how == 0:
            late = cancelled and not answered
            self.cancels = self.cancels + 1 if late else 0
            self.silences = 0
            self.asked = self.asked and not (answered and self.by_force)
            self.tell(inputs.BuildEnded(revision, f"image of {revision}"))
        elif how == 1:
            self.cancels = self.silences = 0
            self.asked = self.asked and not (answered and self.by_force)
            self.retries += self.asked
            self.fails(revision)
            self.tell(inputs.BuildFailed(revision))
        elif how == 2:
            self.retries += 1
            self.troubled = True
            self.tell(inputs.BuildInfraFailed(revision))
        else:  # cancelled; without being asked, when the tree changed under it
            self.cancels += cancelled and not answered
            self.retries += 1
            self.disk += not cancelled
            self.tell(inputs.BuildCancelled(revision))
            if not cancelled:
                self.scan()

    def deploy_ends(self, how: float) -> None:
        if self.deploying is None:
            return
        (revision, _), self.deploying = self.deploying, None
        if self.yielding:
            self.yielding = False
            self.retries += 1
            self.tell(inputs.LiveChanged(self.serving))
            self.tell(inputs.DeployCancelled(revision))
            return
        if how == 0:
            self.previous, self.serving = self.serving, revision
            self.failed = None if revision == self.wanted else self.failed
            self.tell(inputs.DeployEnded(revision))
            return
        self.retries += 1
        self.tell(inputs.LiveChanged(self.serving))
        if how == 1:
            self.tell(inputs.DeployFailed(revision))
            self.cancels = 0
            self.fails(revision)
        else:
            self.troubled = True
            self.tell(inputs.DeployInfraFailed(revision))

    def fails(self, revision: str) -> None:
        if revision == self.wanted:
            self.failed = revision

    def lose(self, _: float) -> None:
        if self.serving:
            lost, self.serving, self.previous = self.serving, None, None
            self.served = True
            self.retries += 1
            self.tell(inputs.ContainerExited(lost, f"image of {lost}"))

    def roll_back(self, _: float) -> None:
        if self.previous and self.serving and not self.deploying:
            failed, self.serving, self.previous = self.serving, self.previous, None
            self.retries += 1
            self.fails(failed)
            self.tell(inputs.RolledBack(failed, self.serving))

    def progresses(self, _: float) -> None:
        self.progress = self.now
        self.tell(inputs.BuildProgressed())

    def wait_for_container(self, on: float) -> None:
        self.waits = bool(on)

    def set_hold(self, on: float) -> None:
        self.hold = bool(on)
        self.tell(inputs.HoldChanged("git is writing files" if on else ""))

    def set_pause(self, on: float) -> None:
        self.paused = bool(on)
        self.tell(inputs.PauseChanged(self.paused))

    def rebuild(self, _: float) -> None:
        self.asked, self.failed = True, None
        self.retries += 1
        self.tell(inputs.RebuildRequested())

    def engine_back(self, _: float) -> None:
        self.tell(inputs.EngineRecovered())

    def check(self) -> None:
        if self.building and self.wanted == self.serving and not self.asked:
            assert self.cancelling, "a build although the tree is live"
        assert (self.state.building, self.state.live) == (self.building, self.serving)
        assert self.state.deploying == (self.deploying[0] if self.deploying else None)
        assert self.state.failed == self.failed
        assert (self.state.cancels, self.state.silences) == (self.cancels, self.silences)
        assert self.state.yielding == self.yielding
        assert self.state.building or not self.state.cancelling, "no build is left to cancel"
        assert self.builds <= self.changes + self.retries + 1

    def come_to_rest(self) -> None:
        """Nothing is saved any more and everything succeeds."""
        self.set_hold(0)
        self.set_pause(0)
        for _ in range(16):
            wait = self.act()
            if self.building:
                self.build_ends(3 if self.cancelling else 0)
            elif self.deploying:
                self.deploy_ends(0)
            elif wait.until is not None:
                self.now = wait.until
            else:
                break
            assert self.state.superseded <= plan.SUPERSEDED_MOST, "a bug that is none"
        else:
            raise AssertionError(f"no rest: {self.state}")
        assert self.wanted in (None, self.serving, self.failed)
        assert self.serving or not self.served, "what served could be put back"


# What happens most is drawn most: histories that get somewhere are the ones in which much can go wrong.
USUAL: list[Op] = [
    *[("save", number) for number in (0.0, 0.0, 1.0, 1.0, 2.0)],
    *[("build_ends", how) for how in (0.0, 0.0, 0.0, 3.0, 3.0)],
    *[("deploy_ends", 0.0)] * 3,
]
RARE: list[Op] = [
    *[("build_ends", how) for how in (1.0, 2.0)],
    *[("deploy_ends", how) for how in (1.0, 2.0)],
    *[("pass_time", seconds) for seconds in (0.01, 0.6, 11.0, 70.0)],
    *[("wait_for_container", on) for on in (0.0, 1.0)],
    ("progresses", 0.0),
    *[("set_hold", on) for on in (0.0, 1.0)],
    *[("set_pause", on) for on in (0.0, 1.0)],
    *[("rewrite", scanned) for scanned in (0.0, 1.0)],
    *[(name, 0.0) for name in ("lose", "roll_back", "rebuild", "engine_back")],
]
OPS = [*USUAL, *USUAL, *USUAL, *RARE]


def live_through(history: Sequence[Op]) -> None:
    """One history, each decision in it checked, and its end."""
    world = World()
    if len(history) % 2:
        world.find_last_good(len(history) % 5)
    for name, value in history:
        getattr(world, name)(value)
        world.act()
        world.check()
    world.come_to_rest()


@settings(
    max_examples=SEARCHED,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.lists(st.sampled_from(OPS), min_size=20, max_size=60))
def test_every_history_ends_with_the_tree_live_or_its_failure_shown(history: Sequence[Op]) -> None:
    live_through(history)


@pytest.mark.thorough
def test_ten_thousand_random_histories_end_so_too() -> None:
    for seed in range(HISTORIES):
        chance = random.Random(seed)
        history = chance.choices(OPS, k=chance.randint(20, 60))
        try:
            live_through(history)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}\n{history}") from error


def after(*events: inputs.TransitionEvent, now: float = 100.0) -> plan.State:
    state = plan.State()
    for event in events:
        state = transition(state, event, now)
    return state


LIVE_A = (
    inputs.TreeScanned("a"),
    inputs.BuildBegun("a"),
    inputs.BuildEnded("a", "i"),
    inputs.DeployBegun("a"),
)


def test_a_roll_back_while_another_revision_is_built_does_not_begin_a_second_build() -> None:
    events = (*LIVE_A, inputs.DeployEnded("a"), inputs.TreeScanned("b"), inputs.BuildBegun("b"))
    state = after(*events, inputs.RolledBack("a", None))
    assert plan.decide(state, 100.0) == plan.Wait()
    assert state.building == "b"


def test_what_was_rolled_back_is_not_built_again() -> None:
    b = (
        inputs.TreeScanned("b"),
        inputs.BuildBegun("b"),
        inputs.BuildEnded("b", "j"),
        inputs.DeployBegun("b"),
    )
    state = after(*LIVE_A, inputs.DeployEnded("a"), *b, inputs.DeployEnded("b"), inputs.RolledBack("b", "a"))
    assert (state.live, state.failed) == ("a", "b")
    assert plan.decide(state, 100.0) == plan.Wait()


def test_a_container_lost_while_a_build_fails_stays_lost() -> None:
    state = after(*LIVE_A, inputs.DeployEnded("a"), inputs.TreeScanned("b"), inputs.BuildBegun("b"))
    state = transition(
        transition(state, inputs.ContainerExited("a", "i"), 101.0), inputs.BuildFailed("b"), 101.0
    )
    assert state.live is None
    assert plan.decide(state, 101.0) == plan.Deploy("a", "i"), "the last good one is put back"


def test_what_was_lost_is_put_back_while_paused_and_when_the_tree_does_not_build() -> None:
    served = (*LIVE_A, inputs.DeployEnded("a"))
    paused = after(
        *served, inputs.PauseChanged(paused=True), inputs.TreeScanned("b"), inputs.ContainerExited("a", "i")
    )
    assert plan.decide(paused, 100.0) == plan.Deploy("a", "i")
    broken = after(
        *served,
        inputs.TreeScanned("b"),
        inputs.BuildBegun("b"),
        inputs.BuildFailed("b"),
        inputs.ContainerExited("a", "i"),
    )
    assert plan.decide(broken, 100.0) == plan.Deploy("a", "i")


def test_a_newer_tree_is_built_before_what_was_lost_is_put_back() -> None:
    state = after(*LIVE_A, inputs.DeployEnded("a"), inputs.ContainerExited("a", "i"), inputs.TreeScanned("b"))
    assert plan.decide(state, 100.0) == plan.Build("b")


def test_what_was_lost_and_cannot_be_put_back_is_tried_again_less_and_less_often() -> None:
    state = after(*LIVE_A, inputs.DeployEnded("a"), inputs.ContainerExited("a", "i"))
    pauses, now = [], 100.0
    for _ in range(8):
        assert plan.decide(state, now) == plan.Deploy("a", "i")
        for each in (inputs.DeployBegun("a"), inputs.LiveChanged(None), inputs.DeployFailed("a")):
            state = transition(state, each, now)
        pauses.append(state.retry_at - now)
        now = state.retry_at
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    for event in (inputs.DeployBegun("a"), inputs.DeployEnded("a")):
        state = transition(state, event, now)
    assert (state.live, state.lost, state.failed) == ("a", None, None)


LAST_GOOD = (inputs.LastGoodFound("z", "image of z"), inputs.TreeScanned("a"))
FAILED = (*LAST_GOOD, inputs.BuildBegun("a"), inputs.BuildFailed("a"))


def test_a_tree_that_builds_is_deployed_and_the_last_good_image_is_not() -> None:
    state = after(*LAST_GOOD)
    assert plan.decide(state, 100.0) == plan.Build("a")
    state = after(*LAST_GOOD, inputs.BuildBegun("a"), inputs.BuildEnded("a", "i"))
    assert plan.decide(state, 100.0) == plan.Deploy("a", "i")
    for end in (inputs.DeployEnded("a"), inputs.LiveChanged("a")):
        assert transition(state, end, 100.0).last_good is None


def test_the_last_good_image_serves_when_the_first_tree_cannot_be_built() -> None:
    state = after(*FAILED)
    assert plan.decide(state, 100.0) == plan.Deploy("z", "image of z")
    state = after(*FAILED, inputs.DeployBegun("z"), inputs.DeployEnded("z"))
    assert (state.live, state.failed, state.last_good) == ("z", "a", None)
    assert plan.decide(state, 100.0) == plan.Wait()
    assert plan.decide(transition(state, inputs.TreeScanned("b"), 100.0), 100.0) == plan.Build("b")


def test_the_last_good_image_serves_when_the_first_tree_builds_but_does_not_start() -> None:
    built = (inputs.BuildBegun("a"), inputs.BuildEnded("a", "i"), inputs.DeployBegun("a"))
    state = after(*LAST_GOOD, *built, inputs.LiveChanged(None), inputs.DeployFailed("a"))
    assert plan.decide(state, 100.0) == plan.Deploy("z", "image of z")


def test_the_last_good_image_serves_while_a_build_meets_trouble_and_then_the_build_is_tried_again() -> None:
    state = after(*LAST_GOOD, inputs.BuildBegun("a"), inputs.BuildInfraFailed("a"))
    assert plan.decide(state, 100.0) == plan.Wait(100.5)
    assert plan.decide(state, 100.5) == plan.Deploy("z", "image of z")
    for event in (inputs.DeployBegun("z"), inputs.DeployEnded("z")):
        state = transition(state, event, 101.0)
    assert plan.decide(state, 101.0) == plan.Build("a")


def test_trouble_with_the_last_good_image_does_not_keep_builds_from_being_tried() -> None:
    state = after(*LAST_GOOD, inputs.BuildBegun("a"), inputs.BuildInfraFailed("a"))
    for event in (inputs.DeployBegun("z"), inputs.LiveChanged(None), inputs.DeployInfraFailed("z")):
        state = transition(state, event, 100.5)
    assert plan.decide(state, state.retry_at) == plan.Build("a")
    state = transition(state, inputs.TreeScanned("b"), 101.0)
    assert plan.decide(state, 101.0) == plan.Build("b")
    for failed in (inputs.BuildBegun("b"), inputs.BuildFailed("b")):
        state = transition(state, failed, 102.0)
    assert plan.decide(state, 102.0) == plan.Deploy("z", "image of z")


def test_a_last_good_image_that_does_not_start_is_not_tried_again() -> None:
    state = after(*FAILED, inputs.DeployBegun("z"), inputs.LiveChanged(None), inputs.DeployFailed("z"))
    assert (state.live, state.last_good) == (None, None)
    assert plan.decide(state, 100.0) == plan.Wait()


def test_an_image_that_is_built_again_and_fails_is_not_deployed_as_the_last_good_one() -> None:
    built = (inputs.BuildBegun("a"), inputs.BuildEnded("a", "image of z"), inputs.DeployBegun("a"))
    state = after(*LAST_GOOD, *built, inputs.LiveChanged(None), inputs.DeployFailed("a"))
    assert plan.decide(state, 100.0) == plan.Wait()


def test_a_new_save_does_not_wait_for_the_pause_after_a_failure() -> None:
    state = after(inputs.TreeScanned("a"), inputs.BuildBegun("a"), inputs.BuildInfraFailed("a"))
    assert plan.decide(state, 100.0) == plan.Wait(until=100.0 + plan.RETRY.first)
    assert plan.decide(transition(state, inputs.TreeScanned("b"), 100.1), 100.1) == plan.Build("b")


def test_a_build_whose_tree_changed_under_it_is_not_begun_again_at_once() -> None:
    state = after(inputs.TreeScanned("a"), inputs.BuildBegun("a"), inputs.BuildCancelled("a"))
    assert plan.decide(state, 100.0) == plan.Wait(until=100.0 + plan.RETRY.first)


def test_the_last_try_of_a_build_that_is_dropped_waits_for_a_scan() -> None:
    """A burst of changes holds a scan for up to LONGEST: before it has run nothing is known of a bug."""
    state = after(
        inputs.TreeScanned("a"), *(inputs.BuildBegun("a"), inputs.BuildCancelled("a")) * plan.SUPERSEDED_MOST
    )
    action = plan.decide(state, 100.0)
    assert isinstance(action, plan.Wait)
    assert action.until is not None
    assert action.until - 100.0 > LONGEST
    assert plan.decide(transition(state, inputs.TreeScanned("a"), 100.1), 100.1) == plan.Build("a")


def test_a_newer_snapshot_of_the_same_revision_is_built_at_once() -> None:
    state = after(
        inputs.TreeScanned("a"), inputs.BuildBegun("a"), inputs.BuildCancelled("a"), inputs.TreeScanned("a")
    )
    assert plan.decide(state, 100.0) == plan.Build("a")


def test_builds_dropped_for_nothing_new_are_counted_and_a_newer_snapshot_ends_that() -> None:
    in_vain = (inputs.BuildBegun("a"), inputs.BuildCancelled("a"))
    events = (inputs.TreeScanned("a"), *in_vain * 3)
    assert after(*events).superseded == plan.SUPERSEDED_MOST + 1
    assert after(*events, inputs.TreeScanned("a")).superseded == 0
    assert after(*events, inputs.TreeScanned("b")).superseded == 0
    renewed = (inputs.BuildBegun("a"), inputs.TreeScanned("a"), inputs.BuildCancelled("a"))
    assert after(*events, *renewed).superseded == 0
    for end in (inputs.BuildEnded("a", "i"), inputs.BuildFailed("a"), inputs.BuildInfraFailed("a")):
        assert after(*events, inputs.BuildBegun("a"), end).superseded == 0


def test_a_newer_snapshot_does_not_cut_the_wait_for_the_engine_short() -> None:
    state = after(inputs.TreeScanned("a"), inputs.BuildBegun("a"), inputs.BuildInfraFailed("a"))
    assert transition(state, inputs.TreeScanned("a"), 100.1).retry_at == state.retry_at


def test_deploys_that_meet_trouble_are_tried_less_and_less_often_although_the_build_is_there() -> None:
    state, now, pauses = after(inputs.TreeScanned("a")), 100.0, []
    for _ in range(4):
        for event in (
            inputs.BuildBegun("a"),
            inputs.BuildEnded("a", "i"),
            inputs.DeployBegun("a"),
            inputs.DeployInfraFailed("a"),
        ):
            state = transition(state, event, now)
        pauses.append(state.retry_at - now)
        now = state.retry_at
    assert pauses == [0.5, 1.0, 2.0, 4.0]
    for each in (
        inputs.BuildBegun("a"),
        inputs.BuildEnded("a", "i"),
        inputs.DeployBegun("a"),
        inputs.DeployEnded("a"),
    ):
        state = transition(state, each, now)
    assert state.infra_failures == 0


def test_a_rebuild_that_met_trouble_is_tried_again() -> None:
    events = (
        *LIVE_A,
        inputs.DeployEnded("a"),
        inputs.RebuildRequested(),
        inputs.BuildBegun("a"),
        inputs.BuildInfraFailed("a"),
    )
    assert plan.decide(after(*events), 200.0) == plan.Build("a", forced=True)


def test_a_cancelled_build_that_ends_all_the_same_gives_way_to_the_newer_save() -> None:
    events = (
        inputs.TreeScanned("a"),
        inputs.BuildBegun("a"),
        inputs.TreeScanned("b"),
        inputs.BuildCancelRequested(),
    )
    assert plan.decide(after(*events, inputs.BuildEnded("a", "i")), 100.0) == plan.Build("b")


def test_a_cancelled_build_whose_tree_came_back_is_used() -> None:
    events = (
        inputs.TreeScanned("a"),
        inputs.BuildBegun("a"),
        inputs.TreeScanned("b"),
        inputs.BuildCancelRequested(),
    )
    state = after(*events, inputs.TreeScanned("a"), inputs.BuildEnded("a", "i"))
    assert plan.decide(state, 100.0) == plan.Deploy("a", "i")


def test_the_third_cancellation_lets_the_next_build_end() -> None:
    state = after(inputs.TreeScanned("r0"))
    for number in range(LIMITS.max_cancels):
        state = transition(state, inputs.BuildBegun(f"r{number}"), 100.0)
        state = transition(state, inputs.TreeScanned(f"r{number + 1}"), 100.0)
        assert plan.decide(state, 100.0, LIMITS) == plan.CancelBuild()
        state = transition(state, inputs.BuildCancelRequested(), 100.0)
        state = transition(state, inputs.BuildCancelled(f"r{number}"), 100.0)
    state = transition(transition(state, inputs.BuildBegun("r3"), 100.0), inputs.TreeScanned("r4"), 100.0)
    silent = 100.0 + plan.SILENT_AFTER
    assert plan.decide(state, 100.0, LIMITS) == plan.Wait(until=silent)
    assert plan.decide(state, silent, LIMITS) == plan.CancelBuild()
    lives = transition(state, inputs.BuildProgressed(), 120.0)
    assert plan.decide(lives, silent, LIMITS) == plan.Wait(until=120.0 + plan.SILENT_AFTER)


def test_a_silent_build_gives_way_later_each_time_so_that_one_comes_to_its_end() -> None:
    state, now, waits = after(inputs.TreeScanned("r0")), 100.0, []
    for number in range(LIMITS.max_cancels):
        for event in (
            inputs.BuildBegun(f"r{number}"),
            inputs.TreeScanned(f"r{number + 1}"),
            inputs.BuildCancelRequested(),
        ):
            state = transition(state, event, now)
        state = transition(state, inputs.BuildCancelled(f"r{number}"), now)
    for number in range(3, 7):
        state = transition(
            transition(state, inputs.BuildBegun(f"r{number}"), now), inputs.TreeScanned(f"r{number + 1}"), now
        )
        action = plan.decide(state, now, LIMITS)
        assert isinstance(action, plan.Wait)
        assert action.until is not None
        waits.append(action.until - now)
        now = action.until
        assert plan.decide(state, now, LIMITS) == plan.CancelBuild()
        state = transition(state, inputs.BuildCancelRequested(), now)
        state = transition(state, inputs.BuildCancelled(f"r{number}"), now)
    assert waits == [30.0, 60.0, 120.0, 240.0]
    ended = transition(transition(state, inputs.BuildBegun("r7"), now), inputs.BuildEnded("r7", "i"), now)
    assert ended.silences == 0


def test_a_newer_save_is_built_while_a_deploy_waits_and_the_deploy_gives_way_to_it() -> None:
    state = after(*LIVE_A, inputs.DeployEnded("a"), inputs.TreeScanned("b"), inputs.BuildBegun("b"))
    state = transition(transition(state, inputs.BuildEnded("b", "j"), 100.0), inputs.DeployBegun("b"), 100.0)
    assert plan.decide(state, 100.0) == plan.Wait()
    state = transition(state, inputs.TreeScanned("c"), 100.0)
    assert plan.decide(state, 100.0) == plan.Build("c")
    state = transition(state, inputs.BuildBegun("c"), 100.0)
    assert plan.decide(state, 100.0) == plan.Wait()
    state = transition(state, inputs.BuildEnded("c", "k"), 100.0)
    assert plan.decide(state, 100.0) == plan.CancelDeploy()
    state = transition(state, inputs.DeployCancelRequested(), 100.0)
    assert plan.decide(state, 100.0) == plan.Wait(), "never two at once"
    state = transition(state, inputs.DeployCancelled("b"), 100.0)
    assert state.live == "a"
    assert plan.decide(state, 100.0) == plan.Deploy("c", "k")


def test_a_deploy_gives_way_when_the_tree_goes_back_to_what_is_live() -> None:
    state = after(*LIVE_A, inputs.DeployEnded("a"), inputs.TreeScanned("b"), inputs.BuildBegun("b"))
    state = transition(transition(state, inputs.BuildEnded("b", "j"), 100.0), inputs.DeployBegun("b"), 100.0)
    state = transition(state, inputs.TreeScanned("a"), 100.0)
    assert plan.decide(state, 100.0) == plan.CancelDeploy()
    state = transition(
        transition(state, inputs.DeployCancelRequested(), 100.0), inputs.DeployCancelled("b"), 100.0
    )
    assert plan.decide(state, 100.0) == plan.Wait()


def test_a_rebuild_of_what_is_live_is_deployed_to_its_end() -> None:
    events = (
        *LIVE_A,
        inputs.DeployEnded("a"),
        inputs.RebuildRequested(),
        inputs.BuildBegun("a", forced=True),
    )
    state = after(*events, inputs.BuildEnded("a", "j"))
    assert plan.decide(state, 100.0) == plan.Deploy("a", "j")
    assert plan.decide(transition(state, inputs.DeployBegun("a"), 100.0), 100.0) == plan.Wait()


def test_a_rebuild_and_a_pause_stop_what_runs_at_once() -> None:
    state = after(inputs.TreeScanned("a"), inputs.BuildBegun("a"))
    rebuild = transition(state, inputs.RebuildRequested(), 100.0)
    assert plan.decide(rebuild, 100.0) == plan.CancelBuild()
    rebuild = transition(
        transition(rebuild, inputs.BuildCancelRequested(), 100.0), inputs.BuildCancelled("a"), 100.0
    )
    assert rebuild.cancels == 0, "no newer save did that"
    assert plan.decide(rebuild, 100.0) == plan.Build("a", forced=True)
    paused = transition(state, inputs.PauseChanged(paused=True), 100.0)
    assert plan.decide(paused, 100.0) == plan.CancelBuild()
    paused = transition(
        transition(paused, inputs.BuildCancelRequested(), 100.0), inputs.BuildCancelled("a"), 100.0
    )
    assert plan.decide(paused, 100.0) == plan.Wait()
    resumed = transition(paused, inputs.PauseChanged(paused=False), 100.0)
    assert plan.decide(resumed, 100.0) == plan.Build("a")


def test_a_container_that_ended_with_its_engine_begins_no_crash_loop() -> None:
    lost = inputs.ContainerExited("a", "i")
    state = after(*LIVE_A, inputs.DeployEnded("a"), lost, inputs.EngineRecovered())
    state = transition(replace_live(state), lost, 101.0)
    assert (state.crashes, plan.decide(state, 101.0)) == (0, plan.Deploy("a", "i"))


def test_the_pause_between_tries_grows_to_its_bound_and_no_further() -> None:
    pauses = [plan.RETRY.pause(failures) for failures in (0, 1, 2, 10, 5000)]
    assert pauses == [0.5, 1.0, 2.0, plan.RETRY.most, plan.RETRY.most]


def test_a_crash_loop_is_slowed_down_and_forgotten_after_a_calm_time() -> None:
    lost = inputs.ContainerExited("a", "i")
    state = after(*LIVE_A, inputs.DeployEnded("a"), lost)
    assert plan.decide(state, 100.0) == plan.Deploy("a", "i")
    again = transition(replace_live(state), lost, 101.0)
    assert plan.decide(again, 101.0) == plan.Wait(until=102.0)
    calm = transition(replace_live(again), lost, 101.0 + plan.STABLE_AFTER)
    assert plan.decide(calm, 101.0 + plan.STABLE_AFTER) == plan.Deploy("a", "i")


def replace_live(state: plan.State) -> plan.State:
    for event in (
        inputs.BuildBegun("a"),
        inputs.BuildEnded("a", "i"),
        inputs.DeployBegun("a"),
        inputs.DeployEnded("a"),
    ):
        state = transition(state, event, 100.5)
    return state


# The engine's restarts.


def test_an_end_that_came_with_the_engine_is_no_crash_loop() -> None:
    state = plan.State(live="r", lost_at=90.0)
    lost = transition(state, inputs.ContainerExited("r", "image", excused=True), 100.0)
    assert (lost.crashes, lost.retry_at) == (0, 100.0)
    assert transition(state, inputs.ContainerExited("r", "image"), 100.0).crashes == 1, (
        "an end by itself is one"
    )


def test_an_engine_that_is_back_ends_a_crash_loop_that_it_may_have_caused() -> None:
    state = transition(
        plan.State(lost=("r", "image"), crashes=3, lost_at=99.0, retry_at=130.0),
        inputs.EngineRecovered(),
        100.0,
    )
    assert plan.decide(state, 100.0) == plan.Deploy("r", "image")
    again = transition(state, inputs.ContainerExited("r", "image"), 101.0)
    assert again.crashes == 0
