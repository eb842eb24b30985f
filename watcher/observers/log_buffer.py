"""The newest lines that builds and containers printed, kept in memory for page, API and `watcher logs`."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice

from watcher.observers.api_schema import LogLine
from watcher.observers.events import BuildStepOutput, ContainerOutput
from watcher.observers.printable import cut, printable

KEPT = 4000  # lines


class LogBuffer:
    """A ring of `LogLine`s. `last` is the number of the newest one (0: none yet)."""

    def __init__(self, kept: int = KEPT) -> None:
        self.last = 0
        self._ring: deque[LogLine] = deque(maxlen=kept)

    def add(self, event: BuildStepOutput | ContainerOutput) -> None:
        """Keep the lines of `event`."""
        for text in event.text.rstrip("\r\n").split("\n"):
            self.last += 1
            line = LogLine(
                seq=self.last,
                at=event.at,
                service=event.service,
                source="container",
                text=printable(cut(text.rstrip("\r"))),
            )
            if isinstance(event, BuildStepOutput):
                line.source, line.revision = "build", event.revision
                line.step, line.stage = event.step, event.stage
            else:
                line.container = event.container
            self._ring.append(line)

    def after(self, seq: int) -> list[LogLine]:
        """Return the kept lines with a number above `seq`, oldest first."""
        missed = min(max(0, self.last - seq), len(self._ring))
        return list(islice(self._ring, len(self._ring) - missed, None))

    def dropped(self, seq: int) -> bool:
        """Return whether a line with a number above `seq` is no longer kept."""
        return self.last - seq > len(self._ring)

    def tail(self, count: int, *, service: str = "", source: str = "", after: int = 0) -> list[LogLine]:
        """Return the newest `count` kept lines, oldest first; of one service or source where given."""

        def newest() -> Iterator[LogLine]:
            for line in reversed(self._ring):
                if line.seq <= after:
                    return
                if (not service or line.service == service) and (not source or line.source == source):
                    yield line

        return list(islice(newest(), count))[::-1]
