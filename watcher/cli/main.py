"""The command line: one class per command, all with the same settings."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Annotated, Literal, NoReturn

from pydantic import AliasChoices, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    CliApp,
    CliSettingsSource,
    CliSubCommand,
    SettingsConfigDict,
    SettingsError,
)

from watcher import __version__
from watcher.cli import commands, remote, remote_commands
from watcher.cli.ending import ending, make_printable
from watcher.cli.help import Help, arrange
from watcher.cli.monitoring import write_monitoring
from watcher.errors import UsageError, WatcherError
from watcher.settings import Seconds, Settings, check_environment, config_error

_ALL = "all"  # what `--gone` without a value stands for; no project's id looks like that


def _exit(status: int) -> NoReturn:
    sys.exit(status)


class Run(Settings):
    """Keep the container equal to the tree until Ctrl-C: watch, build, deploy, prune.

    The first Ctrl-C (or SIGTERM) ends in good order, the second one at once.
    """

    def cli_cmd(self) -> None:
        """Run the command."""
        _exit(commands.run(self))


class Once(Settings):
    """Build and deploy the tree as it is now, then end; the container publishes its port itself.

    Exit status: 0 it is live, 1 it failed, 78 a setting is wrong.
    """

    def cli_cmd(self) -> None:
        """Run the command."""
        _exit(commands.once(self))


class _Asking(Settings):
    """A command that asks a running watcher: from a subfolder of its project, too."""

    @classmethod
    def default_project(cls) -> Path:
        """The folder, here or above, that a watcher runs for; the current one when there is none."""
        return remote.nearest(super().default_project())


class Status(_Asking):
    """Show the state of the running watcher: the desired, building, live and failed revisions."""

    as_json: bool = Field(default=False, validation_alias="json")
    """Print the whole status document as JSON."""
    follow: bool = Field(default=False, validation_alias=AliasChoices("f", "follow"))
    """Show it anew whenever it changes, until Ctrl-C; --watch is the same."""

    def cli_cmd(self) -> None:
        """Run the command."""
        _exit(remote_commands.status(self, watch=self.follow, as_json=self.as_json))


class Logs(_Asking):
    """Show what builds and the containers printed; with -f go on, also when containers are replaced."""

    follow: bool = Field(default=False, validation_alias=AliasChoices("f", "follow"))
    """Go on with what is printed from now on, until Ctrl-C."""
    tail: Annotated[int, Field(ge=1, le=4000)] = 200
    """Newest lines to begin with."""
    source: Literal["build", "container"] | None = None
    """Only lines of builds, or of containers."""
    as_json: bool = Field(default=False, validation_alias="json")
    """One JSON object per line."""

    def cli_cmd(self) -> None:
        """Run the command."""
        _exit(
            remote_commands.logs(
                self, follow=self.follow, tail=self.tail, source=self.source, as_json=self.as_json
            )
        )


class Wait(_Asking):
    """Wait until exactly the tree as it is on disk now is live.

    Exit status: 0 it is live, 1 it failed (the error is printed), 3 no watcher is running, 4 it is paused,
    5 the tree cannot be read, 124 the time is up.
    """

    timeout: Seconds | None = None
    """Seconds to wait at most; default: no limit."""
    start_timeout: Seconds = 0.0
    """Seconds to wait for a watcher to start, if none is running."""
    as_json: bool = Field(default=False, validation_alias="json")
    """Print the result as JSON."""

    def cli_cmd(self) -> None:
        """Run the command."""
        _exit(
            remote_commands.wait(
                self, timeout=self.timeout, start_timeout=self.start_timeout, as_json=self.as_json
            )
        )


class Prune(Settings):
    """Remove this project's stale images now; say why each object goes or stays, and what fills the disk."""

    dry_run: bool = False
    """Only say what would be done."""
    cache: bool = False
    """Also empty this project's Go caches: the next build compiles everything again."""
    all_projects: bool = False
    """Also untagged images with the builder label, and build steps of earlier versions, of any project."""
    gone: str | None = None
    """Instead: what projects left whose folder was deleted; of others only those that are named (ID,ID)."""
    yes: bool = False
    """With --gone: do not ask."""
    as_json: bool = Field(default=False, validation_alias="json")
    """Print the result as JSON."""

    def cli_cmd(self) -> None:
        """Run the command."""
        if self.gone is not None:
            if self.cache or self.all_projects:
                raise UsageError("--gone goes with --dry-run, --yes and --json only")
            named = tuple(name for name in self.gone.split(",") if name and name != _ALL)
            _exit(
                commands.prune_gone(
                    self, named=named, dry_run=self.dry_run, yes=self.yes, as_json=self.as_json
                )
            )
        if self.yes:
            raise UsageError("--yes is for --gone: a prune of this project asks nothing")
        _exit(
            commands.prune(
                self,
                dry_run=self.dry_run,
                all_projects=self.all_projects,
                caches=self.cache,
                as_json=self.as_json,
            )
        )


