"""The names of cache mounts that are remembered."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from watcher.prune import CacheNames, NamedCache


def test_names_survive_the_process_and_go_when_their_mounts_are_empty(tmp_path: Path) -> None:
    names = CacheNames(tmp_path)
    names.note("web", {"a": NamedCache("/a", 1.0), "b": NamedCache("/b", 2.0, modules=True)}, {"a"})
    again = CacheNames(tmp_path)
    ours = NamedCache("/a", 1.0, services=frozenset({"web"}))
    assert again.known() == {"a": ours, "b": NamedCache("/b", 2.0, modules=True)}
    again.forget(["b"])
    assert CacheNames(tmp_path).known() == {"a": ours}


def test_each_service_says_which_mounts_its_dockerfile_has_now(tmp_path: Path) -> None:
    names = CacheNames(tmp_path)
    names.note("web", {"a": NamedCache("/a", 1.0)}, {"a"})
    names.note("api", {"a": NamedCache("/a", 2.0), "b": NamedCache("/b", 2.0)}, {"a", "b"})
    names.note("web", {"c": NamedCache("/c", 3.0)}, {"c"})
    for each in (names, CacheNames(tmp_path)):
        found = {name: (cache.last_named, set(cache.services)) for name, cache in each.known().items()}
        assert found == {"a": (2.0, {"api"}), "b": (2.0, {"api"}), "c": (3.0, {"web"})}


def test_a_file_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    (tmp_path / "go_caches.json").write_text('{"a": ["/a", 1.5, true]}')
    assert CacheNames(tmp_path).known() == {"a": NamedCache("/a", 1.5, modules=True)}


def test_services_that_note_their_mounts_at_once_lose_none(tmp_path: Path) -> None:
    names = CacheNames(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        for number in range(64):
            pool.submit(names.note, f"s{number}", {f"n{number}": NamedCache("/c", 1.0)}, ())
    assert len(CacheNames(tmp_path).known()) == 64


def test_the_oldest_names_are_dropped_when_there_are_too_many(tmp_path: Path) -> None:
    names = CacheNames(tmp_path)
    names.note("web", {f"n{number}": NamedCache("/c", float(number)) for number in range(400)}, ())
    known = CacheNames(tmp_path).known()
    assert len(known) == 300
    assert "n99" not in known
    assert "n100" in known


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1}', '{"a": ["/c"]}', '{"a": ["/c", "x", 1]}'])
def test_a_damaged_file_is_an_empty_one(tmp_path: Path, text: str) -> None:
    (tmp_path / "go_caches.json").write_text(text)
    names = CacheNames(tmp_path)
    assert not names.known()
    names.note("web", {"a": NamedCache("/a", 1.0)}, ())
    assert CacheNames(tmp_path).known()


def test_without_a_folder_names_are_kept_in_memory(tmp_path: Path) -> None:
    for folder in (None, tmp_path / "gone"):
        names = CacheNames(folder)
        names.note("web", {"a": NamedCache("/a", 1.0)}, ())
        assert names.known()
