"""A value of the compose file together with its path in it: typed reading, and errors that say where."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar

from watcher.compose.units import UnitError, parse_duration, parse_size
from watcher.errors import ConfigError

Value = TypeVar("Value")
Default = TypeVar("Default")

_MOST_SHOWN = 120  # characters of a value in an error
_TRUE, _FALSE = ("true", "yes", "on", "y"), ("false", "no", "off", "n")


class Unsupported(ConfigError):
    """A key that docker compose may know and this program does nothing with."""


def scalar_text(value: object) -> str:
    """A number, boolean or word as docker compose prints it (Go's `%v`); raises TypeError for the rest."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return _float_text(value)
    raise TypeError(type(value).__name__)


def _float_text(value: float) -> str:
    """Go's `%v` of a float64: the shortest digits, with an exponent from 1e+06 and below 1e-04 on."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    first = len(digits) + int(exponent) - 1  # the power of ten of the first digit
    if value == 0 or -4 <= first < 6:
        return f"{Decimal(repr(value)).normalize():f}"
    text = "".join(map(str, digits))
    tail = f".{text[1:]}" if text[1:] else ""
    return f"{'-' if sign else ''}{text[0]}{tail}e{'-' if first < 0 else '+'}{abs(first):02d}"


@dataclass(frozen=True, slots=True)
class Field:
    """One value and its path, like `services.web.ports[0]`. Every method raises ConfigError."""

    path: str
    value: object

    def error(self, rule: str) -> ConfigError:
        """The error that this value breaks `rule`."""
        return ConfigError(self.path, self._shown, rule)

    def unsupported(self, rule: str) -> Unsupported:
        """The error that only docker compose can do what this value asks for."""
        return Unsupported(self.path, self._shown, rule)

    @property
    def _shown(self) -> object:
        if isinstance(self.value, str) and len(self.value) > _MOST_SHOWN:
            return f"{self.value[:_MOST_SHOWN]}…"
        return self.value if isinstance(self.value, (str, int, float)) else None

    # Plain values.

    def text(self) -> str:
        """A word; numbers and booleans are written out."""
        try:
            return scalar_text(self.value)
        except TypeError:
            raise self.error(f"must be a word, not {_kind(self.value)}") from None

    def word(self) -> str:
        """A word that is not empty."""
        text = self.text()
        if not text.strip():
            raise self.error("must not be empty")
        return text

    def choice(self, *choices: str) -> str:
        """One of `choices`."""
        text = self.text()
        if text not in choices:
            raise self.error(f"must be one of {', '.join(choices)}")
        return text

    def boolean(self) -> bool:
        """true or false; as with docker compose also yes, no, on, off in a word."""
        if isinstance(self.value, bool):
            return self.value
        if isinstance(self.value, str):
            if self.value.lower() in _TRUE:
                return True
            if self.value.lower() in _FALSE:
                return False
        raise self.error("must be true or false")

    def integer(self, least: int | None = None, most: int | None = None) -> int:
        """A whole number within bounds."""
        value = self.value
        if isinstance(value, str):
            try:
                value = int(value) if value.isascii() else None
            except ValueError:
                value = None
        elif isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.error("must be a whole number")
        if (least is not None and value < least) or (most is not None and value > most):
            bounds = f"between {least} and {most}" if most is not None else f"at least {least}"
            raise self.error(f"must be {bounds}")
        if not -(2**63) <= value < 2**63:
            raise self.error("is too large a number")
        return value

    def number(self, least: float = 0.0) -> float:
        """A number that is at least `least`."""
        value = self.value
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                value = None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise self.error("must be a number")
        if value < least:
            raise self.error(f"must be at least {least:g}")
        return float(value)

    def size(self, *, least: int = 0) -> int:
        """Bytes, from a number or from a word like `64m`."""
        try:
            value = parse_size(self.value)
        except UnitError as error:
            raise self.error(str(error)) from None
        if value < least:
            raise self.error(f"must be at least {least}")
        return value

    def duration(self) -> float:
        """Seconds, from a word like `1m30s`."""
        try:
            return parse_duration(self.text())
        except UnitError as error:
            raise self.error(str(error)) from None

    # Lists and mappings.

    def items(self) -> list[Field]:
        """The entries of a list."""
        if not isinstance(self.value, list):
            raise self.error(f"must be a list, not {_kind(self.value)}")
        return [Field(f"{self.path}[{index}]", each) for index, each in enumerate(self.value)]

    def words(self) -> tuple[str, ...]:
        """A list of words, each once: merged definitions may say a thing twice."""
        return tuple(dict.fromkeys(each.word() for each in self.items()))

    def word_or_words(self) -> tuple[str, ...]:
        """A list of words, or one word alone."""
        return self.words() if isinstance(self.value, list) else (self.word(),)

    def mapping(self) -> dict[str, Field]:
        """The entries of a mapping."""
        if not isinstance(self.value, dict):
            raise self.error(f"must be a mapping, not {_kind(self.value)}")
        return {key: Field(f"{self.path}.{key}", each) for key, each in self.value.items()}

    def pairs(self) -> dict[str, str | None]:
        """`NAME: value` or `- NAME=value`; a name without a value gives None."""
        pairs: dict[str, str | None] = {}
        if isinstance(self.value, dict):
            for key, each in self.mapping().items():
                pairs[key] = None if each.value is None else each.text()
            return pairs
        if not isinstance(self.value, list):
            raise self.error("must be a mapping or a list")
        for each in self.items():
            name, equals, value = each.text().partition("=")
            if not name:
                raise each.error("must be NAME=value or NAME")
            pairs[name] = value if equals else None
        return pairs

    def labels(self) -> dict[str, str]:
        """As `pairs`; a name without a value has an empty one."""
        return {name: value or "" for name, value in self.pairs().items()}


class Section:
    """A mapping of known keys. Entries are taken one by one; what was not taken in the end is unknown."""

    def __init__(self, field: Field) -> None:
        self._field = field
        self._fields = field.mapping()

    def take(self, key: str) -> Field | None:
        """The value of `key`; None when it is not given or empty."""
        found = self._fields.pop(key, None)
        return found if found is not None and found.value is not None else None

    def read(self, key: str, how: Callable[[Field], Value], default: Default) -> Value | Default:
        """The value of `key` as `how` reads it; `default` when it is not given."""
        found = self.take(key)
        return default if found is None else how(found)

    def need(self, key: str, what: str) -> Field:
        """The value of `key`, which must be given; `what` says what it is."""
        found = self.take(key)
        if found is None:
            raise self._field.error(f"must have a {key}, {what}")
        return found

    def refuse(self, keys: Mapping[str, str]) -> None:
        """None of `keys` may be given, unless its value asks for nothing; each has its reason."""
        for key, reason in keys.items():
            found = self.take(key)
            if found and found.value not in ([], {}, False, ""):
                raise found.unsupported(f"is not supported: {reason}")

    def ignore(self, keys: Iterable[str]) -> None:
        """Whatever these keys say does not matter here."""
        for key in keys:
            self.take(key)

    def end(self, what: str) -> None:
        """Everything must have been taken, but for `x-` extensions."""
        for key, found in self._fields.items():
            if not key.startswith("x-"):
                raise Unsupported(found.path, None, f"is not a known key of {what}")


def _kind(value: object) -> str:
    match value:
        case None:
            return "empty"
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case bool():
            return "true or false"
        case str():
            return "a word"
    return "a number"
