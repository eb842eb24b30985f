"""Arrange the help: own options first, settings on request, values as words.

pydantic-settings makes the parsers; this module changes what they print.
"""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from watcher import regex
from watcher.settings import Settings

# `--service NAME` and so on: the kind of value, where its type says too little.
_VALUES = {
    "project": "FOLDER",
    "compose-file": "FILE",
    "service": "NAME",
    "services": "NAME,…",
    "profile": "NAME,…",
    "engine": "ADDRESS",
    "watch.ignore": "PATTERN,…",
    "watch.env-dirs": "FOLDER,…",
    "build.target": "STAGE",
    "build.buildkit": "ADDRESS",
    "build.buildkit-certs": "FOLDER",
    "deploy.ready-path": "PATH",
    "prune.builder-label": "NAME=VALUE",
    "gone": "ID…",
    "main": "PACKAGE",
    "http.host": "ADDRESS",
    "http.port": "PORT",
    "http.token": "TOKEN",
}
_TYPES = {
    "float": "SECONDS",  # every setting that is a number with a fraction is a duration
    "int": "NUMBER",
    "str": "TEXT",
    "Path": "PATH",
    "ByteSize": "SIZE",
    "tuple[str,...]": "TEXT,…",
    "dict[str,str]": "NAME=VALUE",
    "dict[str,ByteSize]": "NAME=SIZE",
    "dict[int,{auto,http,tcp}]": "PORT=PROTOCOL",
}
_EMPTY = regex.compile(r" \(default: (?:None|\(\)|\{\}|False)\)$")
_DEFAULT = regex.compile(r" \(default: ([^()]+|\('[^()']*',\))\)$")
# Arguments without an option: what they are called, and their help.
_POSITIONAL = {
    "services": ("SERVICE", "Services to manage; default: all with a build section."),
    "images": ("IMAGE", "Names or ids of images, or revisions; default: those of the project."),
    "shell": ("bash|zsh|fish", "The shell."),
    "action": ("install|uninstall|status", "What to do with the service."),
}
PLACE = ("project", "service")  # settings that name what a command is about

# The commands as `watcher --help` lists them.
GROUPS = {
    "": ("run", "once", "up", "down", "rebuild"),
    "Ask a running watcher": ("status", "wait", "logs", "list"),
    "Set up, explain, clean up": ("doctor", "init", "image", "prune", "service", "monitoring"),
}
MORE = ("pause", "resume", "cancel", "upgrade", "dockerfile", "completion")  # named only
_OVERVIEW = """\
usage: watcher COMMAND [OPTIONS]

Keep the dev container behind a port equal to a Go source tree.

{commands}
`watcher COMMAND --help` explains a command, `--help-settings` every setting.
`watcher help TOPIC` explains one of: copies, exit-status, files, settings.
"""


class HelpFormatter(argparse.HelpFormatter):
    """Print options with their values as words, and `--[no-]name` for a setting that is on or off."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """Wrap each paragraph of a description."""
        paragraphs = text.split("\n\n")
        return "\n\n".join(super(HelpFormatter, self)._fill_text(one, width, indent) for one in paragraphs)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if isinstance(action, argparse.BooleanOptionalAction):
            names = [name for name in action.option_strings if not name.startswith("--no-")]
            if len(names) < len(action.option_strings) and not is_own_option(action):
                names = [name.replace("--", "--[no-]", 1) for name in names]
            return ", ".join(names)
        return super()._format_action_invocation(action)


def is_own_option(action: argparse.Action) -> bool:
    """Return whether an option belongs to the command itself and is not a setting."""
    return _name_option(action).partition(".")[0].replace("-", "_") not in Settings.model_fields


def _name_option(action: argparse.Action) -> str:
    """Return the longest name of an option, without its dashes."""
    names = [name for name in action.option_strings if not name.startswith("--no-")]
    return max(names, key=len, default="").lstrip("-")


class _ShowSettings(argparse.Action):
    """Implement `--help-settings`: print the help with all settings and exit."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        _arrange_command(parser, parser.prog, everything=True)
        parser.print_help()
        parser.exit()


