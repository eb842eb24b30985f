"""Hide a secret that a program prints over several lines, for example base64 folded at 76 characters. Pure.

A line is shown immediately, without waiting for the next one. A piece of a secret at the end of a line is
therefore hidden, and so is its continuation on the next line of the same stream. A piece that is probably an
ordinary word (`postgres` of `postgres123`) is shown.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

PIECE = 6  # characters of a secret that are hidden at the end or beginning of a line
LONGEST_FORM = 100_000  # characters of a secret that are known
WORD = 12  # letters; a shorter piece is probably an ordinary word
MOST_STREAMS = 256  # streams with a remembered last line


class SplitSecrets:
    """Remember, for each stream of lines, which secret its last line broke off in."""

    def __init__(self, forms: Iterable[str], hidden: str) -> None:
        """`forms` are the texts to hide, `hidden` replaces each piece."""
        self._hidden = hidden
        self._beginnings: dict[str, list[str]] = {}
        self._ends: dict[str, list[str]] = {}
        for form in forms:
            if PIECE < len(form) <= LONGEST_FORM and "\n" not in form:
                self._beginnings.setdefault(form[:PIECE], []).append(form)
                self._ends.setdefault(form[-PIECE:], []).append(form)
        forms_found = [form for group in self._beginnings.values() for form in group]
        self._longest = max(map(len, forms_found), default=0)
        self._open: OrderedDict[tuple[str, ...], frozenset[str]] = (
            OrderedDict()
        )  # stream -> possible continuations

    def hide_pieces(self, stream: tuple[str, ...], text: str) -> str:
        """Return `text`, whole lines of the stream, with pieces of secrets hidden."""
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
        """Return the line with its pieces hidden, and the possible continuations on the next line."""
        body = line.strip()
        if not body:
            return line, rests
        margin = line[: len(line) - len(line.lstrip())]
        going_on = frozenset(rest[len(body) :] for rest in rests if rest.startswith(body) and rest != body)
        if going_on:  # the whole line is inside a secret
            return margin + self._hidden, going_on
        first = max(
            [len(rest) for rest in rests if body.startswith(rest)] + [self._match_end(body)], default=0
        )
        head, body = (self._hidden, body[first:]) if first else ("", body)
        at, following = self._find_cut_secret(body)
        tail = self._hidden if following else ""
        if not head and not tail:
            return line, frozenset()
        return margin + head + body[:at] + tail, following

    def _match_end(self, body: str) -> int:
        """Return how many characters at the start of a line are the end of a secret."""
        ends = self._ends
        for stop in range(min(len(body), self._longest), PIECE - 1, -1):
            if (last := body[stop - PIECE : stop]) not in ends:
                continue
            for form in ends[last]:
                if len(form) > stop and form.endswith(body[:stop]) and not _is_probably_word(body[:stop]):
                    return stop
        return 0

    def _find_cut_secret(self, body: str) -> tuple[int, frozenset[str]]:
        """Return where a secret starts that the end of the line cuts, and its possible continuations."""
        beginnings = self._beginnings
        for at in range(max(0, len(body) - self._longest), len(body) - PIECE + 1):
            if (first := body[at : at + PIECE]) not in beginnings:
                continue
            piece = body[at:]
            if _is_probably_word(piece):
                break
            found = [form for form in beginnings[first] if form.startswith(piece)]
            rests = frozenset(form[len(piece) :] for form in found if len(form) > len(piece))
            if rests:
                return at, rests
        return len(body), frozenset()


def _is_probably_word(piece: str) -> bool:
    return len(piece) < WORD and piece.isalpha()
