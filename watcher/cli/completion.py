"""`watcher completion SHELL`: the script by which a shell completes commands, options and their values.

shtab makes it of the parser, so it is never behind the program.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

# By the help's word for the value of an option.
_KINDS = {"FOLDER": "DIRECTORY", "FILE": "FILE", "PATH": "FILE"}
_HOW = {
    "bash": "watcher completion bash > ~/.local/share/bash-completion/completions/watcher",
    "zsh": "watcher completion zsh > ~/.zfunc/_watcher  (with `fpath+=~/.zfunc` before compinit in ~/.zshrc)",
    "fish": "watcher completion fish > ~/.config/fish/completions/watcher.fish",
}


def render_completion(parser: argparse.ArgumentParser, shell: str) -> str:
    """Return the script of a shell for the whole command line."""
    import shtab  # noqa: PLC0415 - only for this command

    for action in _list_actions(parser):
        if isinstance(action.metavar, str) and action.metavar in _KINDS:
            action.complete = getattr(shtab, _KINDS[action.metavar])  # type: ignore[attr-defined]
        elif isinstance(action.metavar, str) and "|" in action.metavar:
            action.choices = action.metavar.split("|")
        elif isinstance(action.metavar, str) and action.metavar.startswith("{"):
            action.choices = action.metavar.strip("{}").split(",")
    script: str = shtab.complete(parser, shell)
    return f"{script.rstrip()}\n# Kept up to date by: {_HOW[shell]}\n"


def _list_actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _list_actions(command)
        else:
            yield action
