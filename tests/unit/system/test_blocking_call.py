"""A blocking call has a bound, and nobody waits for one that is stuck."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from functools import partial
from pathlib import Path

import pytest

from watcher.errors import ConfigError
from watcher.system import blocking_call
from watcher.system.blocking_call import in_own_thread, in_thread


async def test_what_the_function_returns_or_raises() -> None:
    assert await in_thread(lambda: 7, "x") == 7
    with pytest.raises(KeyError):
        await in_thread(lambda: dict[str, int]()["a"], "x")
    with pytest.raises(TimeoutError, match="its own"):
        await in_thread(own_timeout, "x")


def own_timeout() -> None:
    raise TimeoutError("its own")


@pytest.fixture(autouse=True)
def _no_spare_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads of other tests make no calls of this one."""
    monkeypatch.setattr(blocking_call, "_spare", [])


async def test_one_thread_makes_calls_that_follow_each_other() -> None:
    names = {await in_own_thread(threading.get_ident) for _ in range(20)}
    assert len(names) == 1


async def test_calls_at_the_same_time_do_not_wait_for_each_other() -> None:
    barrier = threading.Barrier(8)
    await asyncio.gather(*(in_own_thread(lambda: barrier.wait(20)) for _ in range(8)))


async def test_a_thread_without_calls_ends_and_the_next_call_has_another() -> None:
    first = await in_own_thread(threading.current_thread, spare=0.05)
    await asyncio.to_thread(first.join, 20)
    assert not first.is_alive()
    assert await in_own_thread(threading.current_thread) is not first


async def test_a_call_that_arrives_while_the_thread_ends_is_made() -> None:
    for number in range(60):
        spare = 0.0005 * (number % 3)
        assert await in_own_thread(partial(abs, number), spare=spare) == number
        await asyncio.sleep(spare)


async def test_what_a_call_held_is_let_go() -> None:
    class Held:
        pass

    held = Held()
    seen = weakref.ref(held)
    await in_own_thread(partial(id, held))
    del held
    await in_own_thread(int)  # the thread has come back for the next call
    assert seen() is None


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
