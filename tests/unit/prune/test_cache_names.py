"""The names of cache mounts that are remembered."""

from __future__ import annotations

from pathlib import Path

import pytest

from watcher.prune import CacheNames, NamedCache


def test_names_survive_the_process_and_go_when_their_mounts_are_empty(tmp_path: Path) -> None:
    names = CacheNames(tmp_path)
    names.note({"a": NamedCache("/a", 1.0), "b": NamedCache("/b", 2.0, modules=True)})
    again = CacheNames(tmp_path)
    assert again.former(["a"]) == {"b": NamedCache("/b", 2.0, modules=True)}
    again.forget(["b"])
    assert CacheNames(tmp_path).former([]) == {"a": NamedCache("/a", 1.0)}


def test_the_oldest_names_are_dropped_when_there_are_too_many(tmp_path: Path) -> None:
    names = CacheNames(tmp_path)
    names.note({f"n{number}": NamedCache("/c", float(number)) for number in range(400)})
    known = CacheNames(tmp_path).former([])
    assert len(known) == 300
    assert "n99" not in known
    assert "n100" in known


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1}', '{"a": ["/c"]}', '{"a": ["/c", "x", 1]}'])
def test_a_damaged_file_is_an_empty_one(tmp_path: Path, text: str) -> None:
    (tmp_path / "go_caches.json").write_text(text)
    names = CacheNames(tmp_path)
    assert not names.former([])
    names.note({"a": NamedCache("/a", 1.0)})
    assert CacheNames(tmp_path).former([])


def test_without_a_folder_names_are_kept_in_memory(tmp_path: Path) -> None:
    for folder in (None, tmp_path / "gone"):
        names = CacheNames(folder)
        names.note({"a": NamedCache("/a", 1.0)})
        assert names.former([])
