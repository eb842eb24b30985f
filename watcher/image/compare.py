"""Compare two images: which package or file brought the bytes. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from watcher.image.summary import ImageSummary
from watcher.observers import humanize

NAMED = 3  # changes in one line
_LEAST_SHARE, _LEAST_BYTES = 0.01, 100_000  # from which a change is worth a line


@dataclass(frozen=True, slots=True)
class SizeChange:
    """A package, a kind of bytes or a file with a different size. 0: not there."""

    name: str
    before: int
    after: int

    @property
    def difference(self) -> int:
        """Return the bytes that it brought."""
        return self.after - self.before


@dataclass(frozen=True, slots=True)
class ImageComparison:
    """Two images; `changes` are largest first. `modules` are Go modules with another version."""

    before: ImageSummary
    after: ImageSummary
    changes: tuple[SizeChange, ...]
    modules: tuple[tuple[str, str, str], ...]  # path, version before and after; empty: not there

    @property
    def difference(self) -> int:
        """Return the bytes by which the image grew."""
        return self.after.size - self.before.size

    @property
    def notable(self) -> bool:
        """Return whether the size moved by more than 1 % or 100 kB."""
        moved = abs(self.difference)
        return moved > _LEAST_BYTES or moved > _LEAST_SHARE * self.before.size

    def summarize(self) -> str:
        """Return the change in one line, with what brought it."""
        size = humanize.size_since(self.before.size, self.after.size)
        brought = ", ".join(
            f"{change.name} {humanize.size_change(change.difference)}" for change in self.changes[:NAMED]
        )
        return f"the final image has {size}: {brought}" if brought else f"the final image has {size}"

    def as_json(self) -> Mapping[str, Any]:
        """Return the comparison as JSON values."""
        return {
            "before": {"id": self.before.id, "name": self.before.name, "size": self.before.size},
            "after": {"id": self.after.id, "name": self.after.name, "size": self.after.size},
            "difference": self.difference,
            "changes": [{**asdict(each), "difference": each.difference} for each in self.changes],
            "modules": [
                {"path": path, "before": before, "after": after} for path, before, after in self.modules
            ],
        }


def compare_images(before: ImageSummary, after: ImageSummary) -> ImageComparison:
    """Compare two images by package, kind of bytes and file."""
    old, new = before.details, after.details
    changes = [
        SizeChange(name, old.get(name, 0), new.get(name, 0))
        for name in old.keys() | new.keys()
        if old.get(name) != new.get(name)
    ]
    changes.sort(key=lambda change: (-abs(change.difference), change.name))
    modules = tuple(
        (path, before.modules.get(path, ""), after.modules.get(path, ""))
        for path in sorted(before.modules.keys() | after.modules.keys())
        if before.modules.get(path) != after.modules.get(path)
    )
    return ImageComparison(before, after, tuple(changes), modules)
