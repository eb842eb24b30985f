"""The short way into the commands that ask a running daemon, without the settings and their parser.

Making the parser of all settings takes several times as long as the answer. The arguments that people and
scripts give to these commands are few; for anything else (another option, a value that is wrong, a setting in
the environment, a request for help) `parse` gives None, and the whole command line decides.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from watcher.cli import remote
from watcher.cli.ending import ending, make_printable
from watcher.errors import ConfigError

PREFIX = "WATCHER_"
TOML_NAME = "watcher.toml"
MAX_TOML = 1 << 20  # bytes; a larger file is refused by the settings
_SOURCES = ("build", "container")
_MAX_TAIL = 4000

# Options that are on or off, and options with a value, by command; all have --json, --project and --service.
_SWITCHES: Mapping[str, Mapping[str, str]] = {
    "status": {"--follow": "follow", "-f": "follow", "--watch": "follow"},
    "logs": {"--follow": "follow", "-f": "follow"},
    "wait": {},
    "rebuild": {"--wait": "wait"},
    "cancel": {},
    "pause": {},
    "resume": {},
    "upgrade": {},
}
_VALUES: Mapping[str, Sequence[str]] = {
    "logs": ("--tail", "--source"),
    "wait": ("--timeout", "--start-timeout"),
    "rebuild": ("--timeout",),
}


@dataclass(frozen=True, slots=True)
class Where:
    """Which project and service are meant."""

    project: Path
    service: str | None = None

    @property
    def root(self) -> Path:
        """The project folder, absolute; raises ConfigError when it is relative to a folder that is gone."""
        try:
            return self.project.expanduser().resolve()
        except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links; no home folder
            raise ConfigError("project", str(self.project), f"cannot be resolved: {error}") from error


@dataclass(slots=True)
class Asked:
    """A command and its options, as far as they are given."""

    command: str
    switches: set[str] = field(default_factory=set)
    values: dict[str, str] = field(default_factory=dict)

    @property
    def as_json(self) -> bool:
        """Whether JSON is asked for."""
        return "json" in self.switches

    def seconds(self, name: str) -> float | None:
        """A duration that is given."""
        return float(self.values[name]) if name in self.values else None


def parse(arguments: Sequence[str], environ: Mapping[str, str]) -> Asked | None:
    """The command with its options; None where the whole command line has to look."""
    command = arguments[0] if arguments else ""
    if command not in _SWITCHES or _has_settings(environ):
        return None
    asked = Asked(command)
    switches = {**_SWITCHES[command], **({} if command == "upgrade" else {"--json": "json"})}
    values = (*_VALUES.get(command, ()), "--project", "--service")
    rest = list(arguments[1:])
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if name in switches and not equals:
            asked.switches.add(switches[name])
        elif name in values:
            if not equals:
                if not rest or rest[0].startswith("-"):
                    return None
                value = rest.pop(0)
            if not _is_good(name, value):
                return None
            asked.values[name] = value
        else:
            return None
    return asked


def _has_settings(environ: Mapping[str, str]) -> bool:
    """Whether the environment holds settings of ours beside the two that say what is meant."""
    known = {f"{PREFIX}PROJECT", f"{PREFIX}SERVICE"}
    return any(name.upper().startswith(PREFIX) and name not in known for name in environ)


def _is_good(name: str, value: str) -> bool:
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


def find_place(asked: Asked, environ: Mapping[str, str]) -> Where | None:
    """Which project and service are meant; None where `watcher.toml` cannot be read as it should be."""
    given = asked.values.get("--project") or environ.get(f"{PREFIX}PROJECT")
    project = Path(given) if given else remote.nearest(Path())
    service: Any = asked.values.get("--service") or environ.get(f"{PREFIX}SERVICE")
    if not service:
        try:
            path = project / TOML_NAME
            if path.exists():
                if not path.is_file() or path.stat().st_size > MAX_TOML:
                    return None
                document = tomllib.loads(path.read_text("utf-8"))
                service = document.get("service")
                if "project" in document:
                    return None
        except (OSError, ValueError):
            return None
    return Where(project, service or None) if service is None or isinstance(service, str) else None


def run(arguments: Sequence[str], environ: Mapping[str, str] | None = None) -> None:
    """Run the command and end the process; returns where the whole command line has to do it."""
    environ = os.environ if environ is None else environ
    asked = parse(arguments, environ)
    place = find_place(asked, environ) if asked else None
    if asked is None or place is None:
        return
    from watcher.cli import remote_commands  # noqa: PLC0415 - only where one is run

    as_json = asked.as_json
    commands: Mapping[str, Callable[[], int]] = {
        "status": lambda: remote_commands.status(place, watch="follow" in asked.switches, as_json=as_json),
        "logs": lambda: remote_commands.logs(
            place,
            follow="follow" in asked.switches,
            tail=int(asked.values.get("--tail", 200)),
            source=asked.values.get("--source"),
            as_json=as_json,
        ),
        "wait": lambda: remote_commands.wait(
            place,
            timeout=asked.seconds("--timeout"),
            start_timeout=asked.seconds("--start-timeout") or 0.0,
            as_json=as_json,
        ),
        "rebuild": lambda: remote_commands.rebuild(
            place, wait="wait" in asked.switches, timeout=asked.seconds("--timeout"), as_json=as_json
        ),
        "upgrade": lambda: remote_commands.upgrade(place),
    }
    make_printable()
    with ending(as_json=as_json):
        run_command = commands.get(
            asked.command, lambda: remote_commands.act(place, asked.command, as_json=as_json)
        )
        raise SystemExit(run_command())
