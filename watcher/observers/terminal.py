"""rich's console, held to printable text: only its own control sequences reach the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, TextIO

import rich.console
from rich.segment import Segment

from watcher.observers.printable import printable


class Terminal(rich.console.Console):
    """A console that shows text as it is: no markup, no emoji codes, no highlighting, nothing that acts."""

    def __init__(self, file: TextIO | None = None, **options: Any) -> None:
        file = file or sys.stdout
        # rich moves the cursor itself; what it is given to show is made printable below.
        options["file"] = getattr(file, "unescaped", file)
        super().__init__(highlight=False, markup=False, emoji=False, **options)

    def render(
        self, renderable: rich.console.RenderableType, options: rich.console.ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Return the segments of a renderable; all text in them made printable."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(printable(segment.text, lines=True), segment.style)
