"""Show texts that replace each other: in place on a terminal, as more lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterable

from rich.live import Live
from rich.text import Text

from watcher.observers.terminal import Terminal


def show_live(texts: Iterable[str]) -> None:
    """Show each of `texts` as it comes; in a file or pipe those that differ from the one before."""
    out = Terminal()
    if out.is_terminal:
        with Live(console=out, auto_refresh=False) as live:
            for text in texts:
                live.update(Text(text, no_wrap=True, overflow="ellipsis"), refresh=True)
        return
    before: str | None = None
    for text in texts:
        if text != before:
            print(text, end="\n\n", flush=True)
        before = text
