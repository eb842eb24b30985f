"""A real buildkitd beside the engine, without any image of the engine's."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CERTIFICATES = ROOT / "tests" / "certificates"


@dataclass(frozen=True)
class Buildkitd:
    """Where it listens: a socket, and a port that wants TLS with a certificate of the client."""

    unix: str
    tcp: str


@contextmanager
def buildkitd() -> Iterator[Buildkitd]:
    """Run one with a store of its own; the test is skipped where a user may not run it."""
    if os.geteuid() != 0:
        pytest.skip("buildkitd needs root")
    made = subprocess.run([ROOT / "deploy/peers/buildkitd"], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    folder = Path(tempfile.mkdtemp(prefix="watcher-buildkitd-"))
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    found = Buildkitd(f"unix://{folder}/socket", f"tcp://127.0.0.1:{port}")
    flags = {
        "root": folder / "root",
        "containerd-worker": "false",
        "tlscacert": CERTIFICATES / "ca.pem",
        "tlscert": CERTIFICATES / "cert-server.pem",
        "tlskey": CERTIFICATES / "key-server.pem",
    }
    with (folder / "log").open("w") as log:
        command = [made.stdout.strip(), *(f"--{name}={value}" for name, value in flags.items())]
        process = subprocess.Popen(
            [*command, "--addr", found.unix, "--addr", found.tcp], stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + 60
        while f"running server on 127.0.0.1:{port}" not in (told := (folder / "log").read_text()):
            assert process.poll() is None, told
            assert time.monotonic() < deadline, told
            time.sleep(0.05)
        yield found
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(folder)
