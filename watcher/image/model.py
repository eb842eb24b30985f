"""What an image consists of. Sizes are those of `docker images`: bytes of files, each layer for itself."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from watcher.image.go_binary import GoBinary


class Fate(StrEnum):
    """Why a file of a layer is not in the image."""

    REWRITTEN = "written again"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file that a container sees; `layer` counts from 1."""

    path: str
    size: int
    layer: int


@dataclass(frozen=True, slots=True)
class HiddenFile:
    """A file that takes room in `layer`, and that layer `by` writes again or deletes."""

    path: str
    size: int
    layer: int
    by: int
    fate: Fate


@dataclass(frozen=True, slots=True)
class ImageLayer:
    """A layer, and the step that made it; `size` is None if the layer could not be read."""

    number: int
    step: str
    size: int | None
    files: int


@dataclass(frozen=True, slots=True)
class ImageContent:
    """An image explained. `files` are largest first, `binaries` the Go binaries by path."""

    id: str
    names: tuple[str, ...]
    layers: tuple[ImageLayer, ...]
    files: tuple[ImageFile, ...]
    hidden: tuple[HiddenFile, ...]
    binaries: dict[str, GoBinary]
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Return the sum of the layers."""
        return sum(layer.size or 0 for layer in self.layers)

    @property
    def hidden_size(self) -> int:
        """Return the bytes that are in layers and in no container."""
        return sum(file.size for file in self.hidden)

    @property
    def name(self) -> str:
        """Return the image's first name, else its short id."""
        return self.names[0] if self.names else self.id.removeprefix("sha256:")[:12]
