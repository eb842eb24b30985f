"""The command line: parse the arguments, run one command, turn a failure into one line and an exit status."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser
from typing import NoReturn, get_args

from pydantic import ValidationError, create_model
from pydantic_settings import (
    BaseSettings,
    CliApp,
    CliSettingsSource,
    CliSubCommand,
    SettingsConfigDict,
    SettingsError,
)

from watcher import __version__
from watcher.cli import options
from watcher.cli.ending import exit_on_failure, make_printable
from watcher.cli.help import HelpFormatter, arrange_help
from watcher.cli.topics import find_topic
from watcher.errors import UsageError, WatcherError
from watcher.settings import Settings
from watcher.settings_sources import check_environment, config_error


class _CommandLine(BaseSettings):
    """What every command line has."""

    model_config = SettingsConfigDict(
        defer_build=True,  # of all commands only the given one is used
        cli_prog_name="watcher",
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_avoid_json=True,
        cli_hide_none_type=True,
        use_attribute_docstrings=True,
        cli_use_class_docs_for_groups=True,
        cli_exit_on_error=False,
    )

    def cli_cmd(self) -> None:
        """Run the chosen command."""
        CliApp.run_subcommand(self)


class Cli(_CommandLine):
    """The command line of `watcher`: one command."""

    run: CliSubCommand[options.RunCommand]
    once: CliSubCommand[options.OnceCommand]
    status: CliSubCommand[options.StatusCommand]
    logs: CliSubCommand[options.LogsCommand]
    wait: CliSubCommand[options.WaitCommand]
    list: CliSubCommand[options.ListCommand]
    prune: CliSubCommand[options.PruneCommand]
    up: CliSubCommand[options.UpCommand]
    down: CliSubCommand[options.DownCommand]
    rebuild: CliSubCommand[options.RebuildCommand]
    cancel: CliSubCommand[options.CancelCommand]
    pause: CliSubCommand[options.PauseCommand]
    resume: CliSubCommand[options.ResumeCommand]
    upgrade: CliSubCommand[options.UpgradeCommand]
    doctor: CliSubCommand[options.DoctorCommand]
    dockerfile: CliSubCommand[options.DockerfileCommand]
    image: CliSubCommand[options.ImageCommand]
    init: CliSubCommand[options.InitCommand]
    service: CliSubCommand[options.ServiceCommand]
    monitoring: CliSubCommand[options.MonitoringCommand]
    completion: CliSubCommand[options.CompletionCommand]


_OPTION_NAMES = frozenset(
    name for command in Cli.model_fields.values() for name in get_args(command.annotation)[0].model_fields
)


_NEED_ALL = ("completion",)  # commands that read the parser of all commands


def _choose_commands(arguments: list[str]) -> type[BaseSettings]:
    """Return a command line with only the given command, or with all if none is given.

    Making the parser of all commands takes ten times as long.
    """
    name = arguments[0] if arguments else ""
    if name not in Cli.model_fields or name in _NEED_ALL:
        return Cli
    field = Cli.model_fields[name]
    return create_model("Cli", __base__=_CommandLine, **{name: (field.annotation, field)})  # type: ignore[call-overload, no-any-return]


def _normalize(arguments: list[str]) -> list[str]:
    """Return the arguments in the form that argparse knows.

    `help` and `version` become options, and no arguments become `--help`. `status --watch` becomes
    `--follow`, because `watch` is a section of the settings. `prune --gone` without a value gets one.
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
            following = [*rest[1:], "--"]
            return ["prune", *(_complete_gone(*pair) for pair in zip(rest, following, strict=True))]
    return arguments


def _complete_gone(argument: str, following: str) -> str:
    """Return `argument`; `--gone` gets a value if an option follows it."""
    lacks_value = argument == "--gone" and following.startswith("-")
    return f"--gone={options.ALL_GONE}" if lacks_value else argument


def _explain_error(error: ValidationError | SettingsError, arguments: list[str]) -> WatcherError:
    """Return the error to show: usage for an option of the command, configuration for a setting."""
    text = str(error).removeprefix("error parsing CLI: ")
    if isinstance(error, SettingsError) and text != str(error):
        command = f"{arguments[0]} " if arguments[:1] and arguments[0] in Cli.model_fields else ""
        return UsageError(f"{text}; `watcher {command}--help` shows the usage")
    found = config_error(error, Settings)
    if found.field.partition(".")[0] in _OPTION_NAMES - Settings.model_fields.keys():
        return UsageError(f"--{found}")
    return found


def _print_topic(arguments: list[str]) -> None:
    """Print the page of `watcher help TOPIC` and exit, if it is one."""
    match arguments:
        case ["help", name] if page := find_topic(name):
            print(page, end="")
            sys.exit(0)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit. An expected failure prints one line on standard error."""
    make_printable()
    _print_topic(sys.argv[1:] if arguments is None else arguments)
    arguments = _normalize(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in arguments
    options.given_arguments.set(tuple(arguments))
    with exit_on_failure(as_json=as_json):
        try:
            check_environment(os.environ, _OPTION_NAMES)
            chosen = _choose_commands(arguments)
            source: CliSettingsSource[ArgumentParser] = CliSettingsSource(
                chosen, formatter_class=HelpFormatter
            )
            arrange_help(source.root_parser, __version__)
            options.root_parser.set(source.root_parser)
            CliApp.run(chosen, cli_args=arguments, cli_settings_source=source)
        except (ValidationError, SettingsError) as error:
            raise _explain_error(error, arguments) from error
    sys.exit(0)
