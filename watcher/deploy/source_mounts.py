"""Bind mounts that cover files of the build context: the container reads them directly, not from its image.

A change of such a file may leave the image as it was, and yet what runs is old: `go run .` compiled the files
at the container's start. So a container is replaced when the files under its mounts are not those it was
started with. It is not restarted: the new one comes up beside the old one, which serves on if that fails.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from watcher.compose import MountSpec, ServiceSpec
from watcher.tree import Snapshot, TreeEntry

# What a program writes while it runs. In a writable mount, a change of these replaces nothing:
# the new container would write them again, and be replaced for that.
_DATA_ENDS = (
    *(".db", ".sqlite", ".sqlite3", "-journal", "-wal", "-shm", ".bolt", ".rdb", ".aof"),
    *(".log", ".pid", ".sock", ".lock", ".tmp", ".out", ".prof", ".test"),
)
_DATA_DIRS = frozenset(("tmp", "log", "logs", "cache", ".cache", "data", "uploads", "node_modules"))

DATA = (*(f"**/*{end}" for end in _DATA_ENDS), *(f"**/{name}" for name in sorted(_DATA_DIRS)))
"""The same as patterns of an ignore file."""
_NO_SOURCES = _DATA_DIRS | {"vendor", "testdata"}
_MOST_FOLDERS = 1000  # that are looked into for Go files


@dataclass(frozen=True, slots=True)
class SourceMount:
    """A bind mount over the context. `path` is relative to the context ("" for all of it).

    `below` are the container's paths under `target` where something else is mounted.
    """

    target: str
    path: str
    read_only: bool
    below: tuple[str, ...] = ()

    def covers(self, path: str) -> bool:
        """Return whether the container sees this file of the context through the mount, and it counts."""
        if self.path and path != self.path and not path.startswith(f"{self.path}/"):
            return False
        inner = path[len(self.path) :].lstrip("/")
        seen = posixpath.join(self.target, inner) if inner else self.target
        if any(seen == place or seen.startswith(f"{place}/") for place in self.below):
            return False
        return self.read_only or not _is_data(path)


def _is_data(path: str) -> bool:
    *directories, name = path.split("/")
    if name.endswith((".go", ".mod", ".sum")):
        return False
    return name.lower().endswith(_DATA_ENDS) or not _DATA_DIRS.isdisjoint(directories)


def source_mounts(spec: ServiceSpec, context: Path) -> tuple[SourceMount, ...]:
    """Return the bind mounts of a service that cover the build context or a part of it."""
    root = os.path.realpath(context)
    found = []
    for mount in spec.mounts:
        path = _within(root, mount) if mount.type == "bind" and mount.source else None
        if path is not None:
            below = tuple(_below(spec.mounts, mount))
            target = mount.target
            if ".." in path.split(
                "/"
            ):  # the source holds the context: that is further below in the container
                target = posixpath.join(target, os.path.relpath(root, os.path.realpath(mount.source)))
                path = ""
            found.append(SourceMount(target, path, mount.read_only, below))
    return tuple(found)


def _within(root: str, mount: MountSpec) -> str | None:
    """Return the mount's source relative to the context; None when neither holds the other."""
    source = os.path.realpath(os.path.join(mount.source, mount.subpath))  # noqa: PTH118
    if source == root:
        return ""
    path = os.path.relpath(source, root)
    if not path.startswith(".."):
        return path
    return path if root.startswith(source.rstrip("/") + "/") else None


def _below(mounts: Sequence[MountSpec], mount: MountSpec) -> Iterator[str]:
    top = mount.target.rstrip("/") + "/"
    return (other.target for other in mounts if other.target.startswith(top))


def digest_mounted(mounts: Sequence[SourceMount], snapshot: Snapshot) -> str:
    """Return a digest over the files that the mounts show to the container; empty when there are none."""
    lines = [
        _line(mount, entry)
        for mount in mounts
        for entry in snapshot.entries()
        if not entry.is_dir and mount.covers(entry.path)
    ]
    return sha256(b"".join(lines)).hexdigest() if lines else ""


def _line(mount: SourceMount, entry: TreeEntry) -> bytes:
    text = "\0".join((mount.target, entry.path, f"{entry.mode:o}", entry.linkname))
    return text.encode("utf-8", "surrogateescape") + b"\0" + entry.digest


def unwatched_sources(spec: ServiceSpec, project: Path, snapshot: Snapshot) -> tuple[str, ...]:
    """Folders of the project that are mounted and hold Go files which are no part of the watched tree.

    Reads the disk: for a thread. A folder outside of the project is not looked into.
    """
    top, context = os.path.realpath(project), os.path.realpath(snapshot.base)
    found = []
    for mount in spec.mounts:
        source = os.path.realpath(mount.source) if mount.type == "bind" and mount.source else ""
        if not source or os.path.commonpath((top, source)) != top:
            continue
        if any(os.path.relpath(file, context) not in snapshot.files for file in _go_files(source)):
            found.append(os.path.relpath(source, top))
    return tuple(dict.fromkeys(found))


def _go_files(source: str) -> Iterator[str]:
    """The Go files in and below a folder, or the first of them in a large one."""
    for number, (folder, below, names) in enumerate(os.walk(source)):
        below[:] = [name for name in below if name not in _NO_SOURCES and not name.startswith(".")]
        yield from (os.path.join(folder, name) for name in names if name.endswith(".go"))  # noqa: PTH118
        if number >= _MOST_FOLDERS:
            return
