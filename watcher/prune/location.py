"""Record where a project's folder is, and detect whether it was deleted or is only unreachable.

A missing path proves nothing: its disk can be unmounted, a parent renamed. So the registry stores the
identity of the folder, of every folder above it, and of its mount. A project is gone only if the same file
system is mounted at the same place, the parent is the same folder, and no other folder in the parent is the
project under a new name.
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

_MOST_SIBLINGS = 20_000  # maximum number of entries that are compared with a missing folder
_MOST_LEVELS = 128
_HANDLE_BYTES = 128  # MAX_HANDLE_SZ, name_to_handle_at(2)
_AT_FDCWD = -100
_BY_UUID = Path("/dev/disk/by-uuid")


@dataclass(frozen=True, slots=True)
class FolderId:
    """The identity of a folder. `handle` differs if an inode was reused for another folder."""

    device: int
    inode: int
    handle: str = ""

    def is_same(self, other: FolderId) -> bool:
        """Return whether both are the same folder of one file system; the file system is not compared.

        Some file systems change their device number at a restart: `Mount.is_same` compares the stable values.
        """
        if self.handle and other.handle and self.handle != other.handle:
            return False
        return self.inode == other.inode


@dataclass(frozen=True, slots=True)
class Mount:
    """A mount from proc_pid_mountinfo(5). `uuid` is that of the file system, if known."""

    point: str
    root: str
    source: str
    kind: str
    uuid: str = ""

    @property
    def text(self) -> str:
        """Return the mount as text for messages."""
        return f"{self.source} ({self.kind}) at {self.point}"


@dataclass(frozen=True, slots=True)
class Location:
    """A folder at the time when the watcher ran there. `above` are its parent folders, the closest first.

    `machine` is the id of the machine, because several machines can share a state folder.
    """

    path: str
    folder: FolderId
    above: tuple[FolderId, ...] = ()
    mount: Mount | None = None
    machine: str = ""


class Presence(StrEnum):
    """What happened to a project's folder."""

    HERE = "here"
    GONE = "gone"
    PARENT_GONE = "parent-gone"  # a parent folder was deleted or moved
    MOVED = "moved"
    UNREACHABLE = "unreachable"  # unknown


@dataclass(frozen=True, slots=True)
class FolderStatus:
    """What happened to a project's folder, and the reason for this conclusion."""

    presence: Presence
    why: str


@dataclass(frozen=True, slots=True)
class FileSystem:
    """The queries to the kernel. Tests pass other paths in `mountinfo` and `machine_files`."""

    mountinfo: str = "/proc/self/mountinfo"
    machine_files: tuple[str, ...] = ("/etc/machine-id", "/proc/sys/kernel/hostname")
    handles: bool = True

    def machine(self) -> str:
        """Return the id of the machine, or its host name."""
        for name in self.machine_files:
            try:
                if text := Path(name).read_text("utf-8").strip():
                    return text
            except (OSError, UnicodeDecodeError):
                continue
        return ""

    def mode(self, path: Path) -> int | None:
        """Return the file type at the path, links not followed; None if it is missing. Raises OSError."""
        try:
            return stat.S_IFMT(path.lstat().st_mode)
        except FileNotFoundError:
            return None

    def folder(self, path: Path) -> FolderId:
        """Return the identity of a folder. Raises OSError."""
        found = path.lstat()
        return FolderId(found.st_dev, found.st_ino, _file_handle(path) if self.handles else "")

    def mount(self, path: Path) -> Mount | None:
        """Return the mount of a folder; None if unknown. Raises OSError for the path."""
        descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            info = Path(f"/proc/self/fdinfo/{descriptor}").read_text("ascii")
            number = next(int(line.split()[1]) for line in info.splitlines() if line.startswith("mnt_id:"))
            return _parse_mountinfo(Path(self.mountinfo).read_text("utf-8", "surrogateescape")).get(number)
        except (OSError, ValueError, StopIteration, IndexError):
            return None
        finally:
            os.close(descriptor)

    def children(self, path: Path) -> Iterator[Path]:
        """Return the folders in a folder. Raises OSError."""
        with os.scandir(path) as entries:
            for number, entry in enumerate(entries):
                if number >= _MOST_SIBLINGS:
                    return
                if entry.is_dir(follow_symlinks=False):
                    yield Path(entry.path)


def _parse_mountinfo(text: str) -> dict[int, Mount]:
    """Return the mounts of mountinfo by id; invalid lines are skipped."""
    found = {}
    for line in text.splitlines():
        first, _, last = line.partition(" - ")
        fields, rest = first.split(" "), last.split(" ")
        if len(fields) < 6 or len(rest) < 2 or not fields[0].isdigit():
            continue
        source = _unescape(rest[1])
        found[int(fields[0])] = Mount(
            _unescape(fields[4]), _unescape(fields[3]), source, rest[0], _uuid_of(source)
        )
    return found


