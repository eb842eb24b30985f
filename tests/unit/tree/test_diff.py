"""Naming what changed, and naming a tree."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.facts import missing
from tests.unit.tree.conftest import write
from watcher.tree import FileKind, Layout, Tree, classify, diff, revision


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("main.go", FileKind.GO),
        ("pkg/asm_amd64.s", FileKind.GO),
        ("pkg/bridge.h", FileKind.GO),
        ("go.mod", FileKind.MODULE),
        ("tools/go.sum", FileKind.MODULE),
        ("go.work", FileKind.MODULE),
        ("vendor/modules.txt", FileKind.MODULE),
        ("myvendor/modules.txt", FileKind.OTHER),
        ("_envs/env_dev.yaml", FileKind.ENV),
        ("_envs/deep/x.go", FileKind.ENV),
        ("sub/_envs/x.yaml", FileKind.OTHER),
        ("Dockerfile", FileKind.DOCKERFILE),
        ("Dockerfile.dockerignore", FileKind.DOCKERFILE),
        (".dockerignore", FileKind.DOCKERFILE),
        ("sub/Dockerfile", FileKind.OTHER),
        ("README.md", FileKind.OTHER),
    ],
)
def test_a_path_has_the_kind_a_go_service_sees_in_it(path: str, kind: FileKind) -> None:
    assert classify(path) is kind


def test_kinds_follow_the_layout() -> None:
    layout = Layout(dockerfile="docker/dev.Dockerfile", env_dirs=("config/env",))
    assert classify("docker/dev.Dockerfile", layout) is FileKind.DOCKERFILE
    assert classify("docker/dev.Dockerfile.dockerignore", layout) is FileKind.DOCKERFILE
    assert classify("Dockerfile", layout) is FileKind.OTHER
    assert classify("config/env/dev.yaml", layout) is FileKind.ENV


def test_changes_are_named_with_verb_and_kind(root: Path) -> None:
    tree = Tree(root, env_dirs=["./_envs/"])
    before = tree.scan()
    write(root, "main.go", "package main // changed\n")
    write(root, "new.txt", "x")
    (root / "pkg/a/a.go").unlink()
    (root / "_envs/env_dev.yaml").chmod(0o600)
    found = diff(before, tree.scan())
    assert [(change.path, change.verb, change.kind) for change in found.changes] == [
        ("_envs/env_dev.yaml", "changed", "env"),
        ("main.go", "changed", "go"),
        ("new.txt", "added", "other"),
        ("pkg/a/a.go", "removed", "go"),
    ]
    assert missing(found.summary(), "4 files", "2 go", "1 env", "1 other") == []


def test_one_change_is_named_in_the_summary(root: Path) -> None:
    tree = Tree(root)
    before = tree.scan()
    write(root, "version.go", "package main\n")
    assert diff(before, tree.scan()).summary() == "version.go added"


def test_nothing_changed_is_an_empty_change_set(root: Path) -> None:
    tree = Tree(root)
    before = tree.scan()
    (root / "main.go").touch()
    found = diff(before, tree.scan({""}))
    assert not found
    assert found.summary() == "nothing changed"


def test_without_an_older_tree_everything_is_added(root: Path) -> None:
    found = diff(None, Tree(root).scan())
    assert {change.path for change in found.changes} == {
        "Dockerfile",
        "main.go",
        "go.mod",
        "_envs/env_dev.yaml",
        "pkg/a/a.go",
        "pkg/b/b.go",
    }


def test_renaming_by_case_only_is_a_removal_and_an_addition(root: Path) -> None:
    tree = Tree(root)
    before = tree.scan()
    (root / "main.go").rename(root / "Main.go")
    assert [(c.path, c.verb) for c in diff(before, tree.scan({""})).changes] == [
        ("Main.go", "added"),
        ("main.go", "removed"),
    ]


def test_directories_are_named_only_when_nothing_in_them_says_it(root: Path) -> None:
    tree = Tree(root)
    before = tree.scan()
    (root / "empty/inner").mkdir(parents=True)
    (root / "pkg/b").chmod(0o700)
    (root / "pkg/a/a.go").unlink()
    (root / "pkg/a").rmdir()
    write(root, "pkg/a", "a file now")
    found = diff(before, tree.scan())
    assert [(change.path, change.verb) for change in found.changes] == [
        ("empty/inner/", "added"),
        ("pkg/a", "added"),
        ("pkg/a/a.go", "removed"),
        ("pkg/b/", "changed"),
    ]


def test_an_excluded_dockerfile_that_changes_is_named(root: Path) -> None:
    write(root, ".dockerignore", "Dockerfile\n")
    tree = Tree(root)
    before = tree.scan()
    write(root, "Dockerfile", "FROM scratch AS other\n")
    changed = tree.scan()
    assert diff(before, changed).summary() == "Dockerfile changed"
    (root / "Dockerfile").unlink()
    removed = tree.scan()
    assert diff(changed, removed).summary() == "Dockerfile removed"
    write(root, "Dockerfile", "FROM scratch\n")
    assert diff(removed, tree.scan()).summary() == "Dockerfile added"
    assert "Dockerfile" in {change.path for change in diff(None, tree.scan()).changes}


INPUTS = st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=4)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    return Tree(tmp_path_factory.mktemp("empty"))


@given(first=INPUTS, second=INPUTS)
def test_a_revision_is_the_same_exactly_if_tree_and_inputs_are(
    empty: Tree, first: dict[str, str], second: dict[str, str]
) -> None:
    snapshot = empty.scan()
    assert (revision(snapshot, first) == revision(snapshot, second)) is (first == second)
    assert revision(snapshot, dict(reversed(first.items()))) == revision(snapshot, first)


def test_a_revision_is_64_hex_digits_that_follow_the_tree(root: Path) -> None:
    tree = Tree(root)
    before = revision(tree.scan(), {"target": "final"})
    assert len(bytes.fromhex(before)) == 32
    write(root, "main.go", "package other\n")
    assert revision(tree.scan(), {"target": "final"}) != before
    write(root, "main.go", "package main\n")
    assert revision(tree.scan(), {"target": "final"}) == before
