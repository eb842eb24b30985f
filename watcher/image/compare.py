"""Compare two images: which package or file brought the bytes. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from watcher.image.components import sum_components
from watcher.image.model import ImageContent
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

    before: ImageContent
    after: ImageContent
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
            "before": {"id": self.before.id, "names": list(self.before.names), "size": self.before.size},
            "after": {"id": self.after.id, "names": list(self.after.names), "size": self.after.size},
            "difference": self.difference,
            "changes": [
                {"name": each.name, "before": each.before, "after": each.after, "difference": each.difference}
                for each in self.changes
            ],
            "modules": [
                {"path": path, "before": before, "after": after} for path, before, after in self.modules
            ],
        }


def compare_images(before: ImageContent, after: ImageContent) -> ImageComparison:
    """Compare two images by package, kind of bytes and file."""
    old, new = (sum_components(each, packages=True) for each in (before, after))
    changes = [
        SizeChange(name, old[name], new[name]) for name in old.keys() | new.keys() if old[name] != new[name]
    ]
    changes.sort(key=lambda change: (-abs(change.difference), change.name))
    first, second = _versions(before), _versions(after)
    modules = tuple(
        (path, first.get(path, ""), second.get(path, ""))
        for path in sorted(first.keys() | second.keys())
        if first.get(path) != second.get(path)
    )
    return ImageComparison(before, after, tuple(changes), modules)


def _versions(content: ImageContent) -> dict[str, str]:
    return {
        module.path: module.replaced_by or module.version
        for binary in content.binaries.values()
        for module in binary.build.modules
    }
