"""Every regular expression of the program, on engines whose time grows with the length of the text alone.

Foreign text (logs, Dockerfiles, ignore files, requests) reaches these patterns, and Python's `re` backtracks:
`(a+)+b` takes 2**n steps for n letters, and one such line stops the event loop for good. No other module may
import `re` (a test enforces it). There are two kinds of patterns:

* `compile`: RE2, which has neither lookaround nor backreferences and never backtracks. `\\s`, `\\w`, `\\d`
  and `\\b` are ASCII only, `$` is the very end of the text, flags stand in the pattern: `(?i)`, `(?s)`.
* `token`: Python's `re`, for scanners that read one token at an offset of a long text, where RE2 would have
  to encode the whole text each time. Only for patterns that cannot backtrack: every repeat is possessive
  (`a*+`) and its body has no repeat within. A test parses each token and refuses any other.

A pattern made while the module is imported is kept in `REGISTERED`, and a test times each of them on hostile
texts. `one_off` makes one at run time, of parts that are known only then.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, AnyStr, Final, Generic

import re2

REGISTERED: Final[dict[str | bytes, Pattern | Token[Any]]] = {}

# A pattern with hundreds of alternatives (an ignore file) needs more than RE2's 8 MB; above, it is refused.
_MOST_MEMORY = 64 << 20
_SURROGATES = dict.fromkeys(range(55296, 57344), "�")

BadPattern = re2.error


class Match:
    """What a pattern found: groups by number or name, as `re.Match` has them."""

    __slots__ = ("_names", "_spans", "string")

    def __init__(self, string: str, spans: tuple[tuple[int, int], ...], names: dict[str, int]) -> None:
        self.string, self._spans, self._names = string, spans, names

    def __getitem__(self, group: int | str) -> str | Any:
        """Return the text of a group; None for one that took no part."""
        start, stop = self._spans[group if isinstance(group, int) else self._names[group]]
        return None if start < 0 else self.string[start:stop]

    def groups(self) -> tuple[str | Any, ...]:
        """Return the texts of all groups but the whole."""
        return tuple(self[number] for number in range(1, len(self._spans)))

    def start(self, group: int = 0) -> int:
        """Return where a group begins; -1 for one that took no part."""
        return self._spans[group][0]

    def span(self, group: int = 0) -> tuple[int, int]:
        """Return where a group begins and ends; -1 twice for one that took no part."""
        return self._spans[group]

    def end(self, group: int = 0) -> int:
        """Return where a group ends; -1 for one that took no part."""
        return self._spans[group][1]


class Pattern:
    """A pattern for RE2. A byte that could not be decoded (a surrogate) matches as U+FFFD does."""

    __slots__ = ("_engine", "_groups", "_names", "pattern")

    def __init__(self, pattern: str) -> None:
        options = re2.Options()
        options.max_mem = _MOST_MEMORY
        options.log_errors = False
        self.pattern = pattern
        self._engine = re2.compile(_encoded(pattern), options)
        self._groups = self._engine.groups + 1
        self._names = {name.decode(): number for name, number in self._engine.groupindex.items()}

    def search(self, text: str) -> Match | None:
        """Return the first match anywhere."""
        return self._made(text, self._engine.search(_encoded(text)))

    def match(self, text: str) -> Match | None:
        """Return a match at the beginning."""
        return self._made(text, self._engine.match(_encoded(text)))

    def fullmatch(self, text: str) -> Match | None:
        """Return a match of the whole text."""
        return self._made(text, self._engine.fullmatch(_encoded(text)))

    def found(self, text: str) -> bool:
        """Return whether it matches anywhere."""
        return self._engine.search(_encoded(text)) is not None

    def finditer(self, text: str) -> Iterator[Match]:
        """All matches, from left to right, that do not overlap."""
        if text.isascii():
            for found in self._engine.finditer(text.encode()):
                yield Match(text, self._spans(found), self._names)
            return
        encoded, at, chars = _encoded(text), 0, 0
        for found in self._engine.finditer(encoded):
            spans = self._spans(found)
            start, stop = spans[0]
            chars += len(encoded[at:start].decode())
            at = start
            if len(spans) > 1:
                spans = _in_chars(encoded, spans, at, chars)
            else:
                spans = ((chars, chars + len(encoded[start:stop].decode())),)
            yield Match(text, spans, self._names)

    def findall(self, text: str) -> list[Any]:
        """Return the texts of all matches: of the group if there is one, a tuple if there are several."""
        if self._groups == 1:
            return [match[0] for match in self.finditer(text)]
        if self._groups == 2:
            return [match[1] or "" for match in self.finditer(text)]
        return [tuple(group or "" for group in match.groups()) for match in self.finditer(text)]

    def sub(self, new: str | Callable[[Match], str], text: str) -> str:
        """`text` with `new` in place of each match. A string is taken as it is: it names no groups.

        With a string, what could not be decoded comes out as U+FFFD where anything is replaced.
        """
        if isinstance(new, str):
            return self._replaced(new, text)
        out: list[str] = []
        at = 0
        for match in self.finditer(text):
            out += text[at : match.start()], new(match)
            at = match.end()
        return "".join((*out, text[at:])) if out else text

    def _replaced(self, new: str, text: str) -> str:
        encoded, inserted = _encoded(text), new.encode()
        out: list[bytes] = []
        at = 0
        for found in self._engine.finditer(encoded):
            start, stop = found.span()
            out += encoded[at:start], inserted
            at = stop
        return b"".join((*out, encoded[at:])).decode() if out else text

    def split(self, text: str) -> list[str]:
        """Return what stands between the matches."""
        out: list[str] = []
        at = 0
        for match in self.finditer(text):
            out.append(text[at : match.start()])
            at = match.end()
        return [*out, text[at:]]

    def _made(self, text: str, found: Any) -> Match | None:
        if found is None:
            return None
        spans = self._spans(found)
        return Match(text, spans if text.isascii() else _in_chars(_encoded(text), spans, 0, 0), self._names)

    def _spans(self, found: Any) -> tuple[tuple[int, int], ...]:
        return tuple([found.span(group) for group in range(self._groups)])


TokenMatch = re.Match[str]


class Token(Generic[AnyStr]):
    """A pattern that reads one token at a given place, without backtracking."""

    __slots__ = ("_match", "pattern")

    def __init__(self, pattern: AnyStr) -> None:
        self.pattern: AnyStr = pattern
        self._match: Callable[[AnyStr, int], re.Match[AnyStr] | None] = re.compile(pattern).match

    def match(self, text: AnyStr, at: int = 0) -> re.Match[AnyStr] | None:
        """Return a match that begins at `at`."""
        return self._match(text, at)

    def fullmatch(self, text: AnyStr) -> re.Match[AnyStr] | None:
        """Return a match of the whole text."""
        match = self._match(text, 0)
        return match if match and match.end() == len(text) else None


def compile(pattern: str) -> Pattern:
    """Return a registered pattern; made while its module is imported."""
    made = REGISTERED[pattern] = Pattern(pattern)
    return made


def token(pattern: AnyStr) -> Token[AnyStr]:
    """Return a registered token; made while its module is imported."""
    made = Token(pattern)
    REGISTERED[pattern] = made
    return made


@lru_cache(maxsize=256)
def one_off(pattern: str) -> Pattern:
    """Return a pattern of parts that are known at run time only. Raises `BadPattern`."""
    return Pattern(pattern)


def escape(text: str) -> str:
    """Return a pattern that matches exactly `text`."""
    return str(re2.escape(text.translate(_SURROGATES)))


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:  # a byte of a name that is not UTF-8, as `surrogateescape` keeps it
        return text.translate(_SURROGATES).encode()


def _in_chars(
    encoded: bytes, spans: tuple[tuple[int, int], ...], at: int, chars: int
) -> tuple[tuple[int, int], ...]:
    """Spans of bytes as spans of characters. Byte `at` is character `chars`; no span begins before."""
    known = {-1: -1, at: chars}
    for place in sorted({place for span in spans for place in span if place >= 0}):
        if place not in known:
            chars += len(encoded[at:place].decode())
            known[place], at = chars, place
    return tuple((known[start], known[stop]) for start, stop in spans)
