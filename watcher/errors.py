"""Define the errors of the program, and how each is handled.

======================  =========================================================================
`UserError`             the user's code or files failed: shown, the last good version stays live
`EngineUnavailable`     the engine does not answer: retried with back-off
`EngineTrouble`         the engine lacks a resource (its disk is full): reported, retried
`RegistryTrouble`       a registry does not answer, or breaks off: reported, retried
`Superseded`            a newer save made the work obsolete: counted, not shown as an error
`ConfigError`           a setting is invalid: names field, value and rule; exit status 78
anything else           a bug: logged with its traceback and counted; the loop continues
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
EXIT_STOPPED = 130  # as a shell reports Ctrl-C


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """A position in a file with a message; line and column start at 1, 0 is unknown.

    `file` is relative to the project folder if it is a `known` file of the user, otherwise the path that the
    tool printed. `said` is that path in every case.
    """

    file: str
    line: int
    column: int
    message: str
    said: str = ""
    known: bool = True


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the user's code, files or container failed: a summary, lines of output, positions and a hint."""

    kind: str  # compile | build | container | config | engine | tree | bug
    summary: str
    lines: tuple[str, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()
    hint: str = ""


class WatcherError(Exception):
    """Base of all errors that this program raises.

    `exit_status` is the exit status of a command that fails with it, `outcome` its name in JSON, `details`
    lines to show below it.
    """

    exit_status: int = EXIT_FAILED
    outcome: str = "failed"
    details: tuple[str, ...] = ()


class UsageError(WatcherError):
    """The command line is invalid."""

    exit_status = EXIT_USAGE
    outcome = "usage"


class NotRunning(WatcherError):
    """No watcher is running for the project, or it does not respond."""

    exit_status = EXIT_NOT_RUNNING
    outcome = "not-running"


class UserError(WatcherError):
    """The user's code, Dockerfile or environment file failed; `failure` has the details."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.summary)
        self.failure = failure


class EngineUnavailable(WatcherError):
    """The container engine does not respond; the work can be retried later."""


class EngineTrouble(WatcherError):
    """The engine lacks a resource, without a fault of the user; the work is retried with back-off."""

    def __init__(self, trouble: str, hint: str = "") -> None:
        super().__init__(f"{trouble} on the engine's machine")
        self.hint = hint


class RegistryTrouble(WatcherError):
    """An image could not be pulled for a reason that can pass; the pull is retried with back-off."""

    def __init__(self, text: str, hint: str = "") -> None:
        super().__init__(text)
        self.hint = hint


class Superseded(WatcherError):
    """A newer revision is desired; the current work is obsolete."""


class ConfigError(WatcherError):
    """A setting is invalid. `field` names it, `value` is the given value, `rule` is what it must be."""

    exit_status = EXIT_CONFIG
    outcome = "config"

    def __init__(self, field: str, value: object, rule: str) -> None:
        shown = "" if value is None else f" = {value!r}"
        super().__init__(f"{field}{shown}: {rule}")
        self.field = field
        self.value = value
        self.rule = rule


class ConfigErrors(ConfigError):
    """Several invalid settings in one error."""

    def __init__(self, errors: Sequence[ConfigError]) -> None:
        first = errors[0]
        super().__init__(first.field, first.value, first.rule)
        self.args = ("; ".join(str(error) for error in errors),)


class SeveralErrors(WatcherError):
    """Several errors in one; the first one decides the exit status."""

    def __init__(self, errors: Sequence[WatcherError]) -> None:
        super().__init__("; ".join(str(error) for error in errors))
        self.exit_status, self.outcome = errors[0].exit_status, errors[0].outcome


class PartlyApplied(WatcherError):
    """The new configuration is in force, except for these services, as the message explains."""

    def __init__(self, text: str, services: Sequence[str]) -> None:
        super().__init__(text)
        self.services = tuple(services)


def raise_all(errors: Sequence[WatcherError]) -> None:
    """Raise all `errors` as one, as a ConfigError if all are; return if there are none."""
    different = tuple({str(error): error for error in errors}.values())
    of_config = [error for error in different if isinstance(error, ConfigError)]
    if len(different) > 1:
        raise ConfigErrors(of_config) if len(of_config) == len(different) else SeveralErrors(different)
    for error in different:
        raise error
