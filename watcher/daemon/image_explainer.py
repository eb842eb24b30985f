"""Explain the live image of a service in idle moments, and report what moved its size."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from watcher.errors import WatcherError
from watcher.image.budget import find_exceeded, find_unknown
from watcher.image.compare import compare_images
from watcher.image.process import summarize_apart
from watcher.image.summary import ImageSummary, largest_components
from watcher.observers.events import ComponentChange, ImageExplained, Notice, Observer

MOST_CHANGES = 15  # that an event names

Summarize = Callable[[str, str | None], Awaitable[ImageSummary | None]]


class ImageExplainer:
    """Emits what the final images of one service consist of, and a line if the size moved noticeably."""

    def __init__(
        self,
        service: str,
        engine: str | None,
        observer: Observer,
        summarize: Summarize = summarize_apart,
        budgets: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        """`budgets` returns the largest sizes of components, as they are set now."""
        self._service, self._engine, self._observer = service, engine, observer
        self._summarize, self._budgets = summarize, budgets
        self._explaining = asyncio.Lock()
        self._unknown: tuple[str, ...] = ()  # names of budgets that were reported to match nothing
        self._last: ImageSummary | None = None
        self._last_revision = ""
        self._first: tuple[str, str] | None = None  # revision and image, until an image is explained
        self._seen = ""  # id of the last image, also of one that could not be explained

    async def explain(self, revision: str, image: str) -> ImageSummary | None:
        """Explain an image unless it was the last one; return its summary. May be cancelled."""
        async with self._explaining:
            return await self._explain(revision, image)

    async def _explain(self, revision: str, image: str) -> ImageSummary | None:
        if image == self._seen:
            return self._last if self._last and self._last.id == image else None
        await self._explain_first(revision, image)
        try:
            summary = await self._summarize(image, self._engine)
        except (WatcherError, OSError) as error:
            self._seen, self._first = image, None
            text = f"the final image could not be explained: {error}"
            self._observer.notify(Notice(service=self._service, level="warning", text=text))
            return None
        self._seen = image
        if summary is None:
            return None
        self._report(revision, summary)
        self._last, self._last_revision = summary, revision
        return summary

    async def _explain_first(self, revision: str, image: str) -> None:
        """Explain the image that a save came too early for, so that the next one has what to compare with."""
        if self._last is not None:
            return
        if self._first is None:
            self._first = revision, image
        first_revision, first_image = self._first
        if first_image == image:
            return
        try:
            self._last = await self._summarize(first_image, self._engine)
        except (WatcherError, OSError):
            self._last = None  # it may be removed by now
        self._last_revision = first_revision if self._last else ""
        self._first = revision, image

    def _report(self, revision: str, summary: ImageSummary) -> None:
        comparison = compare_images(self._last, summary) if self._last else None
        changes = comparison.changes[:MOST_CHANGES] if comparison else ()
        self._observer.notify(
            ImageExplained(
                service=self._service,
                revision=revision,
                image=summary.id,
                size=summary.size,
                components=tuple(largest_components(summary.components).items()),
                before=self._last_revision,
                changes=tuple(ComponentChange(each.name, each.before, each.after) for each in changes),
                over=find_exceeded(summary, self._budgets()),
            )
        )
        unknown = find_unknown(summary, self._budgets())
        if unknown and unknown != self._unknown:
            text = f"image.components: nothing in the image is called {', '.join(unknown)}"
            self._observer.notify(Notice(service=self._service, level="warning", text=text))
        self._unknown = unknown
        if comparison and comparison.notable:
            self._observer.notify(Notice(service=self._service, level="info", text=comparison.summarize()))
