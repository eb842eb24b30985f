"""Measure saves while others keep all cores busy: does the watcher slow down more than `go build` does?

    ./dev bench busy                    # 7 rounds, one burner for each core: about 5 minutes
    ./dev bench busy --burners 4

A round is a save for `go build` alone and one for the watcher with the machine as it is, then the same while
processes that only compute run, at the priority of everything else. The goal: what the watcher adds to the
time of `go build` grows no more than that time itself.

Below the table: the processor time of the daemon itself for a save, its wake-ups (voluntary context switches
of all its threads) in a save, and those in a second in which nothing happens.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from bench._peers import DEFAULT_ENGINE, Docker, forget_caches, format_table, how_busy, new_id
from bench.idle import processor_seconds
from bench.save import Contender, Field, show_progress
from watcher import regex

IDLE = 20.0  # seconds
_SWITCHES = regex.compile(r"\nvoluntary_ctxt_switches:\s+(\d+)")


def count_wakeups(pid: int) -> int:
    """Return how often the threads of a process have waited and were woken; proc(5)."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):  # the thread has ended
            if found := _SWITCHES.search((task / "status").read_text()):
                total += int(found[1])
    return total


@contextlib.contextmanager
def burn_processors(count: int) -> Iterator[None]:
    """Keep that many processes computing."""
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        time.sleep(0.5)  # they start
        yield
    finally:
        for one in burners:
            one.kill()
            one.wait()


def judge_growth(medians: Mapping[tuple[str, bool], float]) -> str:
    """Return the growth of both, and whether the goal is met, as a sentence."""
    go, busy_go = medians["go", False], medians["go", True]
    ours, busy_ours = medians["watcher", False], medians["watcher", True]
    met = "met" if busy_ours - busy_go <= (ours - go) * busy_go / go else "NOT met"
    return (
        f"go build grows {busy_go / go:.2f} times, the watcher {busy_ours / ours:.2f} times; "
        f"over go {ours - go:+.2f} s, busy {busy_ours - busy_go:+.2f} s: goal {met}"
    )


def bench_busy(endpoint: str, rounds: int, burners: int) -> None:
    run = new_id()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=run)))
        docker = Docker(endpoint, folder / "docker")
        stack.callback(lambda: asyncio.run(forget_caches(endpoint, run)))
        stack.callback(docker.remove, run)
        field = Field(docker, folder, run)
        contenders: tuple[Contender, ...] = (field.go(), field.watcher())
        print(f"{docker.describe()}; seconds from a save to the new answer")
        if busy := how_busy():
            print(busy)
        for one in contenders:
            show_progress(f"{one.name}: first version")
            stack.callback(one.stop)
            one.start()
        process = contenders[1]._process
        assert process
        time.sleep(IDLE)  # the idle work that follows the first build
        before = count_wakeups(process.pid)
        time.sleep(IDLE)
        idle = (count_wakeups(process.pid) - before) / IDLE
        seconds: dict[tuple[str, bool], list[float]] = {}
        spent: list[float] = []
        woken: list[int] = []
        for number in range(rounds):
            for loaded in (False, True):
                with burn_processors(burners) if loaded else contextlib.nullcontext():
                    for one in contenders:
                        show_progress(f"round {number + 1} of {rounds}: {one.name}")
                        used, wakeups = processor_seconds(process.pid), count_wakeups(process.pid)
                        one.round()
                        seconds.setdefault((one.name, loaded), []).append(one.saves[-1].seconds)
                        if one.name == "watcher":
                            spent.append(processor_seconds(process.pid) - used)
                            woken.append(count_wakeups(process.pid) - wakeups)
        show_progress("")
    medians = {key: statistics.median(each) for key, each in seconds.items()}
    rows = {
        one.name: [f"{medians[one.name, False]:.2f}", f"{medians[one.name, True]:.2f}"] for one in contenders
    }
    print(format_table(("alone", f"with {burners} burners"), rows, 14))
    print(judge_growth(medians))
    print(
        f"the daemon itself: {statistics.median(spent):.2f} s of processor time and "
        f"{statistics.median(woken):.0f} wake-ups for a save (until a second after it), "
        f"{idle:.1f} wake-ups a second while idle"
    )


def main() -> None:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--engine", default=DEFAULT_ENGINE, help="address of the engine")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--burners", type=int, default=os.cpu_count() or 1, help="processes that compute")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so everything is removed then too
    bench_busy(options.engine, max(options.rounds, 1), options.burners)


if __name__ == "__main__":
    main()
