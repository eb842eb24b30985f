"""Write docs/benchmarks.md from the results of measurements.

    ./dev bench report                     # the page, from the results that are there
    ./dev bench report --run save,undo     # measures these first, one after the other; run it in quiet
    ./dev bench report --run all

Each measurement is run as `./dev bench NAME` does it. Its output, commit, time and load become one file
`NAME.json` in the folder `--results`; one that fails or takes longer than `--limit` leaves the older file as
it is, and the command ends with status 1. The page has each output as it was printed. For tables with medians
of several tools it draws them as bars, and names each tool that was faster than the watcher.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench._peers import ROOT
from watcher import regex

PAGE = ROOT / "docs" / "benchmarks.md"
OURS = "watcher"
# What the page shows, in its order: title and arguments.
SHOWN: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "save": ("From a save to the new answer, beside other tools", ()),
    "undo": ("Saves that need no compiler", ()),
    "start": ("A deploy, with and without a pause container", ()),
    "services": ("Several services", ()),
    "cli": ("Commands, and the first line of `watcher run`", ()),
    "idle": ("An idle daemon", ("--files", "0", "--seconds", "60")),
}
BARS = 40  # characters of the longest bar
_ROW = regex.compile(r"^([a-z][a-z0-9-]*) +([0-9]+\.[0-9]+)(?: |$)")


@dataclass(frozen=True)
class Result:
    """What a measurement printed, and the circumstances."""

    name: str
    command: str
    output: str
    commit: str
    at: str
    load: float  # average of the last minute before it
    machine: str
    versions: str


def _print_of(*command: str) -> str:
    """Return the first line that a command prints; empty if it cannot be run."""
    if not shutil.which(command[0]):
        return ""
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip().partition("\n")[0] if done.returncode == 0 else ""


def describe_machine() -> str:
    """Return processor, cores, memory and kernel."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    kernel = platform.release().partition("-")[0]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return f"{model or platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GB, Linux {kernel}"


def describe_versions() -> str:
    """Return the versions of engine, compose, buildx, Go and Python; those that are missing are left out."""
    found = {
        "Docker": _print_of("docker", "version", "--format", "{{.Server.Version}}"),
        "compose": _print_of("docker", "compose", "version", "--short"),
        "buildx": _print_of("docker", "buildx", "version"),
        "Go": _print_of("go", "version").removeprefix("go version "),
        "Python": platform.python_version(),
    }
    return ", ".join(f"{name} {version}" for name, version in found.items() if version)


def measure(name: str, limit: float) -> Result | None:
    """Run a measurement; None, with its last lines printed, if it fails."""
    arguments = SHOWN[name][1]
    load = os.getloadavg()[0]
    begun = datetime.now(UTC).isoformat(timespec="minutes")
    command = [sys.executable, "-m", f"bench.{name}", *arguments]
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        print(f"{name}: not done within {limit:g} s", file=sys.stderr)
        return None
    if done.returncode or not done.stdout.strip():
        last = "\n".join(done.stdout.splitlines()[-10:])
        print(f"{name}: failed with exit status {done.returncode}:\n{last}", file=sys.stderr)
        return None
    return Result(
        name=name,
        command=" ".join(("./dev bench", name, *arguments)),
        output=done.stdout.strip("\n"),
        commit=_print_of("git", "rev-parse", "--short", "HEAD"),
        at=begun,
        load=load,
        machine=describe_machine(),
        versions=describe_versions(),
    )


def find_medians(output: str) -> dict[str, float]:
    """Return the first number of each row of a table whose rows begin with a tool's name."""
    rows = (_ROW.match(line) for line in output.splitlines())
    found = {row[1]: float(row[2]) for row in rows if row}
    return found if OURS in found and len(found) > 1 else {}


def compare(medians: Mapping[str, float]) -> str:
    """Return who was faster than the watcher, in a sentence."""
    faster = [f"{name} ({value:g})" for name, value in medians.items() if value < medians[OURS]]
    if faster:
        return f"Faster than the watcher ({medians[OURS]:g}): {', '.join(faster)}."
    return f"Nothing was faster than the watcher ({medians[OURS]:g})."


def draw_bars(medians: Mapping[str, float]) -> list[str]:
    """Return a bar for each tool."""
    width, most = max(map(len, medians)), max(medians.values())
    return [
        f"{name:{width}} {'█' * max(round(value / most * BARS), 1)} {value:g}"
        for name, value in sorted(medians.items(), key=lambda item: item[1])
    ]


def render(results: Sequence[Result]) -> str:
    """Return the page."""
    lines = [
        "# Benchmarks",
        "",
        "Written by `./dev bench report`; each figure comes from one run of its command.",
    ]
    for result in results:
        lines += ["", f"## {SHOWN[result.name][0]}", ""]
        lines += [
            f"`{result.command}`, {result.at}, commit {result.commit}, load before it {result.load:.1f}."
        ]
        lines += [f"{result.machine}. {result.versions}."]
        if medians := find_medians(result.output):
            lines += [compare(medians), "", "```text", *draw_bars(medians), "```"]
        lines += ["", "```text", *(line.rstrip() for line in result.output.splitlines()), "```"]
    return "\n".join([*lines, ""])


def read_results(folder: Path) -> list[Result]:
    """Return the results in a folder, in the order of the page; other files are left out."""
    paths = (folder / f"{name}.json" for name in SHOWN)
    return [Result(**json.loads(path.read_text("utf-8"))) for path in paths if path.exists()]


def main() -> None:
    """Measure what is asked for, and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", default="", help=f"NAME,… of {', '.join(SHOWN)}; or all")
    parser.add_argument("--results", type=Path, default=ROOT / ".bench-results", help="folder of the results")
    parser.add_argument("--limit", type=float, default=1200.0, help="seconds for one measurement")
    given = parser.parse_args()
    names = list(SHOWN) if given.run == "all" else [name for name in given.run.split(",") if name]
    if unknown := set(names) - SHOWN.keys():
        parser.error(f"no such measurement: {', '.join(sorted(unknown))}")
    given.results.mkdir(parents=True, exist_ok=True)
    failed = False
    for name in names:
        if result := measure(name, given.limit):
            (given.results / f"{name}.json").write_text(json.dumps(asdict(result), indent=1) + "\n", "utf-8")
        else:
            failed = True
    if results := read_results(given.results):
        PAGE.write_text(render(results), "utf-8")
        print(f"wrote {PAGE.relative_to(ROOT)}: {', '.join(result.name for result in results)}")
    else:
        parser.error("there are no results yet: use --run")
    sys.exit(failed)


if __name__ == "__main__":
    main()
