"""What an image consists of, as a flat list of names with bytes: for comparisons, budgets, metrics. Pure."""

from __future__ import annotations

from collections import Counter

from watcher.image.go_binary import GoPart
from watcher.image.model import ImageContent
from watcher.image.packages import SHARED

HIDDEN = "hidden files"
OTHER = "other"
SHOWN = 8  # components that are named where their number is bounded


def sum_components(content: ImageContent, *, packages: bool = False) -> Counter[str]:
    """Return the bytes by Go module (with `packages`: package), kind of shared bytes, and file.

    They add up to the size of the image.
    """
    found: Counter[str] = Counter()
    for file in content.files:
        binary = content.binaries.get(file.path)
        if binary is None:
            found[file.path] += file.size
        else:
            for part in binary.parts:
                found[_name_of(part, packages=packages)] += part.size
    if content.hidden_size:
        found[HIDDEN] += content.hidden_size
    return found


def largest_components(content: ImageContent, most: int = SHOWN) -> dict[str, int]:
    """Return the `most` largest components and the sum of the others, which add up to the image's size."""
    components = sum_components(content)
    largest = dict(components.most_common(most))
    rest = content.size - sum(largest.values())
    return {**largest, OTHER: rest} if rest > 0 else largest


def _name_of(part: GoPart, *, packages: bool) -> str:
    if part.module == SHARED:
        return part.kind.value
    return part.package if packages else part.module
