"""The sizes of an image in short: for comparisons, budgets and metrics. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the daemon reads summaries, but no images
    from watcher.image.go_binary import GoPart
    from watcher.image.model import ImageContent

HIDDEN = "hidden files"
OTHER = "other"
SHOWN = 8  # components that are named where their number is bounded
_SHARED = "(shared)"  # module of what belongs to no package


@dataclass(frozen=True, slots=True)
class ImageSummary:
    """The bytes of an image by Go module, kind of shared bytes and file; `details` have packages for modules.

    Both add up to `size`. `modules` are the versions of Go modules by path.
    """

    id: str
    name: str
    size: int
    components: Mapping[str, int]
    details: Mapping[str, int]
    modules: Mapping[str, str]

    @classmethod
    def of(cls, content: ImageContent) -> ImageSummary:
        """Return the summary of an image."""
        modules = {
            module.path: module.replaced_by or module.version
            for binary in content.binaries.values()
            for module in binary.build.modules
        }
        components, details = (dict(sum_components(content, packages=each)) for each in (False, True))
        return cls(content.id, content.name, content.size, components, details, modules)

    @classmethod
    def from_json(cls, text: str | bytes) -> ImageSummary:
        """Return the summary that `to_json` wrote; raise ValueError."""
        found = json.loads(text)
        if not isinstance(found, dict):
            raise ValueError("a summary is a table")  # noqa: TRY004 - wrong content, not a wrong type
        try:
            return cls(**found)
        except TypeError as error:
            raise ValueError(str(error)) from error

    def to_json(self) -> str:
        """Return the summary as text."""
        return json.dumps(asdict(self))


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


def largest_components(components: Mapping[str, int], most: int = SHOWN) -> dict[str, int]:
    """Return the `most` largest components and the sum of the others."""
    largest = dict(Counter(components).most_common(most))
    rest = sum(components.values()) - sum(largest.values())
    return {**largest, OTHER: rest} if rest > 0 else largest


def _name_of(part: GoPart, *, packages: bool) -> str:
    if part.module == _SHARED:
        return part.kind.value
    return part.package if packages else part.module
