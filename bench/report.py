"""Write docs/benchmarks.md from the results of measurements.

    ./dev bench report                     # the page, from the results that are there
    ./dev bench report --run save,undo     # measures these first, one after the other; run it in quiet
    ./dev bench report --run all           # about 25 minutes
    ./dev bench report --run all --quick --results FOLDER --page FOLDER/page.md     # does it work?

Each measurement is run as `./dev bench NAME` does it. Its output, commit, time and load become one file
`NAME.json` in the folder `--results`; one that fails or takes longer than `--limit` leaves the older file as
it is, and the command ends with status 1. A goal that is missed (status 3) is no failure. The page has each
output as it was printed. Tables with medians of several tools become plots (SVG, beside the page in
`pictures/`), and the page names each tool that was faster than the watcher. `--quick` takes as few rounds as
possible: its figures say nothing.
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
from xml.sax.saxutils import escape

from bench._peers import GOAL_MISSED, ROOT
from watcher import regex

PAGE = ROOT / "docs" / "benchmarks.md"
OURS = ("watcher", "exact")  # what the tables call it
_FEW_ROUNDS = ("--rounds", "1")


@dataclass(frozen=True)
class Shown:
    """A measurement of the page: its title, its arguments, and those with which it is quick."""

    title: str
    arguments: tuple[str, ...] = ()
    quick: tuple[str, ...] = _FEW_ROUNDS


# In the order of the page.
SHOWN: Mapping[str, Shown] = {
    "save": Shown(
        "From a save to the new answer, beside other tools",
        ("--rounds", "7"),
        (*_FEW_ROUNDS, "--slow-rounds", "0", "--peers", "go,watcher"),
    ),
    "big": Shown(
        "Saves in a large service, beside other tools",
        ("caddy", "--saves", "3"),
        ("caddy", "--saves", "1", "--contenders", "go,exact"),
    ),
    "undo": Shown("Saves that need no compiler", ("--rounds", "5")),
    "start": Shown("A deploy, with and without a pause container"),
    "services": Shown(
        "Several services",
        ("--seconds", "30", "--settle", "10", "--rounds", "5"),
        ("--counts", "1", "--seconds", "5", "--settle", "5", "--rounds", "1"),
    ),
    "between": Shown(
        "Requests between services during redeploys",
        ("--redeploys", "10"),
        ("--redeploys", "1", "--tools", "watcher"),
    ),
    "cli": Shown("Commands, and the first line of `watcher run`"),
    "idle": Shown(
        "An idle daemon",
        ("--files", "0", "--seconds", "60"),
        ("--files", "0", "--seconds", "5", "--settle", "5"),
    ),
}
_LOAD_NOTE = "NOTE: the load average"  # above each output stands the load before it
_ROW = regex.compile(r"^([a-z][a-z0-9-]*) +([0-9]+\.[0-9]+)(?: |$)")
# Sizes of a plot in its own units.
_WIDTH, _NAMES, _VALUES, _ROW_HEIGHT = 720, 130, 70, 26
_OURS_COLOUR, _COLOUR, _TEXT_COLOUR = "#0969da", "#8c959f", "#6e7781"  # readable on white and on black


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


def measure(name: str, limit: float, *, quick: bool = False) -> Result | None:
    """Run a measurement; None, with its last lines printed, if it fails."""
    arguments = SHOWN[name].quick if quick else SHOWN[name].arguments
    load = os.getloadavg()[0]
    begun = datetime.now(UTC).isoformat(timespec="minutes")
    command = [sys.executable, "-m", f"bench.{name}", *arguments]
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        print(f"{name}: not done within {limit:g} s", file=sys.stderr)
        return None
    output = drop_progress(done.stdout.decode("utf-8", "replace")).strip("\n")
    if done.returncode not in (0, GOAL_MISSED) or not output:
        last = "\n".join(output.splitlines()[-10:])
        print(f"{name}: failed with exit status {done.returncode}:\n{last}", file=sys.stderr)
        return None
    return Result(
        name=name,
        command=" ".join(("./dev bench", name, *arguments)),
        output=output,
        commit=_print_of("git", "rev-parse", "--short", "HEAD"),
        at=begun,
        load=load,
        machine=describe_machine(),
        versions=describe_versions(),
    )


def drop_progress(text: str) -> str:
    """Return the lines as a terminal shows them in the end: text before a carriage return is overwritten."""
    return "\n".join(line.rpartition("\r")[2] for line in text.split("\n"))


@dataclass(frozen=True)
class Table:
    """The medians of several tools, one of them ours, and what the line above the table says."""

    title: str
    medians: Mapping[str, float]

    @property
    def ours(self) -> str:
        return next(name for name in OURS if name in self.medians)


def find_tables(output: str) -> list[Table]:
    """Return the tables whose rows begin with a tool's name and its median."""
    found: list[Table] = []
    title, above, medians = "", "", {}
    for line in [*output.splitlines(), ""]:
        if row := _ROW.match(line):
            medians[row[1]] = float(row[2])
            continue
        if len(medians) > 1 and any(name in medians for name in OURS):
            found.append(Table(title, medians))
        medians, title, above = {}, above, line.strip()  # the line between is the head of the columns
    return found


