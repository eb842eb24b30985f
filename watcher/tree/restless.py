"""Find files that change all the time, such as a log in the build context: each change causes a build."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from watcher.observers.events import Change
from watcher.tree.diff import FileKind

TIMES = 12
WITHIN = 60.0  # seconds; more often than a person saves one file


class RestlessFiles:
    """Finds the files that change `TIMES` times within `WITHIN` seconds. Each is named once."""

    def __init__(self) -> None:
        self._times: dict[str, deque[float]] = {}
        self._named: set[str] = set()

    def add(self, changes: Iterable[Change], now: float) -> list[str]:
        """Count changes found at `now` (monotonic seconds); return a sentence for each new restless file."""
        recent = {path: times for path, times in self._times.items() if now - times[-1] < WITHIN}
        found = []
        for change in changes:
            if change.kind == FileKind.OTHER and change.path not in self._named:
                times = recent.setdefault(change.path, deque(maxlen=TIMES))
                times.append(now)
                if len(times) == TIMES and now - times[0] < WITHIN:
                    found.append(change.path)
        self._times = recent
        return self.name(found)

    def name(self, paths: Iterable[str]) -> list[str]:
        """Return a sentence for each of these files that was not named before."""
        new = [path for path in paths if path not in self._named]
        self._named.update(new)
        return [
            f"{path} changes all the time, and each change is built: "
            "if the image does not need it, add it to the ignore file or to watch.ignore"
            for path in new
        ]
