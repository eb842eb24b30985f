"""Variable expansion in a Dockerfile's words: `$X`, `${X}`, `${X:-d}`, `${X#p}`, `${X/p/r}`.

After moby/buildkit `frontend/dockerfile/shell/lex.go`, with which a test compares it. A variable has one of
three states: a value, not set, or not known (`UNKNOWN`: its image was not inspected). A
word that depends on one of the last kind raises `Unresolved` instead of pretending that it were empty.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from watcher import regex
from watcher.dockerfile.spans import WHITE

_SPECIAL = frozenset("@*#?-$!0")
_LONGEST = 131_072  # characters; Linux gives no program a longer variable or argument (MAX_ARG_STRLEN)
_DEEPEST = 50  # substitutions in substitutions; no real file has more


class Unresolved(ValueError):
    """A word cannot be expanded from the text alone; the message is the reason."""


class _Unknown:
    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = _Unknown()
Value = str | None | _Unknown
Lookup = Callable[[str], Value]


def lookup_in(values: Mapping[str, str]) -> Lookup:
    """Return a lookup for which every other name is not set."""
    return values.get


def expand(word: str, lookup: Lookup, escape: str = "\\") -> str:
    """Return `word` with quotes removed and variables put in. Raises Unresolved."""
    return _Lexer(word, lookup, escape).until("")


def raw_words(text: str) -> list[str]:
    """Return the words of a line with quotes, escapes and variables unchanged.

    Raises Unresolved where quotes or substitutions do not end.
    """
    lexer = _Lexer(text, lambda _: None, "\\", raw=True)
    lexer.until("")
    return lexer.words


def one_word(text: str) -> str | None:
    """Return the text without quotes and escapes, variables unchanged; None unless that is one word.

    Raises Unresolved.
    """
    lexer = _Lexer(text, lambda _: None, "\\", keep_unset=True)
    lexer.until("")
    return lexer.words[0] if len(lexer.words) == 1 else None


class _Lexer:
    """Reads one word, and collects `words` cut at white space outside quotes.

    `raw` keeps quotes and escapes, and with `keep_unset` variables that are not set stay unchanged.
    """

    def __init__(
        self, word: str, lookup: Lookup, escape: str, *, raw: bool = False, keep_unset: bool = False
    ) -> None:
        self.word, self.lookup, self.escape, self.raw = word, lookup, escape, raw
        self.keep_unset = keep_unset or raw
        self.pos = 0
        self.words: list[str] = []
        self.raw_escapes = raw
        self.depth = 0
        self.nested = 0  # substitutions that were read
        self.put_in = 0  # characters out of variables

    def peek(self) -> str:
        """Return the next character, empty at the end."""
        return self.word[self.pos : self.pos + 1]

    def next(self) -> str:
        """Take the next character."""
        char = self.peek()
        self.pos += 1
        return char

    def until(self, stop: str, *, raw_escapes: bool | None = None) -> str:
        """Return the text before `stop` (empty: the end); the position moves past it. Raises Unresolved."""
        before = self.raw_escapes
        self.raw_escapes = before if raw_escapes is None else raw_escapes
        self.depth += 1
        self.nested += 1
        if self.depth > _DEEPEST:
            raise Unresolved(f"{self.word[:80]!r} has substitutions that are nested too deep")
        try:
            return self._until(stop)
        finally:
            self.depth -= 1
            self.raw_escapes = before

    def _until(self, stop: str) -> str:
        out: list[str] = []
        words, word = list[str](), ""
        while char := self.peek():
            if stop and char == stop:
                self.pos += 1
                break
            nested = self.nested
            part, splits = self._part(char)
            out.append(part)
            if self.nested != nested:
                word = ""  # BuildKit has one buffer for the words of all depths, and empties it
            for one in part if splits else ():
                if one not in WHITE:
                    word += one
                elif word:
                    words.append(word)
                    word = ""
            word += "" if splits else part
        else:
            if stop:
                raise Unresolved(f"{self.word!r} lacks {stop!r}")
        if self.depth == 1:
            self.words = [*words, word] if word else words
        return "".join(out)

    def _part(self, char: str) -> tuple[str, bool]:
        """Return the value of the characters from here on, and whether white space in it ends a word."""
        match char:
            case "'":
                return self._single(), False
            case '"':
                return self._double(), False
            case "$":
                return self._dollar(), True
            case "<":
                return self._less(), False
        self.pos += 1
        if char != self.escape:
            return char, True
        return (char if self.raw_escapes else "") + self.next(), False

    def _less(self) -> str:
        self.pos += 1
        if self.peek() != "<":
            return "<"
        start = self.pos
        self.pos += 1
        while self.peek() in ("\t", "\r", " "):
            self.pos += 1
        return "<" + self.word[start : self.pos]

    def _single(self) -> str:
        end = self.word.find("'", self.pos + 1)
        if end < 0:
            raise Unresolved(f"{self.word!r} has a single quote without its end")
        start, self.pos = self.pos, end + 1
        return self.word[start : end + 1] if self.raw else self.word[start + 1 : end]

    def _double(self) -> str:
        out = [self.next()] if self.raw else []
        self.pos += not self.raw
        while char := self.peek():
            if char == '"':
                self.pos += 1
                return "".join([*out, char] if self.raw else out)
            if char == "$":
                out.append(self._dollar())
                continue
            self.pos += 1
            if char == self.escape:
                if self.raw_escapes:
                    out.append(char)
                following = self.peek()
                if not following:
                    break
                if following in ('"', "$", self.escape):
                    char = self.next()
            out.append(char)
        raise Unresolved(f"{self.word!r} has a double quote without its end")

    def _name(self) -> str:
        start = self.pos
        if self.peek().isdecimal():
            while self.peek().isdecimal():
                self.pos += 1
        elif self.peek() and self.peek() in _SPECIAL:
            self.pos += 1
        else:
            while (char := self.peek()) and (char.isalpha() or char.isdecimal() or char == "_"):
                self.pos += 1
        return self.word[start : self.pos]

    def _value(self, name: str) -> str | None:
        value = self.lookup(name)
        if isinstance(value, _Unknown):
            raise Unresolved(f"the value of {name} is not known")
        self.put_in += len(value or "")
        if self.put_in > _LONGEST:  # `ENV A=$A$A`, forty times
            raise Unresolved(f"with {name} the text becomes longer than {_LONGEST} characters")
        return value

    def _dollar(self) -> str:
        start = self.pos
        self.pos += 1
        if self.peek() != "{":
            name = self._name()
            if not name:
                return "$"
            value = self._value(name)
            return self.word[start : self.pos] if value is None and self.keep_unset else value or ""
        self.pos += 1
        if self.peek() in ("", "{", "}", ":"):
            raise Unresolved(f"{self.word!r}: bad substitution")
        name = self._name()
        operator = self.next()
        if operator == "}":
            value = self._value(name)
            return self.word[start : self.pos] if value is None and self.keep_unset else value or ""
        if operator == "/":
            return self._replaced(name)
        empty_counts = operator != ":"
        if not empty_counts:
            operator = self.next()
        return self._modified(name, operator, empty_counts=empty_counts)

    def _modified(self, name: str, operator: str, *, empty_counts: bool) -> str:
        """Return the value of `${name-argument}` and similar after the operator; `empty_counts`: no colon."""
        trims = operator in ("#", "%")
        if not operator or operator not in "-+?#%" or (trims and not empty_counts):
            raise Unresolved(f"{self.word!r}: this kind of substitution is not known")
        argument = self.until("}", raw_escapes=trims)
        value = self._value(name)
        if value is None and self.keep_unset:
            return f"${{{name}{'' if empty_counts else ':'}{operator}{argument}}}"
        there = value is not None if empty_counts else bool(value)
        match operator:
            case "-":
                return (value or "") if there else argument
            case "+":
                return argument if there else ""
            case "?":
                if not there:
                    raise Unresolved(f"{name}: {argument or 'must be set'}")
                return value or ""
            case _:
                return _trimmed(value or "", argument, operator)

    def _replaced(self, name: str) -> str:
        everywhere = self.peek() == "/"
        self.pos += everywhere
        pattern = self.until("/", raw_escapes=True)
        replacement = self.until("}", raw_escapes=True)
        value = self._value(name)
        if value is None and self.keep_unset:
            return f"${{{name}/{pattern}/{replacement}}}"
        compiled = _compiled(pattern, greedy=True, anchored=False)
        if everywhere:
            if "$" in replacement:  # Go puts groups of the match in there
                raise Unresolved(f"{self.word!r}: a $ in the replacement is not followed")
            return compiled.sub(replacement, value or "")
        found = compiled.search(value or "")
        if found is None:
            return value or ""
        return f"{found.string[: found.start()]}{replacement}{found.string[found.end() :]}"


def _trimmed(value: str, pattern: str, operator: str) -> str:
    """Return `value` without what `pattern` matches at its beginning (`#`) or its end (`%`)."""
    greedy = pattern.startswith(operator)
    pattern = pattern[1:] if greedy else pattern
    backwards = operator == "%"  # the shortest match at the end is the first one from behind
    if backwards:
        value, pattern = value[::-1], _reversed(pattern)
    found = _compiled(pattern, greedy=greedy, anchored=True).search(value)
    rest = value[found.end() :] if found else value
    return rest[::-1] if backwards else rest


def _reversed(pattern: str) -> str:
    """Return a pattern for the reversed text; an escape stays before what it escapes."""
    parts, pos = list[str](), 0
    while pos < len(pattern):
        length = 2 if pattern[pos] == "\\" and pos + 1 < len(pattern) else 1
        parts.append(pattern[pos : pos + length])
        pos += length
    return "".join(reversed(parts))


def _compiled(pattern: str, *, greedy: bool, anchored: bool) -> regex.Pattern:
    """Return a shell pattern with only `*` and `?`, as in BuildKit. Raises Unresolved."""
    out, pos = ["^" if anchored else ""], 0
    while pos < len(pattern):
        char = pattern[pos]
        pos += 1
        if char == "*":
            out.append(".*" if greedy else ".*?")
        elif char == "?":
            out.append(".")
        elif char == "\\":
            following = pattern[pos : pos + 1]
            if following not in ("}", "/"):
                if following not in ("*", "?", "\\"):
                    raise Unresolved(f"invalid escape \\{following} in the pattern {pattern!r}")
                out.append("\\" + following)
                pos += 1
        else:
            out.append(regex.escape(char))
    try:
        return regex.one_off("".join(out))
    except regex.BadPattern as error:
        raise Unresolved(f"the pattern {pattern!r} cannot be used: {error}") from error