def compare(table: Table) -> str:
    """Return who was faster than the watcher, in a sentence."""
    ours = table.medians[table.ours]
    faster = [f"{name} ({value:g})" for name, value in table.medians.items() if value < ours]
    if faster:
        return f"Faster than {table.ours} ({ours:g}): {', '.join(faster)}."
    return f"Nothing was faster than {table.ours} ({ours:g})."


def draw_plot(table: Table) -> str:
    """Return the medians as an SVG picture with a bar for each tool, the shortest first."""
    most, longest = max(table.medians.values()), _WIDTH - _NAMES - _VALUES
    height = _ROW_HEIGHT * (len(table.medians) + 1)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'font-family="sans-serif" font-size="14" fill="{_TEXT_COLOUR}">',
        f'<text x="0" y="17">{escape(table.title)}</text>',
    ]
    for number, (name, value) in enumerate(sorted(table.medians.items(), key=lambda item: item[1]), 1):
        top, width = number * _ROW_HEIGHT, max(value / most * longest, 1)
        colour = _OURS_COLOUR if name == table.ours else _COLOUR
        lines += [
            f'<text x="{_NAMES - 8}" y="{top + 17}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{_NAMES}" y="{top + 3}" width="{width:.1f}" '
            f'height="{_ROW_HEIGHT - 6}" fill="{colour}"/>',
            f'<text x="{_NAMES + width + 6:.1f}" y="{top + 17}">{value:g}</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])


def list_plots(results: Sequence[Result]) -> dict[str, Table]:
    """Return the table of each plot by the name of its file."""
    return {
        f"bench-{result.name}-{number}.svg": table
        for result in results
        for number, table in enumerate(find_tables(result.output), 1)
    }


def render(results: Sequence[Result]) -> str:
    """Return the page."""
    lines = [
        "# Benchmarks",
        "",
        "Written by `./dev bench report`; each figure comes from one run of its command. Tables of several",
        "tools show seconds from the save to the new answer. `go` is `go build` alone: the floor. `air`",
        "builds and runs on the host, without an image or a container.",
    ]
    plots = list_plots(results)
    for result in results:
        lines += ["", f"## {SHOWN[result.name].title}", ""]
        lines += [
            f"`{result.command}`, {result.at}, commit {result.commit}, load before it {result.load:.1f}."
        ]
        lines += [f"{result.machine}. {result.versions}."]
        for file, table in plots.items():
            if file.startswith(f"bench-{result.name}-"):
                lines += ["", compare(table), "", f"![{table.title}](pictures/{file})"]
        shown = (line.rstrip() for line in result.output.splitlines() if not line.startswith(_LOAD_NOTE))
        lines += ["", "```text", *shown, "```"]
    return "\n".join([*lines, ""])


def write_page(page: Path, results: Sequence[Result]) -> None:
    """Write the page and its plots; remove plots of earlier pages."""
    pictures = page.parent / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    for old in pictures.glob("bench-*.svg"):
        old.unlink()
    for file, table in list_plots(results).items():
        (pictures / file).write_text(draw_plot(table), "utf-8")
    page.write_text(render(results), "utf-8")


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
    parser.add_argument("--page", type=Path, default=PAGE, help="the file to write")
    parser.add_argument("--quick", action="store_true", help="as few rounds as possible")
    given = parser.parse_args()
    if given.quick and given.page == PAGE:
        parser.error("--quick measures nothing that may stand on the page: give --page and --results")
    names = list(SHOWN) if given.run == "all" else [name for name in given.run.split(",") if name]
    if unknown := set(names) - SHOWN.keys():
        parser.error(f"no such measurement: {', '.join(sorted(unknown))}")
    given.results.mkdir(parents=True, exist_ok=True)
    failed = False
    for name in names:
        if result := measure(name, given.limit, quick=given.quick):
            (given.results / f"{name}.json").write_text(json.dumps(asdict(result), indent=1) + "\n", "utf-8")
        else:
            failed = True
    if results := read_results(given.results):
        write_page(given.page, results)
        print(f"wrote {given.page}: {', '.join(result.name for result in results)}")
    else:
        parser.error("there are no results yet: use --run")
    sys.exit(failed)


if __name__ == "__main__":
    main()
