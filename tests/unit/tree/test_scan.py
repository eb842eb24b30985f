"""What one look finds, and what it makes of nodes that are not plain files."""

from __future__ import annotations

import os
import shutil
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.facts import missing
from tests.unit.tree.conftest import paths, write
from watcher.buildkit.sources import walk_order
from watcher.tree import Tree, TreeGone
from watcher.tree.read import HUGE


def test_every_file_and_directory_is_an_entry_in_the_order_of_the_engines_walk(root: Path) -> None:
    write(root, "pkg.go", "package main\n")  # '.' sorts before '/', but not in a walk
    write(root, "pkg-x/x.go", "package x\n")
    assert paths(Tree(root).scan()) == [
        "Dockerfile",
        "_envs",
        "_envs/env_dev.yaml",
        "go.mod",
        "main.go",
        "pkg",
        "pkg/a",
        "pkg/a/a.go",
        "pkg/b",
        "pkg/b/b.go",
        "pkg-x",
        "pkg-x/x.go",
        "pkg.go",
    ]


def test_names_beyond_ascii_are_ordered_by_their_bytes(root: Path) -> None:
    for name in (b"z", "é".encode(), b"\x80odd", "\U0001f600".encode(), "\uffee".encode()):
        Path(os.fsdecode(os.fsencode(root) + b"/" + name)).write_text("x")
    found = paths(Tree(root).scan())
    assert found == sorted(found, key=walk_order)


def test_a_name_that_is_no_utf8_survives(root: Path) -> None:
    path = os.fsencode(root) + b"/odd\xff.go"
    with open(path, "wb") as file:
        file.write(b"package odd\n")
    snapshot = Tree(root).scan()
    assert "odd\udcff.go" in snapshot.files
    with snapshot.open("odd\udcff.go") as opened:
        assert opened.read() == b"package odd\n"


def test_sizes_and_counts_are_those_of_all_entries(root: Path) -> None:
    snapshot = Tree(root).scan()
    assert snapshot.count == len(snapshot.entries()) == len(snapshot.files)
    assert snapshot.total_bytes == sum(path.stat().st_size for path in root.rglob("*") if path.is_file())


def test_a_second_look_without_changes_gives_the_same_object(root: Path) -> None:
    tree = Tree(root)
    first = tree.scan()
    assert tree.scan() is first
    assert tree.scan({"pkg", "nowhere/at/all", "../outside"}) is first


def test_equal_content_gives_the_same_digest_wherever_and_whenever_it_lies(
    root: Path, tmp_path: Path
) -> None:
    digest = Tree(root).scan().digest
    os.utime(root / "main.go", (1, 1))
    assert Tree(root).scan().digest == digest
    root.rename(tmp_path / "elsewhere")
    assert Tree(tmp_path / "elsewhere").scan().digest == digest


@pytest.mark.parametrize("mode", [0o755, 0o600, 0o4644])
def test_a_files_mode_counts(root: Path, mode: int) -> None:
    tree = Tree(root)
    before = tree.scan()
    (root / "main.go").chmod(mode)
    after = tree.scan({""})
    assert after.digest != before.digest
    assert stat.S_IMODE(after.files["main.go"].mode) == mode


def test_a_directorys_mode_and_an_empty_directory_count(root: Path) -> None:
    tree = Tree(root)
    digests = [tree.scan().digest]
    (root / "pkg").chmod(0o700)
    digests.append(tree.scan({""}).digest)
    (root / "empty").mkdir()
    digests.append(tree.scan({""}).digest)
    assert len(set(digests)) == 3


def test_links_are_kept_as_links_and_never_followed(root: Path, tmp_path: Path) -> None:
    write(tmp_path, "outside/secret.go", "package secret\n")
    (root / "dir").symlink_to(tmp_path / "outside")
    (root / "loop").symlink_to(".")
    (root / "broken").symlink_to("nothing/here")
    snapshot = Tree(root).scan()
    assert snapshot.files["dir"].linkname == str(tmp_path / "outside")
    assert snapshot.files["loop"].is_link
    assert snapshot.files["broken"].linkname == "nothing/here"
    assert not any("secret" in path for path in snapshot.files)


