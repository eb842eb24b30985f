"""Tables that fit the terminal."""

from __future__ import annotations

import pytest

from watcher.observers.tables import FILE_WIDTH, print_table
from watcher.prune import Row

pytestmark = pytest.mark.libraries

STEP = "[builder 5/5] RUN CGO_ENABLED=0 GOOS=linux go build -ldflags '-X main.version=1' -o /out/app ."
REASON = (
    "made by a watcher of an earlier version, and nothing shows for which project; `watcher prune` lists it"
)
ROWS = (
    Row("would remove", "step", STEP, "0123456789ab", "56 min 54 s", "680 MB", REASON),
    Row("keep", "builder", "<none>", "ba9876543210", "2 h 05 min", "424 MB", "it is live"),
)


@pytest.mark.parametrize("width", [60, 80, 120, 180])
def test_no_line_is_wider_than_the_terminal_and_every_reason_is_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    print_table(Row._fields, ROWS)
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= width
    assert "[builder 5" in text
    assert "".join(REASON.split()) in "".join(text.split())


def test_a_file_gets_a_table_of_a_fixed_width(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    print_table(Row._fields, ROWS)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= FILE_WIDTH
    assert "0123456789ab" in lines[1]


def test_a_narrow_terminal_leaves_out_ids(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    print_table(Row._fields, ROWS)
    text = capsys.readouterr().out
    assert "0123456789ab" not in text
    assert "would remove" in text


def test_a_wide_terminal_has_a_line_for_each_row(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    print_table(Row._fields, ROWS)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(ROWS)
    assert STEP in lines[1]
    assert REASON in lines[1]
