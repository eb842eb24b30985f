"""Looking only at touched directories finds what looking at everything finds, whatever happened."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from watcher.tree import Snapshot, Tree, diff

NAMES = st.sampled_from(
    ["a", "b", "A", "c.go", "d.md", "x~", ".git", "é", "\udcff", "Dockerfile", ".dockerignore"]
)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
IGNORE = st.lists(
    st.sampled_from(
        ["*.md", "a", "!a/b", "**/c.go", "!**/d.md", "b/**", "Dockerfile", ".dockerignore", "bad["]
    ),
    max_size=4,
).map("\n".join)
OPERATIONS = st.one_of(
    st.tuples(st.just("write"), PATHS, st.sampled_from(["", "one", "two"])),
    st.tuples(st.just("append"), PATHS, st.just("more")),
    st.tuples(st.just("rewrite"), PATHS, st.sampled_from(["one", "two"])),
    st.tuples(st.just("remove"), PATHS, st.just("")),
    st.tuples(st.just("mkdir"), PATHS, st.just("")),
    st.tuples(st.just("rename"), PATHS, PATHS),
    st.tuples(st.just("link"), PATHS, PATHS),
    st.tuples(st.just("chmod"), PATHS, st.sampled_from(["644", "755", "700"])),
    st.tuples(st.just("touch"), PATHS, st.just("")),
    st.tuples(st.just("fifo"), PATHS, st.just("")),
    st.tuples(st.just("write"), st.just(".dockerignore"), IGNORE),
)

# An ignore file that cannot be used leaves the last good one in force, of which a fresh tree knows nothing.
USABLE = OPERATIONS.filter(lambda operation: "bad[" not in operation[2])


def apply(root: Path, operation: tuple[str, str, str]) -> set[str]:
    """Do it as far as it can be done; the directories in which the kernel would report something."""
    verb, path, argument = operation
    file = root / path
    actions: dict[str, Callable[[], object]] = {
        "write": lambda: file.write_text(argument),
        "append": lambda: _append(file, argument),
        "rewrite": lambda: _replace(file, argument),
        "remove": lambda: shutil.rmtree(file) if file.is_dir() and not file.is_symlink() else file.unlink(),
        "mkdir": lambda: file.mkdir(parents=True),
        "rename": lambda: file.rename(root / argument),
        "link": lambda: file.symlink_to(argument),
        "chmod": lambda: file.chmod(int(argument, 8), follow_symlinks=not file.is_symlink()),
        "touch": lambda: os.utime(file, (1, 1), follow_symlinks=False),
        "fifo": lambda: os.mkfifo(file),
    }
    missing = [parent for parent in Path(path).parents if not (root / parent).exists()]
    if verb == "write" and file.exists() and not file.is_file():
        return set()  # never block on a fifo
    with contextlib.suppress(OSError, NotImplementedError, shutil.Error):
        actions[verb]()
    touched = {os.path.dirname(path)}
    if verb == "rename":
        touched.add(os.path.dirname(argument))
    touched |= {str(parent.parent).removeprefix(".") for parent in missing}
    return touched


def _append(file: Path, text: str) -> None:
    if file.is_file():
        with file.open("a") as opened:
            opened.write(text)


def _replace(file: Path, text: str) -> None:
    """As editors do: write beside, then move over."""
    beside = file.parent / "beside.tmp"
    beside.write_text(text)
    beside.rename(file)


def state(tree: Tree, snapshot: Snapshot) -> object:
    return (
        snapshot.digest,
        snapshot.entries(),
        snapshot.excludes,
        snapshot.total_bytes,
        snapshot.count,
        tree.watch_dirs,
        {problem for problem in snapshot.problems if problem.kind != "ignore-file"},
    )


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.lists(OPERATIONS, min_size=1, max_size=5), min_size=1, max_size=8))
def test_looking_where_something_happened_finds_what_a_full_look_finds(
    history: list[list[tuple[str, str, str]]],
) -> None:
    note(ascii(history))  # a surrogate escape cannot be printed
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        tree = Tree(root)
        before = tree.scan()
        for operations in history:
            touched: set[str] = set()
            for operation in operations:
                touched |= apply(root, operation)
            after = tree.scan(touched)
            if not any(problem.kind == "ignore-file" for problem in after.problems):
                fresh = Tree(root)
                assert state(tree, after) == state(fresh, fresh.scan())
            assert bool(diff(before, after)) is (before.digest != after.digest)
            assert tree.scan().digest == after.digest
            before = after


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(USABLE, max_size=12), st.lists(USABLE, max_size=12))
def test_a_tree_that_returns_to_its_content_returns_to_its_digest(
    build: list[tuple[str, str, str]], change: list[tuple[str, str, str]]
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        root, saved = Path(directory, "root"), Path(directory, "saved")
        root.mkdir()
        for operation in build:
            if operation[0] != "fifo":
                apply(root, operation)
        tree = Tree(root)
        digest = tree.scan().digest
        shutil.copytree(root, saved, symlinks=True)
        for operation in change:
            apply(root, operation)
        tree.scan()
        shutil.rmtree(root)
        shutil.copytree(saved, root, symlinks=True)
        assert tree.scan().digest == digest
