"""Check that the engine's disk stays flat: `./dev bench disk [--engine ADDRESS]… [--saves N] [--kills N]`.

    ./dev bench disk                                   # 300 saves on this machine's engine
    ./dev bench disk --engine unix:///run/watcher-peers/28-containerd.sock
    ./dev bench disk --buildkitd                       # the same with a separate buildkitd
    ./dev bench disk --pulled                          # the same with base images that only BuildKit has
    ./dev bench disk --peers up,watch,article          # what other tools leave, in MB a save

The real daemon runs on a copy of the example; each save is live before the next one. The first three saves,
without pruning, show what one save leaves. In the second half neighbours use the same engine: a second
watched project and plain `docker build`s of a small Go program. The daemon is killed with SIGKILL at random
moments, `--kills` times, and restarted. At the end A, B and A again are saved. A client polls the service's
port throughout.

Printed: a table of the data root by `du` and of `docker system df`, the slope of `du` with its standard
error, the highest sample and its limit of (`prune.keep` + 2) saves above the start, the neighbours' records,
images and cached steps, and the number of failed requests. The growth by the neighbours, measured before,
is subtracted. Exit code 1 if a neighbour lost anything.

With `--pulled` the base images are removed from the engine, its build cache is emptied, and BuildKit pulls
them from a registry with those of this machine's own engine; `deploy/peers/engine start` loads them again.

Run this on an otherwise unused engine. Needs root, to read the data root. The build cache of the neighbours
stays, as after any build.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import statistics
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import docker

from bench._disk import HEAD, MB, DiskSample, Meter, Poller, fit_slope
from bench._disk_peers import PEERS, left_by_peers
from bench._neighbours import PlainBuilds, Watched, Work
from bench._peers import DEFAULT_ENGINE, Docker, format_table, how_busy, new_id
from tests.buildkitd import buildkitd
from tests.e2e.conftest import clean_up
from tests.registry import registry_of

KEEP = 3  # `prune.keep`
UNPRUNED = 3  # saves that show what one of them leaves
SETTLED = 12.0  # seconds in which pruning has its turn after the last save


@dataclass
class BuildSite:
    """One engine with its builders."""

    endpoint: str
    meter: Meter
    docker: Docker
    folder: Path
    title: str
    bases: dict[str, str] = field(default_factory=lambda: {"golang": "golang:alpine", "alpine": "alpine"})
    buildkit: str = ""
    options: tuple[str, ...] = ()  # of the measured daemon

    def project(self, name: str) -> Watched:
        """Return a copy of the example that builds here."""
        made = Watched(self.folder / f"{name}-{uuid.uuid4().hex[:8]}")
        dockerfile = made.folder / "Dockerfile"
        text = dockerfile.read_text().replace("FROM golang:alpine", f"FROM {self.bases['golang']}")
        dockerfile.write_text(text.replace("FROM alpine", f"FROM {self.bases['alpine']}"))
        if self.buildkit:
            (made.folder / "watcher.toml").write_text(f'[build]\nbuildkit = "{self.buildkit}"\n')
        return made


@contextlib.contextmanager
def site(
    endpoint: str, *, standalone: bool, pulled: bool = False, options: tuple[str, ...] = ()
) -> Iterator[BuildSite]:
    """Return the engine at `endpoint`; `standalone`: with a separate buildkitd and base registries.

    `pulled`: with base registries only.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="disk-")))
        stack.enter_context(_environment(DOCKER_HOST=endpoint, XDG_STATE_HOME=str(folder / "state")))
        cli = Docker(endpoint, folder / "docker")
        if pulled:
            meter, own = Meter(endpoint), docker.DockerClient(base_url=DEFAULT_ENGINE, timeout=600)
            bases = {
                name: stack.enter_context(registry_of(own, image)).image
                for name, image in (("golang", "golang:alpine"), ("alpine", "alpine"))
            }
            for image in ("golang:alpine", "alpine"):
                with contextlib.suppress(docker.errors.ImageNotFound):
                    meter.client.images.remove(image)
            cli.run("builder", "prune", "--all", "--force")
            title = f"{cli.describe()}, bases pulled by BuildKit"
            yield BuildSite(endpoint, meter, cli, folder, title, bases, options=options)
            return
        if not standalone:
            yield BuildSite(endpoint, Meter(endpoint), cli, folder, cli.describe(), options=options)
            return
        daemon = stack.enter_context(buildkitd())
        root = Path(daemon.unix.removeprefix("unix://")).parent / "root"
        meter = Meter(endpoint, daemon.unix, [root])
        bases = {
            name: stack.enter_context(registry_of(meter.client, image)).image
            for name, image in (("golang", "golang:alpine"), ("alpine", "alpine"))
        }
        cli.run("buildx", "create", "--use", "--name", new_id(), "--driver", "remote", daemon.unix)
        title = f"a buildkitd of its own beside {cli.describe()}"
        yield BuildSite(endpoint, meter, cli, folder, title, bases, daemon.unix, options)


