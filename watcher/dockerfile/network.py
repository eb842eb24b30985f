"""Whether a step's commands, as written, can do without a network once the modules are there."""

from __future__ import annotations

import posixpath

from watcher.dockerfile.go_commands import GoCall, GoUsage, RunAnalysis
from watcher.dockerfile.spans import word_set
from watcher.dockerfile.state import StageStep

_COMPILE = frozenset({"build", "install", "vet", "list"})
_LOCAL_GO = frozenset({"version", "env", "fmt", "clean"})
_LOCAL_GIT = frozenset({"describe", "rev-parse", "log", "config", "status"})
_LOCAL = word_set(
    "[ : basename cat cd chgrp chmod chown cp cut date dirname du echo exit export false grep head id ln"
    " ls mkdir mv printf pwd rm rmdir sed set sha256sum sort strip tail test touch tr true umask uname"
    " unset upx wc size"
)


def needs_no_network(step: StageStep, analysis: RunAnalysis) -> bool:
    """Return whether the RUN only compiles: no download, no test, no unknown program, no `--network`."""
    if (
        step.one.flag("network") is not None
        or analysis.use is not GoUsage.GO
        or analysis.may_run_go
        or analysis.unclear
    ):
        return False
    if not any(call.sub in _COMPILE for call in analysis.calls):
        return False
    if any(not _stays_home(call) for call in analysis.calls):
        return False
    for command in analysis.others:
        name = posixpath.basename(command.name() or "")
        words = [word.text for word in command.words[1:]]
        if name not in _LOCAL and not (name == "git" and words and words[0] in _LOCAL_GIT):
            return False
    return True


def _stays_home(call: GoCall) -> bool:
    if call.sub in _LOCAL_GO:
        return True
    return call.sub in _COMPILE and not any(
        "@" in word.text or not word.literal for word in call.copy_operands()
    )
