"""Measure what other tools leave on the engine's disk with each save."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bench._disk import HEAD, MB, Meter
from bench._peers import Docker, forget_caches, format_table, new_id
from bench.save import MAKERS, Contender, Field

ARTICLE_PRUNE = ("image", "prune", "--filter", "label=stage=builder", "-f")
PEERS = {"up": "up", "watch": "watch", "article": "up-written"}
_SETTLED = 5.0


def left_by_peers(docker: Docker, meter: Meter, names: Sequence[str], saves: int, slow_saves: int) -> None:
    """Print the growth of each tool in MB per save; the article's commands include its prune command."""
    run = new_id()
    rows: dict[str, tuple[str, ...]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=run)))
        stack.callback(docker.remove, run)
        if not meter.containerd:  # there, removing one record makes BuildKit forget all steps
            stack.callback(lambda: asyncio.run(forget_caches(docker.endpoint, run)))
        for name in names:
            made = MAKERS[PEERS[name]](Field(docker, folder, run))
            if isinstance(made, str):
                print(made)
                continue
            rows |= _saved(made, name, docker, meter, slow_saves if made.slow else saves)
    print(f"{docker.describe()}: what is left by each save")
    print(format_table(("saves", "MB a save", *HEAD), rows, 10))


def _saved(one: Contender, name: str, docker: Docker, meter: Meter, saves: int) -> dict[str, tuple[str, ...]]:
    one.start()
    try:
        one.round()  # the second build differs from the first: its caches are there
        time.sleep(_SETTLED)
        start = meter.take(name, 0)
        for _ in range(saves):
            one.round()
            if name == "article":
                docker.run(*ARTICLE_PRUNE)
        time.sleep(_SETTLED)
        end = meter.take(name, saves)
    finally:
        one.stop()
    each = (end.used - start.used) / MB / saves
    print(f"{time.strftime('%H:%M:%S')} {name}: {each:.1f} MB a save", flush=True)
    return {name: (str(saves), f"{each:.1f}", *end.row(start))}
