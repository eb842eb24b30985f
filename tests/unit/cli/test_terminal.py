"""`watcher run` in a real terminal: Ctrl-C ends it with words, and leaves the terminal as it was."""

from __future__ import annotations

import errno
import os
import pty
import select
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from watcher.errors import EXIT_STOPPED

PATIENCE = 60.0  # seconds, of a test that would otherwise hang
CTRL_C = b"\x03"
# The first terminal that the leader of a session opens becomes its controlling one: then Ctrl-C is a signal.
OPEN = (
    "import os, sys; os.close(os.open(os.ttyname(0), os.O_RDWR)); sys.stdout.flush(); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)
ROOT = Path(__file__).parents[3]


class Terminal:
    """A program that has a terminal of its own, as in a shell."""

    def __init__(self, command: list[str], folder: Path, **environ: str) -> None:
        self.master, self._slave = pty.openpty()
        self.before = termios.tcgetattr(self._slave)
        self.text = b""
        self.process = subprocess.Popen(
            [sys.executable, "-c", OPEN, *command],
            cwd=folder,
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm", "PYTHONPATH": str(ROOT), **environ},
        )

    def read(self, timeout: float) -> bool:
        """Read what is there within `timeout`; return whether something was."""
        if not select.select([self.master], [], [], timeout)[0]:
            return False
        try:
            self.text += os.read(self.master, 65_536)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return False
        return True

    def until(self, text: bytes) -> None:
        end = time.monotonic() + PATIENCE
        while text not in self.text:
            assert time.monotonic() < end, self.text.decode()
            assert self.process.poll() is None, self.text.decode()
            self.read(0.1)

    def wait(self) -> int:
        end = time.monotonic() + PATIENCE
        while (status := self.process.poll()) is None:
            assert time.monotonic() < end, self.text.decode()
            self.read(0.1)
        while self.read(0.1):
            pass
        return status

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self._slave)

    def is_restored(self) -> bool:
        """Return whether the terminal echoes as before, shows its cursor and wraps nothing."""
        hidden, shown = self.text.rfind(b"\x1b[?25l"), self.text.rfind(b"\x1b[?25h")
        other_screen, first_screen = self.text.rfind(b"\x1b[?1049h"), self.text.rfind(b"\x1b[?1049l")
        same = termios.tcgetattr(self._slave) == self.before
        return same and shown >= hidden and first_screen >= other_screen


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    project, run = tmp_path / "shop", tmp_path / "run"
    project.mkdir()
    run.mkdir(mode=0o700)
    (project / "Dockerfile").write_text("FROM scratch\nCOPY . .\n")
    (project / "compose.yaml").write_text("services: {web: {build: .}}\n")
    silent = socket.create_server(("127.0.0.1", 0))  # an engine that hangs
    engine = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
    command = [sys.executable, "-m", "watcher", "run", "--engine", engine, "--http.port", "0"]
    made = Terminal(command, project, XDG_RUNTIME_DIR=str(run), XDG_STATE_HOME=str(tmp_path / "state"))
    yield made
    made.close()
    silent.close()


def test_ctrl_c_ends_it_and_the_terminal_is_as_before(terminal: Terminal, tmp_path: Path) -> None:
    terminal.until(b"starting for")
    os.write(terminal.master, CTRL_C)
    status = terminal.wait()
    assert status in (0, EXIT_STOPPED)
    assert b"Traceback" not in terminal.text
    assert terminal.is_restored()
    assert terminal.text.endswith(b"\n")
    assert [path.stat().st_size for path in (tmp_path / "run").rglob("*.lock")] in ([], [0])
