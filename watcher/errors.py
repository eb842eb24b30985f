"""The errors of the program and what becomes of each.

======================  =========================================================================
`UserError`             the user's code or files are at fault: shown, last good serves, next save
`EngineUnavailable`     the engine does not answer: tried again with back-off, the wish is kept
`EngineTrouble`         the engine lacks something (its disk is full): tried again with back-off, told
`Superseded`            a newer save made this work pointless: counted, not an error to show
`ConfigError`           a setting is wrong: names field, value and rule; exit status 78
anything else           a bug: logged with its traceback, counted; the loop lives on
======================  =========================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

EXIT_FAILED = 1
EXIT_USAGE = 2  # as argparse
EXIT_NOT_RUNNING = 3  # as `status` of a service that is not running (LSB, systemctl)
EXIT_PAUSED = 4
EXIT_UNKNOWN = 5
EXIT_CONFIG = 78  # EX_CONFIG of sysexits.h
EXIT_TIMEOUT = 124  # as timeout(1)
EXIT_STOPPED = 130  # as a shell says it of Ctrl-C


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One place in a file: where (1-based; 0 when unknown) and what.

    `file` is relative to the project's folder if it is `known` to be one of the user's; if not, it is as the
    tool said it. `said` is what the tool said in any case.
    """

    file: str
    line: int
    column: int
    message: str
    said: str = ""
    known: bool = True


@dataclass(frozen=True, slots=True)
class Failure:
    """Why something of the user's failed: a sentence, the tool's own lines, places in files, a hint."""

    kind: str  # compile | build | container | config | engine | tree | bug
    summary: str
    lines: tuple[str, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()
    hint: str = ""


class WatcherError(Exception):
    """Base of every error that this program raises on purpose.

    `exit_status` is the exit status of a command that ends with it, `outcome` the word for it in JSON.
    """

    exit_status: int = EXIT_FAILED
    outcome: str = "failed"


class UsageError(WatcherError):
    """The command line cannot be used."""

    exit_status = EXIT_USAGE
    outcome = "usage"


class NotRunning(WatcherError):
    """No watcher runs for the project, or it does not answer."""

    exit_status = EXIT_NOT_RUNNING
    outcome = "not-running"


class UserError(WatcherError):
    """The user's code, Dockerfile or environment file failed; `failure` says how."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.summary)
        self.failure = failure


class EngineUnavailable(WatcherError):
    """The container engine does not answer; the work may be tried again later."""


class EngineTrouble(WatcherError):
    """The engine answers and lacks something, by no fault of the user's: tried again less and less often."""

    def __init__(self, trouble: str, hint: str = "") -> None:
        super().__init__(f"{trouble} on the engine's machine")
        self.hint = hint


class Superseded(WatcherError):
    """A newer revision is wanted; what was being done is pointless now."""


class ConfigError(WatcherError):
    """A setting cannot be used. `field` names it, `value` is what was given, `rule` what it must be."""

    exit_status = EXIT_CONFIG
    outcome = "config"

    def __init__(self, field: str, value: object, rule: str) -> None:
        shown = "" if value is None else f" = {value!r}"
        super().__init__(f"{field}{shown}: {rule}")
        self.field = field
        self.value = value
        self.rule = rule


class ConfigErrors(ConfigError):
    """Several things that cannot be used, all said at once."""

    def __init__(self, errors: Sequence[ConfigError]) -> None:
        first = errors[0]
        super().__init__(first.field, first.value, first.rule)
        self.args = ("; ".join(str(error) for error in errors),)


class SeveralErrors(WatcherError):
    """Several errors at once; the first one decides the exit status."""

    def __init__(self, errors: Sequence[WatcherError]) -> None:
        super().__init__("; ".join(str(error) for error in errors))
        self.exit_status, self.outcome = errors[0].exit_status, errors[0].outcome


def raise_all(errors: Sequence[WatcherError]) -> None:
    """Raise what was found wrong, as one error, a ConfigError if all are; return if there is nothing."""
    different = tuple({str(error): error for error in errors}.values())
    of_config = [error for error in different if isinstance(error, ConfigError)]
    if len(different) > 1:
        raise ConfigErrors(of_config) if len(of_config) == len(different) else SeveralErrors(different)
    for error in different:
        raise error
