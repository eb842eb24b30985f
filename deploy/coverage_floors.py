"""Compare branch coverage with its floors: `[tool.coverage-floors]` of pyproject.toml.

    python deploy/coverage_floors.py REPORT [FOLDER]

REPORT is what `coverage json` wrote. A room is a package below `watcher/`; its coverage is the share of its
statements and branches that ran. `whole` is everything, generated code left out.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def measure(report: dict[str, Any]) -> dict[str, float]:
    """Return the percentage of each room, and of the `whole`."""
    ran: Counter[str] = Counter()
    known: Counter[str] = Counter()
    for file, found in report["files"].items():
        parts = Path(file).parts
        for name in ("whole", parts[1] if len(parts) > 2 else ""):
            summary = found["summary"]
            ran[name] += summary["covered_lines"] + summary["covered_branches"]
            known[name] += summary["num_statements"] + summary["num_branches"]
    return {name: 100 * ran[name] / known[name] for name in known if name and known[name]}


def below(measured: dict[str, float], floors: dict[str, float]) -> list[str]:
    """Return a sentence for each floor that is not reached; a room that was not measured has nothing."""
    return [
        f"{name} is covered to {measured.get(name, 0.0):.1f} %, and at least {floor} % are asked for"
        for name, floor in floors.items()
        if measured.get(name, 0.0) < floor
    ]


def main(report: Path, root: Path) -> int:
    """Print the figures and return the exit status."""
    floors = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["tool"]["coverage-floors"]
    measured = measure(json.loads(report.read_text("utf-8")))
    shown = (
        f"{name} {measured[name]:.1f}" for name in sorted(measured, key=lambda name: (name != "whole", name))
    )
    print("branch coverage, %: " + ", ".join(shown))
    missed = below(measured, floors)
    for line in missed:
        print(line)
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]) if sys.argv[2:] else ROOT))