@contextlib.contextmanager
def _environment(**changes: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


@dataclass
class SaveCost:
    """What some saves took, until live, and how many of their steps were cached."""

    seconds: list[float] = field(default_factory=list)
    cached: list[int] = field(default_factory=list)
    steps: int = 0

    def add(self, seconds: float, steps: tuple[int, int]) -> None:
        """Add one save; `steps` are the cached ones and all."""
        self.seconds.append(seconds)
        self.cached.append(steps[0])
        self.steps = steps[1]

    def describe(self) -> str:
        """Return the medians, and the extremes of the cached steps."""
        if not self.seconds:
            return "none"
        return (
            f"{len(self.seconds)}, median {statistics.median(self.seconds):.1f} s, "
            f"{min(self.cached)} to {max(self.cached)} of {self.steps} steps cached"
        )


class Course:
    """One run on one engine."""

    def __init__(self, where: BuildSite, saves: int, kills: int, pause: float, minutes: float) -> None:
        self._site, self._saves, self._pause = where, saves, pause
        self._began, self._seconds = time.monotonic(), minutes * 60
        self._every = max(1, saves // 60)
        first, last = int(saves * 0.35), saves // 2
        self.kills = {first + number * (last - first) // max(kills, 1) for number in range(kills)}
        self.project = where.project("disk")
        self.samples: list[DiskSample] = []
        self.shown: list[DiskSample] = []
        self.one = 0.0  # bytes that one save leaves without pruning
        self.forgotten = 0  # times that BuildKit forgot steps with those that were removed
        self.cost = SaveCost(), SaveCost()  # of the saves: usual ones, and each first one after a forgetting

    def measure(self, name: str, save: int) -> DiskSample:
        """Take a sample for the table."""
        sample = self._site.meter.take(name, save)
        self.shown.append(sample)
        print(
            f"{time.strftime('%H:%M:%S')} {self._site.title}: {name}: {sample.used / MB:.1f} MB", flush=True
        )
        return sample

    def save(self, version: str = "") -> float:
        """Save and wait until it is live; return the seconds."""
        forgotten = self.project.times_forgotten()
        begun = time.perf_counter()
        self.project.set_version(version or uuid.uuid4().hex[:12])
        self.project.live()
        seconds = time.perf_counter() - begun
        if version:  # an image of before is used again, without a build
            return seconds
        self.cost[forgotten > self.forgotten].add(seconds, self.project.steps_of_last_build())
        self.forgotten = forgotten
        return seconds

    def without_pruning(self) -> DiskSample:
        """Run the first saves; return the sample of the start."""
        self.project.start(*self._site.options, "--no-prune.enabled")
        self.project.live()
        self.save()
        time.sleep(SETTLED)
        start = self.measure("start", 0)
        for _ in range(UNPRUNED):
            self.save()
            time.sleep(SETTLED)  # includes the idle work after a save
        self.one = (self.measure(f"{UNPRUNED} saves, not pruned", 0).used - start.used) / UNPRUNED
        self.project.stop()
        self.project.start(*self._site.options)
        self.project.live()
        return start

    def half(self, first: int, last: int, poller: Poller, share: float) -> int:
        """Save from `first` to before `last`, within that share of the time; return the next number."""
        for number in range(first, last):
            if time.monotonic() - self._began > self._seconds * share:
                return number
            if number in self.kills:
                self._kill_daemon(poller)
            else:
                self.save()
            time.sleep(self._pause)
            if number % self._every == 0:
                self.samples.append(self._site.meter.take("", number))
        return last

    def _kill_daemon(self, poller: Poller) -> None:
        self.project.set_version(uuid.uuid4().hex[:12])
        time.sleep(random.uniform(0, 3))  # while it builds, deploys, prunes or idles
        with poller.down():
            self.project.stop(signal.SIGKILL)
            self.project.start(*self._site.options)
            self.forgotten = self.project.times_forgotten()
        self.project.live()

    def return_to_a(self) -> tuple[float, float]:
        """Save B and A again; return the seconds of each."""
        self.save("a")
        return self.save("b"), self.save("a")


def run_course(where: BuildSite, saves: int, kills: int, pause: float, minutes: float) -> bool:
    """Run everything; return whether the neighbours lost nothing."""
    course = Course(where, saves, kills, pause, minutes)
    plain = PlainBuilds(where.docker, where.meter, where.folder, where.bases)
    other = where.project("disk-other")
    began = time.monotonic()
    try:
        plain.change()  # bases and the first build must not count
        start = course.without_pruning()
        with Poller(course.project.port) as poller:
            middle = course.half(1, saves // 2, poller, 0.5)
            kills = sum(number < middle for number in course.kills)
            course.measure(f"{middle} saves, {kills} kills", middle)
            alone = _sample_points(course, 5, min([middle, *course.kills]))
            killed = _sample_points(course, min([middle, *course.kills]), middle)
            each = _measure_cost(where, plain)
            plain.repeat()
            other.use_caches_of(course.project)
            other.start(*where.options)
            other.live()
            time.sleep(SETTLED)
            before = other.cached_steps()
            with_other = course.measure("neighbours there", middle)
            changed = plain.changed
            work = Work(lambda number: _neighbours(number, other, plain))
            saves = course.half(middle, saves + 1, poller, 0.92) - 1
            work.end()
            time.sleep(SETTLED)
            end = course.measure(f"{saves} saves, neighbours beside", saves)
            beside = _sample_points(course, middle + 5, saves + 1)
            grown = (plain.changed - changed) * each
            seconds = course.return_to_a()
        time.sleep(SETTLED)
        plain.repeat()
        after = other.cached_steps()
        records, images = plain.lost()
        print(f"\n{where.title}: {saves} saves in {(time.monotonic() - began) / 60:.0f} minutes")
        print(format_table(HEAD, {sample.name: sample.row(start) for sample in course.shown}, 30))
        highest = max((y for _, y in (*alone, *killed)), default=0.0)
        later = max(y for _, y in beside) - with_other.used / MB if beside else 0.0
        allowed = (KEEP + 2) * course.one / MB
        print(
            f"one save leaves {course.one / MB:.1f} MB unpruned; bound of (keep + 2) saves: {allowed:.1f} MB"
        )
        print(
            f"alone: {_said(alone)}; highest {highest - start.used / MB:+.1f} MB over the start\n"
            f"while it is killed {kills} times: {_said(killed)}\n"
            f"with neighbours: {_said(beside)}; highest {later:+.1f} MB over their start, "
            f"end {(end.used - with_other.used) / MB:+.1f} MB, of these {grown / MB:.1f} MB are the "
            f"{plain.changed - changed} changed docker builds' ({each / MB:.1f} MB each)\n"
            f"saves: {course.cost[0].describe()}; first saves after BuildKit forgot steps: "
            f"{course.cost[1].describe()}\n"
            f"neighbours: {work.rounds} rounds; {records} of {len(plain.records)} records and {images} of "
            f"{len(plain.images)} images of docker build gone; its steps cached: {plain.cached[0]} before, "
            f"{min(plain.cached)} to {max(plain.cached)} since ({len(plain.cached)} builds)\n"
            f"second project: steps cached {before[0]}/{before[1]} before, {after[0]}/{after[1]} after\n"
            f"B {seconds[0]:.1f} s, A again {seconds[1]:.1f} s; requests: {poller.asked} asked, "
            f"{poller.failed[0]} failed, and {poller.failed[1]} while the daemon was killed {kills} times",
            flush=True,
        )
        return not records and not images and min(plain.cached) == plain.cached[0] and after[0] >= before[0]
    finally:
        for each_project in (course.project, other):
            if each_project.process is not None:
                each_project.stop()
            clean_up(where.meter.client, each_project)
        plain.remove()


def _neighbours(number: int, other: Watched, plain: PlainBuilds) -> None:
    """Run one round of the neighbours: a save, and a build that changes only sometimes."""
    other.set_version(uuid.uuid4().hex[:12])
    other.live()
    if number % 6 == 5:
        plain.change()
    plain.repeat()


def _measure_cost(where: BuildSite, plain: PlainBuilds) -> float:
    """Return the bytes that one changed build of the neighbour leaves."""
    costs = []
    for _ in range(3):
        before = where.meter.take("", 0).used
        plain.change()
        time.sleep(2)
        costs.append(where.meter.take("", 0).used - before)
    return statistics.median(costs)


def _sample_points(course: Course, first: int, last: int) -> list[tuple[int, float]]:
    return [(each.save, each.used / MB) for each in course.samples if first <= each.save < last]


def _said(points: Sequence[tuple[int, float]]) -> str:
    rise, error = fit_slope(points)
    return f"slope of du {rise:+.3f} ± {error:.3f} MB a save ({len(points)} samples)"


def main() -> None:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--engine", action="append", help="address of an engine; may be repeated")
    parser.add_argument("--buildkitd", action="store_true", help="build with a buildkitd of its own")
    parser.add_argument("--pulled", action="store_true", help="build on base images that only BuildKit has")
    parser.add_argument("--steps-max", help="value of prune.steps_max of the measured daemon")
    parser.add_argument("--saves", type=int, default=300)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--pause", type=float, default=1.0, help="seconds between live and the next save")
    parser.add_argument("--minutes", type=float, default=600.0, help="end with fewer saves after that time")
    parser.add_argument("--peers", help=f"measure these instead: {','.join(PEERS)}")
    parser.add_argument(
        "--slow-saves", type=int, default=5, help="saves with the article's Dockerfile as written"
    )
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so everything is removed then too
    if busy := how_busy():
        print(busy)
    good = True
    for endpoint in given.engine or [DEFAULT_ENGINE]:
        options = ("--prune.steps-max", given.steps_max) if given.steps_max else ()
        with site(endpoint, standalone=given.buildkitd, pulled=given.pulled, options=options) as where:
            if given.peers:
                left_by_peers(
                    where.docker, where.meter, given.peers.split(","), given.saves, given.slow_saves
                )
            else:
                good = run_course(where, given.saves, given.kills, given.pause, given.minutes) and good
    raise SystemExit(0 if good else 1)


if __name__ == "__main__":
    main()
