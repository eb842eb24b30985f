"""The command line: parse the arguments, run one command, turn a failure into one line and an exit status."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser
from difflib import get_close_matches
from itertools import takewhile
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
from watcher.cli import daemon_options, options, project_options
from watcher.cli.ending import exit_on_failure, make_printable
from watcher.cli.help import HelpFormatter, arrange_help, render_overview
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

    run: CliSubCommand[daemon_options.RunCommand]
    once: CliSubCommand[daemon_options.OnceCommand]
    status: CliSubCommand[daemon_options.StatusCommand]
    logs: CliSubCommand[daemon_options.LogsCommand]
    wait: CliSubCommand[daemon_options.WaitCommand]
    list: CliSubCommand[daemon_options.ListCommand]
    prune: CliSubCommand[project_options.PruneCommand]
    up: CliSubCommand[daemon_options.UpCommand]
    down: CliSubCommand[daemon_options.DownCommand]
    rebuild: CliSubCommand[daemon_options.RebuildCommand]
    cancel: CliSubCommand[daemon_options.CancelCommand]
    pause: CliSubCommand[daemon_options.PauseCommand]
    resume: CliSubCommand[daemon_options.ResumeCommand]
    upgrade: CliSubCommand[daemon_options.UpgradeCommand]
    doctor: CliSubCommand[project_options.DoctorCommand]
    dockerfile: CliSubCommand[project_options.DockerfileCommand]
    image: CliSubCommand[project_options.ImageCommand]
    init: CliSubCommand[project_options.InitCommand]
    service: CliSubCommand[daemon_options.ServiceCommand]
    monitoring: CliSubCommand[project_options.MonitoringCommand]
    completion: CliSubCommand[project_options.CompletionCommand]


_OPTION_NAMES = frozenset(
    name for command in Cli.model_fields.values() for name in get_args(command.annotation)[0].model_fields
)


_NEED_ALL = ("completion",)  # commands that read the parser of all commands


def _choose_commands(arguments: list[str]) -> type[BaseSettings]:
    """Return a command line with only the given command; raise UsageError if there is no such command.

    Building the parsers of all commands takes twenty times as long.
    """
    name = arguments[0]
    if name in _NEED_ALL:
        return Cli
    if name not in Cli.model_fields:
        raise _unknown_command(name)
    field = Cli.model_fields[name]
    return create_model("Cli", __base__=_CommandLine, **{name: (field.annotation, field)})  # type: ignore[call-overload, no-any-return]


def _unknown_command(name: str) -> UsageError:
    """Return the error for a first argument that is no command, with the commands that it resembles."""
    if name.startswith("-"):
        return UsageError(f"{name} stands before the command: write `watcher COMMAND {name}`")
    similar = get_close_matches(name, Cli.model_fields, n=2)
    guess = f": did you mean {' or '.join(similar)}?" if similar else ";"
    return UsageError(f"there is no command {name!r}{guess} `watcher --help` lists all")


def _print_overview(arguments: list[str]) -> None:
    """Print the overview of the commands, or the version, and exit if it is asked for before any command."""
    for argument in takewhile(lambda each: each.startswith("-"), arguments):
        if argument == "-h" or (len(argument) > 2 and "--help".startswith(argument)):
            classes = {name: get_args(field.annotation)[0] for name, field in Cli.model_fields.items()}
            print(render_overview({name: each.__doc__ for name, each in classes.items()}), end="")
        elif len(argument) > 2 and "--version".startswith(argument):
            print(f"watcher {__version__}")
        else:
            continue
        sys.exit(0)


def _normalize(arguments: list[str]) -> list[str]:
    """Return the arguments in the form that argparse knows.

    `help` and `version` become options, and no arguments become `--help`. `status --watch` becomes
    `--follow`, because `watch` is a section of the settings. `prune --gone` gets exactly one value.
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
            return ["prune", *_join_gone(rest)]
    return arguments


def _join_gone(arguments: list[str]) -> list[str]:
    """Return the arguments with one value of `--gone`: all names that follow it, or the one for no name."""
    option = next((each for each in arguments if each == "--gone" or each.startswith("--gone=")), None)
    if option is None:
        return arguments
    at = arguments.index(option)
    names = [*takewhile(lambda each: not each.startswith("-"), arguments[at + 1 :])]
    joined = ",".join(filter(None, [option.partition("=")[2], *names])) or project_options.ALL_GONE
    return [*arguments[:at], f"--gone={joined}", *arguments[at + 1 + len(names) :]]


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
    _print_overview(arguments)
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
