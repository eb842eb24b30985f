"""A blocking call has a bound, and nobody waits for one that is stuck."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from watcher.errors import ConfigError
from watcher.system.blocking_call import in_thread


async def test_what_the_function_returns_or_raises() -> None:
    assert await in_thread(lambda: 7, "x") == 7
    with pytest.raises(KeyError):
        await in_thread(lambda: {}["a"], "x")
    with pytest.raises(TimeoutError, match="its own"):
        await in_thread(own_timeout, "x")


def own_timeout() -> None:
    raise TimeoutError("its own")


async def test_one_that_does_not_come_back_is_left_behind(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)  # like a file on a mount that does not answer
    before = threading.enumerate()
    with pytest.raises(ConfigError, match=r"compose\.yaml: took longer than 0\.05 s to read"):
        await in_thread(fifo.read_bytes, "compose.yaml", patience=0.05)
    stuck = [each for each in threading.enumerate() if each not in before]
    assert all(each.daemon for each in stuck)
    with fifo.open("wb"):
        pass  # what reads it comes to its end
    for each in stuck:
        each.join(10)
        assert not each.is_alive()
