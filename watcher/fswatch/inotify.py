"""Events of the Linux kernel: one watch for each directory that matters, all on one watchdog thread.

watchdog's `Observer` either watches a root with everything below it, also what is ignored, or takes a thread
for each directory; and it holds a rename back for half a second to pair it. `InotifyFD`, the layer below it,
does none of that: one descriptor, one thread, a callback for each watch. It is used directly.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import threading
from collections.abc import Collection
from pathlib import Path

from watcher.fswatch.backend import EventsUnavailable
from watcher.fswatch.inbox import Act, Inbox
from watcher.fswatch.inotify_share import InotifyShare
from watcher.fswatch.watchdog_inotify import (
    CallbackId,
    InotifyConstants,
    InotifyEvent,
    InotifyFD,
    Mask,
    WatchDescriptor,
)
from watcher.tree import is_outside

_log = logging.getLogger(__name__)

# Never IN_OPEN, IN_ACCESS or IN_CLOSE_NOWRITE: the scan itself, and every build, reads the tree.
_MASK = (
    InotifyConstants.IN_CREATE
    | InotifyConstants.IN_DELETE
    | InotifyConstants.IN_MODIFY
    | InotifyConstants.IN_CLOSE_WRITE
    | InotifyConstants.IN_ATTRIB
    | InotifyConstants.IN_MOVED_FROM
    | InotifyConstants.IN_MOVED_TO
    | InotifyConstants.IN_DELETE_SELF
    | InotifyConstants.IN_MOVE_SELF
    | InotifyConstants.IN_ONLYDIR
    | InotifyConstants.IN_EXCL_UNLINK
)
# The mask of a watch that exists stays as it is: another source can be probing that directory.
_ADDED = _MASK | InotifyConstants.IN_MASK_ADD
_REMOVED = InotifyConstants.IN_DELETE | InotifyConstants.IN_MOVED_FROM
_WRITTEN = InotifyConstants.IN_CREATE | InotifyConstants.IN_MODIFY
_CLOSED = InotifyConstants.IN_CLOSE_WRITE | InotifyConstants.IN_MOVED_TO
_REPLACED = _REMOVED | InotifyConstants.IN_CREATE | InotifyConstants.IN_MOVED_TO
_ROOT_LOST = InotifyConstants.IN_DELETE_SELF | InotifyConstants.IN_MOVE_SELF | InotifyConstants.IN_UNMOUNT
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
_LIMITS = Path("/proc/sys/fs/inotify")


class Inotify:
    """Watches single directories below `base`. `watch`, `probe` and `forget` are for one thread at a time."""

    def __init__(self, base: str, inbox: Inbox, share: InotifyShare | None = None) -> None:
        """`share` lends the descriptor, to others too; without it there is one for this alone."""
        self._base = base
        self._inbox = inbox
        self._share = share or InotifyShare()
        self._lock = threading.Lock()
        self._callbacks: dict[str, _WatchCallback] = {}
        self._stale: set[str] = set()
        self._fd: InotifyFD | None = None

    def start(self) -> None:
        """Open the descriptor. Raises EventsUnavailable when the user's instances are used up."""
        try:
            self._fd = self._share.borrow()
        except OSError as error:
            raise EventsUnavailable(_explain_error(error, 0)) from error

    def stop(self) -> None:
        """Remove all watches, and give the descriptor back."""
        self.forget()
        fd, self._fd = self._fd, None
        if fd is not None:
            self._share.give_back(fd)

    def watch(self, directories: Collection[str]) -> frozenset[str]:
        """Watch exactly these directories from now on; return those that were not watched before.

        A directory that is gone is skipped: its parent has an event. Raises EventsUnavailable if a limit of
        the kernel is reached; then nothing is watched, to leave watches to other programs of this user.
        """
        fd = self._running_fd()
        with self._lock:
            stale = {path for path in self._callbacks if path in self._stale or _is_below(path, self._stale)}
            self._stale.clear()
            gone = [self._callbacks.pop(path) for path in self._callbacks.keys() - (set(directories) - stale)]
            missing = sorted(set(directories) - self._callbacks.keys())
        fd.remove_callbacks([(callback.descriptor, callback.id) for callback in gone])
        added = []
        for path in missing:
            try:
                if self._add_watch(fd, path):
                    added.append(path)
            except OSError as error:
                self.forget()
                raise EventsUnavailable(_explain_error(error, len(directories))) from error
        return frozenset(added)

    def forget(self) -> None:
        """Remove all watches."""
        with self._lock:
            callbacks = list(self._callbacks.values())
            self._callbacks.clear()
            self._stale.clear()
        if self._fd is not None:
            self._fd.remove_callbacks([(callback.descriptor, callback.id) for callback in callbacks])

    def probe(self, timeout: float) -> bool:
        """Return whether an event caused on purpose arrives within `timeout` seconds; blocks until then.

        The root directory is opened for reading while its watch includes this event. Nothing is written: it
        works on a read-only mount, and changes neither git's status nor the build context.
        """
        fd = self._running_fd()
        probing = _WatchCallback(self, "", self._share.next_id())
        probing.opened = opened = threading.Event()
        try:
            with self._share.lock:
                found = probing.listen(fd, self._root_path, _MASK | InotifyConstants.IN_OPEN)
                self._share.begin_probe(probing.descriptor)
        except OSError as error:
            return self._fail_probe(error)
        try:
            os.close(os.open(self._root_path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            heard = opened.wait(timeout)
        except OSError as error:
            return self._fail_probe(error)
        finally:
            self._end_probe(fd, probing)
        return heard and found

    def _fail_probe(self, error: OSError) -> bool:
        if error.errno in _GONE:
            self._inbox.record_root_lost()
            return False
        raise EventsUnavailable(_explain_error(error, len(self._callbacks))) from error

    def _end_probe(self, fd: InotifyFD, probing: _WatchCallback) -> None:
        """Restore the mask of the root's watch, unless another source still probes it."""
        # A watch has one mask, that of the last call, which needs a callback of its own.
        plain: _WatchCallback | None = None
        with self._share.lock:
            if self._share.end_probe(probing.descriptor):
                plain = _WatchCallback(self, "", self._share.next_id())
                with contextlib.suppress(OSError):
                    plain.listen(fd, self._root_path, _MASK)
        removed = [probing]
        with self._lock:
            old = self._callbacks.get("")
            if plain and old and old.descriptor == plain.descriptor:
                self._callbacks[""] = plain
                removed.append(old)
            elif plain:
                removed.append(plain)
        fd.remove_callbacks([(each.descriptor, each.id) for each in removed if each.descriptor != -1])
        if old is not None and old.descriptor != probing.descriptor:
            self._inbox.record_root_lost()  # another directory replaced the root

    @property
    def _root_path(self) -> bytes:
        return os.fsencode(self._base)

    def _running_fd(self) -> InotifyFD:
        if self._fd is None or not self._fd.is_alive():
            raise EventsUnavailable("the thread that reads inotify has ended")
        return self._fd

    def _add_watch(self, fd: InotifyFD, path: str) -> bool:
        callback = _WatchCallback(self, path, self._share.next_id())
        mask = _ADDED if not path or is_outside(path) else _ADDED | InotifyConstants.IN_DONT_FOLLOW
        with self._lock:
            self._callbacks[path] = callback
        try:
            if callback.listen(fd, os.path.join(self._root_path, os.fsencode(path)), mask):  # noqa: PTH118 - bytes
                return True
        except OSError as error:
            if error.errno not in _GONE:
                raise
        self.forget_watch(callback)
        return False

    # Called in watchdog's thread.

    def pass_event(self, callback: _WatchCallback, event: InotifyEvent) -> None:
        """Pass an event on to the inbox."""
        mask = event.mask
        if not event.name:
            if mask & _ROOT_LOST and not callback.directory:
                self._inbox.record_root_lost()
            return
        name = os.fsdecode(event.name)
        is_dir = bool(mask & InotifyConstants.IN_ISDIR)
        if is_dir and mask & _REPLACED:
            with self._lock:  # the watched directory, if any, can have been replaced
                self._stale.add(f"{callback.directory}/{name}" if callback.directory else name)
        if mask & _REMOVED:
            act = Act.REMOVED
        elif mask & _CLOSED:
            act = Act.CLOSED
        elif mask & _WRITTEN:
            act = Act.WRITTEN
        elif mask & InotifyConstants.IN_ATTRIB:
            act = Act.CHANGED
        else:
            return
        self._inbox.record_event(callback.directory, name, act, is_dir=is_dir)

    def forget_watch(self, callback: _WatchCallback) -> None:
        """Forget a watch that the kernel removed."""
        with self._lock:
            known = self._callbacks.get(callback.directory) is callback
            if known:
                del self._callbacks[callback.directory]
        if known and not callback.directory:
            self._inbox.record_root_lost()

    def record_overflow(self) -> None:
        """Record that the kernel's queue overflowed."""
        self._inbox.record_overflow()


class _WatchCallback:
    """The callback of one watch. It lets no exception out, which would end the thread for all."""

    __slots__ = ("_owner", "descriptor", "directory", "id", "opened")

    def __init__(self, owner: Inotify, directory: str, number: CallbackId) -> None:
        self.directory = directory
        self.id = number
        self.descriptor = WatchDescriptor(-1)
        self.opened: threading.Event | None = None
        self._owner = owner

    def listen(self, fd: InotifyFD, path: bytes, mask: int) -> bool:
        """Watch `path`; return False if it cannot be read (watchdog ignores this). Raises OSError."""
        self.descriptor = fd.add_callback(path, Mask(mask), self, self.id)
        if self.descriptor != -1:
            return True
        fd.remove_callbacks([(self.descriptor, self.id)])
        return False

    def on_event(self, event: InotifyEvent) -> None:
        try:
            if self.opened is None:
                self._owner.pass_event(self, event)
            elif event.is_open and not event.name:
                self.opened.set()
        except Exception:
            _log.exception("an event of %r could not be handled", self.directory)
            self._owner.record_overflow()

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:
        if self.opened is None and wd == self.descriptor:
            self._owner.forget_watch(self)

    def on_queue_overflow(self) -> None:
        self._owner.record_overflow()


def _is_below(path: str, directories: Collection[str]) -> bool:
    """Return whether the path is below one of the directories."""
    while path:
        path = path.rpartition("/")[0]
        if path in directories:
            return True
    return False


def _explain_error(error: OSError, needed: int) -> str:
    """Return the message for a failed call of inotify, with the remedy."""
    if error.errno == errno.ENOSPC:
        return (
            f"inotify's limit of {_limit('max_user_watches')} watches for this user is reached and {needed} "
            "directories need one each; raise it with: sudo sysctl fs.inotify.max_user_watches=524288"
        )
    if error.errno == errno.EMFILE:
        return (
            f"inotify's limit of {_limit('max_user_instances')} instances for this user (or the process's of "
            "open files) is reached; raise it with: sudo sysctl fs.inotify.max_user_instances=1024"
        )
    return f"inotify cannot watch: {error.strerror}"


def _limit(name: str) -> str:
    try:
        return (_LIMITS / name).read_text().strip()
    except OSError:
        return "an unknown number of"
