"""A Docker engine of one's own, that a test may kill: another one's containers and builds do not notice."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import docker
import pytest


class PrivateEngine:
    """A dockerd with its own data, socket, bridge and containerd, in `folder`.

    The bridge has a name of its own, and there are no address pools: an engine without a bridge, and one that
    starts again with pools, remove the machine's docker0 (moby, daemon/daemon_unix.go).
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bridge = f"wt{uuid.uuid4().hex[:8]}"
        self.endpoint = f"unix://{folder}/engine.sock"
        self._process: subprocess.Popen[bytes] | None = None
        _run("ip", "link", "add", self.bridge, "type", "bridge")
        number = os.getpid() % 250
        _run("ip", "address", "add", f"10.214.{number}.1/24", "dev", self.bridge)
        _run("ip", "link", "set", self.bridge, "up")

    def start(self) -> None:
        """Start it and wait until it answers."""
        flags = {
            "host": self.endpoint,
            "data-root": self.folder / "data",
            "exec-root": self.folder / "exec",
            "pidfile": self.folder / "pid",
            "bridge": self.bridge,
            "iptables": "false",
            "ip6tables": "false",
        }
        with (self.folder / "log").open("ab") as log:
            command = ["dockerd", *(f"--{name}={value}" for name, value in flags.items())]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + 120
        while not self._answers():
            assert self._process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.1)

    def crash(self) -> None:
        """End it as a crash does: nothing is cleaned up. Its containerd is killed with it, a moment later."""
        assert self._process
        containerd = self._containerd()
        self._process.kill()
        self._process.wait()
        deadline = time.monotonic() + 10
        while Path(f"/proc/{containerd}").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        (self.folder / "pid").unlink(missing_ok=True)  # else it takes another process for itself

    def client(self, timeout: int = 60) -> closing[docker.DockerClient]:
        """Return a client of this engine."""
        return closing(docker.DockerClient(base_url=self.endpoint, timeout=timeout))

    def _containerd(self) -> int:
        return int((self.folder / "exec/containerd/containerd.pid").read_text())

    def _left_processes(self) -> list[int]:
        """Return the processes that name the folder: containerd, and what holds its containers."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal() and int(entry.name) != os.getpid():
                with suppress(OSError):
                    if f"{self.folder}/".encode() in (entry / "cmdline").read_bytes():
                        found.append(int(entry.name))
        return found

    def said(self) -> str:
        return (self.folder / "log").read_text()[-3000:]

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as sock:  # the Docker client does not close one that is refused
            if sock.connect_ex(self.endpoint.removeprefix("unix://")):
                return False
        with suppress(docker.errors.DockerException, OSError), self.client(5) as client:
            return bool(client.ping())
        return False

    def close(self) -> None:
        """End it, its containerd, and remove its data and its bridge."""
        if self._process and self._process.poll() is None:
            with self.client() as client:
                for container in client.containers.list(all=True):
                    container.remove(force=True)
                for network in client.networks.list():
                    with suppress(docker.errors.APIError):  # the built-in ones
                        network.remove()
            self._process.terminate()
            self._process.wait(60)
        for number in self._left_processes():  # of an engine that was killed and not started again
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        subprocess.run(["ip", "link", "delete", self.bridge], check=False)
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for point in sorted((each for each in mounts if each.startswith(f"{self.folder}/")), reverse=True):
            subprocess.run(["umount", "--lazy", point], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


@contextmanager
def private_engine(folder: Path) -> Iterator[PrivateEngine]:
    """Run one; the test is skipped where a user may not, or where there is no dockerd."""
    if os.geteuid() != 0 or not shutil.which("dockerd") or not shutil.which("ip"):
        pytest.skip("another engine needs root, dockerd and ip")
    engine = PrivateEngine(folder)
    try:
        engine.start()
        yield engine
    finally:
        engine.close()
