"""Tables that fit the terminal: names are cut, reasons are wrapped, nothing else changes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from rich.cells import cell_len
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from watcher.observers.terminal import Terminal

FILE_WIDTH = 120  # columns of a table in a file or pipe; COLUMNS overrides it
NARROW = 100  # columns below which ids are left out; --json has them
LEAST_TEXT = 40  # columns for wrapped texts; with less they stand below their row
_NAMES = frozenset({"name"})  # cut
_TEXTS = frozenset({"path", "reason", "note", "why"})  # wrapped
_GAP = 2
_INDENT = 4


def print_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows under their heads, within the width of the terminal."""
    out = Terminal()
    if not out.is_terminal and "COLUMNS" not in os.environ:
        out.width = FILE_WIDTH
    titles = [head.replace("_", " ") for head in heads]
    lines = [titles, *rows]
    widths = [max(cell_len(line[number]) for line in lines) for number in range(len(heads))]
    fixed = sum(width + _GAP for head, width in zip(heads, widths, strict=True) if head not in _TEXTS)
    if fixed + LEAST_TEXT > out.width:
        _print_blocks(out, heads, lines, widths)
        return
    table = Table(box=None, pad_edge=False)
    for head, title in zip(heads, titles, strict=True):
        table.add_column(title, no_wrap=head not in _TEXTS, overflow="fold")
    for line in lines[1:]:
        table.add_row(*line)
    out.print(table)


def _print_blocks(
    out: Terminal, heads: Sequence[str], lines: Sequence[Sequence[str]], widths: Sequence[int]
) -> None:
    """Print each row as one line, names last, and its texts below it."""
    left_out = _NAMES | _TEXTS | ({"id"} if out.width < NARROW else set())
    shown = [number for number, head in enumerate(heads) if head not in left_out]
    shown += [number for number, head in enumerate(heads) if head in _NAMES]
    texts = [number for number, head in enumerate(heads) if head in _TEXTS]
    for line in lines:
        cells = (line[number] + " " * (widths[number] - cell_len(line[number])) for number in shown)
        out.print(Text((" " * _GAP).join(cells).rstrip()), no_wrap=True, overflow="ellipsis")
        for number in texts if line is not lines[0] else ():
            if line[number]:
                out.print(Padding(Text(line[number]), (0, 0, 0, _INDENT)))
