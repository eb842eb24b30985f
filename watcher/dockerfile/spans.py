"""Spans of a Dockerfile's text that remember the offset of each character in the file.

A `RUN` over several lines reaches the shell as one line: continuations and the comments between them are
gone. What was found in that one line has to be changed in the file, so each character keeps its offset.
"""

from __future__ import annotations

from dataclasses import dataclass

# What Go calls space (unicode.IsSpace), and BuildKit with it; Python's own has four control characters more.
WHITE = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
WHITE += "\u2028\u2029\u202f\u205f\u3000"


def word_set(text: str) -> frozenset[str]:
    """Return the set of the words in `text`, which are separated by blanks."""
    return frozenset(text.split())


@dataclass(frozen=True, slots=True)
class SourceSpan:
    """`text`, and for each of its characters the offset in the file (`at`); `end` is where the piece ends."""

    text: str
    at: tuple[int, ...]
    end: int

    @classmethod
    def of(cls, text: str, start: int = 0, stop: int | None = None) -> SourceSpan:
        """Return the characters of `text` from `start` to `stop`, unchanged."""
        stop = len(text) if stop is None else stop
        return cls(text[start:stop], tuple(range(start, stop)), stop)

    def cut(self, start: int, stop: int | None = None) -> SourceSpan:
        """Return the part from index `start` to index `stop` of this piece."""
        stop = len(self.text) if stop is None else stop
        return SourceSpan(self.text[start:stop], self.at[start:stop], self.offset(stop))

    def offset(self, index: int) -> int:
        """Return the offset in the file of the character with this index; `end` after the last one."""
        return self.at[index] if index < len(self.at) else self.end

    def without_leading(self, char: str) -> SourceSpan:
        """Return this piece without that character at the beginning of any line."""
        kept: list[int] = []
        leading = True
        for index, one in enumerate(self.text):
            leading = leading and one == char
            if not leading:
                kept.append(index)
            leading = leading or one == "\n"
        return SourceSpan("".join(self.text[i] for i in kept), tuple(self.at[i] for i in kept), self.end)

    def strip(self) -> SourceSpan:
        """Return this piece without white space at its ends."""
        start = len(self.text) - len(self.text.lstrip(WHITE))
        return self.cut(start, max(start, len(self.text.rstrip(WHITE))))


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace the file's characters from offset `start` to offset `stop` by `text`, because of `reason`."""

    start: int
    stop: int
    text: str
    reason: str


def apply_edits(text: str, edits: tuple[Edit, ...]) -> str:
    """Return `text` with all edits made.

    They must not overlap; those at one offset are made in the order given.
    """
    out: list[str] = []
    done = 0
    for edit in sorted(edits, key=lambda one: (one.start, one.stop)):
        if edit.start < done:
            raise ValueError(f"edits overlap at offset {edit.start}")
        out += [text[done : edit.start], edit.text]
        done = edit.stop
    return "".join([*out, text[done:]])


def line_of(text: str, offset: int) -> int:
    """Return the number (from 1) of the line with this offset."""
    return text.count("\n", 0, offset) + 1
