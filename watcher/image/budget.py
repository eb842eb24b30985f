"""Compare the components of an image with what the settings allow. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from watcher.image.summary import ImageSummary
from watcher.observers import humanize

if TYPE_CHECKING:  # importing the events takes longer than a command's other work with budgets
    from watcher.observers.events import ComponentBudget


def find_exceeded(summary: ImageSummary, budgets: Mapping[str, int]) -> tuple[ComponentBudget, ...]:
    """Return the components that are larger than allowed: Go modules, packages, kinds of bytes or files."""
    from watcher.observers.events import ComponentBudget  # noqa: PLC0415 - only the daemon asks

    sizes = {name: _size_of(summary, name) for name in budgets}
    return tuple(
        ComponentBudget(name, size, budgets[name])
        for name, size in sizes.items()
        if size is not None and size > budgets[name]
    )


def find_unknown(summary: ImageSummary, budgets: Mapping[str, int]) -> tuple[str, ...]:
    """Return the names in the settings that nothing in the image has."""
    return tuple(name for name in budgets if _size_of(summary, name) is None)


def describe_budgets(summary: ImageSummary, most: int | None, budgets: Mapping[str, int]) -> Iterator[str]:
    """Yield a line for each budget: what it allows, and whether the image keeps it."""
    if most is not None:
        yield _describe("image.max_size", summary.size, most)
    for name, allowed in budgets.items():
        size = _size_of(summary, name)
        if size is None:
            yield f"image.components: nothing in the image is called {name}"
        else:
            yield _describe(f"image.components, {name}", size, allowed)


def _describe(name: str, size: int, most: int) -> str:
    verdict = "within" if size <= most else "OVER"
    return f"{verdict} its budget: {humanize.size(size)} of {humanize.size(most)} ({name})"


def _size_of(summary: ImageSummary, name: str) -> int | None:
    return summary.components.get(name, summary.details.get(name))