def _unescape(text: str) -> str:
    for code, char in ((r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", "\\")):
        text = text.replace(code, char)
    return text


def _uuid_of(source: str) -> str:
    if not source.startswith("/dev/"):
        return ""
    try:
        device = Path(source).resolve()
        return next((link.name for link in _BY_UUID.iterdir() if link.resolve() == device), "")
    except OSError:
        return ""


class _Handle(ctypes.Structure):
    _fields_ = (
        ("bytes", ctypes.c_uint),
        ("type", ctypes.c_int),
        ("data", ctypes.c_ubyte * _HANDLE_BYTES),
    )


def _file_handle(path: Path) -> str:
    """Return the file handle (inode and generation) of a path; empty if the file system has none."""
    try:
        call = ctypes.CDLL(None, use_errno=True).name_to_handle_at
    except (AttributeError, OSError):
        return ""
    handle, mount = _Handle(bytes=_HANDLE_BYTES), ctypes.c_int()
    if call(_AT_FDCWD, os.fsencode(path), ctypes.byref(handle), ctypes.byref(mount), 0) != 0:
        return ""
    return f"{handle.type}:{bytes(handle.data[: handle.bytes]).hex()}"


_SYSTEM = FileSystem()


def locate(path: Path, system: FileSystem = _SYSTEM) -> Location:
    """Return the location of an existing folder; `path` is absolute and resolved. Raises OSError."""
    above = tuple(system.folder(parent) for parent in list(path.parents)[:_MOST_LEVELS])
    return Location(str(path), system.folder(path), above, system.mount(path), system.machine())


def find_folder(location: Location, system: FileSystem = _SYSTEM) -> FolderStatus:
    """Return what happened to the folder. Never raises: an error becomes `UNREACHABLE` with the reason."""
    try:
        return _find_folder(location, system)
    except PermissionError as error:
        return FolderStatus(Presence.UNREACHABLE, f"permission denied: {error.filename}")
    except OSError as error:
        return FolderStatus(Presence.UNREACHABLE, f"{error.filename}: {error.strerror}")
    except ValueError as error:  # a NUL in the path
        return FolderStatus(Presence.UNREACHABLE, str(error))


def _find_folder(location: Location, system: FileSystem) -> FolderStatus:
    path = Path(location.path)
    if location.machine != system.machine():
        return FolderStatus(Presence.UNREACHABLE, "it was registered on another machine")
    mode = system.mode(path)
    if mode == stat.S_IFLNK:
        return FolderStatus(Presence.HERE, f"its path is now a symbolic link to {path.readlink()}")
    if mode is not None:
        return FolderStatus(Presence.HERE, "its path exists")
    parents = list(path.parents)
    level = next((at for at, each in enumerate(parents) if system.mode(each) is not None), None)
    if level is None or level >= len(location.above):
        return FolderStatus(Presence.UNREACHABLE, "none of its parent folders exists")
    nearest = parents[level]
    if problem := _other_file_system(location, nearest, level, system):
        return FolderStatus(Presence.UNREACHABLE, problem)
    missing = parents[level - 1] if level else path
    wanted = location.above[level - 1] if level else location.folder
    for child in system.children(nearest):
        try:
            found = system.folder(child)
        except FileNotFoundError:
            continue
        if wanted.is_same(found) and _device_fits(location, found):
            moved = child / path.relative_to(missing)
            return FolderStatus(Presence.MOVED, f"probably renamed to {moved}")
    if level:
        return FolderStatus(Presence.PARENT_GONE, f"{missing} is missing too: deleted or moved")
    return FolderStatus(Presence.GONE, "deleted")


def _device_fits(location: Location, found: FolderId) -> bool:
    """Return whether a folder is on the project's file system; device numbers are stable until a restart."""
    return found.device == location.folder.device or bool(location.mount and location.mount.uuid)


def _other_file_system(location: Location, nearest: Path, level: int, system: FileSystem) -> str:
    """Return why `nearest`, the closest existing parent, proves nothing; empty if it proves something."""
    known, now, mount = location.above[level], system.folder(nearest), system.mount(nearest)
    if location.mount is None or mount is None:
        if now.device != location.folder.device:
            return (
                f"{nearest} is on another file system than the project was; that one is probably not mounted"
            )
    elif mount != location.mount:
        return f"its file system is not mounted: {location.mount.text}"
    elif not location.mount.uuid and now.device != location.folder.device:
        return f"{nearest} is on another file system than the project was ({location.mount.text})"
    if not known.is_same(now):
        return f"{nearest} was replaced by another folder"
    return ""
