"""The page of benchmarks: every result with its circumstances, and who was faster."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from bench import report
from bench._peers import GOAL_MISSED
from tests.facts import missing

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


BIG = """\
caddy v2.11.9, modules downloaded, a program of 45 MB
                median  x go  range  failed  saves
go                2.00  1.00  2.00–2.00              3
exact             2.50  1.25  2.50–2.50       0      3
goal: exact 2.50 <= go 2.00 x 1.15 + 0.5 = 2.80: met
prometheus v0.316.0, vendored
                median  x go  range  failed  saves
exact             4.50  1.50  4.50–4.50       0      3
watch             9.00  3.00  9.00–9.00      20      3
"""


def test_medians_are_read_by_tool() -> None:
    (table,) = report.find_tables(SAVE)
    assert table.medians == {"go": 0.74, "watcher": 1.21, "air-0": 0.95, "up": 2.6}


def test_each_table_has_its_title_and_its_own_medians() -> None:
    first, second = report.find_tables(BIG)
    assert (first.title[:5], first.medians) == ("caddy", {"go": 2.0, "exact": 2.5})
    assert (second.title[:10], second.medians) == ("prometheus", {"exact": 4.5, "watch": 9.0})


@pytest.mark.parametrize(
    "output", ["", "watcher 1.0", "go 0.7\nair 0.9", "undo at once    0.247  (0.238-0.255)"]
)
def test_an_output_without_several_tools_has_no_comparison(output: str) -> None:
    assert report.find_tables(output) == []


def test_the_page_says_who_was_faster() -> None:
    page = report.render([result("save", SAVE), result("big", BIG)])
    assert missing(page, "watcher (1.21)", "go (0.74)", "air-0 (0.95)") == []
    assert missing(page, "Nothing", "exact (4.5)") == []


def test_a_plot_has_a_bar_for_each_tool_in_the_order_of_their_medians() -> None:
    (table,) = report.find_tables(SAVE)
    root = ElementTree.fromstring(report.draw_plot(replace(table, title="a <b> & c")))
    bars = [float(each.attrib["width"]) for each in root if each.tag.endswith("rect")]
    assert len(bars) == 4
    assert bars == sorted(bars)
    texts = [each.text for each in root if each.tag.endswith("text")]
    assert texts == ["a <b> & c", "go", "0.74", "air-0", "0.95", "watcher", "1.21", "up", "2.6"]


def test_each_plot_of_the_page_is_written_and_older_ones_go(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    report.write_page(page, [result("save", SAVE), result("big", BIG)])
    report.write_page(page, [result("big", BIG), result("cli", "no table")])
    plots = sorted(each.name for each in (tmp_path / "pictures").iterdir())
    assert plots == ["bench-big-1.svg", "bench-big-2.svg"]
    assert all(f"](pictures/{name})" in page.read_text() for name in plots)


def test_figures_of_a_quick_run_do_not_reach_the_page_of_the_docs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["report", "--run", "cli", "--quick"])
    with pytest.raises(SystemExit):
        report.main()
    assert "--page" in capsys.readouterr().err


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
    monkeypatch.setitem(report.SHOWN, "nothing_of_that_name", report.Shown(""))
    assert report.measure("nothing_of_that_name", 60) is None
    assert missing(capsys.readouterr().err, "failed", "status 1") == []
    monkeypatch.setattr("sys.executable", "sleep")
    assert report.measure("cli", 60) is None


@pytest.mark.parametrize(("status", "is_result"), [(0, True), (GOAL_MISSED, True), (1, False)])
def test_a_missed_goal_stands_on_the_page(
    monkeypatch: pytest.MonkeyPatch, status: int, *, is_result: bool
) -> None:
    def run(command: list[str], **given: object) -> subprocess.CompletedProcess[Any]:
        printed = "0.55 s: goal 0.4 s NOT met\n"
        return subprocess.CompletedProcess(
            command, status, printed if given.get("text") else printed.encode()
        )

    monkeypatch.setattr(subprocess, "run", run)
    found = report.measure("cli", 60)
    assert (found is not None) is is_result
    assert found is None or "NOT met" in report.render([found])


def test_every_measurement_of_the_page_exists() -> None:
    assert all(Path(report.__file__).with_name(f"{name}.py").exists() for name in report.SHOWN)


def test_progress_that_a_terminal_overwrites_is_dropped() -> None:
    raw = "head\nround 1 of 2: go   \rround 2 of 2: go   \r        \r\nmedian\n\rweb: 1/2\rweb: 2/2\nend"
    assert report.drop_progress(raw).splitlines() == ["head", "", "median", "web: 2/2", "end"]
