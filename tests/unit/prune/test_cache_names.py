"""The names of cache mounts that are remembered."""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from watcher.dockerfile import Owner
from watcher.prune import CacheNames, NamedCache
from watcher.prune.go_cache_select import UNUSED


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


SHARED = "watcher-0123456789ab-0123456789-gocache"
NOW = 1_000_000_000.0


def note(home: Path, project: str, named: float, name: str = SHARED) -> CacheNames:
    names = CacheNames(home / project)
    (home / project).mkdir(exist_ok=True)
    names.note("web", {name: NamedCache("/c", named, owner=Owner("1000", ""))}, {name})
    return names


def test_other_projects_that_lately_used_a_shared_cache_are_known(tmp_path: Path) -> None:
    ours = note(tmp_path, "shop-0123456789", NOW)
    assert ours.find_users([SHARED], NOW) == {}
    note(tmp_path, "blog-0123456789", NOW - 3600)
    note(tmp_path, "old-0123456789", NOW - UNUSED - 1)
    note(tmp_path, "api-0123456789", NOW, "another")
    note(tmp_path, "no project", NOW)
    assert ours.find_users([SHARED, "unused"], NOW) == {SHARED: ("blog-0123456789",)}
    assert ours.find_users([], NOW) == {}


@pytest.mark.parametrize(("named", "used"), [(SHARED, True), (f"{SHARED}-cgo-0123456789", False)])
def test_a_project_that_was_only_built_so_far_is_known_by_its_journal(
    tmp_path: Path, named: str, used: bool
) -> None:
    ours = note(tmp_path, "shop-0123456789", NOW)
    other = tmp_path / "blog-0123456789"
    other.mkdir()
    line = {"name": f"RUN --mount=type=cache,sharing=shared,id={named},target=/c go build"}
    journal = other / "builds-0123456789.jsonl"
    journal.write_text(json.dumps(line))
    assert bool(ours.find_users([SHARED], time.time())) is used
    os.utime(journal, (NOW, NOW))
    assert not ours.find_users([SHARED], NOW + UNUSED + 1)


def test_without_a_folder_a_shared_cache_counts_as_used(tmp_path: Path) -> None:
    assert CacheNames(None).find_users([SHARED], NOW) == {SHARED: ("other projects",)}
    assert CacheNames(tmp_path / "no" / "such").find_users([SHARED], NOW) == {SHARED: ("other projects",)}


def test_the_owner_of_a_cache_survives_the_process(tmp_path: Path) -> None:
    note(tmp_path, "shop-0123456789", NOW)
    assert CacheNames(tmp_path / "shop-0123456789").known()[SHARED].owner == Owner("1000", "")
