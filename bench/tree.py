"""What looking at a tree, and watching it, costs: `python -m bench.tree [--files N] [--bytes N] [--idle S]`.

Makes a tree of N small files (28,000 in 2,800 directories by default, sizes around the mean) in a temporary
directory, in the page cache as after a checkout, and prints medians. Each figure of a look is of the
whole `Tree.scan`, in the process and thread that does nothing else. Run it when the machine is quiet.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from watcher.fswatch import NotificationSource, ScanReport
from watcher.observers.events import Event
from watcher.reconcile.debounce import Debouncer
from watcher.reconcile.git_state import Git
from watcher.reconcile.tree_notifications import TreeNotifications
from watcher.tree import Snapshot, Tree, diff

ROUNDS = 9
IGNORE = ".git\nbin/\n*.md\n**/*.log\nnode_modules\ndocs/**\ntmp\n**/*_generated.txt\n"


def make_tree(root: Path, files: int, mean: int) -> int:
    """Create ten files per directory, four levels deep; return the bytes written."""
    rng = random.Random(1)
    blob = rng.randbytes(1 << 20)
    total = 0
    root.mkdir(parents=True, exist_ok=True)
    for number in range(files):
        directory = number // 10
        place = root / f"pkg{directory // 100}/mod{directory % 100 // 10}/dir{directory}"
        if number % 10 == 0:
            place.mkdir(parents=True)
        size = min(int(rng.expovariate(1 / mean)) + 1, 1 << 19)
        start = rng.randrange(len(blob) - size)
        (place / f"file_{number}.go").write_bytes(blob[start : start + size])
        total += size
    (root / "Dockerfile").write_text("FROM scratch\nCOPY . .\n")
    (root / ".dockerignore").write_text(IGNORE)
    return total


def median_ms(action: Callable[[], object], rounds: int = ROUNDS) -> float:
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        result = action()
        times.append(time.perf_counter() - begun)
        del result
    return statistics.median(times) * 1000


def print_figure(what: str, value: float, unit: str, goal: str = "") -> None:
    print(f"{what:<58} {value:>9.1f} {unit:<3} {goal}", flush=True)


def measure_looks(root: Path, files: int) -> None:
    time.sleep(2.5)  # files of the last two seconds are read again
    print_figure("first look, every file read", median_ms(lambda: Tree(root).scan()), "ms", "goal <= 350")
    tree = Tree(root)
    tree.scan()
    while tree.scan() is not tree.scan():  # until no timestamp is racy, a scan reads those files again
        pass
    time.sleep(2.5)
    tree.scan()
    print_figure("look at everything, nothing changed", median_ms(tree.scan), "ms")
    directory = files // 20
    place = f"pkg{directory // 100}/mod{directory % 100 // 10}/dir{directory}"
    number = iter(range(10**9))

    def save(path: str) -> None:
        (root / path).write_text(f"package x // {next(number)}\n")

    def one_change() -> None:
        save(f"{place}/file_{directory * 10}.go")
        tree.scan({place})

    print_figure("look after one save (saving included)", median_ms(one_change, 51), "ms", "goal <= 60")

    def hundred() -> None:
        touched = set()
        for index in range(0, min(1000, files // 10), 10):
            where = f"pkg{index // 100}/mod{index % 100 // 10}/dir{index}"
            save(f"{where}/file_{index * 10}.go")
            touched.add(where)
        tree.scan(touched)

    print_figure("look after saves in 100 directories (saving included)", median_ms(hundred), "ms")

    def compared() -> None:
        old = tree.scan()
        one_change()
        diff(old, tree.scan(()))

    print_figure("the same with digest, list of changes and entries", median_ms(compared), "ms")

    def listed() -> None:
        one_change()
        tree.scan(()).entries()

    print_figure("entries of a new snapshot", median_ms(listed), "ms")


class Nobody:
    def notify(self, event: Event) -> None:
        """Ignore the notification."""


async def measure_following(root: Path, idle: float) -> None:
    tree, source = Tree(root), NotificationSource(root, observer=Nobody())
    notifications = TreeNotifications(tree, Debouncer(source, Git(root)))
    looked: asyncio.Queue[float] = asyncio.Queue()

    async def follow() -> None:
        old: Snapshot | None = None
        while True:
            notification = await notifications.next_notification()
            begun = time.monotonic()
            snapshot = await asyncio.to_thread(tree.scan, notification.touched)
            seconds = time.monotonic() - begun
            changed = [] if old is None else [change.path for change in diff(old, snapshot).changes]
            old = snapshot
            if notification.by_events and changed:
                looked.put_nowait(time.perf_counter())
            await notifications.report_scan(ScanReport(notification, seconds, changed, snapshot.unsettled))

    begun = time.perf_counter()
    await source.start()
    task = asyncio.create_task(follow())
    main = next(root.glob("pkg0/*/*/*.go"))
    main.write_text("package warm\n")
    await looked.get()
    print_figure(
        "start: first look, watches, second look, first save seen", (time.perf_counter() - begun) * 1000, "ms"
    )
    times = []
    for number in range(30):
        await asyncio.sleep(0.5)
        saved = time.perf_counter()
        main.write_text(f"package save // {number}\n")
        times.append((await looked.get() - saved) * 1000)
    print_figure("save to looked at, settling included: median", statistics.median(times), "ms")
    print_figure("save to looked at, settling included: worst of 30", max(times), "ms")
    before, since = time.process_time(), time.perf_counter()
    await asyncio.sleep(idle)
    share = (time.process_time() - before) / (time.perf_counter() - since) * 100
    print_figure(f"processor time while nothing happens for {idle:.0f} s", share, "%", "goal < 0.3")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await source.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=28_000)
    parser.add_argument("--bytes", type=int, default=2_600, help="mean size of a file")
    parser.add_argument(
        "--idle", type=float, default=150.0, help="seconds to be idle; 0 leaves the watching out"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        total = make_tree(root, given.files, given.bytes)
        machine = f"{os.cpu_count()} cores, Python {sys.version.split()[0]}"
        print(f"{given.files} files, {total / 1e6:.0f} MB, {machine}")
        measure_looks(root, given.files)
        if given.idle:
            asyncio.run(measure_following(root, given.idle))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print_figure("largest resident size of this process", peak, "MB", "goal < 120")


if __name__ == "__main__":
    main()
