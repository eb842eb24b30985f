"""What belongs to the tree: ignore files, the default list, the settings' list, the control files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.tree.conftest import paths, write
from watcher.errors import ConfigError
from watcher.tree import DEFAULT_IGNORE, Rules, Tree
from watcher.tree.rules import Inclusion

TEMPORARY = [
    "main.go~",
    "4913",
    ".main.go.swp",
    ".main.go.swx",
    ".main.go.swpx",
    ".#main.go",
    "#main.go#",
    "main.go___jb_tmp___",
    "main.go___jb_old___",
    ".goutputstream-ABC123",
    ".main.go.kate-swp",
    "main-go-tmp-umask",
    ".nfs000000000123",
    ".DS_Store",
]
KEPT = [
    "main.go",
    "4913.go",
    "swap.swp",
    "#heading",
    "~main.go",
    "jb_tmp",
    ".gitignore",
    ".github",
    "nfs0",
    "x.git",
]


@pytest.mark.parametrize("name", TEMPORARY)
def test_what_editors_leave_for_a_moment_is_no_part_of_the_tree(root: Path, name: str) -> None:
    tree = Tree(root)
    before = tree.scan()
    write(root, name, "x")
    write(root, f"pkg/a/{name}", "x")
    assert tree.scan({"", "pkg/a"}).digest == before.digest
    assert not tree.rules.concerns(f"pkg/a/{name}", is_dir=False)


@pytest.mark.parametrize("name", KEPT)
def test_names_that_only_resemble_temporary_files_stay(root: Path, name: str) -> None:
    write(root, f"pkg/{name}", "x")
    tree = Tree(root)
    assert f"pkg/{name}" in tree.scan().files
    assert tree.rules.concerns(f"pkg/{name}", is_dir=False)


def test_stores_of_version_control_are_neither_watched_nor_sent_unless_asked_for(root: Path) -> None:
    write(root, ".git/HEAD", "ref: refs/heads/main\n")
    write(root, "sub/.git", "gitdir: ../.git/modules/sub\n")
    tree = Tree(root)
    assert not any(".git" in path for path in tree.scan().files)
    assert not any(".git" in path for path in tree.watch_dirs)
    asked = Tree(root, ignore=["!.git"])
    assert {".git/HEAD"} == {path for path in asked.scan().files if "HEAD" in path}
    assert ".git" in asked.watch_dirs
    assert "sub/.git" not in asked.scan().files


def test_the_default_list_means_the_same_with_and_without_the_fast_path() -> None:
    fast = Rules()
    slow = Rules(ignore=("!nothing/of/this/name",))
    for name in (*TEMPORARY, *KEPT, ".git", ".idea"):
        for path in (name, f"pkg/{name}"):
            assert fast.excludes(path, name) is slow.excludes(path, name), path
            assert (fast.place(path, name) is Inclusion.OUT) is (
                slow.place(path, name) is not Inclusion.IN
            ), path


def test_the_settings_patterns_work_like_an_ignore_files(root: Path) -> None:
    write(root, "docs/guide.md", "x")
    write(root, "docs/keep.md", "x")
    write(root, "pkg/a/gen.txt", "x")
    tree = Tree(root, ignore=["docs/*.md", "!docs/keep.md", "/pkg/a/"])
    found = paths(tree.scan())
    assert "docs/keep.md" in found
    assert not {"docs/guide.md", "pkg/a/gen.txt", "pkg/a"} & set(found)
    assert tree.scan().excludes == ()


def test_a_pattern_of_the_settings_that_cannot_be_used_is_named() -> None:
    with pytest.raises(ConfigError, match=r"watch\.ignore = '\[a'"):
        Tree(Path("/"), ignore=["[a"])


def test_the_dockerfiles_own_ignore_file_wins(root: Path) -> None:
    write(root, ".dockerignore", "pkg/a\n")
    tree = Tree(root)
    assert "pkg/a" not in tree.scan().files
    write(root, "Dockerfile.dockerignore", "pkg/b\n")
    snapshot = tree.scan({""})
    assert snapshot.ignore_file == ("Dockerfile.dockerignore", b"pkg/b\n")
    assert snapshot.excludes == ("pkg/b",)
    assert "pkg/a/a.go" in snapshot.files
    assert "pkg/b/b.go" not in snapshot.files
    (root / "Dockerfile.dockerignore").unlink()
    (root / ".dockerignore").unlink()
    assert {"pkg/a/a.go", "pkg/b/b.go"} <= set(tree.scan({""}).files)


def test_two_stars_stand_for_no_directory_too(root: Path) -> None:
    write(root, ".dockerignore", "**/.env\n**/secrets\n")
    for path in (".env", "pkg/.env", "secrets/key", "pkg/secrets/key", "a.env"):
        write(root, path, "x")
    listed = Tree(root).scan().files
    assert "a.env" in listed
    assert not {".env", "pkg/.env", "secrets", "secrets/key", "pkg/secrets"} & set(listed)


def test_a_directory_is_kept_for_what_an_exception_takes_back_in(root: Path) -> None:
    write(root, ".dockerignore", "pkg\n!pkg/b/*.go\n")
    write(root, "pkg/b/notes.txt", "x")
    tree = Tree(root)
    assert [path for path in paths(tree.scan()) if path.startswith("pkg")] == ["pkg", "pkg/b", "pkg/b/b.go"]
    (root / "pkg/b/b.go").unlink()
    assert not [path for path in paths(tree.scan({"pkg/b"})) if path.startswith("pkg")]
    assert "pkg/b" in tree.watch_dirs
    write(root, "pkg/b/c.go", "package b\n")
    assert "pkg/b/c.go" in tree.scan({"pkg/b"}).files


def test_directories_that_cannot_hold_anything_of_the_context_are_not_watched(root: Path) -> None:
    write(root, "node_modules/x/index.js", "x")
    write(root, "vendor/y/y.go", "x")
    write(root, ".dockerignore", "node_modules\nvendor\n!vendor/z\n")
    tree = Tree(root)
    tree.scan()
    assert tree.watch_dirs == {"", "_envs", "pkg", "pkg/a", "pkg/b", "vendor"}


def test_an_excluded_dockerfile_still_decides(root: Path) -> None:
    write(root, ".dockerignore", "Dockerfile\n.dockerignore\n")
    tree = Tree(root)
    before = tree.scan()
    assert "Dockerfile" not in before.files
    write(root, "Dockerfile", "FROM scratch\nCOPY . .\n")
    after = tree.scan({""})
    assert after.digest != before.digest
    assert after.dockerfile == b"FROM scratch\nCOPY . .\n"
    assert tree.rules.concerns("Dockerfile", is_dir=False)
    assert tree.rules.concerns(".dockerignore", is_dir=False)


def test_an_excluded_ignore_file_counts_by_its_effect_only(root: Path) -> None:
    write(root, ".dockerignore", ".dockerignore\n")
    tree = Tree(root)
    before = tree.scan()
    write(root, ".dockerignore", "# why\n.dockerignore\nnothing-like-this\n")
    assert tree.scan({""}).digest == before.digest
    write(root, ".dockerignore", ".dockerignore\npkg/a\n")
    assert tree.scan({""}).digest != before.digest


def test_a_dockerfile_outside_of_the_tree_is_read_and_watched(root: Path) -> None:
    write(root, "../docker/dev.Dockerfile", "FROM scratch\n")
    write(root, "../docker/dev.Dockerfile.dockerignore", "pkg\n")
    tree = Tree(root, dockerfile="../docker/dev.Dockerfile")
    before = tree.scan()
    assert before.dockerfile == b"FROM scratch\n"
    assert "pkg" not in before.files
    assert "../docker" in tree.watch_dirs
    write(root, "../docker/dev.Dockerfile", "FROM scratch AS final\n")
    assert tree.scan({"../docker"}).digest != before.digest


def test_an_ignore_file_that_cannot_be_used_is_named_and_the_last_good_one_holds(root: Path) -> None:
    write(root, ".dockerignore", "pkg/a\n")
    tree = Tree(root)
    tree.scan()
    write(root, ".dockerignore", "pkg/a\nbad[\n")
    broken = tree.scan({""})
    assert "pkg/a" not in broken.files
    assert [problem.kind for problem in broken.problems] == ["ignore-file"]
    assert "'bad['" in broken.problems[0].text
    assert broken.excludes == ("pkg/a",)
    write(root, ".dockerignore", "pkg/a\n")
    healed = tree.scan({""})
    assert healed.problems == ()
    assert "pkg/a" not in healed.files


def test_the_default_list_is_in_the_syntax_of_an_ignore_file() -> None:
    rules = Rules(docker=DEFAULT_IGNORE)
    assert rules.place("pkg/.git", ".git") is Inclusion.OUT


def test_what_lies_below_an_ignored_directory_does_not_concern_the_tree() -> None:
    rules = Rules(docker=("bin", "docs/**", "!docs/keep"))
    assert not rules.concerns(".git/index", is_dir=False)
    assert not rules.concerns("bin/tool", is_dir=False)
    assert not rules.concerns("bin", is_dir=True)
    assert rules.concerns("docs", is_dir=True)
    assert rules.concerns("docs/keep", is_dir=False)
    assert not rules.concerns("docs/other", is_dir=False)
    copied = rules.copy()
    assert copied.concerns("docs/keep", is_dir=False)
    assert not copied.concerns("bin", is_dir=True)
