"""The lines that the console prints: head, text, a tool's own lines, and the bell."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TextIO

from rich.table import Table
from rich.text import Text

from watcher.observers import humanize
from watcher.observers.events import Event
from watcher.observers.service_colours import service_colour
from watcher.observers.status_board import StatusBoard
from watcher.observers.terminal import Terminal

BELL = "\a"
INFORMATIONAL = 6  # syslog(3)
_PRIORITIES = {"✗": 3, "!": 4}  # by the mark of a line
INDENT = 12  # columns before the text of a line
JOURNAL_INDENT = 2  # the same without a time: the journal shows one


def is_due(at: float, printed_at: float, every: float) -> bool:
    """Return whether the next line is due, also after the clock was set back."""
    return not 0.0 <= at - printed_at < every


class ConsoleLines:
    """Print lines to `file`. `live`: the file is a terminal that can show a live view."""

    def __init__(
        self,
        file: TextIO,
        board: StatusBoard,
        *,
        plain: bool,
        bell: bool,
        environ: Mapping[str, str],
        journal: bool = False,
    ) -> None:
        """`journal`: the file is systemd's journal: each line begins with its priority, not with the time."""
        file = getattr(file, "unescaped", file)
        if isinstance(file, io.TextIOWrapper):
            file.reconfigure(errors="replace")  # a terminal without UTF-8 shows question marks
        self.live = file.isatty() and not plain and "CI" not in environ and environ.get("TERM") != "dumb"
        self.terminal = Terminal(
            file,
            no_color=True if plain or environ.get("NO_COLOR") else None,
            force_terminal=None if self.live else False,
        )
        self._bell = bell and file.isatty()
        self._board = board
        self._journal = journal
        self._indent = " " * (JOURNAL_INDENT if journal else INDENT)
        self._priority = ""  # of the last event; its details have the same

    def print_event(self, event: Event, mark: str, line: str | Text, style: str = "") -> None:
        """Print the time, a mark, and the service if there are several, before the line."""
        self._priority = f"<{_PRIORITIES.get(mark, INFORMATIONAL)}>" if self._journal else ""
        clock = "" if self._journal else f"{humanize.clock(event.at)}  "
        head = Text.assemble((clock, "dim"), (mark, style or "dim"), " ")
        text = self._name_service(event.service)
        text.append_text(line) if isinstance(line, Text) else text.append(line, style)
        self._print(head, text)

    def print_detail(self, event: Event, line: str, style: str) -> None:
        """Print a line below the one before, indented, with the service if there are several."""
        self._print(Text(self._indent), self._name_service(event.service).append(line, style))

    def _name_service(self, service: str) -> Text:
        """Return the service's name in its colour; nothing if there is only one service."""
        if not service or len(self._board.status.services) < 2:
            return Text()
        return Text.assemble((f"{service}  ", service_colour(service)))

    def print_block(self, lines: Sequence[str]) -> None:
        """Print a tool's own lines unfolded, so a terminal can copy and click them."""
        for line in lines:
            self.terminal.print(Text(self._priority + self._indent + line), soft_wrap=True)

    def _print(self, head: Text, text: Text) -> None:
        """Print head and text; on a terminal, fold a long text below its own start."""
        if self.live and self.terminal.width >= 2 * INDENT:
            table = Table.grid()
            table.add_column(no_wrap=True)
            table.add_column(overflow="fold")
            table.add_row(head, text)
            self.terminal.print(table)
        else:
            self.terminal.print(Text(self._priority).append_text(head).append_text(text), soft_wrap=True)

    def ring_bell(self) -> None:
        """Ring, if that was asked for."""
        if self._bell:
            self.terminal.file.write(BELL)
            self.terminal.file.flush()
