"""Parse sizes, durations and command lines as docker compose does. Invalid text raises UnitError."""

from __future__ import annotations

from watcher import regex

# docker/go-units, size.go: RAMInBytes: binary multiples, an optional "i" and "b", a space before the unit.
_SIZE = regex.compile(r"(?P<number>\d+(?:\.\d*)?|\.\d+) ?(?P<unit>[kKmMgGtTpP]?)(?:[iI]?[bB])?")
_WHOLE = regex.compile(r"-?\d{1,18}")
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}

# xhit/go-str2duration: Go's durations, and weeks and days.
_DURATION_PART = regex.token(r"(?P<number>\d++(?:\.\d*+)?+|\.\d++)(?P<unit>ns|us|µs|μs|ms|s|m|h|d|w)")
_SECONDS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "μs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86400.0,
    "w": 604800.0,
}
_LONGEST = 2**63 / 1e9

_TOKEN = regex.token(
    r"(?s)(?P<space>[ \t\r\n]++)|(?P<operator>[;&|<>`()])|\\(?P<escaped>.)"
    r"|'(?P<single>[^']*+)'|[^ \t\r\n;&|<>`()\\'\"]++",
)
_UNQUOTED = regex.token(r'[^"\\]++')
_UNFINISHED = "a command must close its quotes, and not end with a backslash"


class UnitError(ValueError):
    """Text that cannot be parsed; the message is the rule that it violates."""


def parse_size(value: object) -> int:
    """Return bytes, from a whole number or a string like `512`, `64m`, `1.5gb`; -1 is allowed."""
    rule = "must be a size such as 64m or 1g"
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise UnitError(rule)
    if isinstance(value, (int, float)):
        if not -(2**63) <= value < 2**63:
            raise UnitError(rule)
        return int(value)
    if _WHOLE.fullmatch(value):
        return int(value)
    match = _SIZE.fullmatch(value)
    if match is None or not value.isascii():
        raise UnitError(rule)
    result = float(match["number"]) * 1024 ** _POWERS[match["unit"].lower()]
    if result >= 2**63:
        raise UnitError(rule)
    return int(result)


def parse_duration(text: str) -> float:
    """Return seconds, from a string like `1m30s`, `1.5s` or `0`."""
    rule = "must be a duration such as 10s or 1m30s"
    if text == "0":
        return 0.0
    at, total = 0, 0.0
    while at < len(text):
        match = _DURATION_PART.match(text, at)
        if match is None or not match["number"].isascii():
            raise UnitError(rule)
        total += float(match["number"]) * _SECONDS[match["unit"]]
        at = match.end()
    if not text or total >= _LONGEST:
        raise UnitError(rule)
    return round(total, 9)


def command_words(text: str) -> tuple[str, ...]:
    """Split a command line by quotes and backslashes, as mattn/go-shellwords does for compose.

    Operators of a shell are refused: compose would silently cut the command there.
    """
    words: list[str] = []
    begun = False  # whether the last word is still open
    at = 0
    while at < len(text):
        if text[at] == '"':
            found, at = _in_double_quotes(text, at + 1)
        else:
            match = _TOKEN.match(text, at)
            if match is None:
                raise UnitError(_UNFINISHED)
            at = match.end()
            if match["operator"]:
                raise UnitError(
                    f"a command does not run in a shell: quote {match[0]!r}, or write [sh, -c, …]"
                )
            if match["space"]:
                begun = False
                continue
            found = match[0] if match["single"] is None else match["single"]
            found = match["escaped"] or found
        if not begun:
            words.append("")
            begun = True
        words[-1] += found
    return tuple(words)


def _in_double_quotes(text: str, at: int) -> tuple[str, int]:
    """Return the text from `at` to the closing quote without escapes, and the index after it."""
    out: list[str] = []
    while not text.startswith('"', at):
        if text.startswith("\\", at):
            at += 1
            plain = text[at : at + 1]
        else:
            match = _UNQUOTED.match(text, at)
            plain = match[0] if match else ""
        if not plain:
            raise UnitError(_UNFINISHED)
        out.append(plain)
        at += len(plain)
    return "".join(out), at + 1
