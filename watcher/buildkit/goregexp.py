r"""Go regular expressions, as far as ignore patterns can produce them, put into Python's syntax.

moby/patternmatcher turns a pattern into a Go regular expression and passes brackets and backslashes through,
so `[[:digit:]]`, `\d` or `[^a]` in an ignore file mean what Go's `regexp/syntax` says. This module translates
that subset: literals, `.`, `^`, `$`, groups, `*`, `?`, classes and escapes. Counted repeats, `|` and flags
cannot occur.
"""

from __future__ import annotations

import re

from watcher.buildkit.gopath import BadPattern, char_class

_Ranges = list[tuple[str, str]]

_DIGIT: _Ranges = [("0", "9")]
_WORD: _Ranges = [("0", "9"), ("A", "Z"), ("_", "_"), ("a", "z")]
_PERL: dict[str, _Ranges] = {"d": _DIGIT, "s": [("\t", "\n"), ("\f", "\r"), (" ", " ")], "w": _WORD}
_POSIX: dict[str, _Ranges] = {
    "alnum": [("0", "9"), ("A", "Z"), ("a", "z")],
    "alpha": [("A", "Z"), ("a", "z")],
    "ascii": [("\0", "\x7f")],
    "blank": [("\t", "\t"), (" ", " ")],
    "cntrl": [("\0", "\x1f"), ("\x7f", "\x7f")],
    "digit": _DIGIT,
    "graph": [("!", "~")],
    "lower": [("a", "z")],
    "print": [(" ", "~")],
    "punct": [("!", "/"), (":", "@"), ("[", "`"), ("{", "~")],
    "space": [("\t", "\r"), (" ", " ")],
    "upper": [("A", "Z")],
    "word": _WORD,
    "xdigit": [("0", "9"), ("A", "F"), ("a", "f")],
}
_POSIX_NAME = re.compile(r"\[:(\^?)([^:\]]*):\]")
_ANCHORS = {"A": r"\A", "b": r"\b", "B": r"\B", "z": r"\Z"}
_CONTROL = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_OCTAL = re.compile(r"[1-7][0-7]{1,2}|0[0-7]{0,2}")
_COUNTED = re.compile(r"\{(0|[1-9][0-9]*)(,(0|[1-9][0-9]*)?)?\}")
_MOST_REPEATS = 1000
_PLAIN = {"^": r"\A", "$": r"\Z", ".": ".", "|": "|"}
_HEX = re.compile(r"x([0-9A-Fa-f]{2})")


def translate(expression: str) -> str:
    """The same expression for `re.match` with `re.ASCII`. Raises `BadPattern` where Go would refuse it.

    Go searches where `re.match` begins at the start; one that is not anchored is changed accordingly.
    """
    # Each list holds the atoms of one group that is still open; an atom can be repeated as a whole.
    groups: list[list[str]] = [[]]
    repeated = False
    at = 0
    while at < len(expression):
        char = expression[at]
        atoms = groups[-1]
        count, after = _repeat(expression, at)
        if count:
            if repeated or not atoms or atoms[-1] == "|":
                raise BadPattern(f"nothing stands before {count} that could be repeated")
            atoms[-1] = f"(?:{atoms[-1]}){count}"
            repeated, at = True, after
            continue
        repeated = False
        if char == "[":
            text, at = _class(expression, at)
            atoms.append(text)
        elif char == "\\":
            found, at = _escape(expression, at)
            atoms += found
        else:
            at += 1
            if char == "(":
                groups.append([])
            elif char == ")":
                group = "".join(groups.pop())
                groups[-1].append(f"(?:{group})")
            else:
                atoms.append(_PLAIN.get(char) or re.escape(char))
    whole = "".join(groups[0])
    anchored = groups[0][:1] == [r"\A"] and "|" not in groups[0]
    return whole if anchored else f"[\\s\\S]*?(?:{whole})"


