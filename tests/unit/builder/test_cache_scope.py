"""The name of the caches that all projects of a user share."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from watcher.builder import shared_cache_scope


def test_it_is_made_once_and_stays(tmp_path: Path) -> None:
    home = tmp_path / "state"
    first = shared_cache_scope(home)
    assert first.startswith("watcher-")
    assert shared_cache_scope(home) == first
    assert [each.name for each in home.iterdir()] == ["cache_scope"]
    assert shared_cache_scope(tmp_path / "other") != first


def test_processes_that_make_it_at_once_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        found = set(pool.map(shared_cache_scope, [tmp_path / "state"] * 32))
    assert len(found) == 1


@pytest.mark.parametrize("text", ["", "watcher-", "watcher-0123456789AB", "x" * 9999, "\xff"])
def test_a_damaged_name_is_replaced(tmp_path: Path, text: str) -> None:
    (tmp_path / "cache_scope").write_text(text)
    found = shared_cache_scope(tmp_path)
    assert found != text
    assert shared_cache_scope(tmp_path) == found != ""


def test_where_it_cannot_be_stored_each_project_has_its_own_caches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    assert shared_cache_scope(tmp_path / "file") == ""
    (tmp_path / "cache_scope").symlink_to(tmp_path / "file")
    assert shared_cache_scope(tmp_path) == ""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert shared_cache_scope() == ""
