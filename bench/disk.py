"""Whether the engine's disk stays flat: `./dev bench disk [--saves N] [--pause S] [--neighbour] [--kills N]`.

The real daemon with the real engine, on a copy of the example: one save after the other, each waited for
until it is live, with a pause in between. With `--neighbour`, plain `docker build`s of another copy run
beside the second half of the saves. With `--kills`, the daemon is killed with SIGKILL that many times, in the
middle of a build, and started again.

Printed now and then: images, containers, networks, records of the build cache, and the bytes that layers and
unshared records hold together. At the end: the slope of these bytes over the saves of the second half, with
its standard error, beside what one save leaves that is never cleaned up, and what became of the neighbour's
records. Exit code 1 when a record that the neighbour made is gone.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import httpx

from tests.e2e.conftest import ROOT, Project, clean_up, until


@dataclass(frozen=True)
class Sample:
    """What the engine holds after a save; bytes are those of layers and of unshared cache records."""

    save: int
    images: int
    containers: int
    networks: int
    records: frozenset[str]
    held: int

    @classmethod
    def take(cls, client: docker.DockerClient, save: int) -> Sample:
        usage: dict[str, Any] = client.df()
        cache = usage.get("BuildCache") or []
        return cls(
            save,
            len(usage["Images"] or ()),
            len(usage["Containers"] or ()),
            len(client.networks.list()),
            frozenset(record["ID"] for record in cache),
            usage["LayersSize"] + sum(record["Size"] for record in cache if not record["Shared"]),
        )

    def __str__(self) -> str:
        return (
            f"{self.save:5} saves  {self.images:4} images  {self.containers:3} containers  "
            f"{self.networks:3} networks  {len(self.records):5} records  {self.held / 1e6:10.1f} MB"
        )


def slope(samples: Sequence[Sample]) -> tuple[float, float]:
    """MB a save, by least squares, and the standard error of that."""
    count = len(samples)
    if count < 3:
        return 0.0, float("inf")
    xs, ys = [each.save for each in samples], [each.held / 1e6 for each in samples]
    middle, mean = sum(xs) / count, sum(ys) / count
    spread = sum((x - middle) ** 2 for x in xs)
    rise = sum((x - middle) * (y - mean) for x, y in zip(xs, ys, strict=True)) / spread
    rest = sum((y - mean - rise * (x - middle)) ** 2 for x, y in zip(xs, ys, strict=True))
    return rise, (rest / (count - 2) / spread) ** 0.5


class Neighbour:
    """Plain `docker build`s of another copy of the example, one after the other."""

    def __init__(self, client: docker.DockerClient, parent: Path) -> None:
        self._client = client
        self.name = f"disk-neighbour-{uuid.uuid4().hex[:8]}"
        self.folder = parent / self.name
        shutil.copytree(ROOT / "examples" / "go-server", self.folder)
        dockerfile = self.folder / "Dockerfile"
        dockerfile.write_text(dockerfile.read_text().replace("go build -a", "go version && true"))
        dockerfile.write_text(
            dockerfile.read_text().replace("-o mygoexecutable .", "; cp go.mod mygoexecutable")
        )
        self.records: set[str] = set()

    def build(self, number: int) -> None:
        """Change a file and build; what appears in the cache meanwhile and names this build is its own."""
        (self.folder / "number.txt").write_text(str(number))
        before = {record["ID"] for record in self._client.df().get("BuildCache") or []}
        subprocess.run(
            [
                "docker",
                "build",
                "-q",
                "--build-arg",
                "ENV=dev",
                "-t",
                f"{self.name}:{number}",
                str(self.folder),
            ],
            env={"DOCKER_BUILDKIT": "1", "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(self.folder)},
            check=True,
            capture_output=True,
        )
        after = self._client.df().get("BuildCache") or []
        new = (each for each in after if each["ID"] not in before)
        self.records |= {each["ID"] for each in new if "go version" in each["Description"]}

    def remove(self) -> None:
        """Remove its images."""
        for image in self._client.images.list(name=self.name):
            for tag in image.tags:
                with contextlib.suppress(docker.errors.APIError):
                    self._client.images.remove(tag)


def saves(project: Project, count: int, pause: float, kills: int) -> Iterator[int]:
    """Save, wait until it is live, and pause, `count` times; every so often kill the daemon on the way."""
    every = count // kills if kills else 0
    for number in range(1, count + 1):
        project.set_version(f"{number}.{uuid.uuid4().hex[:6]}")
        if every and number % every == 0:
            until(lambda: project.status()["building"], "the build began", 30)
            project.stop(signal.SIGKILL)
            project.start()
        settled = project.wait()
        assert settled["outcome"] == "live", (settled, "".join(project.output[-40:]))
        time.sleep(pause)
        yield number


def run(count: int, pause: float, kills: int, *, neighbour: bool) -> int:
    client = docker.from_env(timeout=600)
    with tempfile.TemporaryDirectory() as directory:
        project = Project(Path(directory) / f"disk-{uuid.uuid4().hex[:8]}")
        beside = Neighbour(client, Path(directory)) if neighbour else None
        try:
            project.start()
            while project.wait()["outcome"] == "timeout":
                pass  # a cold compile may take longer than one wait does
            samples = [Sample.take(client, 0)]
            print(samples[0], flush=True)
            for number in saves(project, count, pause, kills):
                if beside and number > count // 2:
                    beside.build(number)
                samples.append(Sample.take(client, number))
                if number % max(1, count // 15) == 0:
                    print(samples[-1], flush=True)
            time.sleep(10)
            samples.append(Sample.take(client, count))
            print(samples[-1], "ten seconds later", flush=True)
            rise, error = slope(
                [each for each in samples if 5 < each.save <= (count // 2 if beside else count)]
            )
            print(f"slope of our saves alone: {rise:+.3f} MB a save, standard error {error:.3f}")
            if beside:
                rise, error = slope([each for each in samples if each.save > count // 2])
                print(f"slope with the neighbour's builds: {rise:+.3f} MB a save, standard error {error:.3f}")
                lost = beside.records - samples[-1].records
                made = len(beside.records)
                print(f"the neighbour made {made} records that name its step, {len(lost)} are gone")
                return 1 if lost else 0
            with contextlib.suppress(httpx.HTTPError):
                print(f"requests refused by the front: {project.status()['front']['refused']}")
        finally:
            if project.process is not None:
                project.stop()
            if beside:
                beside.remove()
            clean_up(client, project)
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--saves", type=int, default=300)
    parser.add_argument("--pause", type=float, default=1.0, help="seconds between live and the next save")
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--neighbour", action="store_true")
    given = parser.parse_args()
    raise SystemExit(run(given.saves, given.pause, given.kills, neighbour=given.neighbour))


if __name__ == "__main__":
    main()
