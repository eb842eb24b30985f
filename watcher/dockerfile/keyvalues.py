"""Names and values of ENV, LABEL and ARG (moby/buildkit, frontend/dockerfile/parser/line_parsers.go)."""

from __future__ import annotations

from watcher import regex
from watcher.dockerfile.model import Instruction
from watcher.dockerfile.spans import WHITE

BLANKS = regex.compile(r"[\t\v\f\r ]+")


def arg_pairs(one: Instruction, escape: str) -> list[tuple[str, str | None]]:
    """Return the names of an ARG with their defaults as written."""
    found: list[tuple[str, str | None]] = []
    for word in split_words(one.body.text, escape):
        name, equals, default = word.partition("=")
        found.append((name, default if equals else None))
    return found


def split_words(text: str, escape: str) -> list[str]:
    """Split ENV, ARG and LABEL at white space outside quotes; quotes are kept (parseWords)."""
    words: list[str] = []
    word, quote, begun = list[str](), "", False
    pos = 0
    while pos < len(text):
        char = text[pos]
        pos += 1
        if char == escape and quote != "'":
            if pos == len(text):
                break  # an escape at the end escapes nothing
            word += (char, text[pos])
            pos += 1
        elif not quote and char in WHITE:
            if begun or word:
                words.append("".join(word))
            word, begun = [], False
        else:
            if quote:
                quote = "" if char == quote else quote
            elif char in "'\"":
                quote, begun = char, True
            word.append(char)
    return [*words, "".join(word)] if begun or word else words


def env_pairs(one: Instruction, escape: str) -> list[tuple[str, str]]:
    """Names and values, as written, of an ENV or LABEL: `A=b C=d`, or the old `A b c`."""
    words = split_words(one.body.text, escape)
    if words and "=" not in words[0]:
        text, found = one.body.text, BLANKS.search(one.body.text)
        return [(text[: found.start()], text[found.end() :]) if found else (text, "")]
    return [(name, value) for name, _, value in (word.partition("=") for word in words)]


def wrong_pairs(keyword: str, text: str, escape: str) -> str | None:
    """Return why BuildKit refuses the arguments of an ENV or LABEL (parseNameVal); None if it accepts."""
    words = split_words(text, escape)
    if not words:
        return None
    if "=" not in words[0]:
        return None if BLANKS.search(text) else f"{keyword} takes a name and a value"
    wrong = next((word for word in words if "=" not in word), None)
    return None if wrong is None else f"{wrong!r} has no =; each word is to be name=value"
