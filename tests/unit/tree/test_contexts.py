"""A tree with other folders: one snapshot, one revision, one set of changes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from watcher.tree import Tree, TreeGone, TreeWithContexts, diff, revision


@pytest.fixture
def tree(tmp_path: Path) -> TreeWithContexts:
    for name in ("svc", "shared", "docs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.go").write_text(name)
    (tmp_path / "shared" / ".dockerignore").write_text("*.log\n")
    others = {name: Tree(tmp_path / name) for name in ("shared", "docs")}
    return TreeWithContexts(tmp_path / "svc", contexts=others)


def test_a_change_of_another_folder_is_a_change(tree: TreeWithContexts, tmp_path: Path) -> None:
    first = tree.scan()
    assert {name: sorted(each.files) for name, each in first.contexts.items()} == {
        "docs": ["a.go"],
        "shared": [".dockerignore", "a.go"],
    }
    assert tree.scan(frozenset()) is first
    (tmp_path / "shared" / "a.go").write_text("other")
    assert tree.scan(frozenset()) is first  # nobody said that there is something to look at
    tree.touch("shared", frozenset({""}))
    second = tree.scan(frozenset())
    assert revision(second, {}) != revision(first, {})
    assert [(each.path, each.kind) for each in diff(first, second).changes] == [("../shared/a.go", "go")]
    assert second.contexts["docs"] is first.contexts["docs"]
    assert second.contexts["shared"].read("a.go") == b"other"
    (tmp_path / "shared" / "x.log").write_text("left out")
    assert revision(tree.scan(), {}) == revision(second, {})


def test_which_folder_a_file_is_in_is_part_of_the_revision(tmp_path: Path) -> None:
    for name in ("main", "one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "one" / "a").write_text("a")
    digests = set()
    for names in ("xy", "yx"):
        others = dict(zip(names, (Tree(tmp_path / "one"), Tree(tmp_path / "two")), strict=True))
        digests.add(TreeWithContexts(tmp_path / "main", contexts=others).scan().digest)
    assert len(digests) == 2
    assert Tree(tmp_path / "main").scan().digest not in digests


def test_a_folder_that_goes_and_comes_back(tree: TreeWithContexts, tmp_path: Path) -> None:
    first = tree.scan()
    shutil.move(tmp_path / "shared", tmp_path / "away")
    tree.touch("shared", frozenset({""}))
    with pytest.raises(TreeGone, match="shared cannot be watched"):
        tree.scan(frozenset())
    shutil.move(tmp_path / "away", tmp_path / "shared")
    (tmp_path / "shared" / "b.go").write_text("new")
    found = tree.scan(frozenset())  # it is still known that there was something to look at
    assert [each.path for each in diff(first, found).changes] == ["../shared/b.go"]


def test_paths_go_back_to_the_folder_they_are_in(tree: TreeWithContexts) -> None:
    paths = ["a.go", "../shared/x/a.go", "../docs/b"]
    assert tree.paths_in("shared", paths) == ["x/a.go"]
    assert tree.paths_in("docs", paths) == ["b"]
