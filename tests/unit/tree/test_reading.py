"""Files that change while they are looked at, and clocks with a grain."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.unit.tree.conftest import write
from watcher.buildkit.errors import ContextChanged
from watcher.buildkit.packets import StatPackets
from watcher.tree import Tree
from watcher.tree.read import HUGE, is_racy

SECOND = 1_000_000_000
NOW = 1_700_000_000 * SECOND + 123_456_789


class Reads:
    """Counts reads of file contents and runs something before each of the first few."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.meanwhile: list[object] = []
        self._real = os.read
        patch.setattr(os, "read", self)

    def __call__(self, fd: int, length: int) -> bytes:
        self.count += 1
        data = self._real(fd, length)
        if self.meanwhile:
            action = self.meanwhile.pop(0)
            assert callable(action)
            action()
        return data


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    return Reads(monkeypatch)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The look's clock is a minute ahead, so that no file of the test is racy."""
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + 60 * SECOND)


@pytest.mark.usefixtures("later")
def test_only_files_whose_stat_changed_are_read(root: Path, reads: Reads) -> None:
    tree = Tree(root)
    tree.scan()
    assert reads.count == 6
    tree.scan()
    assert reads.count == 6
    write(root, "main.go", "package main // changed\n")
    tree.scan()
    assert reads.count == 7


@pytest.mark.usefixtures("later")
def test_a_touched_file_is_read_again_and_is_no_change(root: Path, reads: Reads) -> None:
    tree = Tree(root)
    before = tree.scan()
    os.utime(root / "main.go", (5, 5))
    assert tree.scan({""}).digest == before.digest
    assert reads.count == 7


