"""Standard output that can neither stop nor end the program.

A stopped terminal (Ctrl-S), a pipe without a reader, a full disk or a closed terminal would block a write, or
make it fail. A thread writes the text instead. Lines that cannot be written are dropped and counted; once
writing works again, a line reports their number.
"""

from __future__ import annotations

import io
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TextIO

MOST_BYTES = 1_048_576  # that wait to be written; more is dropped
CLOSE_SECONDS = 2.0  # for the last of it, when the program ends


def report_lost(lines: int, reason: str) -> str:
    """Return the line about lost lines, for a person."""
    return f"… {lines} lines could not be written here: {reason}\n"


@dataclass(slots=True)
class _Lost:
    """Lines that are missing at this place."""

    lines: int
    reason: str


class Output(io.TextIOBase):
    """A text file. Its `write` never waits and never fails; `close` waits a moment for the rest."""

    def __init__(
        self,
        file: TextIO,
        report: Callable[[int, str], str] = report_lost,
        *,
        most_bytes: int = MOST_BYTES,
        close_seconds: float = CLOSE_SECONDS,
    ) -> None:
        """`report` returns the line about lost ones, from their number and the reason."""
        file.flush()
        self._descriptor = file.fileno()
        self._encoding = file.encoding or "utf-8"
        self._terminal = file.isatty()
        self._report, self._most_bytes, self._close_seconds = report, most_bytes, close_seconds
        self._waiting: deque[bytes | _Lost] = deque()
        self._size = 0  # of the text in it
        self._line_open = False  # what was written last did not end its line
        self._ending = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._write_all, name="output", daemon=True)
        self._thread.start()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """That of the file."""
        return self._encoding

    def isatty(self) -> bool:
        """Return whether a person sees it."""
        return self._terminal

    def fileno(self) -> int:
        """Return the descriptor that is written to."""
        return self._descriptor

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, text: str) -> int:
        """Hand `text` to the thread, or drop it when too much waits already."""
        data = text.encode(self._encoding, "replace")
        with self._changed:
            if self._size + len(data) > self._most_bytes:
                last = self._waiting[-1] if self._waiting else None
                if not isinstance(last, _Lost):
                    last = _Lost(0, "nobody reads it")
                    self._waiting.append(last)
                last.lines += data.count(b"\n")
            elif data:
                self._waiting.append(data)
                self._size += len(data)
                self._changed.notify_all()
        return len(text)

    def close(self) -> None:
        """Wait until everything is written, but not for long: perhaps the reader is gone."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        self._thread.join(self._close_seconds)
        super().close()

    def _write_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._size or self._ending)  # not for a report alone
                if not self._size:
                    return
                items = list(self._waiting)
                self._waiting.clear()
            lost = self._write_items(items)
            with self._changed:
                self._size -= sum(len(item) for item in items if isinstance(item, bytes))
                if lost is not None:
                    self._waiting.appendleft(lost)

    def _write_items(self, items: Iterable[bytes | _Lost]) -> _Lost | None:
        """Write until it fails; what is lost then."""
        lost = None
        for item in items:
            lines = item.lines if isinstance(item, _Lost) else item.count(b"\n")
            if lost is not None:
                lost.lines += lines
                continue
            data = item if isinstance(item, bytes) else self._report_of(item)
            left, reason = self._write_part(data)
            if left:
                lost = _Lost(lines if isinstance(item, _Lost) else left.count(b"\n"), reason)
        return lost

    def _report_of(self, lost: _Lost) -> bytes:
        text = self._report(lost.lines, lost.reason).encode(self._encoding, "replace")
        return b"\n" + text if self._line_open else text

    def _write_part(self, data: bytes) -> tuple[bytes, str]:
        """Write as much of `data` as can be; what is left of it, and why."""
        while data:
            try:
                count = os.write(self._descriptor, data)
            except OSError as error:
                return data, os.strerror(error.errno) if error.errno else str(error)
            if count:
                self._line_open = data[count - 1 : count] != b"\n"
            data = data[count:]
        return b"", ""
