"""Which text of a Dockerfile is built, and which one next when that failed. Pure decisions over a memory.

Whoever accelerates a Dockerfile must not make its user worse off. So a build that fails where the file as it
is might not is tried again, with less done to it:

- a compile step that was given no network gets one, unless the compiler itself has spoken;
- then, where go misses a module, the module cache of ours is left out: a mount hides what the image holds at
  its place, such as private modules that somebody put there;
- then the file is built as it is, if a step that was changed had begun, or the text was not even understood.

Each is tried once for one and the same failure: a user who saves ten times with the same mistake waits for
the slow build once. What helped twice in a row is done from then on: such a file gets no module cache, or is
left alone.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

from watcher import regex
from watcher.errors import Failure

_STRIKES = 2
# What go, git and the resolvers of libc say when there is no network.
_NO_NETWORK = regex.compile(
    r"dial (?:tcp|udp)|no such host|name resolution|[Nn]etwork is unreachable|resolve host|proxyconnect"
    r"|toolchain not available"
)
# go prints a heading, `# import/path`, above what compiler, assembler, linker and vet say of a package. What
# it says without one it found while it looked for packages and modules.
_HEADING = regex.compile(r"# \S")
# Of that, what no module that is there or is not there can change: the tree itself is wrong.
_OF_THE_TREE = regex.compile(
    r"no required module provides package|is not in std|expected |import cycle not allowed"
    r"|use of internal package|found packages |malformed import path|string literal not terminated"
    r"|build constraints exclude all Go files"
)
# What go says when it misses a module, or a file of one.
_MODULE = regex.compile(
    r"@v\d|\bmodules?\b|GOPROXY|GOFLAGS|GONOSUMDB|GONOSUMCHECK|GOPRIVATE|go\.sum|go\.mod|sumdb|pkg/mod"
    r"|unrecognized import path|cannot find package|no matching versions|git ls-remote"
)
_NUMBERS = regex.compile(r"\d+")


class BuildStrategy(StrEnum):
    """What is done to the Dockerfile's text."""

    OFFLINE = "accelerated, compiling without a network"
    ACCELERATED = "accelerated"
    OWN_MODULES = "accelerated, with the modules where the Dockerfile has them"
    PLAIN = "as it is"


@dataclass(frozen=True, slots=True)
class FailedBuild:
    """A failed build. `step` is empty when none began; `touched`: a step that was changed had begun.

    `modules_mounted`: a module cache of ours was where an image, or a layer, may hold modules.
    """

    failure: Failure
    step: str
    reason: str
    touched: bool
    modules_mounted: bool

    @property
    def misread(self) -> bool:
        """Whether the frontend did not understand the text."""
        return not self.step and "parse" in self.reason

    @property
    def key(self) -> tuple[str, str]:
        """What makes it the same failure again, numbers left out: they are of processes and folders."""
        return self.step, _NUMBERS.sub("#", self.failure.summary)

    @property
    def of_the_tree(self) -> bool:
        """Whether the compiler has spoken, or go of what stands in the tree: the user's own mistake."""
        if self.failure.kind != "compile":
            return False
        if any(_HEADING.match(line) for line in self.failure.lines):
            return True
        places = self.failure.diagnostics
        said = [place.message for place in places] if places else [self.failure.summary]
        return all(_OF_THE_TREE.search(each) for each in said)

    @property
    def lacks_module(self) -> bool:
        """Whether it may be that a module is missing which the module cache of ours hides."""
        lines = (self.reason, self.failure.summary, *self.failure.lines)
        return self.modules_mounted and any(_MODULE.search(line) for line in lines)

    @property
    def lacks_network(self) -> bool:
        """Whether it looks as if something could not be reached."""
        return any(_NO_NETWORK.search(line) for line in (self.reason, *self.failure.lines))


class StrategyHistory:
    """What the builds of one service have taught; forgotten with the process.

    `text` is always the Dockerfile as the user has it, `modules` a digest over what names the modules.
    """

    def __init__(self) -> None:
        self._modules: str | None = None  # those that are in the cache, as far as is known
        self._strikes: Counter[str] = Counter()  # text -> times that it built only as it is, in a row
        self._module_strikes: Counter[str] = Counter()  # text -> only without a module cache of ours
        self._offline_strikes: Counter[str] = Counter()
        self._tried: set[tuple[BuildStrategy, str, tuple[str, str]]] = set()

    def first_strategy(self, text: str, modules: str) -> BuildStrategy:
        """What to begin with."""
        if self._strikes[text] >= _STRIKES:
            return BuildStrategy.PLAIN
        if self._module_strikes[text] >= _STRIKES:
            return BuildStrategy.OWN_MODULES
        there = self._modules == modules and self._offline_strikes[text] < _STRIKES
        return BuildStrategy.OFFLINE if there else BuildStrategy.ACCELERATED

    def next_strategy(self, strategy: BuildStrategy, text: str, failed: FailedBuild) -> BuildStrategy | None:
        """What to try now that `strategy` failed; None: nothing, the failure is the user's."""
        if strategy is BuildStrategy.OFFLINE and (failed.lacks_network or failed.misread):
            return BuildStrategy.ACCELERATED  # every time: the network may be back
        if failed.of_the_tree or strategy is BuildStrategy.PLAIN or not (failed.touched or failed.misread):
            return None
        other = BuildStrategy.PLAIN
        if failed.lacks_module and strategy is not BuildStrategy.OWN_MODULES:
            other = BuildStrategy.OWN_MODULES
        elif strategy is BuildStrategy.OFFLINE:
            other = BuildStrategy.ACCELERATED
        mark = (other, text, failed.key)
        if mark in self._tried:
            return None
        self._tried.add(mark)
        return other

    def record_success(
        self, strategy: BuildStrategy, text: str, modules: str, *, after: BuildStrategy | None
    ) -> None:
        """`strategy` gave an image; `after` is the strategy that failed before it in the same build."""
        # It was not tried in vain, so the same failure is worth it again.
        self._tried = {mark for mark in self._tried if mark[:2] != (strategy, text)}
        if strategy is BuildStrategy.PLAIN:
            self._strikes[text] += after is not None
            return
        self._strikes[text] = 0
        if strategy is BuildStrategy.OWN_MODULES:
            self._module_strikes[text] += after is not None
            return
        self._module_strikes[text] = 0
        self._modules = modules
        if after is BuildStrategy.OFFLINE:
            self._offline_strikes[text] += 1
        elif strategy is BuildStrategy.OFFLINE:
            self._offline_strikes[text] = 0

    def skips_module_cache(self, text: str) -> bool:
        """Whether this file gets no module cache from now on."""
        return self._module_strikes[text] >= _STRIKES

    def builds_original(self, text: str) -> bool:
        """Whether this file is built as it is from now on."""
        return self._strikes[text] >= _STRIKES