@pytest.mark.usefixtures("later")
def test_same_size_and_mtime_do_not_hide_a_change(root: Path) -> None:
    tree = Tree(root)
    before = tree.scan()
    status = (root / "main.go").stat()
    write(root, "main.go", "package niam\n")
    os.utime(root / "main.go", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert tree.scan({""}).digest != before.digest


def test_a_file_as_young_as_the_look_is_read_again_until_it_is_older(
    root: Path, reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = Tree(root)
    first = tree.scan()
    assert reads.count == 6
    assert tree.scan() is first
    assert reads.count == 12
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + 60 * SECOND)
    tree.scan()
    assert reads.count == 18
    tree.scan()
    assert reads.count == 18


@pytest.mark.parametrize(
    ("age", "racy"),
    [(0, True), (50_000_000, True), (-5_000_000_000, True), (150_000_000, False), (3 * SECOND, False)],
)
def test_a_stamp_is_racy_while_it_is_younger_than_the_clocks_grain(age: int, racy: bool) -> None:
    assert is_racy((1, 1, NOW - age, 1), NOW) is racy
    assert is_racy((1, 1, 1, NOW - age), NOW) is racy


def test_whole_seconds_mean_a_coarse_clock() -> None:
    second = NOW - NOW % SECOND
    assert is_racy((1, 1, second - 1 * SECOND, second - 1 * SECOND), NOW)
    assert not is_racy((1, 1, second - 2 * SECOND, second - 2 * SECOND), NOW)


def test_a_file_written_while_it_is_read_is_read_again(root: Path, reads: Reads) -> None:
    reads.meanwhile = [lambda: None, lambda: write(root, "_envs/env_dev.yaml", "b: 22\n")]
    snapshot = Tree(root).scan()
    assert snapshot.unsettled == ()
    assert snapshot.digest == Tree(root).scan().digest


@pytest.mark.usefixtures("later")
def test_an_old_file_written_while_it_is_read_is_no_builds_and_read_by_the_next_look(
    root: Path, reads: Reads
) -> None:
    reads.meanwhile = [lambda: None, lambda: write(root, "_envs/env_dev.yaml", "b: 22\n")]
    tree = Tree(root)
    snapshot = tree.scan()
    with pytest.raises(ContextChanged), snapshot.open("_envs/env_dev.yaml") as file:
        file.read()
    assert tree.scan({"_envs"}).digest == Tree(root).scan().digest != snapshot.digest


def test_a_file_that_keeps_on_growing_is_unsettled_and_looked_at_next_time(root: Path, reads: Reads) -> None:
    log = root / "_envs/env_dev.yaml"

    def grow() -> None:
        with log.open("a") as file:
            file.write("more: 1\n")

    reads.meanwhile = [lambda: None, *[grow] * 4]
    tree = Tree(root)
    snapshot = tree.scan()
    assert snapshot.unsettled == ("_envs/env_dev.yaml",)
    again = tree.scan(())
    assert again.unsettled == ()
    assert again.digest == Tree(root).scan().digest


@pytest.mark.usefixtures("later")
def test_a_file_that_vanishes_in_the_middle_of_a_look_is_not_in_it(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def vanishing(path: str, *args: int, dir_fd: int | None = None) -> int:
        if path in ("main.go", "a"):  # a file, a directory
            (root / "main.go").unlink(missing_ok=True)
            if (root / "pkg/a").exists():
                (root / "pkg/a").rename(root / "pkg/c")
        return real(path, *args, dir_fd=dir_fd)

    tree = Tree(root)
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", vanishing)
        snapshot = tree.scan()
    assert not {"main.go", "pkg/a/a.go"} & set(snapshot.files)
    assert snapshot.problems == ()
    assert tree.scan(()).digest == Tree(root).scan().digest  # both places are listed again by themselves


def test_a_directory_that_becomes_a_link_is_not_followed(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "outside/secret.go", "package secret\n")
    real = os.open

    def swapping(path: str, *args: int, dir_fd: int | None = None) -> int:
        if path == "a" and not (root / "pkg/a").is_symlink():
            (root / "pkg/a").rename(tmp_path / "a")
            (root / "pkg/a").symlink_to(tmp_path / "outside")
        return real(path, *args, dir_fd=dir_fd)

    tree = Tree(root)
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", swapping)
        snapshot = tree.scan()
    assert "pkg/a" not in snapshot.files
    assert tree.scan(()).files["pkg/a"].is_link


def test_a_file_that_becomes_a_fifo_does_not_hang_the_look(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def swapping(path: str, *args: int, dir_fd: int | None = None) -> int:
        if path == "main.go" and (root / "main.go").is_file():
            (root / "main.go").unlink()
            os.mkfifo(root / "main.go")
        return real(path, *args, dir_fd=dir_fd)

    tree = Tree(root)
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", swapping)
        snapshot = tree.scan()
    assert "main.go" not in snapshot.files
    assert [problem.kind for problem in tree.scan(()).problems] == ["special"]


def test_the_told_mtime_follows_the_content_and_is_never_ahead(root: Path) -> None:
    os.utime(root / "main.go", ns=(0, NOW))
    tree = Tree(root)
    before = tree.scan().files["main.go"]
    write(root, "main.go", "package niam\n")
    os.utime(root / "main.go", ns=(0, NOW))
    after = tree.scan({""}).files["main.go"]
    assert before.size == after.size
    assert before.mtime_ns != after.mtime_ns
    assert {entry.mtime_ns // SECOND for entry in (before, after)} == {NOW // SECOND - 1}
    assert max(before.mtime_ns, after.mtime_ns) < NOW


def test_the_told_mtime_of_a_file_from_the_epoch_is_not_negative(root: Path) -> None:
    os.utime(root / "main.go", (0, 0))
    assert 0 <= Tree(root).scan().files["main.go"].mtime_ns < SECOND


def test_a_context_gives_the_bytes_of_its_entries(root: Path) -> None:
    snapshot = Tree(root).scan()
    assert snapshot.read("pkg/a/a.go") == b"package a\n"
    with snapshot.open("pkg/a/a.go") as file:
        assert file.read() == b"package a\n"
        assert file.read() == b""


@pytest.mark.usefixtures("later")
def test_a_context_refuses_a_file_that_changed_before_or_while_it_is_read(root: Path) -> None:
    snapshot = Tree(root).scan()
    with snapshot.open("main.go") as file:
        file.read(3)
        write(root, "main.go", "package niam\n")
        with pytest.raises(ContextChanged, match=r"main\.go"):
            file.read()
    with pytest.raises(ContextChanged), snapshot.open("main.go") as file:
        file.read()
    write(root, "main.go", "package")
    with pytest.raises(ContextChanged, match=r"main\.go"):
        snapshot.open("main.go")
    (root / "go.mod").unlink()
    (root / "go.mod").symlink_to("main.go")
    for path in ("go.mod", "pkg", "nowhere"):
        with pytest.raises(ContextChanged):
            snapshot.open(path)
        with pytest.raises(ContextChanged):
            snapshot.read(path)


def test_a_context_gives_a_file_that_was_written_again_with_the_same_bytes(root: Path) -> None:
    snapshot = Tree(root).scan()
    text = (root / "main.go").read_bytes()
    (root / "main.go").unlink()
    (root / "main.go").write_bytes(text)
    assert snapshot.read("main.go") == text
    (root / "main.go").chmod(0o755)
    with pytest.raises(ContextChanged):
        snapshot.read("main.go")


def test_a_context_gives_a_file_that_only_grew_as_it_was(root: Path) -> None:
    write(root, "app.log", "one\n")
    write(root, "large.log", "x" * 3_000_000)
    tree = Tree(root)
    first = tree.scan()
    for name in ("app.log", "large.log"):
        with (root / name).open("a") as file:
            file.write("two\n")
    assert first.read("app.log") == b"one\n"
    with first.open("large.log") as file:
        assert sum(map(len, iter(lambda: file.read(32_768), b""))) == 3_000_000
    assert tree.scan({""}).read("app.log") == b"one\ntwo\n"


def test_a_huge_file_is_known_by_its_size_only(root: Path) -> None:
    write(root, "dump", "0123456789")
    os.truncate(root / "dump", HUGE + 1)  # sparse: it takes no space
    snapshot = Tree(root).scan()
    write(root, "dump", "9876543210")
    os.truncate(root / "dump", HUGE + 20)
    with snapshot.open("dump") as file:
        assert file.read(10) == b"9876543210"
        assert 10 + sum(map(len, iter(lambda: file.read(1 << 20), b""))) == HUGE + 1
    write(root, "dump", "short")
    with pytest.raises(ContextChanged):
        snapshot.open("dump")


def test_a_small_file_that_was_written_shortly_before_the_look_is_given_as_it_was(root: Path) -> None:
    tree = Tree(root)
    tree.scan()
    for state in ("{1}", "{2}"):  # such as a database that a program rewrites all the time
        write(root, "state.json", state)
        snapshot = tree.scan({""})
        write(root, "state.json", "{")
        assert snapshot.read("state.json") == state.encode()
        with snapshot.open("state.json") as file:
            assert file.read() == state.encode()
    (root / "state.json").unlink()
    with pytest.raises(ContextChanged):
        snapshot.read("state.json")


@pytest.mark.usefixtures("later")
def test_an_old_file_that_was_written_since_is_no_part_of_the_context(root: Path) -> None:
    snapshot = Tree(root).scan()
    text = (root / "main.go").read_bytes()
    (root / "main.go").write_bytes(text[::-1])
    with pytest.raises(ContextChanged):
        snapshot.read("main.go")


@pytest.mark.parametrize(
    "seconds", [-(2**63), -2_177_452_800, -1, 0, 1, 9_223_372_036, 9_223_372_037, 10_413_792_000, 2**63 - 1]
)
def test_no_time_of_a_file_is_beyond_what_the_engine_can_be_told(root: Path, seconds: int) -> None:
    entry = Tree(root).scan().files["main.go"]
    odd = entry._replace(stamp=(1, entry.size, seconds * SECOND, 0))
    assert 0 <= odd.mtime_ns < 2**63
    clamped = not 1 <= seconds <= 9_223_372_036
    assert odd.mtime_ns // SECOND == (0 if clamped else seconds - 1)
    assert StatPackets().encode(("", 0), [odd])


def test_a_file_from_the_year_2300_is_sent(root: Path) -> None:
    os.utime(root / "main.go", (10_413_792_000, 10_413_792_000))
    snapshot = Tree(root).scan()
    assert StatPackets().encode(("", 0), snapshot.entries())
    assert snapshot.read("main.go")


def test_directories_of_an_odd_mode_make_another_context(root: Path) -> None:
    tree = Tree(root)
    usual = tree.scan().odd_modes
    (root / "new").mkdir()
    (root / "new").chmod((root / "pkg").stat().st_mode)
    assert tree.scan().odd_modes == usual
    seen = {usual}
    for mode in (0o700, 0o1777, 0o711):
        (root / "new").chmod(mode)
        seen.add(tree.scan().odd_modes)
    assert len(seen) == 4
    (root / "new").chmod((root / "pkg").stat().st_mode)
    assert tree.scan().odd_modes == usual
    (root / "main.go").chmod(0o600)
    assert tree.scan().odd_modes == usual, "files are sent again by themselves"


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_the_modes_of_all_or_most_directories_are_told_apart_too(tmp_path: Path, count: int) -> None:
    places = [tmp_path / f"d{number}" for number in range(count)]
    for place in places:
        place.mkdir(mode=0o755)
    tree = Tree(tmp_path)
    seen = [tree.scan().odd_modes]
    for place in places:
        place.chmod(0o700)
        seen.append(tree.scan().odd_modes)
    assert len(set(seen)) == count + 1
