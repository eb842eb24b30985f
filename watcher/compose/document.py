"""The text of a compose file as plain values, read as docker compose reads it.

That is YAML 1.2 with a few old habits of go-yaml: only `true` and `false` are booleans (`on`, `yes` are
words), `22:22` is a word and not a number to base 60, `0644` is octal, `1_000` is a number, and `<<` merges.
A key that stands twice is refused with both of its lines, as compose refuses it.
"""

from __future__ import annotations

import math
from pathlib import Path

import yaml
from yaml.composer import Composer
from yaml.constructor import BaseConstructor
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

from watcher import regex
from watcher.errors import ConfigError

MOST_NESTED = 100
MOST_VALUES = 50_000  # with every alias written out: far beyond a real file, far below what hurts

_STANDARD = "tag:yaml.org,2002:"
_NUMBER = "number"  # a tag of our own, for a word that may be a number
_INT = regex.compile(r"[-+]?(?:0|[1-9][0-9]*|0[0-7]+|0[oO][0-7]+|0[xX][0-9a-fA-F]+|0[bB][01]+)")
_FLOAT = regex.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_SPECIAL = regex.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


class _Resolver(BaseResolver):
    """What an unquoted word is."""


_Resolver.add_implicit_resolver(
    f"{_STANDARD}bool", regex.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Resolver.add_implicit_resolver(
    f"{_STANDARD}null", regex.compile(r"(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]
)
_Resolver.add_implicit_resolver(
    f"{_STANDARD}{_NUMBER}", regex.compile(r"[-+.0-9][-+.0-9a-zA-Z_]*$"), list("-+.0123456789")
)
_Resolver.add_implicit_resolver(f"{_STANDARD}merge", regex.compile(r"<<$"), ["<"])


class _Loader(Reader, Scanner, Parser, Composer, BaseConstructor, _Resolver):
    def __init__(self, stream: bytes) -> None:
        Reader.__init__(self, stream)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        BaseConstructor.__init__(self)
        _Resolver.__init__(self)


def read_documents(path: Path) -> list[object]:
    """The documents of a YAML file as dicts, lists, strings, numbers, booleans and None.

    Raises ConfigError when the file cannot be read, is no YAML, or names a key twice.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(str(path), None, "there is no such file") from None
    except OSError as error:
        raise ConfigError(str(path), None, f"cannot be read: {error.strerror}") from error
    return parse_documents(data, str(path))


def parse_documents(data: bytes, name: str) -> list[object]:
    """As `read_documents`, of text that is there already; `name` is the file's, for errors."""
    loader = None
    try:
        loader = _Loader(data)
        documents = []
        while loader.check_node():
            if (node := loader.get_node()) is not None:
                documents.append(_Builder(name).value(node, ()))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}" if mark else name
        raise ConfigError(where, None, f"is not YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise ConfigError(name, None, f"is not YAML: {' '.join(str(error).split())}") from error
    except (ValueError, OverflowError) as error:  # PyYAML lets these through for some escapes and encodings
        raise ConfigError(name, None, f"is not YAML: {error}") from error
    except RecursionError:
        raise ConfigError(name, None, "is nested too deeply") from None
    finally:
        if loader is not None:
            loader.dispose()
    return documents


class _Builder:
    """Turns the nodes of one document into values."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._count = 0

    def value(self, node: Node, parents: tuple[int, ...]) -> object:
        self._count += 1
        if self._count > MOST_VALUES:
            raise ConfigError(
                self._name, None, f"holds more than {MOST_VALUES} values when aliases are written out"
            )
        if len(parents) >= MOST_NESTED:
            raise ConfigError(self._name, None, "is nested too deeply")
        if id(node) in parents:
            raise self._error(node, "an alias must not stand inside of what it names")
        below = (*parents, id(node))
        if isinstance(node, ScalarNode):
            return self._scalar(node)
        if isinstance(node, SequenceNode):
            self._plain_tag(node, "seq")
            return [self.value(each, below) for each in node.value]
        if isinstance(node, MappingNode):
            self._plain_tag(node, "map")
            return self._mapping(node, below)
        raise self._error(node, "is of no known kind")

    def _mapping(self, node: MappingNode, parents: tuple[int, ...]) -> dict[str, object]:
        own: dict[str, object] = {}
        lines: dict[str, int] = {}
        merged: list[object] = []
        for key_node, value_node in node.value:
            if key_node.tag == f"{_STANDARD}merge":
                merged.append(self.value(value_node, parents))
                continue
            key = self._key(key_node)
            line = key_node.start_mark.line + 1
            if key in lines:
                raise self._error(key_node, f"the key {key!r} is already given in line {lines[key]}")
            lines[key] = line
            own[key] = self.value(value_node, parents)
        for each in merged:
            for source in each if isinstance(each, list) else [each]:
                if not isinstance(source, dict):
                    raise self._error(node, "'<<' can merge a mapping or a list of mappings only")
                own = {**source, **own}  # what is said first wins
        return own

    def _key(self, node: Node) -> str:
        if not isinstance(node, ScalarNode):
            raise self._error(node, "a key must be a word")
        if self._scalar(node) is None:
            raise self._error(node, "a key must not be empty")
        return str(node.value)

    def _scalar(self, node: ScalarNode) -> object:
        text: str = node.value
        kind = node.tag.removeprefix(_STANDARD)
        try:
            match kind:
                case "str" | "!" | "timestamp" | "merge":
                    return text
                case "null":
                    return None
                case "bool":
                    return _boolean(text)
                case "number":
                    return _number(text)
                case "int" | "float":
                    number = _number(text)
                    if not isinstance(number, str):
                        return int(number) if kind == "int" else float(number)
                    raise ValueError(text)
        except (ValueError, OverflowError):
            raise self._error(node, f"{text!r} is no {kind}") from None
        raise self._error(node, f"the tag {_shown(node.tag)} is not supported")

    def _plain_tag(self, node: Node, kind: str) -> None:
        if node.tag not in (f"{_STANDARD}{kind}", "!"):
            raise self._error(node, f"the tag {_shown(node.tag)} is not supported")

    def _error(self, node: Node, rule: str) -> ConfigError:
        return ConfigError(f"{self._name}:{node.start_mark.line + 1}", None, rule)


def _shown(tag: str) -> str:
    return f"!!{tag.removeprefix(_STANDARD)}" if tag.startswith(_STANDARD) else tag


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


def _number(text: str) -> int | float | str:
    """The number that go-yaml sees in a word, or the word itself."""
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