def _repeat(text: str, at: int) -> tuple[str, int]:
    """The repeat operator at `at` in Python's syntax, empty if there is none, and where the text goes on."""
    if text[at] in "*?":
        return text[at], at + 1
    counted = _COUNTED.match(text, at)
    if counted is None:
        return "", at
    low = int(counted[1])
    high = low if counted[2] is None else int(counted[3] or -1)
    if low > _MOST_REPEATS or high > _MOST_REPEATS or 0 <= high < low:
        raise BadPattern(f"{counted[0]} must count up from 0 to at most {_MOST_REPEATS}")
    return f"{{{low},{'' if high < 0 else high}}}", counted.end()


def _escape(text: str, at: int) -> tuple[list[str], int]:
    """The atoms of the escape that begins at `at`, outside of a class, and where the text goes on."""
    char = text[at + 1 : at + 2]
    if char in _ANCHORS:
        return [_ANCHORS[char]], at + 2
    if char == "Q":
        literal, closing, _ = text[at + 2 :].partition(r"\E")
        return [re.escape(each) for each in literal], at + 2 + len(literal) + len(closing)
    group = _perl_group(char)
    if group is not None:
        return [char_class(group, negated=False)], at + 2
    literal, at = _escaped_char(text, at)
    return [re.escape(literal)], at


def _class(text: str, at: int) -> tuple[str, int]:
    """The class whose bracket opens at `at`."""
    at += 1
    negated = text.startswith("^", at)
    at += negated
    ranges: _Ranges = []
    first = True
    while first or not text.startswith("]", at):
        first = False
        named = _POSIX_NAME.match(text, at)
        if named is not None:
            if named[2] not in _POSIX:
                raise BadPattern(f"{named[0]} is no class of characters")
            ranges += _inverted(_POSIX[named[2]]) if named[1] else _POSIX[named[2]]
            at = named.end()
            continue
        group = _perl_group(text[at + 1 : at + 2]) if text.startswith("\\", at) else None
        if group is not None:
            ranges += group
            at += 2
            continue
        low, at = _class_char(text, at)
        high = low
        if text.startswith("-", at) and at + 1 < len(text) and text[at + 1] != "]":
            high, at = _class_char(text, at + 1)
            if high < low:
                raise BadPattern(f"the range {low}-{high} runs backwards")
        ranges.append((low, high))
    return char_class(ranges, negated=negated), at + 1


def _class_char(text: str, at: int) -> tuple[str, int]:
    if at >= len(text):
        raise BadPattern("[ is not closed by ]")
    if text[at] == "\\":
        return _escaped_char(text, at)
    return text[at], at + 1


def _escaped_char(text: str, at: int) -> tuple[str, int]:
    """The one character that the escape at `at` stands for, and where the text goes on."""
    char = text[at + 1 : at + 2]
    if char in _CONTROL:
        return _CONTROL[char], at + 2
    if char.isascii() and not char.isalnum() and char:
        return char, at + 2
    octal = _OCTAL.match(text, at + 1)
    if octal is not None:
        return chr(int(octal[0], 8)), octal.end()
    hexadecimal = _HEX.match(text, at + 1)
    if hexadecimal is not None:
        return chr(int(hexadecimal[1], 16)), hexadecimal.end()
    raise BadPattern(f"\\{char} is no escape sequence; a backslash before a letter must itself be escaped")


def _perl_group(char: str) -> _Ranges | None:
    """The ranges of `\\d`, `\\s`, `\\w` or of their upper-case opposites."""
    if char in _PERL:
        return _PERL[char]
    if char and char.lower() in _PERL:
        return _inverted(_PERL[char.lower()])
    return None


def _inverted(ranges: _Ranges) -> _Ranges:
    """All characters outside of the (sorted) ranges."""
    out: _Ranges = []
    start = 0
    for low, high in ranges:
        if start < ord(low):
            out.append((chr(start), chr(ord(low) - 1)))
        start = ord(high) + 1
    out.append((chr(start), chr(0x10FFFF)))
    return out
