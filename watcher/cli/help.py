"""`watcher COMMAND --help` as people read it: the command's own options first, the settings on request.

pydantic-settings makes the parsers; this arranges what they print. The metavars of Python types become words.
"""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Collection, Iterator
from typing import Any

from pydantic import BaseModel

from watcher import regex
from watcher.settings import Settings

# `--service NAME` and so on: what a value is, where its type says too little.
_VALUES = {
    "project": "FOLDER",
    "compose-file": "FILE",
    "service": "NAME",
    "engine": "ADDRESS",
    "watch.ignore": "PATTERN,…",
    "watch.env-dirs": "FOLDER,…",
    "build.target": "STAGE",
    "build.buildkit": "ADDRESS",
    "build.buildkit-certs": "FOLDER",
    "deploy.ready-path": "PATH",
    "prune.builder-label": "NAME=VALUE",
    "gone": "ID,…",
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
    "dict[int,{auto,http,tcp}]": "PORT=PROTOCOL",
}
_EMPTY = regex.compile(r" \(default: (?:None|\(\)|\{\}|False)\)$")
_DEFAULT = regex.compile(r" \(default: ([^()]+|\('[^()']*',\))\)$")
PLACE = ("project", "service")  # settings that every command needs, to say what is meant


class Help(argparse.RawDescriptionHelpFormatter):
    """Options with their values as words; `--[no-]name` for a setting that is on or off."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if isinstance(action, argparse.BooleanOptionalAction):
            names = [name for name in action.option_strings if not name.startswith("--no-")]
            if len(names) < len(action.option_strings) and not is_own(action):
                names = [name.replace("--", "--[no-]", 1) for name in names]
            return ", ".join(names)
        return super()._format_action_invocation(action)


def is_own(action: argparse.Action) -> bool:
    """Whether an option is the command's own, no setting."""
    return _name(action).partition(".")[0].replace("-", "_") not in Settings.model_fields


def _name(action: argparse.Action) -> str:
    """The name of an option without its dashes; the longest, where it has several."""
    names = [name for name in action.option_strings if not name.startswith("--no-")]
    return max(names, key=len, default="").lstrip("-")


class _ShowSettings(argparse.Action):
    """`--help-settings`: the help with all settings, then the end."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        _arrange(parser, parser.prog, everything=True)
        parser.print_help()
        parser.exit()


def arrange(root: argparse.ArgumentParser, version: str) -> None:
    """Put the options of the root parser and of all its commands into order."""
    root.formatter_class = Help
    root.usage = "watcher COMMAND [OPTIONS]"
    root.description = inspect.cleandoc(root.description or "")
    root.add_argument("--version", action="version", version=f"watcher {version}", help="print the version")
    for action in _actions(root):
        if isinstance(action, argparse._SubParsersAction):
            action.metavar = "COMMAND"
            for line in action._choices_actions:
                line.help = inspect.cleandoc(line.help or "").partition("\n\n")[0]
            for name, parser in action.choices.items():
                parser.add_argument(
                    "--help-settings",
                    action=_ShowSettings,
                    nargs=0,
                    default=argparse.SUPPRESS,
                    help="show all settings too, with their defaults",
                )
                _arrange(parser, f"watcher {name}", everything=False)


def _arrange(parser: argparse.ArgumentParser, prog: str, *, everything: bool) -> None:
    """Group the options: the command's own, which project, the settings (only when `everything`)."""
    parser.prog, parser.usage, parser.formatter_class = prog, f"{prog} [OPTIONS]", Help
    parser.description = inspect.cleandoc(parser.description or "")
    found = [action for action in _actions(parser) if action.option_strings]
    for action in found:
        _put_into_words(action)
    own = [action for action in found if is_own(action)]
    place = [action for action in found if _name(action) in PLACE]
    rest = [action for action in found if action not in own and action not in place]
    if everything:
        parser._action_groups = [
            _group(parser, "options", own),
            _group(parser, "which project", place),
            *_sections(parser, rest),
        ]
        parser.epilog = None
    else:
        parser._action_groups = [_group(parser, "options", own), _group(parser, "which project", place)]
        parser.epilog = f"Every setting is an option too: {prog} --help-settings"


def _sections(
    parser: argparse.ArgumentParser, actions: Collection[argparse.Action]
) -> Iterator[argparse._ArgumentGroup]:
    plain = [action for action in actions if "." not in _name(action)]
    sections = {name for name, field in Settings.model_fields.items() if isinstance(field.default, BaseModel)}
    yield _group(parser, "settings", [action for action in plain if _name(action) not in sections])
    for name in Settings.model_fields:
        if name in sections:
            some = [action for action in actions if _name(action).startswith(f"{name}.")]
            about = type(Settings.model_fields[name].default).__doc__
            yield _group(parser, f"settings: {name}", some, about)


def _group(
    parser: argparse.ArgumentParser,
    title: str,
    actions: Collection[argparse.Action],
    description: str | None = None,
) -> argparse._ArgumentGroup:
    group = argparse._ArgumentGroup(parser, title, description)
    group._group_actions = list(actions)
    return group


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return parser._actions


def _put_into_words(action: argparse.Action) -> None:
    name = _name(action)
    if isinstance(action.metavar, str):
        action.metavar = _VALUES.get(name) or _TYPES.get(action.metavar, action.metavar)
    text = _EMPTY.sub("", action.help or "")
    if found := _DEFAULT.search(text):
        value = "on" if found[1] == "True" else found[1].strip("()',").removesuffix(".0")
        text = f"{text[: found.start()]} (default: {value})"
    if name == "help":
        text = "show this help"
    action.help = text or action.help
