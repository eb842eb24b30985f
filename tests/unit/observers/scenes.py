"""States of the page worth looking at, told as stories that end about now."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from tests.unit.observers.story import STEPS, Story, revision
from watcher.observers.events import (
    BuildStepStarted,
    DependencyChanged,
    DeployOutcome,
    EngineDown,
    Notice,
    Paused,
)


def _past(builds: int = 36) -> Story:
    """An afternoon with good, failed and dropped builds, traffic, a prune and a warning."""
    chance = random.Random(4)
    story = Story(now=time.time() - builds * 40).start()
    for number in range(1, builds):
        story.now += 30
        luck = chance.random()
        if luck < 0.12:
            story.failing(number)
        elif luck < 0.2:
            story.save(number).begin(number).steps(number, 4).cancelled(number)
        else:
            story.cycle(number, 23_300_000 + number * 800 + chance.randrange(5000))
    story.traffic(*[200] * 240, *[404] * 3)
    story.said("[GIN-debug] Listening and serving HTTP on :9000").said('[GIN] 200 | 31µs | GET "/health"')
    story.sized(builds, 602_000_000, "builder").pruned().disk()
    text = "golang:alpine is a PLACEHOLDER image made on this machine: the real one could not be pulled"
    story.tell(Notice, level="warning", text=text)
    story.now = time.time() - 80
    return story.cycle(90, 23_340_000)


def _soon(story: Story, seconds: float = 1.5) -> Story:
    story.now = time.time() - seconds
    return story


def start() -> Story:
    return Story(now=time.time() - 2).start()


def idle() -> Story:
    return _past()


def building() -> Story:
    story = _soon(_past()).save(101).begin(101).steps(101, 4)
    return story.tell(BuildStepStarted, revision=revision(101), step="b5", name=STEPS[4][1], stage="builder")


def compile_error() -> Story:
    return _soon(_past(), 12).failing(102)


def crash() -> Story:
    return _soon(_past()).save(103).begin(103).steps(103).built(103).deploy(103, DeployOutcome.FAILED)


def stale() -> Story:
    return _soon(_past(), 40).tell(Paused, paused=True).save(105)


def no_engine() -> Story:
    return _soon(_past()).tell(EngineDown, reason="connection refused", retry_in=2.0)


def two_services() -> Story:
    story = _past()
    story.events += Story("worker", now=time.time() - 30).start().failing(7).events
    return story


def many_services() -> Story:
    """Forty services: most are live, some are broken, one is building; two dependencies."""
    story = Story("service-00", now=time.time() - 900).start()
    for number in range(40):
        own = Story(f"service-{number:02}", now=time.time() - 900 + number).start().cycle(number, 20_000_000)
        if number % 13 == 5:
            own.failing(number + 100)
        if number == 7:
            own.save(107).begin(107).steps(107, 4)
        story.events += own.events
    for name, state, reason in (("db", "healthy", ""), ("migrate", "failed", "exit status 1")):
        at, image = time.time() - 60, f"{name}:latest"
        story.events.append(DependencyChanged(at=at, name=name, state=state, reason=reason, image=image))
    return story


SCENES: dict[str, Callable[[], Story]] = {
    made.__name__: made
    for made in (start, idle, building, compile_error, crash, stale, no_engine, two_services, many_services)
}
