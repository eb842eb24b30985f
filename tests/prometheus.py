"""A real Prometheus (Debian's package `prometheus`) as a process, and questions to it."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import httpx


def program(name: str) -> str:
    """Where `name` of Debian's package `prometheus` is."""
    found = shutil.which(name)
    assert found, f"{name} is not installed: apt-get install prometheus"
    return found


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Prometheus:
    """A Prometheus with one configuration file; its data and log are in `folder`."""

    def __init__(self, config: Path, folder: Path) -> None:
        self.url = f"http://127.0.0.1:{_free_port()}"
        with (folder / "log").open("w") as log:
            self.process = subprocess.Popen(
                [
                    program("prometheus"),
                    f"--config.file={config}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address={self.url.removeprefix('http://')}",
                    "--enable-feature=exemplar-storage",
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)

    def ask(self, path: str, **parameters: str) -> Any:
        try:
            answer = httpx.get(f"{self.url}/api/v1/{path}", params=parameters, trust_env=False)
        except httpx.HTTPError:
            return None  # not listening yet
        return answer.json()["data"] if answer.status_code == httpx.codes.OK else None  # 503 while it starts

    def value(self, expr: str) -> float | None:
        """The value of an expression that gives one series."""
        data = self.ask("query", query=expr)
        return float(data["result"][0]["value"][1]) if data and data["result"] else None
