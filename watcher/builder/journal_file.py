"""The file of a journal: several processes append lines to it and replace it, under a lock file.

All functions block, so call them in a thread. Every function raises OSError.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LARGEST = 16 * 1024**2  # bytes that are read from the end of the file: a year of builds is smaller
LOCK_PATIENCE = 3.0  # seconds to wait for another process that holds the lock
_LOCK_POLL = 0.01  # seconds between two attempts to take the lock


class JournalSnapshot:
    """What the file held at one moment. Its descriptor stays open: no new file can get its inode number.

    If there was no file, `lines` are empty and `replace` creates it.
    """

    def __init__(self, path: Path, descriptor: int | None, patience: float) -> None:
        self._path, self._descriptor, self._patience = path, descriptor, patience
        self._size, self.lines = 0, list[str]()
        if descriptor is not None:
            self._size = os.fstat(descriptor).st_size
            text = _read(descriptor, max(0, self._size - LARGEST), self._size)
            self.lines = text.decode("utf-8", "replace").splitlines()

    def replace(self, lines: Iterable[str]) -> bool:
        """Replace what the snapshot shows with these lines, and keep what was appended since.

        Returns False and changes nothing if another process replaced the file since.
        """
        new = self._path.with_suffix(".new")
        text = "".join(f"{line}\n" for line in lines).encode()
        with _lock(self._path, self._patience):
            if not self._is_current():
                return False
            appended = self._appended()
            descriptor = os.open(new, _WRITE | os.O_TRUNC, 0o600)
            try:
                _write(descriptor, text + appended)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            new.replace(self._path)
        return True

    def _is_current(self) -> bool:
        if self._descriptor is None:
            return not self._path.exists()
        with suppress(FileNotFoundError):
            return os.path.samestat(self._path.stat(), os.fstat(self._descriptor))
        return False

    def _appended(self) -> bytes:
        if self._descriptor is None:
            return b""
        return _read(self._descriptor, self._size, os.fstat(self._descriptor).st_size)


_WRITE = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


def append_lines(path: Path, lines: Iterable[str], *, patience: float = LOCK_PATIENCE) -> None:
    """Append all of the lines or none; create the folder if it is missing."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _lock(path, patience):
        descriptor = os.open(path, _WRITE | os.O_APPEND, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            # A process that was killed while it wrote leaves a line without an end.
            whole = not size or os.pread(descriptor, 1, size - 1) == b"\n"
            text = "".join(f"{line}\n" for line in lines).encode()
            try:
                _write(descriptor, text if whole else b"\n" + text)
            except OSError:
                with suppress(OSError):
                    os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)


@contextmanager
def take_snapshot(path: Path, *, patience: float = LOCK_PATIENCE) -> Iterator[JournalSnapshot]:
    """Read the file; the lock is held while it is read, not while the context lasts."""
    descriptor: int | None = None
    try:
        with suppress(FileNotFoundError), _lock(path, patience):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        yield JournalSnapshot(path, descriptor, patience)
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _read(descriptor: int, start: int, end: int) -> bytes:
    parts = []
    while start < end and (part := os.pread(descriptor, end - start, start)):
        parts.append(part)
        start += len(part)
    return b"".join(parts)


def _write(descriptor: int, text: bytes) -> None:
    view = memoryview(text)
    while view:
        view = view[os.write(descriptor, view) :]


@contextmanager
def _lock(path: Path, patience: float) -> Iterator[None]:
    lock = os.open(path.with_suffix(".lock"), _WRITE, 0o600)
    try:
        until = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= until:
                    rule = f"another process has held {path.with_suffix('.lock')} for {patience:g} s"
                    raise OSError(errno.EAGAIN, rule) from None
                time.sleep(_LOCK_POLL)
        yield
    finally:
        os.close(lock)
