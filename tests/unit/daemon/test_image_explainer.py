"""The live image is explained once, in idle moments, and what moved its size is one line."""

from __future__ import annotations

import asyncio

import pytest

from tests.facts import missing
from watcher.daemon.image_explainer import ImageExplainer
from watcher.errors import WatcherError
from watcher.image import process
from watcher.image.summary import ImageSummary
from watcher.observers.events import ComponentBudget, Event, ImageExplained, Notice


class Seen(list[Event]):
    def notify(self, event: Event) -> None:
        self.append(event)

    @property
    def texts(self) -> list[str]:
        return [event.text for event in self if isinstance(event, Notice)]


def summary(image: str, **sizes: int) -> ImageSummary:
    return ImageSummary(image, image, sum(sizes.values()), sizes, sizes, {})


class Engine:
    def __init__(self, *found: ImageSummary) -> None:
        self.found = {each.id: each for each in found}
        self.asked: list[str] = []

    async def summarize(self, image: str, _: str | None) -> ImageSummary | None:
        self.asked.append(image)
        await asyncio.sleep(0)
        if image == "broken":
            raise WatcherError("the archive ends early")
        return self.found.get(image)


@pytest.mark.parametrize("removed", [False, True])
async def test_a_save_before_the_first_explanation_is_compared_with_the_first_image(removed: bool) -> None:
    seen = Seen()
    one, two = summary("one", app=900_000), summary("two", app=1_900_000)
    engine = Engine(two) if removed else Engine(one, two)
    explainer = ImageExplainer("web", None, seen, engine.summarize)
    cancelled = asyncio.ensure_future(explainer.explain("r1", "one"))
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.wait([cancelled])
    assert seen == []
    assert await explainer.explain("r2", "two") == two
    (event,) = (event for event in seen if isinstance(event, ImageExplained))
    assert event.before == ("" if removed else "r1")
    assert all(missing(text, "final image", "1.90 MB", "app") == [] for text in seen.texts)
    assert len(seen.texts) == (0 if removed else 1)


async def test_an_image_is_explained_once_and_its_growth_named() -> None:
    seen = Seen()
    engine = Engine(summary("one", app=900_000, zones=100_000), summary("two", app=900_000, zones=350_000))
    explainer = ImageExplainer("web", None, seen, engine.summarize)
    for revision, image in (("r1", "one"), ("r1", "one"), ("r2", "two"), ("r2", "two")):
        found = await explainer.explain(revision, image)
        assert found is not None
        assert found.id == image
    assert engine.asked == ["one", "two"]
    first, second = (event for event in seen if isinstance(event, ImageExplained))
    assert (first.before, first.changes) == ("", ())
    assert (second.before, second.components) == ("r1", (("app", 900_000), ("zones", 350_000)))
    assert [(change.name, change.before, change.after) for change in second.changes] == [
        ("zones", 100_000, 350_000)
    ]
    (text,) = seen.texts
    assert missing(text, "final image", "1.00", "1.25 MB", "zones", "+250 kB") == []


async def test_a_small_change_is_no_line() -> None:
    seen = Seen()
    engine = Engine(summary("one", app=900_000), summary("two", app=900_100))
    explainer = ImageExplainer("web", None, seen, engine.summarize)
    await explainer.explain("r1", "one")
    await explainer.explain("r2", "two")
    assert seen.texts == []


async def test_an_image_that_cannot_be_read_is_one_warning_and_one_that_is_gone_none() -> None:
    seen = Seen()
    explainer = ImageExplainer("web", None, seen, Engine().summarize)
    assert await explainer.explain("r1", "broken") is None
    assert await explainer.explain("r1", "broken") is None
    assert await explainer.explain("r2", "gone") is None
    (text,) = seen.texts
    assert missing(text, "final image", "the archive ends early") == []


async def test_components_over_their_budget_are_reported_and_unknown_names_too() -> None:
    seen = Seen()
    engine = Engine(summary("one", app=900, zones=10), summary("two", app=901, zones=10))
    budgets = {"app": 500, "zones": 10, "gone": 1}
    explainer = ImageExplainer("web", None, seen, engine.summarize, lambda: budgets)
    await explainer.explain("r1", "one")
    await explainer.explain("r2", "two")
    over = [event.over for event in seen if isinstance(event, ImageExplained)]
    assert over == [(ComponentBudget("app", 900, 500),), (ComponentBudget("app", 901, 500),)]
    (text,) = seen.texts
    assert missing(text, "image.components", "nothing", "gone") == []


async def test_a_cancelled_explanation_is_done_again() -> None:
    engine = Engine(summary("one", app=1))
    explainer = ImageExplainer("web", None, Seen(), engine.summarize)
    task = asyncio.create_task(explainer.explain("r1", "one"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await explainer.explain("r1", "one") is not None
    assert engine.asked == ["one", "one"]


async def test_a_process_without_an_engine_says_why() -> None:
    with pytest.raises(WatcherError, match="no Docker engine answers at"):
        await process.summarize_apart("any", "unix:///nowhere/docker.sock")


def test_a_summary_that_is_none_is_refused() -> None:
    for text in ("", "[]", "{}", '{"id": 1}'):
        with pytest.raises(ValueError, match=r"."):
            ImageSummary.from_json(text)
