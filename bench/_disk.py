"""Sample an engine's disk for `./dev bench disk`, fit the slope, and poll the service."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker

from bench.save import send_request
from watcher.buildkit import Client, UsageInfo

MB = 1e6
_ATTEMPTS, _PAUSE = 30, 0.5  # of `docker system df`; seconds


@dataclass(frozen=True)
class DiskSample:
    """The engine's disk after a save. `used` is the data root by `du`, the rest `docker system df`."""

    name: str
    save: int
    used: int
    layers: int
    cache: int
    images: int
    containers: int
    networks: int
    records: frozenset[str]

    def row(self, start: DiskSample) -> tuple[str, ...]:
        """Return the columns of `HEAD`."""
        return (
            f"{self.used / MB:.1f}",
            f"{(self.used - start.used) / MB:+.1f}",
            f"{self.layers / MB:.1f}",
            f"{self.cache / MB:.1f}",
            str(len(self.records)),
            str(self.images),
            str(self.containers),
            str(self.networks),
        )


HEAD = ("du MB", "over start", "df layers", "df cache", "records", "images", "containers", "networks")


class Meter:
    """Measures one engine, and a separate buildkitd if `buildkit` is its address."""

    def __init__(self, endpoint: str, buildkit: str = "", roots: Sequence[Path] = ()) -> None:
        """Measure `roots` in addition to the engine's data root."""
        self.client = docker.DockerClient(base_url=endpoint, timeout=600)
        self._buildkit = buildkit or endpoint
        info: dict[str, Any] = self.client.info()
        self.containerd = ["driver-type", "io.containerd.snapshotter.v1"] in (info["DriverStatus"] or [])
        self._roots = [_seen_from_here(endpoint, info["DockerRootDir"]), *roots]

    def take(self, name: str, save: int) -> DiskSample:
        """Return a sample."""
        usage = self._read_df()
        found = self.records()
        return DiskSample(
            name,
            save,
            sum(map(used, self._roots)),
            usage["LayersSize"],
            sum(record.size for record in found if not record.shared),
            len(usage["Images"] or ()),
            len(usage["Containers"] or ()),
            len(self.client.networks.list()),
            frozenset(record.id for record in found),
        )

    def _read_df(self) -> dict[str, Any]:
        """Return the output of `docker system df`; a removed snapshot can make one call fail."""
        for _ in range(_ATTEMPTS):
            try:
                return dict(self.client.df())
            except docker.errors.APIError as error:  # 404, or 500 "rw layer snapshot not found"
                if "not found" not in str(error).lower():
                    raise
                time.sleep(_PAUSE)
        return dict(self.client.df())

    def records(self) -> list[UsageInfo]:
        """Return the records of the build cache."""
        return asyncio.run(self._run_docker())

    async def _run_docker(self) -> list[UsageInfo]:
        async with await Client.connect(self._buildkit, timeout=60) as client:
            return await client.disk_usage()


def _seen_from_here(endpoint: str, data_root: str) -> Path:
    """Return the engine's data root through `/proc`: it can be in another mount namespace."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(endpoint.removeprefix("unix://"))
        data = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    found = Path(f"/proc/{int.from_bytes(data[:4], 'little')}/root{data_root}")
    if not os.access(found, os.R_OK | os.X_OK):
        raise SystemExit(f"{data_root} of {endpoint} cannot be read: run this as root, beside the engine")
    return found


def used(folder: Path) -> int:
    """Return the bytes of a folder on its own file system, by `du`; files can disappear meanwhile."""
    done = subprocess.run(["du", "-sx", "-B1", folder], capture_output=True, text=True, check=False)
    return int(done.stdout.split()[0])


def find_family(records: Collection[UsageInfo], marker: str) -> set[str]:
    """Return the ids of the records whose description has the marker, and of their parents and children."""
    by_id = {record.id: record for record in records}
    own = {record.id for record in records if marker in record.description}
    below = [parent for name in own for parent in by_id[name].parents]
    while below:
        if (record := by_id.get(below.pop())) and record.id not in own and record.parents:
            own.add(record.id)
            below += record.parents
    while more := {each.id for each in records if each.id not in own and own.intersection(each.parents)}:
        own |= more
    return own


def fit_slope(points: Sequence[tuple[int, float]]) -> tuple[float, float]:
    """Return the slope per step by least squares, and its standard error."""
    count = len(points)
    if count < 3:
        return 0.0, float("inf")
    middle, mean = sum(x for x, _ in points) / count, sum(y for _, y in points) / count
    spread = sum((x - middle) ** 2 for x, _ in points)
    rise = sum((x - middle) * (y - mean) for x, y in points) / spread
    rest = sum((y - mean - rise * (x - middle)) ** 2 for x, y in points)
    return rise, (rest / (count - 2) / spread) ** 0.5


class Poller:
    """Sends requests on new connections in a thread, and counts failures."""

    def __init__(self, port: int, every: float = 0.1) -> None:
        self._port, self._every = port, every
        self._ended = threading.Event()
        self._down: list[tuple[float, float]] = []
        self.asked = 0
        self._failed: list[float] = []
        self._thread = threading.Thread(target=self._poll_port, daemon=True)

    def __enter__(self) -> Poller:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(timeout=30)

    def _poll_port(self) -> None:
        while not self._ended.wait(self._every):
            request = send_request(self._port)
            self.asked += 1
            if request.version is None:
                self._failed.append(request.ended)

    @contextmanager
    def down(self) -> Iterator[None]:
        """Count failures separately until the port answers again: the daemon was killed."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            while send_request(self._port).version is None and time.perf_counter() < begun + 120:
                time.sleep(self._every)
            self._down.append((begun, time.perf_counter()))

    @property
    def failed(self) -> tuple[int, int]:
        """Return the failed requests while the daemon ran, and while it was down."""
        down = sum(any(begun <= at <= ended for begun, ended in self._down) for at in self._failed)
        return len(self._failed) - down, down
