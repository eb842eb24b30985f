"""The command line: one class per command, all with the same settings."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Literal, NoReturn

from pydantic import AliasChoices, Field, ValidationError
from pydantic_settings import BaseSettings, CliApp, CliSubCommand, SettingsConfigDict, SettingsError

from watcher import ask, commands
from watcher.errors import EXIT_CONFIG, EXIT_FAILED, ConfigError, WatcherError
from watcher.settings import Seconds, Settings, check_environment, config_error


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


class Status(Settings):
    """Say what the running watcher is doing: what is wanted, building, live, failed."""

    as_json: bool = Field(default=False, validation_alias="json")
    """Print the whole status document as JSON."""
    follow: bool = Field(default=False, validation_alias=AliasChoices("f", "follow"))
    """Show it anew whenever it changes, until Ctrl-C; --watch is the same."""

    def cli_cmd(self) -> None:
        """Run the command."""
        _exit(ask.status(self, watch=self.follow, as_json=self.as_json))


class Logs(Settings):
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
        _exit(ask.logs(self, follow=self.follow, tail=self.tail, source=self.source, as_json=self.as_json))


class Wait(Settings):
    """Wait until exactly the tree as it is on disk now is live.

    Exit status: 0 it is live, 1 it failed (the error is printed), 124 the time is up.
    """

    timeout: Seconds | None = None
    """Seconds to wait at most; default: for ever."""
    as_json: bool = Field(default=False, validation_alias="json")
    """Print the result as JSON."""

    def cli_cmd(self) -> None:
        """Run the command."""
        _exit(ask.wait(self, timeout=self.timeout, as_json=self.as_json))


class Prune(Settings):
    """Remove this project's stale images now; say why each object goes or stays, and what fills the disk."""

    dry_run: bool = False
    """Only say what would be done."""
    cache: bool = False
    """Also empty this project's Go caches: the next build compiles everything again."""
    all_projects: bool = False
    """Also untagged images with the builder label that nobody can tell the project of."""
    as_json: bool = Field(default=False, validation_alias="json")
    """Print the result as JSON."""

    def cli_cmd(self) -> None:
        """Run the command."""
        _exit(
            commands.prune(
                self,
                dry_run=self.dry_run,
                all_projects=self.all_projects,
                caches=self.cache,
                as_json=self.as_json,
            )
        )


class Rebuild(Settings):
    """Build the tree again, even if it is live or known to fail."""

    def cli_cmd(self) -> None:
        """Run the command."""
        _exit(ask.act(self, "rebuild"))


class Pause(Settings):
    """Begin no more builds until `watcher resume`; what is live serves on."""

    def cli_cmd(self) -> None:
        """Run the command."""
        _exit(ask.act(self, "pause"))


class Resume(Settings):
    """Go on after `watcher pause`."""

    def cli_cmd(self) -> None:
        """Run the command."""
        _exit(ask.act(self, "resume"))


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


class Cli(BaseSettings):
    """Keeps the dev container behind a port equal to a Go source tree.

    Save a file, and the new version answers; no request is refused; a compile error shows at once while the
    last good version serves on. `watcher COMMAND --help` shows the settings, which may also stand in
    watcher.toml or in the environment (WATCHER_HTTP__PORT=9002).
    """

    model_config = SettingsConfigDict(
        cli_prog_name="watcher",
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_avoid_json=True,
        cli_hide_none_type=True,
        use_attribute_docstrings=True,
        cli_use_class_docs_for_groups=True,
    )

    run: CliSubCommand[Run]
    once: CliSubCommand[Once]
    status: CliSubCommand[Status]
    logs: CliSubCommand[Logs]
    wait: CliSubCommand[Wait]
    prune: CliSubCommand[Prune]
    rebuild: CliSubCommand[Rebuild]
    pause: CliSubCommand[Pause]
    resume: CliSubCommand[Resume]
    doctor: CliSubCommand[Doctor]
    dockerfile: CliSubCommand[Dockerfile]
    init: CliSubCommand[Init]

    def cli_cmd(self) -> None:
        """Run the chosen command."""
        CliApp.run_subcommand(self)


_KNOWN = frozenset(
    name
    for command in (Run, Once, Status, Logs, Wait, Prune, Rebuild, Pause, Resume, Doctor, Dockerfile, Init)
    for name in command.model_fields
)


def _spelled(arguments: list[str]) -> list[str]:
    """`status --watch` is `status --follow`: as a field, `watch` is a section of the settings."""
    if arguments[:1] != ["status"]:
        return arguments
    return ["--follow" if argument == "--watch" else argument for argument in arguments]


def main(arguments: list[str] | None = None) -> NoReturn:
    """The command line's entry point; ends the process. Every expected failure is one line on stderr."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        check_environment(os.environ, _KNOWN)
        CliApp.run(Cli, cli_args=_spelled(arguments) or ["--help"])
    except (ValidationError, SettingsError) as error:
        _fail(config_error(error), EXIT_CONFIG)
    except ConfigError as error:
        _fail(error, EXIT_CONFIG)
    except WatcherError as error:
        _fail(error, EXIT_FAILED)
    except BrokenPipeError:  # `watcher logs | head`: whoever read it has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_FAILED)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(0)


def _fail(error: Exception, status: int) -> NoReturn:
    print(f"watcher: {error}", file=sys.stderr)
    sys.exit(status)