def test_a_link_to_another_target_is_a_change(root: Path) -> None:
    (root / "link").symlink_to("main.go")
    tree = Tree(root)
    before = tree.scan()
    (root / "link").unlink()
    (root / "link").symlink_to("go.mod")
    assert tree.scan({""}).digest != before.digest


def test_fifos_sockets_and_devices_are_left_out_with_a_note_and_never_opened(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(root)  # a socket's path may have 108 bytes only
        try:
            server.bind("sock")
        finally:
            os.chdir(here)
        opened: list[object] = []
        real = os.open

        def recording(path: str, *args: int, dir_fd: int | None = None) -> int:
            opened.append(path)
            return real(path, *args, dir_fd=dir_fd)

        monkeypatch.setattr(os, "open", recording)
        snapshot = Tree(root).scan()
    assert "main.go" in opened
    assert not {"pipe", "sock"} & set(opened)
    assert {(problem.path, problem.kind) for problem in snapshot.problems} == {
        ("pipe", "special"),
        ("sock", "special"),
    }
    assert not {"pipe", "sock"} & set(snapshot.files)


@pytest.mark.parametrize("control", ["Dockerfile", ".dockerignore"])
def test_a_fifo_in_a_control_files_place_does_not_hang_the_look(root: Path, control: str) -> None:
    (root / control).unlink(missing_ok=True)
    os.mkfifo(root / control)
    assert {problem.path for problem in Tree(root).scan().problems} == {control}


def test_a_file_that_cannot_be_read_is_a_problem_until_it_can(
    root: Path, reachable: Path, unprivileged: Callable[[], None]
) -> None:
    root = Path(shutil.copytree(root, reachable / "project"))
    (root / "main.go").chmod(0)
    (root / "pkg/a").chmod(0)
    unprivileged()
    tree = Tree(root)
    snapshot = tree.scan()
    assert [(problem.path, problem.kind) for problem in snapshot.problems] == [
        ("main.go", "unreadable"),
        ("pkg/a", "unreadable"),
    ]
    assert missing(snapshot.problems[0].text, "main.go", "Permission denied") == []
    assert "pkg/b/b.go" in snapshot.files
    (root / "main.go").chmod(0o644)
    (root / "pkg/a").chmod(0o755)
    healed = tree.scan({"", "pkg"})
    assert healed.problems == ()
    assert {"main.go", "pkg/a/a.go"} <= set(healed.files)


def test_a_sparse_terabyte_costs_nothing_and_is_pointed_out(root: Path) -> None:
    write(root, "app.log", "")
    os.truncate(root / "app.log", 1 << 40)
    tree = Tree(root)
    snapshot = tree.scan()
    assert [problem.kind for problem in snapshot.problems] == ["huge"]
    assert missing(snapshot.problems[0].text, "app.log", "134 MB") == []
    assert tree.scan() is snapshot
    with (root / "app.log").open("r+b") as file:
        file.write(b"a change of one byte, size and mtime put back")
    os.utime(root / "app.log", ns=(0, snapshot.files["app.log"].stamp[2]))
    assert tree.scan({""}).digest != snapshot.digest
    os.truncate(root / "app.log", 1 << 41)
    assert tree.scan().problems == snapshot.problems, "growing is no other problem"


def test_a_large_file_below_the_limit_is_read_in_full(root: Path) -> None:
    large = write(root, "data.bin", "")
    os.truncate(large, HUGE)
    snapshot = Tree(root).scan()
    assert snapshot.problems == ()
    with large.open("r+b") as file:
        file.seek(HUGE - 1)
        file.write(b"x")
    changed = Tree(root).scan()
    assert changed.files["data.bin"].digest != snapshot.files["data.bin"].digest
    with large.open("r+b") as file:
        file.seek(HUGE - 1)
        file.write(b"\0")
    assert Tree(root).scan().digest == snapshot.digest


def test_a_tree_whose_dockerfile_is_in_the_compose_file_lacks_none(root: Path) -> None:
    (root / "Dockerfile").unlink()
    tree = Tree(root, inline=True)
    before = tree.scan()
    assert (before.problems, before.dockerfile) == ((), None)
    write(root, "Dockerfile", "FROM scratch\n")
    after = tree.scan({""})
    assert after.dockerfile is None
    assert "Dockerfile" in after.files, "it is a file of the context like any other"


def test_a_tree_without_dockerfile_says_so_and_lives(root: Path) -> None:
    tree = Tree(root)
    with_one = tree.scan()
    (root / "Dockerfile").unlink()
    without = tree.scan({""})
    assert [problem.text for problem in without.problems] == ["Dockerfile: there is no such Dockerfile"]
    assert without.dockerfile is None
    write(root, "Dockerfile", "FROM scratch\n")
    assert tree.scan({""}).digest == with_one.digest


def test_a_root_that_is_gone_can_come_back(root: Path, tmp_path: Path) -> None:
    tree = Tree(root)
    before = tree.scan()
    root.rename(tmp_path / "away")
    for _ in range(2):
        with pytest.raises(TreeGone, match="cannot be watched: No such file or directory"):
            tree.scan({""})
    (tmp_path / "away").rename(root)
    assert tree.scan({""}).digest == before.digest


def test_a_root_that_was_replaced_is_looked_at_in_full(root: Path, tmp_path: Path) -> None:
    tree = Tree(root)
    tree.scan()
    root.rename(tmp_path / "old")
    write(root, "pkg/a/other.go", "package a\n")
    assert tree.scan(()).digest == Tree(root).scan().digest


def test_running_out_of_descriptors_fails_the_look_and_loses_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = Tree(root)
    before = tree.scan()
    write(root, "pkg/a/a.go", "package a // changed\n")
    real = os.open

    def failing(path: str, *args: int, dir_fd: int | None = None) -> int:
        if path == "a.go":
            raise OSError(24, os.strerror(24))
        return real(path, *args, dir_fd=dir_fd)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", failing)
        with pytest.raises(TreeGone, match="Too many open files"):
            tree.scan({"pkg/a"})
    after = tree.scan(())
    assert after.digest != before.digest
    assert after.digest == Tree(root).scan().digest


def test_a_root_that_is_a_link_is_followed_each_time(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    write(other, "Dockerfile", "FROM scratch\n")
    link = tmp_path / "current"
    link.symlink_to(root)
    tree = Tree(link)
    assert "main.go" in tree.scan().files
    link.unlink()
    link.symlink_to(other)
    assert paths(tree.scan(())) == ["Dockerfile"]


def test_directories_nested_too_deep_are_left_out_with_a_note(root: Path) -> None:
    deep = root
    for _ in range(230):
        deep = deep / "d"
    deep.mkdir(parents=True)
    snapshot = Tree(root).scan()
    assert [problem.kind for problem in snapshot.problems] == ["special"]
    assert "main.go" in snapshot.files


def test_what_links_of_the_control_files_lead_to_is_named(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "Dockerfile.dev").write_text("FROM a\n")
    (outside / "latest").symlink_to("Dockerfile.dev")
    (root / "Dockerfile").unlink(missing_ok=True)
    (root / "Dockerfile").symlink_to(outside / "latest")
    (root / "ignore").write_text("x\n")
    (root / ".dockerignore").symlink_to("ignore")
    tree = Tree(root)
    before = tree.scan()
    up = os.path.relpath(outside, root)
    assert tree.links == {"Dockerfile", f"{up}/latest", f"{up}/Dockerfile.dev", ".dockerignore", "ignore"}
    (outside / "Dockerfile.dev").write_text("FROM b\n")
    assert tree.scan({up}).digest != before.digest
    (root / "Dockerfile").unlink()
    (root / "Dockerfile").write_text("FROM c\n")
    (root / ".dockerignore").unlink()
    tree.scan({""})
    assert tree.links == frozenset()


def test_a_folder_that_is_a_link_and_a_loop_of_links_are_followed_to_their_end(
    root: Path, tmp_path: Path
) -> None:
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker/Dockerfile").write_text("FROM a\n")
    (root / "build").symlink_to(tmp_path / "docker")
    tree = Tree(root, dockerfile="build/Dockerfile")
    tree.scan()
    up = os.path.relpath(tmp_path / "docker", root)
    assert {"build", f"{up}/Dockerfile"} <= tree.links
    (tmp_path / "docker/Dockerfile").unlink()
    (tmp_path / "docker/Dockerfile").symlink_to("Dockerfile")
    assert tree.scan(()).problems
    assert tree.links
