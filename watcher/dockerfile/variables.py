"""Find the variables that a text reads, without expanding them."""

from __future__ import annotations

from collections.abc import Iterator

from watcher import regex

_NAME = regex.token(r"[A-Za-z_][A-Za-z0-9_]*+")
_GUARDS = frozenset("-+?")


def read_variables(text: str, escape: str = "\\") -> Iterator[str]:
    """Yield the names in `$NAME` and `${NAME}` that have no default, alternative or error message.

    The quotes are those of a POSIX shell, whose rules BuildKit follows here: single ones keep a `$`.
    """
    pos, double, single = 0, False, False
    while pos < len(text):
        char = text[pos]
        pos += 1
        if single:
            single = char != "'"
        elif char == escape:
            pos += 1
        elif char == "'" and not double:
            single = True
        elif char == '"':
            double = not double
        elif char == "$":
            braces = text.startswith("{", pos)
            found = _NAME.match(text, pos + braces)
            if found is None:
                pos += text.startswith("$", pos)  # the process id
                continue
            pos = found.end()
            operator = text[pos : pos + 2].removeprefix(":")[:1] if braces else ""
            if operator not in _GUARDS or not operator:
                yield found[0]
