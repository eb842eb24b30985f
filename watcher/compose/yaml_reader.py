"""Parse the text of a compose file into plain values, as docker compose does.

That is YAML 1.2 with the exceptions of go-yaml: only `true` and `false` are booleans (`on` and `yes` are
strings), `22:22` is a string, not a base 60 number, `0644` is octal, `1_000` is a number, and `<<` merges. A
duplicate key is refused with both of its lines, as compose does.

libyaml parses the text into events; this module builds the values event by event, so a file that is too large
is refused before all of it is in memory.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from watcher import regex
from watcher.errors import ConfigError
from watcher.system.regular_file import read_regular

MOST_NESTED = 100
MOST_VALUES = 250_000  # with aliases expanded; real files have far fewer
MOST_BYTES = 16 << 20  # size of a compose file

_STANDARD = "tag:yaml.org,2002:"
_RESET, _OVERRIDE = "!reset", "!override"  # compose-go, loader/reset.go
_INT = regex.compile(r"[-+]?(?:0|[1-9][0-9]*|0[0-7]+|0[oO][0-7]+|0[xX][0-9a-fA-F]+|0[bB][01]+)")
_FLOAT = regex.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_SPECIAL = regex.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_NUMBER = regex.compile(r"[-+.0-9][-+.0-9a-zA-Z_]*")
_BOOLEANS = frozenset(("true", "True", "TRUE", "false", "False", "FALSE"))
_NULLS = frozenset(("~", "null", "Null", "NULL", ""))

Keys = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class YamlDocument:
    """A document as dicts, lists, strings, numbers, booleans and None.

    `resets` are the paths whose values in earlier files are dropped (`!reset`, `!override`).
    """

    value: object
    resets: tuple[Keys, ...] = ()


def read_documents(path: Path) -> list[YamlDocument]:
    """Return the documents of a YAML file.

    Raises ConfigError if the file cannot be read, is not YAML, or has a duplicate key.
    """
    try:
        data = read_regular(path, MOST_BYTES)
    except FileNotFoundError:
        raise ConfigError(str(path), None, "there is no such file") from None
    except OSError as error:
        raise ConfigError(str(path), None, f"cannot be read: {error.strerror}") from error
    return parse_documents(data, str(path))


def parse_documents(data: bytes, name: str) -> list[YamlDocument]:
    """Parse the documents of a text as `read_documents` does; `name` is the file name for errors."""
    try:
        return _Builder(name, yaml.CLoader(data)).documents()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}" if mark else name
        raise ConfigError(where, None, f"is not YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise ConfigError(name, None, f"is not YAML: {' '.join(str(error).split())}") from error
    except (ValueError, OverflowError) as error:  # PyYAML raises these for some escapes and encodings
        raise ConfigError(name, None, f"is not YAML: {error}") from error


@dataclass(slots=True)
class _Anchor:
    """A value with an anchor; unfinished while it is being built."""

    finished: bool = False
    value: object = None
    count: int = 0
    resets: tuple[Keys, ...] = ()


_GONE = object()  # a value that was reset


class _Builder:
    """Builds values from events."""

    def __init__(self, name: str, events: Any) -> None:
        self._name, self._events = name, events
        self._count = 0
        self._depth = 0
        self._path: list[str] = []
        self._resets: list[Keys] = []
        self._anchors: dict[str, _Anchor] = {}

    def documents(self) -> list[YamlDocument]:
        """Return all documents of the text."""
        found = []
        try:
            self._next_event()  # start of the stream
            while not isinstance(self._next_event(), yaml.StreamEndEvent):
                self._count, self._resets, self._anchors = 0, [], {}
                value = self._read_value(self._next_event())
                found.append(YamlDocument(None if value is _GONE else value, tuple(self._resets)))
                self._next_event()  # end of the document
        finally:
            self._events.dispose()
        return found

    def _next_event(self) -> Any:
        return self._events.get_event()

    def _read_value(self, event: Any) -> object:
        """Return the value that starts with `event`."""
        self._count += 1
        if self._count > MOST_VALUES:
            rule = f"has more than {MOST_VALUES} values after aliases are expanded"
            raise ConfigError(self._name, None, rule)
        if isinstance(event, yaml.AliasEvent):
            return self._resolve_alias(event)
        tag = event.tag
        before, begun = len(self._resets), self._count
        if tag in (_RESET, _OVERRIDE):
            self._resets.append(tuple(self._path))
        anchor = None
        if event.anchor is not None:
            anchor = self._anchors[event.anchor] = _Anchor()
        if isinstance(event, yaml.ScalarEvent):
            value = event.value if tag in (_RESET, _OVERRIDE) else self._read_scalar(event)
        else:
            value = self._read_collection(event)
        if tag == _RESET:
            value = _GONE
        if anchor is not None:
            depth = len(self._path)
            anchor.value, anchor.count = value, self._count - begun
            anchor.resets = tuple(path[depth:] for path in self._resets[before:])
            anchor.finished = True
        return value

    def _resolve_alias(self, event: Any) -> object:
        anchor = self._anchors.get(event.anchor)
        if anchor is None:
            raise self._error(event, f"is not YAML: found undefined alias {event.anchor!r}")
        if not anchor.finished:
            raise self._error(event, "an alias must not be inside the value of its anchor")
        self._count += anchor.count
        self._resets += [(*self._path, *path) for path in anchor.resets]
        return anchor.value

    def _read_collection(self, event: Any) -> object:
        if self._depth >= MOST_NESTED:
            raise ConfigError(self._name, None, "is nested too deeply")
        self._depth += 1
        value = (
            self._read_sequence(event)
            if isinstance(event, yaml.SequenceStartEvent)
            else self._read_mapping(event)
        )
        self._depth -= 1
        return value

    def _read_sequence(self, event: Any) -> list[object]:
        self._check_tag(event, "seq")
        found: list[object] = []
        while not isinstance(item := self._next_event(), yaml.SequenceEndEvent):
            self._path.append(str(len(found)))
            value = self._read_value(item)
            self._path.pop()
            if value is not _GONE:
                found.append(value)
        return found

    def _read_mapping(self, event: Any) -> dict[str, object]:
        self._check_tag(event, "map")
        own: dict[str, object] = {}
        lines: dict[str, int] = {}
        merged: list[object] = []
        while not isinstance(key_event := self._next_event(), yaml.MappingEndEvent):
            if _is_merge(key_event):
                merged.append(self._read_value(self._next_event()))
                continue
            key = self._read_key(key_event)
            if key in lines:
                raise self._error(key_event, f"the key {key!r} is already set in line {lines[key]}")
            lines[key] = key_event.start_mark.line + 1
            self._path.append(key)
            value = self._read_value(self._next_event())
            self._path.pop()
            if value is not _GONE:
                own[key] = value
        for each in merged:
            for source in each if isinstance(each, list) else [each]:
                if not isinstance(source, dict):
                    raise self._error(event, "'<<' can merge a mapping or a list of mappings only")
                own = {**source, **own}  # the first value wins
        return own

    def _check_tag(self, event: Any, kind: str) -> None:
        if event.tag not in (None, "!", f"{_STANDARD}{kind}", _RESET, _OVERRIDE):
            raise self._error(event, f"the tag {_tag_text(event.tag)} is not supported")

    def _read_key(self, event: Any) -> str:
        if isinstance(event, yaml.AliasEvent):
            key = self._resolve_alias(event)
            if isinstance(key, str):
                return key
        elif isinstance(event, yaml.ScalarEvent):
            if self._read_scalar(event) is None:
                raise self._error(event, "a key must not be empty")
            if event.anchor is not None:
                self._anchors[event.anchor] = _Anchor(finished=True, value=event.value)
            return str(event.value)
        raise self._error(event, "a key must be a string")

    def _read_scalar(self, event: Any) -> object:
        text: str = event.value
        tag = event.tag
        if tag is None or tag == "!":
            return _resolve_plain(text) if event.implicit[0] else text
        kind = tag.removeprefix(_STANDARD)
        try:
            match kind:
                case "str" | "timestamp" | "merge":
                    return text
                case "null":
                    return None
                case "bool":
                    return _parse_boolean(text)
                case "int" | "float":
                    number = _parse_number(text)
                    if not isinstance(number, str):
                        return int(number) if kind == "int" else float(number)
                    raise ValueError(text)
        except (ValueError, OverflowError):
            raise self._error(event, f"{text!r} is not a valid {kind}") from None
        raise self._error(event, f"the tag {_tag_text(tag)} is not supported")

    def _error(self, event: Any, rule: str) -> ConfigError:
        return ConfigError(f"{self._name}:{event.start_mark.line + 1}", None, rule)


def _is_merge(event: Any) -> bool:
    if not isinstance(event, yaml.ScalarEvent):
        return False
    return event.tag == f"{_STANDARD}merge" or (
        event.value == "<<" and event.tag is None and event.implicit[0]
    )


def _resolve_plain(text: str) -> object:
    """Return the value of an unquoted string."""
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return text.lower() == "true"
    return _parse_number(text) if _NUMBER.fullmatch(text) else text


def _tag_text(tag: str) -> str:
    return f"!!{tag.removeprefix(_STANDARD)}" if tag.startswith(_STANDARD) else tag


def _parse_boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


def _parse_number(text: str) -> int | float | str:
    """Return the number that go-yaml reads in a string, or the string itself."""
    plain = text.replace("_", "")
    if _INT.fullmatch(plain):
        digits, sign = plain.lstrip("+-"), -1 if plain.startswith("-") else 1
        octal = digits.startswith("0") and digits.isdecimal() and digits != "0"
        value = sign * (int(digits, 8) if octal else int(digits, 0))
        if -(2**63) <= value < (2**63 if plain.startswith("+") else 2**64):
            return value
    if _FLOAT.fullmatch(plain):
        number = float(plain)
        return text if math.isinf(number) else number
    if _SPECIAL.fullmatch(text):
        return float(text.replace(".", "").lower())
    return text
