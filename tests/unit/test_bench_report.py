"""The page of benchmarks: every result with its circumstances, and who was faster."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from bench import report

SAVE = """\
                median  over go      range  failed  without  saves
go                0.74           0.70–0.80                      10
watcher           1.21    +0.47  1.10–1.40       0     0.02     10
air-0             0.95    +0.21  0.90–1.00       3     0.30     10
up                2.60    +1.86  2.50–2.90     160     1.20     10
"""


def result(name: str, output: str) -> report.Result:
    return report.Result(
        name, f"./dev bench {name}", output, "abc1234", "2026-01-01T10:00", 0.1, "a box", "Go 1"
    )


def test_medians_are_read_by_tool() -> None:
    assert report.find_medians(SAVE) == {"go": 0.74, "watcher": 1.21, "air-0": 0.95, "up": 2.6}


@pytest.mark.parametrize(
    "output", ["", "watcher 1.0", "go 0.7\nair 0.9", "undo at once    0.247  (0.238-0.255)"]
)
def test_an_output_without_several_tools_has_no_comparison(output: str) -> None:
    assert report.find_medians(output) == {}


def test_the_page_says_who_was_faster() -> None:
    page = report.render([result("save", SAVE)])
    assert "Faster than the watcher (1.21): go (0.74), air-0 (0.95)." in page
    bars = [line.count("█") for line in page.splitlines() if "█" in line]
    assert bars == sorted(bars)
    assert bars[-1] == report.BARS


def test_the_page_has_each_output_and_its_circumstances() -> None:
    page = report.render([result("save", SAVE), result("undo", "undo at once 0.2")])
    for text in (
        *SAVE.splitlines(),
        "undo at once 0.2",
        "commit abc1234",
        "a box. Go 1.",
        "`./dev bench undo`",
    ):
        assert text.rstrip() in page


def test_results_are_read_in_the_order_of_the_page(tmp_path: Path) -> None:
    for name in ("undo", "save"):
        (tmp_path / f"{name}.json").write_text(json.dumps(asdict(result(name, SAVE))))
    (tmp_path / "other.json").write_text("not a result")
    assert [each.name for each in report.read_results(tmp_path)] == ["save", "undo"]


def test_a_measurement_that_fails_or_hangs_is_no_result(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(report.SHOWN, "nothing_of_that_name", ("", ()))  # type: ignore[arg-type]
    assert report.measure("nothing_of_that_name", 60) is None
    assert "failed with exit status 1" in capsys.readouterr().err
    monkeypatch.setattr("sys.executable", "sleep")
    assert report.measure("cli", 60) is None


def test_every_measurement_of_the_page_exists() -> None:
    assert all((report.ROOT / "bench" / f"{name}.py").exists() for name in report.SHOWN)
