"""What the user reads when one variant of a Dockerfile failed and another one is built."""

from __future__ import annotations

import pytest

from watcher.builder.retry_notices import recovery_notice, retry_notice
from watcher.builder.strategies import BuildStrategy, FailedBuild, StrategyHistory
from watcher.errors import Failure

FAILED = FailedBuild(
    Failure("build", "exit code: 1"), "[b 2/2] RUN x", "reason", touched=True, modules_mounted=True
)
OWN, PLAIN, ACCELERATED = BuildStrategy.OWN_MODULES, BuildStrategy.PLAIN, BuildStrategy.ACCELERATED


@pytest.mark.parametrize(
    ("following", "level", "fact"),
    [
        (OWN, "info", "a module is missing"),
        (ACCELERATED, "info", "with a network"),
        (PLAIN, "warning", "as it is, once"),
    ],
)
def test_a_retry_names_its_reason(following: BuildStrategy, level: str, fact: str) -> None:
    found, text = retry_notice("Dockerfile", following, FAILED)
    assert found == level
    assert fact in text
    assert text.endswith("(exit code: 1)")


def test_what_helped_is_said_with_what_follows_from_it() -> None:
    history = StrategyHistory()
    for expected in ("tried again next time", "left alone from now on"):
        history.record_success(PLAIN, "text", "m", after=ACCELERATED)
        notice = recovery_notice("Dockerfile", "text", PLAIN, FAILED, history)
        assert notice
        assert notice[0] == "warning"
        assert expected in notice[1]


def test_modules_of_the_image_are_named_once_they_are_used_for_good() -> None:
    history = StrategyHistory()
    history.record_success(OWN, "text", "m", after=ACCELERATED)
    assert recovery_notice("Dockerfile", "text", OWN, FAILED, history) is None
    history.record_success(OWN, "text", "m", after=ACCELERATED)
    notice = recovery_notice("Dockerfile", "text", OWN, FAILED, history)
    assert notice
    assert "no module cache" in notice[1]
    assert recovery_notice("Dockerfile", "text", ACCELERATED, FAILED, history) is None
