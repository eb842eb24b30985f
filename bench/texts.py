"""Feeds a real daemon with text that once froze it, and prints the longest wait: `./dev bench texts`.

Each input is saved into a small project (no compiler), as what its container prints before it serves or
ends, as what its build prints, or as its ignore file. Meanwhile the daemon's API and the service's port are
asked 50 times a second. `lag` is the daemon's own figure, watcher_event_loop_lag_seconds. The daemon builds
and deploys within these times, so a figure is to be compared with that of `a harmless line`.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
import unicodedata
import uuid
from collections.abc import Iterator
from pathlib import Path

import docker
import httpx

from tests.e2e.conftest import Project, clean_up, free_port

SERVES = "cat /w/say; exec busybox httpd -f -p 9000 -h /w"
ENDS = "cat /w/say; exit 1"
SEQUENCES = (
    "\x1b[2J\x1b]0;title\x07\x1b]52;c;eA==\x07\x1b[6n\x9b2J\x9d0;x\x9c\u202egpj.exe\u2066\U000e0041\b\x7f"
)


class Page(Project):
    """A project that answers with one file and prints another."""

    def __init__(self, folder: Path) -> None:
        self.id, self.folder, self.port = folder.name, folder, free_port()
        self.command = (sys.executable, "-m", "watcher")
        self.process, self.output = None, []
        folder.mkdir()
        (folder / "compose.yaml").write_text(
            f"services:\n  web:\n    build: .\n    image: {self.id}\n    container_name: {self.id}-box\n"
            f'    ports: ["127.0.0.1:{self.port}:9000"]\n'
        )
        self.save("start", SERVES)

    def save(self, said: str, command: str, *, built: str = "", ignored: str = "") -> None:
        """Save once. `built` is the output of the build."""
        (self.folder / ".dockerignore").write_text(ignored)
        (self.folder / "say").write_text(said)
        (self.folder / "built").write_text(f"{built}\n")
        fails = "; exit 1" if built else ""
        (self.folder / "Dockerfile").write_text(
            f'FROM alpine\nCOPY . /w\nRUN cat /w/built{fails}\nCMD ["sh", "-c", "{command}"]\n'
        )


class Probe:
    """Polls an address; `longest` is the longest wait for an answer since `reset`."""

    def __init__(self, url: str) -> None:
        self._url, self._begun, self.longest = url, 0.0, 0.0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._poll_address, daemon=True)
        self._thread.start()

    def _poll_address(self) -> None:
        with httpx.Client(trust_env=False, timeout=120) as client:
            while not self._end.wait(0.02):
                begun = time.monotonic()
                try:
                    client.get(self._url)
                except httpx.HTTPError as error:
                    print(f"no answer from {self._url}: {error!r}")
                self.longest = max(self.longest, time.monotonic() - begun)

    def close(self) -> None:
        self._end.set()
        self._thread.join(130)


def make_inputs() -> Iterator[tuple[str, dict[str, str]]]:
    """Return names and contents of the saves."""
    yield "a harmless line", {"said": "hello\n"}
    yield "a URL that never ends, masked", {"said": "http://x " + "a-" * 30_000 + "\n"}
    yield (
        "the same from a container that ends",
        {
            "said": "http://x " + "a-" * 30_000 + "\n",
            "command": ENDS,
        },
    )
    yield "`_env/` 40,000 times, and it ends", {"said": "_env/" * 40_000 + "\n", "command": ENDS}
    yield "`cannot ` of 100 kB, and it ends", {"said": "cannot " * 14_000 + "\n", "command": ENDS}
    yield "`listening ` of 100 kB, and it ends", {"said": "listening " * 10_000 + "\n", "command": ENDS}
    yield "2,000 such lines", {"said": ("http://x " + "a-" * 2_000 + "\n") * 2_000}
    yield "30 MB without a line break", {"said": "a:" * 15_000_000 + "\n"}
    yield "the build prints `a/` of 200 kB and fails", {"said": "", "built": "a/" * 100_000}
    yield "the build prints `x.go:` of 200 kB and fails", {"said": "", "built": "x.go:" * 40_000}
    yield "ignore file *a*a*a*a*a*a*c*a", {"said": "", "ignored": "*a*a*a*a*a*a*c*a\n" + "*a" * 100 + "c\n"}
    yield "ignore file **/a* eight times", {"said": "", "ignored": "**/a*" * 8 + "/c\n"}
    yield "terminal sequences", {"said": f"{SEQUENCES}\n", "command": ENDS}


def read_lag(api: str) -> float:
    text = httpx.get(f"{api}metrics", trust_env=False, timeout=120).text
    name = "watcher_event_loop_lag_seconds"
    return max(
        (float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} ")), default=0.0
    )


def run_inputs() -> None:
    client = docker.from_env()
    with tempfile.TemporaryDirectory() as directory:
        project = Page(Path(directory) / f"texts-{uuid.uuid4().hex[:8]}")
        (project.folder / ("a" * 250)).write_text("")
        (project.folder / "/".join(["a" * 30] * 40)).mkdir(parents=True)
        try:
            project.start()
            project.wait()
            api = project.api()
            for name, saved in make_inputs():
                project.save(saved["said"], saved.get("command", SERVES), **{
                    key: saved[key] for key in ("built", "ignored") if key in saved
                })  # fmt: skip
                probes = [Probe(f"{api}livez"), Probe(f"http://127.0.0.1:{project.port}/say")]
                outcome = project.wait()["outcome"]
                for probe in probes:
                    probe.close()
                asked, served = (probe.longest * 1000 for probe in probes)
                told = f"API {asked:6.0f} ms  port {served:6.0f} ms  lag {read_lag(api) * 1000:4.0f} ms"
                print(f"{name:<45} {outcome:<7} {told}", flush=True)
            text = "".join(project.output) + project.watcher("logs", "--tail", "4000").stdout
            bad = {char for char in text if unicodedata.category(char) in ("Cc", "Cf") and char not in "\n\t"}
            print(f"control characters in console and logs: {sorted(map(ascii, bad)) or 'none'}")
        finally:
            if project.process is not None:
                project.stop()
            clean_up(client, project)


def main() -> None:
    run_inputs()


if __name__ == "__main__":
    main()
