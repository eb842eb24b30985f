"""What is served and shipped is what was written: no file holds what a merge left open."""

from __future__ import annotations

from pathlib import Path

import watcher

MARKERS = ("<<<<<<< ", ">>>>>>> ", "||||||| ")


def test_no_file_holds_the_marks_of_a_merge_conflict() -> None:
    """The page's script is text for Python: nothing else would notice before a browser does."""
    files = [
        path for path in Path(watcher.__file__).parent.rglob("*") if path.is_file() and path.suffix != ".pyc"
    ]
    assert any(path.name == "page.html" for path in files)
    found = [
        f"{path}:{number}"
        for path in files
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if line.startswith(MARKERS)
    ]
    assert not found
