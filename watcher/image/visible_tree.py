"""Lay layers over each other: which files a container sees, and which ones are hidden. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from watcher.image.model import Fate, HiddenFile, ImageFile

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"


@dataclass(slots=True)
class LayerEntry:
    """An entry of a layer."""

    path: str
    size: int = 0
    folder: bool = False


@dataclass(slots=True)
class _Folder:
    layer: int
    entries: dict[str, _Folder | ImageFile] = field(default_factory=dict)


class VisibleTree:
    """The files of the layers added so far."""

    def __init__(self) -> None:
        self._root = _Folder(0)
        self._layer = 0
        self.hidden: list[HiddenFile] = []

    def add_layer(self, entries: list[LayerEntry]) -> None:
        """Lay a layer over the others: what it deletes first, then what it contains."""
        self._layer += 1
        additions = []
        for entry in entries:
            folder, _, name = entry.path.rpartition("/")
            if name == _OPAQUE:
                self._delete_below(self._find(folder))
            elif name.startswith(_WHITEOUT):
                self._delete(self._find(folder), name.removeprefix(_WHITEOUT))
            else:
                additions.append(entry)
        for entry in additions:
            self._add(entry)

    def files(self) -> Iterator[ImageFile]:
        """Yield the files that a container sees."""
        yield from _walk(self._root)

    def _find(self, path: str) -> _Folder | None:
        found = self._root
        for name in _names(path):
            below = found.entries.get(name)
            if not isinstance(below, _Folder):
                return None
            found = below
        return found

    def _delete(self, folder: _Folder | None, name: str) -> None:
        entry = folder.entries.get(name) if folder else None
        if folder and entry and entry.layer < self._layer:
            self._hide(entry, Fate.DELETED)
            del folder.entries[name]

    def _delete_below(self, folder: _Folder | None) -> None:
        for name in list(folder.entries) if folder else ():
            self._delete(folder, name)

    def _add(self, entry: LayerEntry) -> None:
        names = _names(entry.path)
        if not names:
            return
        folder = self._root
        for name in names if entry.folder else names[:-1]:
            below = folder.entries.get(name)
            if not isinstance(below, _Folder):
                if below is not None:
                    self._hide(below, Fate.REWRITTEN)
                below = folder.entries[name] = _Folder(self._layer)
            folder = below
        if entry.folder:
            return
        before = folder.entries.get(names[-1])
        if before is not None:
            self._hide(before, Fate.REWRITTEN)
        folder.entries[names[-1]] = ImageFile("/" + "/".join(names), entry.size, self._layer)

    def _hide(self, entry: _Folder | ImageFile, fate: Fate) -> None:
        for file in _walk(entry):
            if file.size:
                self.hidden.append(HiddenFile(file.path, file.size, file.layer, self._layer, fate))


def _names(path: str) -> list[str]:
    return [name for name in path.split("/") if name not in ("", ".")]


def _walk(entry: _Folder | ImageFile) -> Iterator[ImageFile]:
    """Yield the files of an entry; a loop, because folders of an image can be nested without a limit."""
    pending: list[_Folder | ImageFile] = [entry]
    while pending:
        each = pending.pop()
        if isinstance(each, ImageFile):
            yield each
        else:
            pending += each.entries.values()
