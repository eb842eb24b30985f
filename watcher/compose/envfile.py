"""Read the variables of `.env` and `env_file` as docker compose does (compose-go, dotenv/parser.go).

A line is `NAME=value` or `NAME: value`, optionally after `export`; `#` starts a comment. An unquoted value
ends at ` #` and is interpolated. In double quotes, backslashes escape, variables are interpolated and lines
may continue; single quotes are literal. A name alone takes its value from the environment. The `raw` format
takes lines as they are.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path
from typing import cast

from watcher import regex
from watcher.compose.budget import Budget
from watcher.compose.interpolate import TemplateError, interpolate
from watcher.errors import ConfigError
from watcher.system.regular_file import read_regular

MOST_BYTES = 4 << 20  # size of an environment file
_SPACE = " \t\v\f\r\x85\xa0"
_EXPORT = regex.token(r"export\s++")
_ESCAPE = regex.compile(r"\\([abcfnrtv$\"\\]|0[0-7]{0,3})")
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", '"': '"', "\\": "\\"}


def read_env_file(
    path: Path,
    into: MutableMapping[str, str],
    outside: Mapping[str, str],
    missing: Callable[[str], None],
    *,
    raw: bool = False,
    budget: Budget,
) -> None:
    """Add the variables of a file to `into`; raise ConfigError with the name and line of the file.

    Errors do not quote the file: it may be any file of the machine, named by mistake. Values may use the
    variables of `outside`, which win, and those already in `into`.
    """
    try:
        text = read_regular(path, MOST_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(
            str(path), None, f"the environment file cannot be read: {error.strerror}"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), None, "the environment file is not UTF-8 text") from error
    parser = _Parser(str(path), text, into, outside, missing=missing, budget=budget)
    if raw:
        parser.parse_raw()
    else:
        parser.parse()


class _Parser:
    def __init__(
        self,
        name: str,
        text: str,
        into: MutableMapping[str, str],
        outside: Mapping[str, str],
        *,
        missing: Callable[[str], None],
        budget: Budget,
    ) -> None:
        self._budget, self._known = budget, ChainMap(cast(MutableMapping[str, str], outside), into)
        self._name, self._text, self._at = name, text, 0
        self._into, self._outside, self._missing = into, outside, missing

    def parse(self) -> None:
        while self._skip_to_statement():
            name, has_value = self._parse_name()
            if has_value:
                self._into[name] = self._parse_value()
            elif name in self._outside:
                self._into[name] = self._outside[name]

    def parse_raw(self) -> None:
        for line in self._text.splitlines():
            stripped = line.lstrip()
            if stripped and not stripped.startswith("#"):
                name, equals, value = stripped.partition("=")
                if not name or name != name.strip() or any(char.isspace() for char in name):
                    raise self._error("a line must start with a variable name")
                if equals:
                    self._into[name] = value
                elif name in self._outside:
                    self._into[name] = self._outside[name]
            self._at += len(line) + 1

    def _skip_to_statement(self) -> bool:
        """Skip empty lines and comments; return False at the end."""
        while self._at < len(self._text):
            if self._text[self._at].isspace():
                self._at += 1
            elif self._text[self._at] == "#":
                end = self._text.find("\n", self._at)
                self._at = len(self._text) if end < 0 else end
            else:
                return True
        return False

    def _parse_name(self) -> tuple[str, bool]:
        """Return the name at this position, and whether a value follows."""
        if match := _EXPORT.match(self._text, self._at):
            self._at = match.end()
        begin = self._at
        while self._at < len(self._text):
            char = self._text[self._at]
            if char in "=:\n":
                break
            if not (char in _SPACE or char in "_.-[]" or char.isalpha() or char.isnumeric()):
                raise self._error(f"{char!r} is not allowed in a variable name")
            self._at += 1
        name = self._text[begin : self._at].rstrip()
        has_value = self._text[self._at : self._at + 1] in ("=", ":")
        if any(char in _SPACE for char in name):
            raise self._error("a variable name must not contain a space")
        if not name:
            raise self._error("a line must start with a variable name")
        if has_value:
            self._at += 1
            while self._text[self._at : self._at + 1] and self._text[self._at] in _SPACE:
                self._at += 1
        return name, has_value

    def _parse_value(self) -> str:
        quote = self._text[self._at : self._at + 1]
        if quote in ("'", '"'):
            return self._parse_quoted(quote)
        end = self._text.find("\n", self._at)
        end = len(self._text) if end < 0 else end
        value = self._text[self._at : end].partition(" #")[0].rstrip()
        replaced = self._interpolate(value)
        self._at = end
        return replaced

    def _parse_quoted(self, quote: str) -> str:
        chars: list[str] = []
        escaped = False
        for index in range(self._at + 1, len(self._text)):
            char = self._text[index]
            if char == quote and not escaped:
                value = "".join(chars)
                if quote == '"':
                    value = self._interpolate(_unescape(value))
                self._at = index + 1
                return value
            if char == "\\" and not escaped:
                escaped = True
                continue
            if escaped and char != quote:
                chars.append("\\")
            escaped = False
            chars.append(char)
        raise self._error("a quoted value is not closed")

    def _interpolate(self, value: str) -> str:
        try:
            return self._budget.count_text(interpolate(value, self._known, self._missing))
        except TemplateError as error:
            raise self._error(error.plain) from None

    def _error(self, rule: str) -> ConfigError:
        line = self._text.count("\n", 0, self._at) + 1
        return ConfigError(f"{self._name}:{line}", None, rule)


def _unescape(value: str) -> str:
    def one(match: regex.Match) -> str:
        code = match[1]
        if code == "$":
            return "$$"
        if code.startswith("0"):
            return _octal(match[0])
        return _ESCAPES.get(code, match[0])

    return _ESCAPE.sub(one, value)


def _octal(escape: str) -> str:
    r"""Decode `\0123`: three octal digits after the zero, as Go's `\123`; anything else is unchanged."""
    digits = escape[2:]
    return chr(int(digits, 8)) if len(digits) == 3 and int(digits, 8) < 256 else escape
