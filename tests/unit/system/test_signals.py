"""Signals, and a loop that is stuck: in processes of their own."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from typing import Any

import pytest

from tests.facts import missing
from watcher.observers.events import Event, LoopLag
from watcher.system import signals
from watcher.system.loop_watchdog import EXIT_STUCK, LoopWatchdog

LIMIT = 60.0


HEAD = """
    import asyncio, os, re, signal, sys, time
    from watcher.system.signals import dump_on_quit, stopping_signals
    from watcher.system.loop_watchdog import LoopWatchdog
    from watcher.observers.events import Fanout
"""


def process(code: str, **options: Any) -> subprocess.Popen[str]:
    text = textwrap.dedent(HEAD) + textwrap.dedent(code)
    return subprocess.Popen(
        [sys.executable, "-c", text],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


WAITING = """
    async def main():
        ended = asyncio.Event()
        names = []
        def stop(name):
            names.append(name)
            ended.set()
        async with stopping_signals(stop):
            print("up", flush=True)
            await ended.wait()
            if len(sys.argv) > 1 or os.environ.get("LINGER"):
                await asyncio.sleep(float(os.environ["LINGER"]))
        print(*names)
    dump_on_quit()
    asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_in_good_order(number: signal.Signals) -> None:
    with process(WAITING) as running:
        assert running.stdout
        assert running.stdout.readline() == "up\n"
        running.send_signal(number)
        assert running.communicate(timeout=LIMIT)[0] == f"{number.name}\n"
    assert running.returncode == 0


def test_a_closed_terminal_may_send_several_signals() -> None:
    with process(WAITING, env={**os.environ, "LINGER": "0.3"}) as running:
        assert running.stdout
        running.stdout.readline()
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            running.send_signal(number)
        assert running.communicate(timeout=LIMIT)[0].split()[0] in {"SIGHUP", "SIGTERM", "SIGINT"}
    assert running.returncode == 0


def test_a_second_press_ends_at_once(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    now, names, ended = 10.0, list[str](), list[int]()
    monkeypatch.setattr(os, "_exit", ended.append)
    presses = signals._Presses(names.append, lambda: now)
    presses.take(signal.SIGINT)
    now += 0.1
    presses.take(signal.SIGINT)  # the same press, passed on by `npm run` or the like
    assert (names, ended) == (["SIGINT"], [])
    now += 1.0
    presses.take(signal.SIGTERM)
    assert (ended, capfd.readouterr().err) == ([], "")
    presses.take(signal.SIGINT)
    said = capfd.readouterr().err
    assert missing(said, "containers", "watcher run", "watcher down") == []
    assert said[0] == said[-1] == "\n", "the shell's prompt starts on a line of its own"
    assert (names, ended) == (["SIGINT"], [130])


def test_under_nohup_the_program_goes_on() -> None:
    def ignore() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    with process(WAITING, preexec_fn=ignore) as running:
        assert running.stdout
        running.stdout.readline()
        running.send_signal(signal.SIGHUP)
        running.send_signal(signal.SIGTERM)
        assert running.communicate(timeout=LIMIT)[0] == "SIGTERM\n"


def test_quit_prints_where_all_threads_are_and_ends() -> None:
    with process(WAITING) as running:
        assert running.stdout
        running.stdout.readline()
        running.send_signal(signal.SIGQUIT)
        assert "in main" in running.communicate(timeout=LIMIT)[1] or running.returncode
    assert running.returncode == -signal.SIGQUIT


def test_a_signal_while_a_program_makes_way_ends_the_one_that_takes_its_place() -> None:
    """Held signals wait through an exec, until there is somebody who ends in good order."""
    first = f"""
        from watcher.system.signals import hold_signals
        hold_signals("SIGTERM")
        os.kill(os.getpid(), signal.SIGHUP)
        os.execv(sys.executable, [sys.executable, "-c", {textwrap.dedent(HEAD + WAITING)!r}])
    """
    with process(first) as running:
        printed = running.communicate(timeout=LIMIT)[0].split()
    assert printed[0] == "up"
    assert printed[1] in {"SIGTERM", "SIGHUP"}
    assert running.returncode == 0


# A loop that is stuck.

STUCK = """
    async def main():
        async with LoopWatchdog(Fanout(), stuck={stuck}, beat=0.05).watch_loop():
            await asyncio.sleep(0.1)
            print("up", flush=True)
            {then}
    asyncio.run(main())
    print("well")
"""


@pytest.mark.parametrize(
    ("then", "status"),
    [
        ("time.sleep(60)", EXIT_STUCK),
        ("re.match('(a+)+b', 'a' * 60)", -signal.SIGPROF),  # the interpreter is never given up
        ("while True: pass", None),
    ],
)
def test_a_stuck_loop_shows_its_stack_and_ends(then: str, status: int | None) -> None:
    with process(STUCK.format(stuck=0.6, then=then)) as running:
        err = running.communicate(timeout=LIMIT)[1]
    assert "in main" in err
    assert running.returncode in ((status,) if status is not None else (EXIT_STUCK, -signal.SIGPROF))


def test_a_process_that_was_stopped_is_not_stuck() -> None:
    with process(STUCK.format(stuck=0.5, then="await asyncio.sleep(0.5)")) as running:
        assert running.stdout
        running.stdout.readline()
        running.send_signal(signal.SIGSTOP)
        with pytest.raises(subprocess.TimeoutExpired):
            running.wait(1.0)
        running.send_signal(signal.SIGCONT)
        assert running.communicate(timeout=LIMIT)[0] == "well\n"
    assert running.returncode == 0


def test_work_of_many_threads_is_not_a_stuck_loop() -> None:
    then = "await asyncio.gather(*[asyncio.to_thread(sum, range(10_000_000)) for _ in range(4)])"
    with process(STUCK.format(stuck=0.8, then=then)) as running:
        assert running.communicate(timeout=LIMIT)[0] == "up\nwell\n"


async def test_the_longest_delay_is_told() -> None:
    class Heard:
        def __init__(self) -> None:
            self.lags: list[float] = []

        def notify(self, event: Event) -> None:
            assert isinstance(event, LoopLag)
            self.lags.append(event.seconds)

    heard = Heard()
    async with LoopWatchdog(heard, beat=0.02, report_every=0.1).watch_loop():
        while not heard.lags:
            await asyncio.sleep(0.01)
        import time

        time.sleep(0.3)
        told = len(heard.lags)
        while len(heard.lags) < told + 1:
            await asyncio.sleep(0.01)
        assert heard.lags[-1] >= 0.2
        while heard.lags[-1] >= 0.2:  # and is forgotten again
            await asyncio.sleep(0.01)
