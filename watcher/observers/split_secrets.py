"""Hide a secret that a program prints over several lines, such as base64 folded at 76 characters. Pure.

A line is shown at once, so nothing can wait for the next one. A piece of a secret at the end of a line is
therefore hidden by itself, and what continues it on the next line of the same stream is hidden too. A piece
that may be a word of any log (`postgres` of `postgres123`) is not.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

PIECE = 6  # characters of a secret that are hidden at the end or beginning of a line
LONGEST_FORM = 100_000  # characters of a secret that are known
WORD = 12  # letters up to which a piece may be a word
MOST_STREAMS = 256  # whose last line is remembered


class SplitSecrets:
    """Knows the forms of the secrets, and where each stream of lines broke off within one."""

    def __init__(self, forms: Iterable[str], hidden: str) -> None:
        """`hidden` is what stands in place of a piece."""
        self._hidden = hidden
        self._beginnings: dict[str, list[str]] = {}
        self._ends: dict[str, list[str]] = {}
        for form in forms:
            if PIECE < len(form) <= LONGEST_FORM and "\n" not in form:
                self._beginnings.setdefault(form[:PIECE], []).append(form)
                self._ends.setdefault(form[-PIECE:], []).append(form)
        forms_found = [form for group in self._beginnings.values() for form in group]
        self._longest = max(map(len, forms_found), default=0)
        self._open: OrderedDict[tuple[str, ...], frozenset[str]] = OrderedDict()  # stream -> what may follow

    def hide(self, stream: tuple[str, ...], text: str) -> str:
        """`text`, whole lines of the stream, with pieces of secrets hidden."""
        if not self._beginnings:
            return text
        rests = self._open.pop(stream, frozenset[str]())
        lines = []
        for line in text.split("\n"):
            shown, rests = self._hide_line(line, rests)
            lines.append(shown)
        if rests:
            self._open[stream] = rests
            while len(self._open) > MOST_STREAMS:
                self._open.popitem(last=False)
        return "\n".join(lines)

    def _hide_line(self, line: str, rests: frozenset[str]) -> tuple[str, frozenset[str]]:
        """The line as it is shown, and what may stand at the beginning of the next one."""
        body = line.strip()
        if not body:
            return line, rests
        margin = line[: len(line) - len(line.lstrip())]
        going_on = frozenset(rest[len(body) :] for rest in rests if rest.startswith(body) and rest != body)
        if going_on:  # the whole line lies within a secret
            return margin + self._hidden, going_on
        first = max(
            [len(rest) for rest in rests if body.startswith(rest)] + [self._end_of_secret(body)], default=0
        )
        head, body = (self._hidden, body[first:]) if first else ("", body)
        at, following = self._begun_secret(body)
        tail = self._hidden if following else ""
        if not head and not tail:
            return line, frozenset()
        return margin + head + body[:at] + tail, following

    def _end_of_secret(self, body: str) -> int:
        """How many characters at the beginning of a line are the end of a secret."""
        ends = self._ends
        for stop in range(min(len(body), self._longest), PIECE - 1, -1):
            if (last := body[stop - PIECE : stop]) not in ends:
                continue
            for form in ends[last]:
                if len(form) > stop and form.endswith(body[:stop]) and not _may_be_word(body[:stop]):
                    return stop
        return 0

    def _begun_secret(self, body: str) -> tuple[int, frozenset[str]]:
        """Where a secret begins that the end of the line cuts, and what is missing of it."""
        beginnings = self._beginnings
        for at in range(max(0, len(body) - self._longest), len(body) - PIECE + 1):
            if (first := body[at : at + PIECE]) not in beginnings:
                continue
            piece = body[at:]
            if _may_be_word(piece):
                break
            found = [form for form in beginnings[first] if form.startswith(piece)]
            rests = frozenset(form[len(piece) :] for form in found if len(form) > len(piece))
            if rests:
                return at, rests
        return len(body), frozenset()


def _may_be_word(piece: str) -> bool:
    return len(piece) < WORD and piece.isalpha()
