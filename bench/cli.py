"""Measure the commands that query a running watcher, and the first line of `watcher run`: CPU seconds.

    ./dev bench cli [--rounds 11]

A fake daemon answers with a status document immediately, so only the commands are measured. For comparison,
`watcher --help`, which imports the settings, `watcher prune --help`, which builds the parser of one command
with all settings, and Python itself are measured too.
`watcher run` is measured in a folder without a compose file, from the start of the process until its first
line.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from bench._peers import GOAL_MISSED
from watcher import labels
from watcher.observers.events import DaemonStarted, ServiceStarted
from watcher.observers.status_board import StatusBoard
from watcher.system.lock import ProjectLock, Running

LIMITS = {"watcher status": 0.25, "watcher run, first line": 0.4}  # goals in seconds
TICKS = os.sysconf("SC_CLK_TCK")
SETTLED = b'{"service": "app", "outcome": "live", "revision": "0123456789abcdef", "failure": null}'


def _make_document() -> bytes:
    board = StatusBoard()
    board.notify(DaemonStarted(version="0", project="/", url="http://127.0.0.1/", services=("app",)))
    board.notify(
        ServiceStarted(
            service="app", urls=("http://localhost:9000",), compose_file="c", image="i", container="c"
        )
    )
    return board.status.model_dump_json().encode()


@contextmanager
def fake_daemon(folder: Path) -> Iterator[None]:
    """Run a fake daemon for the project in this folder."""
    document = _make_document()

    class Handler(BaseHTTPRequestHandler):
        def _send_answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self._send_answer(b'{"lines": []}' if self.path.startswith("/api/logs") else document)

        def do_POST(self) -> None:
            self._send_answer(SETTLED)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    lock = ProjectLock.take(folder, labels.project_id(folder))
    lock.announce(Running(os.getpid(), f"http://127.0.0.1:{server.server_address[1]}/"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        lock.release()


def cpu_seconds(command: Sequence[str], folder: Path) -> float:
    """Return the CPU seconds of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def first_line(command: Sequence[str], folder: Path) -> float:
    """Return the CPU seconds of a command until it prints a line; it is killed then."""
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        process.kill()
    if "starting for" not in line:
        sys.exit(f"unexpected first line: {line!r}")
    return (int(fields[11]) + int(fields[12])) / TICKS


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=11)
    rounds = parser.parse_args().rounds
    watcher = [sys.executable, "-m", "watcher"]
    ways = {
        "python -c pass": [sys.executable, "-c", "pass"],
        **{
            f"watcher {' '.join(words)}": [*watcher, *words]
            for words in (
                ["status"],
                ["status", "--json"],
                ["wait"],
                ["logs"],
                ["--help"],
                ["prune", "--help"],
            )
        },
    }
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve()
        os.environ["XDG_RUNTIME_DIR"] = temporary
        os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])
        with fake_daemon(folder):
            found = {
                name: [cpu_seconds(command, folder) for _ in range(rounds)] for name, command in ways.items()
            }
        (elsewhere := folder / "elsewhere").mkdir()
        run = [*watcher, "run", "--http.port", "0", "--plain"]
        found["watcher run, first line"] = [first_line(run, elsewhere) for _ in range(rounds)]
    for name, seconds in found.items():
        print(f"{name:25} {statistics.median(seconds):.3f} s CPU  ({min(seconds):.3f}-{max(seconds):.3f})")
    missed = False
    for name, limit in LIMITS.items():
        if (taken := statistics.median(found[name])) > limit:
            print(f"{name} takes {taken:.2f} s: goal {limit} s NOT met")
            missed = True
    if missed:
        sys.exit(GOAL_MISSED)


if __name__ == "__main__":
    main()
