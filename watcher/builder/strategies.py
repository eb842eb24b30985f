"""Decide which variant of a Dockerfile to build, and which one after a failure. Pure decisions with a memory.

Acceleration must never make a build fail that works without it. So after a failure that the original file
might not have, the build is tried again with fewer changes:

- a compile step that got no network gets one, unless the compiler itself reported an error;
- then, if go misses a module, our module cache is left out: a mount hides what the image has in its place,
  such as private modules;
- then the original file is built, if a changed step had started or the frontend did not parse the text.

Each retry is made once for the same failure: a user who saves ten times with the same mistake waits for the
slow build once. If the same retry helps twice in a row, later builds start with it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

from watcher import regex
from watcher.errors import Failure

_STRIKES = 2
# Messages of go, git and the resolvers of libc without a network.
_NO_NETWORK = regex.compile(
    r"dial (?:tcp|udp)|no such host|name resolution|[Nn]etwork is unreachable|resolve host|proxyconnect"
    r"|toolchain not available"
)
# go prints a heading, `# import/path`, above the messages of compiler, assembler, linker and vet about a
# package. Messages without a heading are from loading packages and modules.
_HEADING = regex.compile(r"# \S")
# Messages of the latter kind that no missing module can cause: the tree itself is wrong.
_OF_THE_TREE = regex.compile(
    r"no required module provides package|is not in std|expected |import cycle not allowed"
    r"|use of internal package|found packages |malformed import path|string literal not terminated"
    r"|build constraints exclude all Go files"
)
# Messages of go about a missing module, or a missing file of one.
_MODULE = regex.compile(
    r"@v\d|\bmodules?\b|GOPROXY|GOFLAGS|GONOSUMDB|GONOSUMCHECK|GOPRIVATE|go\.sum|go\.mod|sumdb|pkg/mod"
    r"|unrecognized import path|cannot find package|no matching versions|git ls-remote"
)
_NUMBERS = regex.compile(r"\d+")


class BuildStrategy(StrEnum):
    """How a Dockerfile is changed."""

    OFFLINE = "accelerated, compiling without a network"
    ACCELERATED = "accelerated"
    OWN_MODULES = "accelerated, with the modules where the Dockerfile has them"
    PLAIN = "as it is"


@dataclass(frozen=True, slots=True)
class FailedBuild:
    """A failed build. `step` is empty if none started; `touched`: a changed step had started.

    `modules_mounted`: our module cache was mounted where an image, or a layer, can have modules.
    `registry_trouble`: a registry did not give an image, and may do so later.
    """

    failure: Failure
    step: str
    reason: str
    touched: bool
    modules_mounted: bool
    registry_trouble: bool = False

    @property
    def misread(self) -> bool:
        """Return whether the frontend could not parse the text."""
        return not self.step and "parse" in self.reason

    @property
    def key(self) -> tuple[str, str]:
        """Return the failure without numbers, which differ between two builds with the same failure."""
        return self.step, _NUMBERS.sub("#", self.failure.summary)

    @property
    def of_the_tree(self) -> bool:
        """Return whether the compiler, or go's loader, reported a mistake in the tree: it is the user's."""
        if self.failure.kind != "compile":
            return False
        if any(_HEADING.match(line) for line in self.failure.lines):
            return True
        places = self.failure.diagnostics
        said = [place.message for place in places] if places else [self.failure.summary]
        return all(_OF_THE_TREE.search(each) for each in said)

    @property
    def lacks_module(self) -> bool:
        """Return whether a module can be missing because our module cache hides it."""
        lines = (self.reason, self.failure.summary, *self.failure.lines)
        return self.modules_mounted and any(_MODULE.search(line) for line in lines)

    @property
    def lacks_network(self) -> bool:
        """Return whether the build seems to have missed a network."""
        return any(_NO_NETWORK.search(line) for line in (self.reason, *self.failure.lines))


class StrategyHistory:
    """Remembers which strategies worked for the builds of one service, as long as the process runs.

    `text` is always the original Dockerfile, `modules` a digest of the files that name the modules.
    """

    def __init__(self) -> None:
        self._modules: str | None = None  # those that are known to be in the cache
        self._strikes: Counter[str] = Counter()  # text -> builds in a row that worked only unchanged
        self._module_strikes: Counter[str] = Counter()  # text -> only without our module cache
        self._offline_strikes: Counter[str] = Counter()
        self._tried: set[tuple[BuildStrategy, str, tuple[str, str]]] = set()

    def first_strategy(self, text: str, modules: str) -> BuildStrategy:
        """Return the strategy to start with."""
        if self._strikes[text] >= _STRIKES:
            return BuildStrategy.PLAIN
        if self._module_strikes[text] >= _STRIKES:
            return BuildStrategy.OWN_MODULES
        there = self._modules == modules and self._offline_strikes[text] < _STRIKES
        return BuildStrategy.OFFLINE if there else BuildStrategy.ACCELERATED

    def next_strategy(self, strategy: BuildStrategy, text: str, failed: FailedBuild) -> BuildStrategy | None:
        """Return the strategy after `strategy` failed; None if the failure is the user's."""
        if strategy is BuildStrategy.OFFLINE and (failed.lacks_network or failed.misread):
            return BuildStrategy.ACCELERATED  # every time: the network can be back
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
        """Record that `strategy` built an image, after the strategy `after` failed in the same build."""
        # The retry helped, so the same failure deserves it again.
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
        """Return whether this file gets no module cache any more."""
        return self._module_strikes[text] >= _STRIKES

    def builds_original(self, text: str) -> bool:
        """Return whether this file is built unchanged from now on."""
        return self._strikes[text] >= _STRIKES
