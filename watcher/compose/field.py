"""Read a value of the compose file by type, with errors that name its path in the file."""

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
    """A key that docker compose may support and this program does not."""


def scalar_text(value: object) -> str:
    """Format a number, boolean or string as docker compose does (Go's `%v`); raise TypeError for others."""
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
    """Format a float64 as Go's `%v`: the shortest digits, with an exponent from 1e+06 and below 1e-04."""
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
        """Return the error that this value violates `rule`."""
        return ConfigError(self.path, self._shown, rule)

    def unsupported(self, rule: str) -> Unsupported:
        """Return the error that only docker compose supports this value."""
        return Unsupported(self.path, self._shown, rule)

    @property
    def _shown(self) -> object:
        if isinstance(self.value, str) and len(self.value) > _MOST_SHOWN:
            return f"{self.value[:_MOST_SHOWN]}…"
        return self.value if isinstance(self.value, (str, int, float)) else None

    # Plain values.

    def text(self) -> str:
        """Return a string; numbers and booleans are formatted."""
        try:
            return scalar_text(self.value)
        except TypeError:
            raise self.error(f"must be a string, not {_kind(self.value)}") from None

    def word(self) -> str:
        """Return a string that is not empty."""
        text = self.text()
        if not text.strip():
            raise self.error("must not be empty")
        return text

    def choice(self, *choices: str) -> str:
        """Return one of `choices`."""
        text = self.text()
        if text not in choices:
            raise self.error(f"must be one of {', '.join(choices)}")
        return text

    def boolean(self) -> bool:
        """Return true or false; as with docker compose, also from the strings yes, no, on and off."""
        if isinstance(self.value, bool):
            return self.value
        if isinstance(self.value, str):
            if self.value.lower() in _TRUE:
                return True
            if self.value.lower() in _FALSE:
                return False
        raise self.error("must be true or false")

    def integer(self, least: int | None = None, most: int | None = None) -> int:
        """Return a whole number from `least` to `most`."""
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
        """Return a number that is at least `least`."""
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
        """Return bytes, from a number or a string like `64m`."""
        try:
            value = parse_size(self.value)
        except UnitError as error:
            raise self.error(str(error)) from None
        if value < least:
            raise self.error(f"must be at least {least}")
        return value

    def duration(self) -> float:
        """Return seconds, from a string like `1m30s`."""
        try:
            return parse_duration(self.text())
        except UnitError as error:
            raise self.error(str(error)) from None

    # Lists and mappings.

    def items(self) -> list[Field]:
        """Return the entries of a list."""
        if not isinstance(self.value, list):
            raise self.error(f"must be a list, not {_kind(self.value)}")
        return [Field(f"{self.path}[{index}]", each) for index, each in enumerate(self.value)]

    def words(self) -> tuple[str, ...]:
        """Return a list of strings without duplicates: merged definitions may repeat an entry."""
        return tuple(dict.fromkeys(each.word() for each in self.items()))

    def word_or_words(self) -> tuple[str, ...]:
        """Return a list of strings, or a single string as a list."""
        return self.words() if isinstance(self.value, list) else (self.word(),)

    def mapping(self) -> dict[str, Field]:
        """Return the entries of a mapping."""
        if not isinstance(self.value, dict):
            raise self.error(f"must be a mapping, not {_kind(self.value)}")
        return {key: Field(f"{self.path}.{key}", each) for key, each in self.value.items()}

    def pairs(self) -> dict[str, str | None]:
        """Return the entries of `NAME: value` or `- NAME=value`; a name without a value has None."""
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
        """Return `pairs`, with an empty string for a name without a value."""
        return {name: value or "" for name, value in self.pairs().items()}


class Section:
    """A mapping with known keys. Each is taken once; `end` refuses those that are left."""

    def __init__(self, field: Field) -> None:
        self._field = field
        self._fields = field.mapping()

    def take(self, key: str) -> Field | None:
        """Return the value of `key`; None if it is absent or null."""
        found = self._fields.pop(key, None)
        return found if found is not None and found.value is not None else None

    def read(self, key: str, how: Callable[[Field], Value], default: Default) -> Value | Default:
        """Return the value of `key`, read by `how`; `default` if it is absent."""
        found = self.take(key)
        return default if found is None else how(found)

    def need(self, key: str, what: str) -> Field:
        """Return the value of the required key `key`; `what` describes it in the error."""
        found = self.take(key)
        if found is None:
            raise self._field.error(f"must have a {key}, {what}")
        return found

    def refuse(self, keys: Mapping[str, str]) -> None:
        """Raise an error if one of `keys` is set to a non-empty value; each key has its reason."""
        for key, reason in keys.items():
            found = self.take(key)
            if found and found.value not in ([], {}, False, ""):
                raise found.unsupported(f"is not supported: {reason}")

    def ignore(self, keys: Iterable[str]) -> None:
        """Skip these keys."""
        for key in keys:
            self.take(key)

    def end(self, what: str) -> None:
        """Raise an error if a key is left that is not an `x-` extension."""
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
            return "a string"
    return "a number"
