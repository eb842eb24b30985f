"""The fast path of the commands for a running daemon: no settings, no parser of them.

Building the parser of all settings takes several times as long as the answer. People and scripts give few
arguments to these commands. For anything else (another option, a wrong value, a setting in the environment, a
request for help) `parse_arguments` returns None, and `cli.main` takes over.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from watcher.cli import remote
from watcher.cli.ending import exit_on_failure, make_printable
from watcher.errors import ConfigError

PREFIX = "WATCHER_"
TOML_NAME = "watcher.toml"
MAX_TOML = 1 << 20  # bytes; a larger file is refused by the settings
_SOURCES = ("build", "container")
_MAX_TAIL = 4000

# Switches, and options with a value, by command. All have --json; all but `list` --project and --service.
_SWITCHES: Mapping[str, Mapping[str, str]] = {
    "status": {"--follow": "follow", "-f": "follow", "--watch": "follow"},
    "logs": {"--follow": "follow", "-f": "follow"},
    "wait": {},
    "rebuild": {"--wait": "wait"},
    "cancel": {},
    "pause": {},
    "resume": {},
    "upgrade": {},
    "list": {},
}
_UP_SECONDS = 600.0  # default of `watcher up --timeout`
_VALUES: Mapping[str, Sequence[str]] = {
    "logs": ("--tail", "--source"),
    "wait": ("--timeout", "--start-timeout"),
    "rebuild": ("--timeout",),
}


@dataclass(frozen=True, slots=True)
class Target:
    """The project and the service that a command is about."""

    project: Path
    service: str | None = None

    @property
    def root(self) -> Path:
        """Return the absolute project folder; raises ConfigError if it is relative to a deleted folder."""
        try:
            return self.project.expanduser().resolve()
        except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links; no home folder
            raise ConfigError("project", str(self.project), f"cannot be resolved: {error}") from error


@dataclass(slots=True)
class Invocation:
    """A command and its given options."""

    command: str
    switches: set[str] = field(default_factory=set)
    values: dict[str, str] = field(default_factory=dict)

    @property
    def as_json(self) -> bool:
        """Return whether the output is JSON."""
        return "json" in self.switches

    def get_seconds(self, name: str) -> float | None:
        """Return a duration, or None if it is not given."""
        return float(self.values[name]) if name in self.values else None


def parse_arguments(arguments: Sequence[str], environ: Mapping[str, str]) -> Invocation | None:
    """Return the command with its options, or None if `cli.main` has to parse it."""
    command = arguments[0] if arguments else ""
    if command not in _SWITCHES or _has_settings(environ):
        return None
    invocation = Invocation(command)
    switches = {**_SWITCHES[command], **({} if command == "upgrade" else {"--json": "json"})}
    values = () if command == "list" else (*_VALUES.get(command, ()), "--project", "--service")
    rest = list(arguments[1:])
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if name in switches and not equals:
            invocation.switches.add(switches[name])
        elif name in values:
            if not equals:
                if not rest or rest[0].startswith("-"):
                    return None
                value = rest.pop(0)
            if not _is_valid(name, value):
                return None
            invocation.values[name] = value
        else:
            return None
    return invocation


def _has_settings(environ: Mapping[str, str]) -> bool:
    """Return whether the environment sets anything of ours except project and service."""
    known = {f"{PREFIX}PROJECT", f"{PREFIX}SERVICE"}
    return any(name.upper().startswith(PREFIX) and name not in known for name in environ)


def _is_valid(name: str, value: str) -> bool:
    if not value:
        return False
    match name:
        case "--timeout" | "--start-timeout":
            whole, _, part = value.partition(".")
            return value.isascii() and whole.isdecimal() and (not part or part.isdecimal())
        case "--tail":
            return value.isascii() and value.isdecimal() and len(value) < 6 and 1 <= int(value) <= _MAX_TAIL
        case "--source":
            return value in _SOURCES
    return True


def find_target(invocation: Invocation, environ: Mapping[str, str]) -> Target | None:
    """Return project and service, or None if `watcher.toml` is not what it should be.

    A watcher that runs has refused such a file and says so itself: it is asked, about all services.
    """
    given = invocation.values.get("--project") or environ.get(f"{PREFIX}PROJECT")
    project = Path(given) if given else remote.find_project_folder(Path())
    service = invocation.values.get("--service") or environ.get(f"{PREFIX}SERVICE")
    try:
        return Target(project, service or _read_service(project / TOML_NAME))
    except (OSError, ValueError, RecursionError):
        target = Target(project)
    try:
        return target if remote.is_running(target) else None
    except ConfigError:  # main reports it
        return None


def _read_service(path: Path) -> str | None:
    """Return the setting `service`, or None if there is none; raises ValueError or OSError."""
    if not path.exists():
        return None
    if not path.is_file() or path.stat().st_size > MAX_TOML:
        raise ValueError(f"{path} is not a regular file, or too large")
    document = tomllib.loads(path.read_text("utf-8"))
    service = document.get("service")
    if "project" in document or not isinstance(service, str | dict | None):
        raise ValueError(f"{path} is not accepted by the settings")
    return service or None if isinstance(service, str) else None  # a table: settings by service


def run_quickly(arguments: Sequence[str], environ: Mapping[str, str] | None = None) -> None:
    """Run the command and exit. Return if `cli.main` has to run it."""
    environ = os.environ if environ is None else environ
    if arguments[:1] == ["up"]:
        _run_up(arguments[1:], environ)
        return
    invocation = parse_arguments(arguments, environ)
    if invocation and invocation.command == "list":
        from watcher.cli.list_daemons import list_daemons  # noqa: PLC0415 - only if it runs

        make_printable()
        with exit_on_failure(as_json=invocation.as_json):
            raise SystemExit(list_daemons(as_json=invocation.as_json))
    target = find_target(invocation, environ) if invocation else None
    if invocation is None or target is None:
        return
    from watcher.cli import remote_commands  # noqa: PLC0415 - only if one runs

    as_json = invocation.as_json
    commands: Mapping[str, Callable[[], int]] = {
        "status": lambda: remote_commands.status(
            target, watch="follow" in invocation.switches, as_json=as_json
        ),
        "logs": lambda: remote_commands.logs(
            target,
            follow="follow" in invocation.switches,
            tail=int(invocation.values.get("--tail", 200)),
            source=invocation.values.get("--source"),
            as_json=as_json,
        ),
        "wait": lambda: remote_commands.wait(
            target,
            timeout=invocation.get_seconds("--timeout"),
            start_timeout=invocation.get_seconds("--start-timeout") or 0.0,
            as_json=as_json,
        ),
        "rebuild": lambda: remote_commands.rebuild(
            target,
            wait="wait" in invocation.switches,
            timeout=invocation.get_seconds("--timeout"),
            as_json=as_json,
        ),
        "upgrade": lambda: remote_commands.upgrade(target),
    }
    make_printable()
    with exit_on_failure(as_json=as_json):
        run_command = commands.get(
            invocation.command,
            lambda: remote_commands.request_action(target, invocation.command, as_json=as_json),
        )
        raise SystemExit(run_command())


def _run_up(arguments: Sequence[str], environ: Mapping[str, str]) -> None:
    """Run `watcher up` and exit. Return if `cli.main` has to: for help, or for a wrong option of its own.

    Settings are passed on as they are: `watcher run` checks them.
    """
    from watcher.cli import background  # noqa: PLC0415 - only if it runs

    own, passed = background.split_arguments(arguments)
    asked_for_help = any(argument.startswith(("-h", "--help")) for argument in passed)
    wrong = any(name in own and not _is_valid(name, own[name]) for name in ("--timeout", "--project"))
    negated = any(name.startswith("--no-") for name in own)
    shortened = any("--detach".startswith(name) and len(name) > 2 for name in passed)
    project = own.get("--project") or environ.get(f"{PREFIX}PROJECT")
    target = find_target(Invocation("up", values={"--project": project or "."}), environ)
    if asked_for_help or wrong or negated or shortened or target is None:
        return
    as_json = "--json" in own
    make_printable()
    with exit_on_failure(as_json=as_json):
        status = background.up(
            Target(target.project),
            passed,
            detach="--detach" in own,
            timeout=float(own.get("--timeout", _UP_SECONDS)),
            as_json=as_json,
        )
        raise SystemExit(status)
