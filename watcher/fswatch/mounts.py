"""Read what is mounted where: no event reports a mount, or a write on another machine."""

from __future__ import annotations

import os
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


def mounted_at(path: str) -> frozenset[str]:
    """Return the mounts on the directory `path` (without links) and below it, as the kernel lists them."""
    try:
        mountinfo = _MOUNTS.read_text("utf-8", "surrogateescape")
    except OSError:  # not Linux
        return frozenset()
    return mounts_below(path, mountinfo)


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
