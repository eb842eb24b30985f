"""Run the tests of a `RUN` in every build, although go's build cache is mounted there.

go keeps the result of a test that passed in its build cache and repeats it while what it saw of the test's
inputs is the same (`go help test`). It does not see files outside of the module, what a child process reads,
the network, or the time. In a build without our mount there is no cache, so every test runs; with it, a build
that has to fail would pass.

A call that is read gets `-count=1`. Where another program can run go (make, a script, `go run`), the
results are made to expire: go takes none that is older than the time in `testexpire.txt` in the cache, which
is how `go clean -testcache` works (cmd/go/internal/test), and puts no earlier time there itself.
"""

from __future__ import annotations

from watcher.dockerfile.go_commands import GoCall, RunAnalysis
from watcher.dockerfile.gowrapper import before_all
from watcher.dockerfile.model import Instruction
from watcher.dockerfile.rewrite import get_goflags, with_flag
from watcher.dockerfile.spans import Edit
from watcher.dockerfile.state import StageState

_NEVER = 2**63 - 1  # ns; the latest time that go can hold
_RUN_OTHERS = frozenset({"run", "generate", "tool"})  # subcommands that start programs, which can call go
_REASON = "a test has to run in every build, and go would repeat its result out of the cache"


def run_tests(one: Instruction, analysis: RunAnalysis, state: StageState, cache: str) -> list[Edit]:
    """Make every test of this RUN run; `cache` is the folder of the mounted build cache."""
    tests = [call for call in analysis.calls if call.sub == "test"]
    hidden = analysis.may_run_go or analysis.unclear or analysis.sourced
    if hidden or any(call.sub in _RUN_OTHERS for call in analysis.calls):
        return [_expire_results(one, cache)]
    if any(call.command.inner for call in tests):  # nothing is put into a command substitution
        return [_expire_results(one, cache)]
    flags = [_flag_names(call, state) for call in tests]
    if any(known is None for known in flags):
        return [_expire_results(one, cache)]
    return [
        with_flag(call, "-count=1", _REASON)
        for call, known in zip(tests, flags, strict=True)
        if known is not None and "count" not in known
    ]


def _flag_names(call: GoCall, state: StageState) -> set[str] | None:
    """Return the names of the flags of a call, those of GOFLAGS among them; None when they are not known."""
    inherited = get_goflags(call, state)
    if inherited is None:
        return None
    given = {name.removeprefix("test.") for name, _, _ in call.flags()}
    return given | {word.lstrip("-").partition("=")[0] for word in inherited.split()}


def _expire_results(one: Instruction, cache: str) -> Edit:
    expire = f"{{ echo {_NEVER} >{cache}/testexpire.txt; }} 2>/dev/null || :; "
    return before_all(one, expire, _REASON)
