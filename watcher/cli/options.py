"""What all commands share: their base classes, and the command line that was given.

The commands are classes in `daemon_options.py` and `project_options.py`; each accepts every setting. A
command imports what it needs when it runs: importing all would take longer than most of them.
"""

from __future__ import annotations

from argparse import ArgumentParser
from contextvars import ContextVar
from pathlib import Path

from pydantic_settings import CliPositionalArg

from watcher.cli import remote
from watcher.settings import Settings

root_parser: ContextVar[ArgumentParser] = ContextVar("root_parser")
given_arguments: ContextVar[tuple[str, ...]] = ContextVar("given_arguments", default=())


class ManagingCommand(Settings):
    """A command that manages services, which may be named without an option."""

    services: CliPositionalArg[tuple[str, ...]] = ()


class RemoteCommand(Settings):
    """A command for a running watcher. It also works in a subfolder of the project."""

    @classmethod
    def default_project(cls) -> Path:
        """Return the closest folder, from here upwards, with a running watcher; else the current folder."""
        return remote.find_project_folder(super().default_project())


class ExaminingCommand(Settings):
    """A command that examines a project, whether a watcher runs for it or not."""

    @classmethod
    def default_project(cls) -> Path:
        """Return the current folder if it is a project; else a watched one above, or the only one below."""
        # Only these commands need it.
        from watcher.compose.find import FILE_NAMES  # noqa: PLC0415

        here = super().default_project()
        if any((here / name).exists() for name in ("watcher.toml", *FILE_NAMES)):
            return here
        return remote.find_project_folder(here)
