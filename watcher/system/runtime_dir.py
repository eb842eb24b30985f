"""The private directory for the lock files of running watchers.

The files can contain a token, and clients trust them. So the directory is used only if it is proven to be
this user's own: owner, mode, no link. Every file in it is opened relative to the verified directory.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from watcher.errors import ConfigError

FILE_MODE = 0o600
_FILE = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # never through a link; a FIFO never blocks
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def list_candidates() -> Iterator[Path]:
    """Yield the directories that a watcher of this user can use, best first.

    A session, cron and `su` set different variables, so a running watcher is searched in all of them.
    """
    user = os.getuid()
    bases = [os.environ.get("XDG_RUNTIME_DIR"), f"/run/user/{user}"]
    yield from dict.fromkeys(Path(base) / "watcher" for base in bases if base and _is_own(base))
    for base in dict.fromkeys((tempfile.gettempdir(), "/tmp")):  # noqa: S108 - `directory` verifies it
        yield Path(base) / f"watcher-{user}"


def _is_own(base: str) -> bool:
    """Return whether `base` belongs to this user and only this user can write to it."""
    try:
        status = Path(base).stat()
    except OSError:
        return False
    return (
        stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & _OTHERS_WRITE
    )


@contextmanager
def open_directory(path: Path, *, create: bool) -> Iterator[int | None]:
    """A descriptor of the verified directory; None when it is not there and is not to be made.

    Raises ConfigError when it cannot be trusted.
    """
    if create:
        try:
            path.mkdir(0o700)
        except FileExistsError:
            pass
        except OSError as error:
            raise _make_error(path, f"cannot be made: {error.strerror}") from error
    try:
        descriptor = os.open(path, _FOLDER)
    except FileNotFoundError:
        yield None
        return
    except OSError as error:
        why = (
            "is a link, or not a directory" if error.errno in (errno.ELOOP, errno.ENOTDIR) else error.strerror
        )
        raise _make_error(path, f"cannot be used: it {why}") from error
    try:
        status = os.fstat(descriptor)
        if status.st_uid != os.getuid():
            raise _make_error(path, f"belongs to another user (uid {status.st_uid})")
        if status.st_mode & 0o077:
            os.fchmod(descriptor, 0o700)  # its files are verified one by one all the same
        yield descriptor
    finally:
        os.close(descriptor)


def _make_error(path: Path, what: str) -> ConfigError:
    return ConfigError("run directory", str(path), f"{what}; remove it, or set XDG_RUNTIME_DIR")


def open_file(folder: int, name: str, *, create: bool) -> int:
    """Return a descriptor of the file `name`; raises FileNotFoundError, or PermissionError if not ours."""
    flags = _FILE | (os.O_RDWR | os.O_CREAT if create else os.O_RDONLY)
    try:
        descriptor = os.open(name, flags, FILE_MODE, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link; a FIFO or socket
            raise PermissionError(f"{name} is no regular file") from error
        raise
    status = os.fstat(descriptor)
    own = stat.S_ISREG(status.st_mode) and status.st_uid == os.getuid() and status.st_nlink == 1
    if not own or status.st_mode & _OTHERS_WRITE:
        os.close(descriptor)
        raise PermissionError(f"{name} is not a file of this user alone")
    if status.st_mode & 0o077:
        os.fchmod(descriptor, FILE_MODE)
    return descriptor
