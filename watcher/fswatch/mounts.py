"""Read what is mounted where: no event reports a mount, or a write on another machine."""

from __future__ import annotations

import os
import select
import threading
from pathlib import Path

from watcher import regex

_MOUNTS = Path("/proc/self/mountinfo")
_OCTAL = regex.compile(r"\\([0-7]{3})")  # how a space or a backslash is written in the file
_REMOTE = frozenset(
    {
        "9p",
        "afs",
        "ceph",
        "cifs",
        "davfs",
        "drvfs",
        "fakeowner",
        "fuse.davfs2",
        "fuse.gcsfuse",
        "fuse.glusterfs",
        "fuse.grpcfuse",
        "fuse.osxfs",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.sshfs",
        "fuse.vmhgfs-fuse",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "prl_fs",
        "smb3",
        "smbfs",
        "vboxsf",
        "virtiofs",
        "vmhgfs",
    }
)


def remote_type(root: Path) -> str:
    """Return the file system type of `root` if another machine can write to it; else an empty string."""
    try:
        kind = type_at(os.path.realpath(root), _MOUNTS.read_text("utf-8", "surrogateescape"))
    except OSError:  # not Linux
        return ""
    return kind if kind in _REMOTE else ""


class MountTable:
    """The kernel's list of mounts, shared by all roots; it is read again only after it has changed."""

    def __init__(self, path: Path = _MOUNTS) -> None:
        self._path, self._lock = path, threading.Lock()
        self._file = -1
        self._changes = select.poll()
        self._text, self._is_read = "", False
        self._found: dict[str, frozenset[str]] = {}  # of the text, by path

    def find_below(self, path: str) -> frozenset[str]:
        """Return the lines with a mount point at `path` or below it. Raises OSError."""
        with self._lock:
            if self._file < 0:
                self._file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)  # for the life of the process
                self._changes.register(self._file, select.POLLERR | select.POLLPRI)
            if self._changes.poll(0):  # the kernel flags each change once (proc_pid_mountinfo(5))
                self._is_read = False
            if not self._is_read:
                self._read(self._file)
                self._is_read = True
            if path not in self._found:
                self._found[path] = mounts_below(path, self._text)
            return self._found[path]

    def _read(self, file: int) -> None:
        with open(file, encoding="utf-8", errors="surrogateescape", closefd=False) as text:
            text.seek(0)
            self._text, self._found = text.read(), {}


_TABLE = MountTable()


def mounted_at(path: str) -> frozenset[str]:
    """Return the mounts on the directory `path` (without links) and below it, as the kernel lists them."""
    try:
        return _TABLE.find_below(path)
    except OSError:  # not Linux
        return frozenset()


def mounts_below(path: str, mountinfo: str) -> frozenset[str]:
    """Return the lines of `mountinfo` with a mount point at `path` or below it."""
    inside = path.rstrip("/") + "/"
    found = set()
    for line in mountinfo.splitlines():
        fields = line.split(" ", 5)
        if len(fields) > 5 and f"{_mount_point(fields[4])}/".startswith(inside):
            found.add(line)
    return frozenset(found)


def type_at(path: str, mountinfo: str) -> str:
    """Return the type of the file system of the absolute `path` (proc(5), /proc/pid/mountinfo)."""
    best, kind = "", ""
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split()
        if len(fields) < 5 or not after:
            continue
        point = _mount_point(fields[4])
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):  # of two at one place the later one is on top
            best, kind = point, after.split()[0]
    return kind


def _mount_point(field: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), field)