class Rebuild(_Asking):
    """Build the tree again, even if it is live or known to fail.

    Exit status with --wait: as of `watcher wait`.
    """

    wait: bool = False
    """Wait until that build is live, or has failed."""
    timeout: Seconds | None = None
    """Seconds to wait at most; default: no limit."""
    as_json: bool = Field(default=False, validation_alias="json")
    """Print the result as JSON."""

    def cli_cmd(self) -> None:
        """Run the command."""
        _exit(remote_commands.rebuild(self, wait=self.wait, timeout=self.timeout, as_json=self.as_json))


class Cancel(_Asking):
    """Stop the build or deploy that runs, until the next save or `watcher rebuild`."""

    as_json: bool = Field(default=False, validation_alias="json")
    """Print the result as JSON."""

    def cli_cmd(self) -> None:
        """Run the command."""
        _exit(remote_commands.act(self, "cancel", as_json=self.as_json))


class Pause(_Asking):
    """Stop the build that runs and begin no more until `watcher resume`; what is live serves on."""

    as_json: bool = Field(default=False, validation_alias="json")
    """Print the result as JSON."""

    def cli_cmd(self) -> None:
        """Run the command."""
        _exit(remote_commands.act(self, "pause", as_json=self.as_json))


class Resume(_Asking):
    """Go on after `watcher pause`."""

    as_json: bool = Field(default=False, validation_alias="json")
    """Print the result as JSON."""

    def cli_cmd(self) -> None:
        """Run the command."""
        _exit(remote_commands.act(self, "resume", as_json=self.as_json))


class Upgrade(_Asking):
    """Let the running watcher go on as the program that is installed now, without a refused request.

    It keeps its process id and its listening sockets; the container serves on, new requests wait a moment.
    """

    def cli_cmd(self) -> None:
        """Run the command."""
        _exit(remote_commands.upgrade(self))


class Doctor(Settings):
    """Measure what the watcher depends on, and say what to do about what is found.

    Exit status: 0 it will work (advice may be given), 1 something is in the way.
    """

    as_json: bool = Field(default=False, validation_alias="json")
    """Print the findings as JSON."""

    def cli_cmd(self) -> None:
        """Run the command."""
        _exit(commands.doctor(self, as_json=self.as_json))


class Dockerfile(Settings):
    """Show what is built in place of the Dockerfile: a diff with a reason for each line. Nothing is built."""

    as_json: bool = Field(default=False, validation_alias="json")
    """Print it as JSON."""

    def cli_cmd(self) -> None:
        """Run the command."""
        _exit(commands.dockerfile(self, as_json=self.as_json))


class Init(Settings):
    """Write a watcher.toml with every setting, its default and what it means."""

    force: bool = False
    """Replace a file that is there."""

    def cli_cmd(self) -> None:
        """Run the command."""
        _exit(commands.init(self, force=self.force))


class Monitoring(Settings):
    """Write the Prometheus configuration, rules and alerts, and the Grafana dashboard, into a folder."""

    output: Path = Path("monitoring")
    """Folder to write to; relative to the project."""
    force: bool = False
    """Replace files that exist."""

    def cli_cmd(self) -> None:
        """Run the command."""
        _exit(write_monitoring(self, self.output, force=self.force))


