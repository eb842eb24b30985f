"""Coverage below a floor fails the run, also where a room was not measured at all."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.facts import missing
from tests.loaded_script import load_script

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def floors() -> ModuleType:
    return load_script("coverage_floors")


def report(**covered: int) -> dict[str, Any]:
    """Files of 10 statements and 10 branches; of each, so many of the 20 ran."""
    return {
        "files": {
            name: {
                "summary": {
                    "num_statements": 10,
                    "num_branches": 10,
                    "covered_lines": min(10, ran),
                    "covered_branches": max(0, ran - 10),
                }
            }
            for name, ran in covered.items()
        }
    }


FOUND = report(**{"watcher/front/gate.py": 20, "watcher/front/http.py": 18, "watcher/lock.py": 10})


def test_statements_and_branches_count_by_room_and_as_a_whole(floors: ModuleType) -> None:
    assert floors.measure(FOUND) == {"whole": 80.0, "front": 95.0}


def test_what_is_below_its_floor_is_named(floors: ModuleType) -> None:
    assert floors.below(floors.measure(FOUND), {"whole": 80, "front": 95}) == []
    lines = floors.below(floors.measure(FOUND), {"whole": 81, "front": 96, "gone": 1})
    assert [line.partition(" ")[0] for line in lines] == ["whole", "front", "gone"]
    assert missing(lines[0], "whole", "80.0 %", "81 %") == []


def test_the_exit_status_is_that_of_the_floors(
    tmp_path: Path, floors: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "found.json").write_text(json.dumps(FOUND))
    for floor, status in ((80, 0), (90, 1)):
        (tmp_path / "pyproject.toml").write_text(f"[tool.coverage-floors]\nwhole = {floor}\n")
        assert floors.main(tmp_path / "found.json", tmp_path) == status
    assert missing(capsys.readouterr().out, "whole 80.0", "front 95.0") == []


def test_every_floor_is_of_a_room() -> None:
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["coverage-floors"]
    rooms = {path.name for path in (ROOT / "watcher").iterdir() if path.is_dir()}
    assert asked.keys() - rooms == {"whole"}
    core = {"reconcile", "buildkit", "front", "prune", "tree", "dockerfile", "dockerignore"}
    assert core <= asked.keys()
