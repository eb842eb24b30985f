"""What the whole daemon costs while nothing happens: `./dev bench idle [--files N] [--seconds S]`.

The real daemon, with the real engine, on the example with N more files in its tree (28,000 by default, in ten
times fewer directories). It is left alone once the first version is live and its chores are done; processor
time and resident size are the kernel's own figures for the process and all its threads. Run it in quiet.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import uuid
from pathlib import Path

import docker

from bench.tree import make_tree, print_figure
from tests.e2e.conftest import Project, clean_up, until

ALONE = 90  # MB of resident size that the daemon may take on the example
MANY_FILES = 60  # MB more that it may take with 28,000 more files
TICKS = os.sysconf("SC_CLK_TCK")


def processor_seconds(pid: int) -> float:
    """Return user and system time of a process; proc(5), /proc/pid/stat fields 14 and 15."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def read_megabytes(pid: int, name: str) -> float:
    """Return VmRSS (current) or VmHWM (peak) of a process in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))


def run(files: int, seconds: float, settle: float) -> None:
    client = docker.from_env()
    with tempfile.TemporaryDirectory() as directory:
        project = Project(Path(directory) / f"idle-{uuid.uuid4().hex[:8]}")
        make_tree(project.folder / "many", files, 2_600)
        (project.folder / "many" / "go.mod").write_text("module many\n")  # not part of the example's module
        try:
            project.start()
            assert project.wait()["outcome"] == "live", "".join(project.output)
            until(lambda: project.status()["images"].get("builder"), "the chores are done")
            time.sleep(settle)
            assert project.process is not None
            pid = project.process.pid
            before, since = processor_seconds(pid), time.monotonic()
            time.sleep(seconds)
            share = (processor_seconds(pid) - before) / (time.monotonic() - since) * 100
            source = project.status()["source"]
            print(f"{source['files']} entries in the tree, watched by {source['mode']}")
            print_figure(
                f"processor time of the daemon while idle for {seconds:.0f} s", share, "%", "goal < 0.3"
            )
            goal = ALONE + MANY_FILES * files / 28_000
            print_figure(
                "resident size of the daemon", read_megabytes(pid, "VmRSS"), "MB", f"goal < {goal:.0f}"
            )
            print_figure(
                "largest resident size of the daemon, build included", read_megabytes(pid, "VmHWM"), "MB"
            )
        finally:
            if project.process is not None:
                project.stop()
            clean_up(client, project)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=28_000)
    parser.add_argument("--seconds", type=float, default=180.0, help="time to be idle")
    parser.add_argument("--settle", type=float, default=15.0, help="seconds to let what is left end first")
    given = parser.parse_args()
    run(given.files, given.seconds, given.settle)


if __name__ == "__main__":
    main()
