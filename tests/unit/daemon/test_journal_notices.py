"""A journal that cannot be written is reported in the event loop when that happens, and when it is over."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

from watcher.backoff import Backoff
from watcher.builder import BuildJournal
from watcher.daemon.project import notify_journal
from watcher.observers.events import Event, Notice


class Heard:
    """An observer that is called in the event loop only."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[Event] = asyncio.Queue()

    def notify(self, event: Event) -> None:
        asyncio.get_running_loop()
        self.events.put_nowait(event)


async def test_a_problem_of_the_journal_is_a_warning_and_its_end_a_word(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")
    heard: Any = Heard()
    notify = partial(notify_journal, asyncio.get_running_loop(), heard)
    journal = BuildJournal(tmp_path / "state" / "shop-1", notify=notify, retry=Backoff(0.01, 0.1))
    await asyncio.to_thread(journal.check)
    async with asyncio.timeout(30):
        warning = await heard.events.get()
        with journal.build("web", "rev", final=True):
            pass
        (tmp_path / "state").unlink()
        word = await heard.events.get()
    await asyncio.to_thread(journal.close)
    assert isinstance(warning, Notice)
    assert isinstance(word, Notice)
    assert (warning.level, word.level) == ("warning", "info")
    assert str(tmp_path) in warning.text
    assert word.text == "builds are written down again"
