"""Which text of a Dockerfile is built, and which one next when that failed. Pure decisions over a memory.

Whoever accelerates a Dockerfile must not make its user worse off. So a build that fails where the file as it
is might not is tried again, with less done to it:

- a compile step that was given no network gets one, unless the compiler itself has spoken;
- then the file is built as it is, if a step that was changed had begun, or the text was not even understood.

Each is tried once for one and the same failure: a user who saves ten times with the same mistake waits for
the slow build once. A file that failed twice in a row when accelerated, and built as it is, is left alone.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

from watcher.failure import Failure

_STRIKES = 2
# What go, git and the resolvers of libc say when there is no network.
_NO_NETWORK = re.compile(
    r"dial (?:tcp|udp)|no such host|name resolution|[Nn]etwork is unreachable|resolve host|proxyconnect"
    r"|toolchain not available"
)


class Way(StrEnum):
    """What is done to the Dockerfile's text."""

    OFFLINE = "accelerated, compiling without a network"
    ACCELERATED = "accelerated"
    PLAIN = "as it is"


@dataclass(frozen=True, slots=True)
class Failed:
    """A failed build. `step` is empty when none began; `touched`: a step that was changed had begun."""

    failure: Failure
    step: str
    reason: str
    touched: bool

    @property
    def misread(self) -> bool:
        """Whether the frontend did not understand the text."""
        return not self.step and "parse" in self.reason

    @property
    def key(self) -> tuple[str, str]:
        """What makes it the same failure again, numbers left out: they are of processes and folders."""
        return self.step, re.sub(r"\d+", "#", self.failure.summary)

    @property
    def lacks_network(self) -> bool:
        """Whether it looks as if something could not be reached."""
        return any(_NO_NETWORK.search(line) for line in (self.reason, *self.failure.lines))


class Experience:
    """What the builds of one service have taught; forgotten with the process.

    `text` is always the Dockerfile as the user has it, `modules` a digest over what names the modules.
    """

    def __init__(self) -> None:
        self._modules: str | None = None  # those that are in the cache, as far as is known
        self._strikes: Counter[str] = Counter()  # text -> times that it built only as it is, in a row
        self._offline_strikes: Counter[str] = Counter()
        self._tried: set[tuple[Way, str, tuple[str, str]]] = set()

    def first(self, text: str, modules: str) -> Way:
        """What to begin with."""
        if self._strikes[text] >= _STRIKES:
            return Way.PLAIN
        there = self._modules == modules and self._offline_strikes[text] < _STRIKES
        return Way.OFFLINE if there else Way.ACCELERATED

    def next(self, way: Way, text: str, failed: Failed) -> Way | None:
        """What to try now that `way` failed; None: nothing, the failure is the user's."""
        compiler = failed.failure.kind == "compile"
        if way is Way.OFFLINE and (failed.lacks_network or failed.misread):
            return Way.ACCELERATED  # every time: the network may be back
        if compiler or way is Way.PLAIN or not (failed.touched or failed.misread):
            return None
        other = Way.ACCELERATED if way is Way.OFFLINE else Way.PLAIN
        mark = (other, text, failed.key)
        if mark in self._tried:
            return None
        self._tried.add(mark)
        return other

    def went_well(self, way: Way, text: str, modules: str, *, after: Way | None) -> None:
        """`way` gave an image; `after` is the way that failed before it in the same build."""
        # It was not tried in vain, so the same failure is worth it again.
        self._tried = {mark for mark in self._tried if mark[:2] != (way, text)}
        if way is Way.PLAIN:
            self._strikes[text] += after is not None
            return
        self._strikes[text] = 0
        self._modules = modules
        if after is Way.OFFLINE:
            self._offline_strikes[text] += 1
        elif way is Way.OFFLINE:
            self._offline_strikes[text] = 0

    def leaves_alone(self, text: str) -> bool:
        """Whether this file is built as it is from now on."""
        return self._strikes[text] >= _STRIKES
