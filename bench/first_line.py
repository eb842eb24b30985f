"""Measure `./dev run` on a fresh machine whose engine is there: from the command to Python's first line.

    ./dev bench first_line
    ./dev bench first_line --rounds 3 --live   # wait until the example is live too

Each round runs on a copy of what is committed, with an empty home: no environment, and no package in a cache:
they are downloaded. The goal is 10 s; the exit status is 3 when the median misses it.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

from bench._peers import GOAL_MISSED, ROOT, free_port, how_busy

GOAL = 10.0
FIRST = "starting for"
LIVE = "serving "
STEPS = ("dev: making", "dev: installing", FIRST, LIVE)
DROPPED = ("VIRTUAL_ENV", "PYTHONPATH", "UV_CACHE_DIR", "PIP_CACHE_DIR", "XDG_CACHE_HOME")


def make_copy(folder: Path) -> None:
    """Write the committed files into `folder`, with a name and a port of the example's own."""
    folder.mkdir()
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x"], cwd=folder, input=archive, check=True)
    compose = folder / "examples/go-server/docker-compose-dev.yml"
    text = compose.read_text().replace("9000:9000", f"127.0.0.1:{free_port()}:9000")
    compose.write_text(
        text.replace("go-server-box-dev", f"{folder.name}-box").replace("go-server-dev", folder.name)
    )


def measure(folder: Path, *, live: bool, timeout: float = 300.0) -> dict[str, float]:
    """Run `./dev run` until its first line, or until it serves; return the seconds to each step."""
    make_copy(folder)
    home = folder / "home"
    home.mkdir()
    env = {name: value for name, value in os.environ.items() if name not in DROPPED}
    env |= {"HOME": str(home), "XDG_STATE_HOME": str(home / "state")}
    begun, found = time.perf_counter(), dict[str, float]()
    process = subprocess.Popen(
        ["timeout", "--foreground", str(timeout), "./dev", "run", "--plain", "--http.port", "0"],
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout
    text = []
    for line in process.stdout:
        text.append(line)
        for step in STEPS:
            if step in line:
                found.setdefault(step, time.perf_counter() - begun)
        if (LIVE if live else FIRST) in found and process.poll() is None:
            process.send_signal(signal.SIGTERM)
    process.wait()
    if FIRST not in found:
        sys.exit(f"./dev run did not come to its first line:\n{''.join(text)}")
    subprocess.run(
        ["./dev", "watcher", "down", "--images", "--project", "examples/go-server"],
        cwd=folder,
        env=env,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return found


def main() -> int:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--live", action="store_true")
    given = parser.parse_args()
    print(how_busy() or "the machine is quiet")
    print("seconds from the command to each step")
    firsts = []
    for _ in range(given.rounds):
        with tempfile.TemporaryDirectory() as directory:
            found = measure(Path(directory) / f"first-{uuid.uuid4().hex[:6]}", live=given.live)
        print(", ".join(f"{step.strip()!r} {seconds:.1f}" for step, seconds in found.items()), flush=True)
        firsts.append(found[FIRST])
    median = statistics.median(firsts)
    met = median <= GOAL
    print(f"Python's first line after {median:.1f} s: goal {GOAL:g} {'met' if met else 'NOT met'}")
    return 0 if met else GOAL_MISSED


if __name__ == "__main__":
    sys.exit(main())