def arrange_help(root: argparse.ArgumentParser, version: str) -> None:
    """Arrange the help of the root parser and of all its commands."""
    root.formatter_class = HelpFormatter
    root.usage = "watcher COMMAND [OPTIONS]"
    root.add_argument("--version", action="version", version=f"watcher {version}", help="print the version")
    for action in _list_actions(root):
        if isinstance(action, argparse._SubParsersAction):
            action.metavar = "COMMAND"
            for name, parser in action.choices.items():
                parser.add_argument(
                    "--help-settings",
                    action=_ShowSettings,
                    nargs=0,
                    default=argparse.SUPPRESS,
                    help="show all settings too, with their defaults",
                )
                _arrange_command(parser, f"watcher {name}", everything=False)


def render_overview(docs: Mapping[str, str | None]) -> str:
    """Return the text of `watcher --help`, given the docstring of each command by its name."""
    return _OVERVIEW.format(commands=_list_commands({name: _first_line(text) for name, text in docs.items()}))


def _first_line(text: str | None) -> str:
    """Return the first line of a command's docstring, without its full stop."""
    return inspect.cleandoc(text or "").partition("\n")[0].removesuffix(".")


def _list_commands(summaries: dict[str, str]) -> str:
    """Return the commands in groups, one line each."""
    width = max(map(len, summaries))
    lines: list[str] = []
    for title, names in GROUPS.items():
        if title:
            lines.append(f"{title}:")
        lines += [f"  {name:<{width}}  {summaries[name]}" for name in names]
    lines.append(f"More: {', '.join(MORE)}")
    return "\n".join(lines)


def _arrange_command(parser: argparse.ArgumentParser, prog: str, *, everything: bool) -> None:
    """Group the options: the command's own, which project, and the settings if `everything`."""
    named = [action for action in _list_actions(parser) if not action.option_strings]
    for action in named:
        action.metavar, action.help = _POSITIONAL[action.dest.rpartition(":")[2].rpartition(".")[2]]
    parser.prog, parser.formatter_class = prog, HelpFormatter
    words = "".join(
        f" {action.metavar}" if "|" in str(action.metavar) else f" [{action.metavar} …]" for action in named
    )
    parser.usage = f"{prog} [OPTIONS]{words}"
    parser.description = inspect.cleandoc(parser.description or "")
    options = [action for action in _list_actions(parser) if action.option_strings]
    for action in options:
        _reword_option(action)
    own = [action for action in options if is_own_option(action)]
    place = [*named, *(action for action in options if _name_option(action) in PLACE)]
    rest = [action for action in options if action not in own and action not in place]
    if everything:
        parser._action_groups = [
            _make_group(parser, "options", own),
            _make_group(parser, "which project", place),
            *_make_sections(parser, rest),
        ]
        parser.epilog = None
    else:
        parser._action_groups = [
            _make_group(parser, "options", own),
            _make_group(parser, "which project", place),
        ]
        parser.epilog = f"Every setting is an option too: {prog} --help-settings"


def _make_sections(
    parser: argparse.ArgumentParser, actions: Collection[argparse.Action]
) -> Iterator[argparse._ArgumentGroup]:
    plain = [action for action in actions if "." not in _name_option(action)]
    sections = {name for name, field in Settings.model_fields.items() if isinstance(field.default, BaseModel)}
    yield _make_group(
        parser, "settings", [action for action in plain if _name_option(action) not in sections]
    )
    for name in Settings.model_fields:
        if name in sections:
            some = [action for action in actions if _name_option(action).startswith(f"{name}.")]
            about = type(Settings.model_fields[name].default).__doc__
            yield _make_group(parser, f"settings: {name}", some, about)


def _make_group(
    parser: argparse.ArgumentParser,
    title: str,
    actions: Collection[argparse.Action],
    description: str | None = None,
) -> argparse._ArgumentGroup:
    group = argparse._ArgumentGroup(parser, title, description)
    group._group_actions = list(actions)
    return group


def _list_actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return parser._actions


def _reword_option(action: argparse.Action) -> None:
    """Replace Python's types and defaults by words."""
    name = _name_option(action)
    if isinstance(action.metavar, str):
        action.metavar = _VALUES.get(name) or _TYPES.get(action.metavar, action.metavar)
    text = _EMPTY.sub("", action.help or "")
    if found := _DEFAULT.search(text):
        value = "on" if found[1] == "True" else found[1].strip("()',").removesuffix(".0")
        text = f"{text[: found.start()]} (default: {value})"
    if name == "help":
        text = "show this help"
    action.help = text or action.help
