"""Images over their budget are told: a warning of the daemon, an error of `once`."""

from __future__ import annotations

from tests.unit.observers.story import Story, image, revision
from watcher.daemon.once import ServiceOutcome
from watcher.observers.events import (
    BuildFinished,
    BuildOutcome,
    ComponentBudget,
    DesiredChanged,
    Event,
    ImageExplained,
    ImageSized,
    Notice,
    ServiceStarted,
)
from watcher.observers.size_budget import SizeBudget


class Heard:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def notify(self, event: Event) -> None:
        self.events.append(event)


def started(most: int | None) -> ServiceStarted:
    return ServiceStarted(
        service="web", urls=(), compose_file="compose.yaml", image="web", container="web", image_budget=most
    )


def told(*sizes: int, stage: str = "final", level: str = "warning") -> list[tuple[str, str]]:
    heard = Heard()
    budget = SizeBudget(heard, level=level)
    budget.notify(started(30_000_000))
    for number, size in enumerate(sizes):
        budget.notify(ImageSized(service="web", stage=stage, revision="r", image=image(number), size=size))
    return [(event.level, event.text) for event in heard.events if isinstance(event, Notice)]


def test_an_image_over_the_budget_is_told_with_both_sizes() -> None:
    text = "the final image has 31.2 MB, more than the 30.0 MB that image.max_size allows"
    assert told(31_200_000) == [("warning", text)]
    assert told(31_200_000, level="error") == [("error", text)]


def test_exactly_the_budget_is_allowed_and_the_builder_image_has_none() -> None:
    assert told(30_000_000) == []
    assert told(602_000_000, stage="builder") == []


def test_the_budget_is_the_one_that_is_in_force() -> None:
    heard = Heard()
    budget = SizeBudget(heard)
    for most in (None, 5_000_000, 20_000_000):
        budget.notify(started(most))
        budget.notify(ImageSized(service="web", stage="final", revision="r", image="i", size=10_000_000))
    assert len(heard.events) == 1


def test_it_is_told_again_only_after_an_image_that_fits() -> None:
    assert len(told(31_000_000, 32_000_000, 33_000_000)) == 1
    assert len(told(31_000_000, 29_000_000, 33_000_000)) == 2


async def test_once_fails_for_an_image_over_the_budget_and_not_for_one_within(story: Story) -> None:
    for size, good in ((31_000_000, False), (29_000_000, True)):
        outcome = ServiceOutcome(30_000_000)
        for event in Story().cycle(1, size).events:
            outcome.apply_event(event)
        assert outcome.good is good
    outcome = ServiceOutcome(30_000_000)
    outcome.apply_event(DesiredChanged(revision=revision(2), changes=(), summary="", saved_at=0.0))
    outcome.apply_event(BuildFinished(revision=revision(2), outcome=BuildOutcome.BUILT, seconds=1.0))
    assert outcome.good is None


def test_a_component_over_its_budget_is_one_warning_until_it_fits() -> None:
    notices: list[str] = []

    class Reader:
        def notify(self, event: Event) -> None:
            assert isinstance(event, Notice)
            notices.append(event.text)

    budget = SizeBudget(Reader())
    too_large = (ComponentBudget("DWARF", 5_000_000, 1_000_000),)
    for over in (too_large, too_large, (), too_large):
        budget.notify(
            ImageExplained(service="web", revision="r", image="i", size=9, components=(), over=over)
        )
    text = "DWARF in the final image has 5.00 MB, more than the 1.00 MB that image.components allows"
    assert notices == [text, text]


def test_once_fails_for_a_component_over_its_budget() -> None:
    outcome = ServiceOutcome(None)
    for event in Story("web").start().cycle(1).events:
        outcome.apply_event(event)
    over = (ComponentBudget("DWARF", 2, 1),)
    outcome.apply_event(
        ImageExplained(service="web", revision=revision(1), image="i", size=9, components=(), over=over)
    )
    assert outcome.good is False