class Cli(BaseSettings):
    """Keeps the dev container behind a port equal to a Go source tree.

    Save a file, and the new version answers; no request is refused; a compile error shows at once while the
    last good version serves on. `watcher COMMAND --help-settings` shows the settings, which may also stand in
    watcher.toml or in the environment (WATCHER_HTTP__PORT=9002).

    Exit status: 0 good, 1 failed, 2 wrong usage, 3 no watcher is running, 4 paused, 5 the tree cannot be
    read, 78 a setting is wrong, 124 the time is up.
    """

    model_config = SettingsConfigDict(
        cli_prog_name="watcher",
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_avoid_json=True,
        cli_hide_none_type=True,
        use_attribute_docstrings=True,
        cli_use_class_docs_for_groups=True,
        cli_exit_on_error=False,
    )

    run: CliSubCommand[Run]
    once: CliSubCommand[Once]
    status: CliSubCommand[Status]
    logs: CliSubCommand[Logs]
    wait: CliSubCommand[Wait]
    prune: CliSubCommand[Prune]
    rebuild: CliSubCommand[Rebuild]
    cancel: CliSubCommand[Cancel]
    pause: CliSubCommand[Pause]
    resume: CliSubCommand[Resume]
    upgrade: CliSubCommand[Upgrade]
    doctor: CliSubCommand[Doctor]
    dockerfile: CliSubCommand[Dockerfile]
    init: CliSubCommand[Init]
    monitoring: CliSubCommand[Monitoring]

    def cli_cmd(self) -> None:
        """Run the chosen command."""
        CliApp.run_subcommand(self)


_KNOWN = frozenset(
    name
    for command in (
        Run,
        Once,
        Status,
        Logs,
        Wait,
        Prune,
        Rebuild,
        Cancel,
        Pause,
        Resume,
        Upgrade,
        Doctor,
        Dockerfile,
        Init,
        Monitoring,
    )
    for name in command.model_fields
)


def _is_option(following: list[str]) -> bool:
    """Whether what follows an option is no value of it."""
    return not following or following[0].startswith("-")


def _spelled(arguments: list[str]) -> list[str]:
    """`help` and `version` as options, which argparse knows; without arguments the help.

    `status --watch` is `status --follow`: as a field, `watch` is a section of the settings. `prune --gone`
    may stand without a value, which argparse is not told.
    """
    match arguments:
        case [] | ["help"]:
            return ["--help"]
        case ["help", *topic]:
            return [*topic, "--help"]
        case ["version" | "-V"]:
            return ["--version"]
        case ["status", *_]:
            return ["--follow" if argument == "--watch" else argument for argument in arguments]
        case ["prune", *rest]:
            followed = [*rest[1:], "--"]
            bare = [
                one == "--gone" and next_.startswith("-") for one, next_ in zip(rest, followed, strict=True)
            ]
            return [
                "prune",
                *(f"--gone={_ALL}" if alone else one for one, alone in zip(rest, bare, strict=True)),
            ]
    return arguments


def _usage_error(error: ValidationError | SettingsError, arguments: list[str]) -> WatcherError:
    """What is wrong: an option of the command is wrong usage, a setting is a wrong setting."""
    text = str(error).removeprefix("error parsing CLI: ")
    if isinstance(error, SettingsError) and text != str(error):
        command = f"{arguments[0]} " if arguments[:1] and arguments[0] in Cli.model_fields else ""
        return UsageError(f"{text}; `watcher {command}--help` shows the usage")
    found = config_error(error)
    if found.field.partition(".")[0] in _KNOWN - Settings.model_fields.keys():
        return UsageError(f"--{found}")
    return found


def main(arguments: list[str] | None = None) -> NoReturn:
    """The command line's entry point; ends the process. Every expected failure is one line on stderr."""
    make_printable()
    arguments = _spelled(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in arguments
    with ending(as_json=as_json):
        try:
            check_environment(os.environ, _KNOWN)
            source: CliSettingsSource[ArgumentParser] = CliSettingsSource(Cli, formatter_class=Help)
            arrange(source.root_parser, __version__)
            CliApp.run(Cli, cli_args=arguments, cli_settings_source=source)
        except (ValidationError, SettingsError) as error:
            raise _usage_error(error, arguments) from error
    sys.exit(0)
