"""Log lines as `watcher logs` prints them: with several services, each line has its service's name."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Mapping
from typing import Any

from watcher.observers.service_colours import sgr_code

_PLACES = {"build": "build", "container": "app"}


class LogPrinter:
    """Print log lines on standard output."""

    def __init__(self, services: Collection[str], *, with_place: bool) -> None:
        """`services` are those whose lines come; `with_place` prints the stage, or `app`, of each line."""
        self._width = max(map(len, services)) if len(services) > 1 else 0
        self._with_place = with_place
        self._coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")

    def print_line(self, line: Mapping[str, Any], *, flush: bool) -> None:
        """Print one line of the log."""
        if self._width:
            self._print_name(line["service"])
        place = f"{line['stage'] or _PLACES[line['source']]} " if self._with_place else ""
        mark = f"{place}│ " if place or self._width else ""
        print(f"{mark}{line['text']}", flush=flush)

    def _print_name(self, service: str) -> None:
        name = f"{service:<{self._width}}  "
        if not self._coloured:
            print(name, end="")
            return
        terminal = getattr(sys.stdout, "unescaped", sys.stdout)  # colours are not printable text
        terminal.write(f"\x1b[{sgr_code(service)}m")
        print(name, end="")
        terminal.write("\x1b[0m")
