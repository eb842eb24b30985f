"""What is sent when the engine asks for a part of the context is what fsutil would send."""

from __future__ import annotations

import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watcher.buildkit import FileEntry, IgnorePatternError
from watcher.buildkit.selection import FilterOptions, select_entries
from watcher.buildkit.sources import walk_order
from watcher.dockerignore.patterns import PatternMatcher


def tree(*lines: str) -> list[FileEntry]:
    """Entries from `path`, `path/` (a directory) and `path -> target`, with the directories above them."""
    found: dict[str, FileEntry] = {}
    for line in lines:
        path, _, target = line.partition(" -> ")
        directory = path.endswith("/")
        path = path.rstrip("/")
        for at, char in enumerate(path):
            if char == "/":
                found.setdefault(path[:at], FileEntry(path[:at], stat.S_IFDIR | 0o755, 0, 0))
        if directory:
            found[path] = FileEntry(path, stat.S_IFDIR | 0o755, 0, 0)
        elif target:
            found[path] = FileEntry(path, stat.S_IFLNK | 0o777, len(target), 0, target)
        else:
            found[path] = FileEntry(path, stat.S_IFREG | 0o644, 1, 0)
    return sorted(found.values(), key=lambda entry: walk_order(entry.path))


PROJECT = tree(
    "Dockerfile", ".dockerignore", "cmd/main.go", "cmd/a/x.go", "docs/a.md", "docs/b.txt", "empty/"
)
LINKS = tree(
    "bar",
    "foo/l1 -> /baz/one",
    "foo/l2 -> /baz/two",
    "baz/one",
    "baz/two -> ../bax",
    "bax",
    "bay",
    "dir -> foo",
    "here -> .",
    "loop1 -> loop2",
    "loop2 -> loop1",
    "outside -> ../../etc/passwd",
)


def test_a_loop_of_links_within_a_path_ends():
    options = FilterOptions(follow=("loop1/x", "bar"))
    assert [entry.path for entry in select_entries(LINKS, options)] == ["bar", "loop1", "loop2"]


# Every expectation was checked with fsutil.Walk itself.
CASES: list[tuple[list[FileEntry], FilterOptions, list[str] | None]] = [
    (PROJECT, FilterOptions(), None),
    (PROJECT, FilterOptions(follow=(".dockerignore",)), [".dockerignore"]),
    (PROJECT, FilterOptions(follow=("nothing",)), []),
    (PROJECT, FilterOptions(follow=("cmd/a",)), ["cmd", "cmd/a", "cmd/a/x.go"]),
    (PROJECT, FilterOptions(follow=("/cmd/a/",)), ["cmd", "cmd/a", "cmd/a/x.go"]),
    (PROJECT, FilterOptions(follow=("cmd/*.go", "docs/[a]*")), ["cmd", "cmd/main.go", "docs", "docs/a.md"]),
    (PROJECT, FilterOptions(follow=("cmd", "cmd/a", ".")), None),
    (PROJECT, FilterOptions(include=("docs",), exclude=("**/*.md",)), ["docs", "docs/b.txt"]),
    (PROJECT, FilterOptions(include=("**/*.go",)), ["cmd", "cmd/a", "cmd/a/x.go", "cmd/main.go"]),
    (
        PROJECT,
        FilterOptions(follow=("docs",), include=("Dockerfile",)),
        ["Dockerfile", "docs", "docs/a.md", "docs/b.txt"],
    ),
    (PROJECT, FilterOptions(exclude=("*", "!cmd/a/x.go")), ["cmd", "cmd/a", "cmd/a/x.go"]),
    (PROJECT, FilterOptions(exclude=("*", "!empty")), ["empty"]),
    (PROJECT, FilterOptions(exclude=("*",)), []),
    (
        LINKS,
        FilterOptions(follow=("foo/l*", "bar")),
        ["bar", "bax", "baz", "baz/one", "baz/two", "foo", "foo/l1", "foo/l2"],
    ),
    (LINKS, FilterOptions(follow=("dir/l1",)), ["baz", "baz/one", "dir", "foo", "foo/l1"]),
    (LINKS, FilterOptions(follow=("here",)), None),
    (LINKS, FilterOptions(follow=("loop1",)), ["loop1", "loop2"]),
    (LINKS, FilterOptions(follow=("outside",)), ["outside"]),
]


@pytest.mark.parametrize(("entries", "wanted", "expected"), CASES)
def test_the_selection_is_fsutils(
    entries: list[FileEntry], wanted: FilterOptions, expected: list[str] | None
):
    found = [entry.path for entry in select_entries(entries, wanted)]
    assert found == ([entry.path for entry in entries] if expected is None else expected)


def test_a_path_to_follow_that_is_no_pattern_is_refused():
    with pytest.raises(IgnorePatternError, match="not closed"):
        select_entries(PROJECT, FilterOptions(follow=("[",)))


NAMES = st.sampled_from(["a", "b", "a-b", "a.go", "é"])
TREES = st.lists(st.lists(NAMES, min_size=1, max_size=4).map("/".join), max_size=12).map(
    lambda paths: tree(*(path for path in paths if not any(other.startswith(path + "/") for other in paths)))
)
PATTERN = st.lists(st.sampled_from(["a", "b", "*", "**", "a*", "a.go", "é"]), min_size=1, max_size=3).map(
    "/".join
)
PATTERNS = st.lists(st.builds(str.__add__, st.sampled_from(["", "", "!"]), PATTERN), max_size=4).map(tuple)


@settings(deadline=None)
@given(TREES, PATTERNS)
def test_what_stays_is_what_is_not_excluded_and_the_way_to_it(
    entries: list[FileEntry], exclude: tuple[str, ...]
):
    matcher = PatternMatcher(exclude)
    wanted = {entry.path for entry in entries if not matcher.excluded(entry.path)}
    way = {path[:at] for path in wanted for at, char in enumerate(path) if char == "/"}
    kept = [entry.path for entry in select_entries(entries, FilterOptions(exclude=exclude))]
    assert kept == sorted(wanted | way, key=walk_order)


@settings(deadline=None)
@given(TREES, st.lists(PATTERN.filter(lambda each: "*" not in each), min_size=1, max_size=3).map(tuple))
def test_plain_paths_select_as_the_same_paths_written_as_patterns(
    entries: list[FileEntry], paths: tuple[str, ...]
):
    plain = [entry.path for entry in select_entries(entries, FilterOptions(include=paths))]
    # A character class stands for the same character but takes the way of the general matcher.
    spelled = tuple(path.replace("a", "[a]") for path in paths)
    assert plain == [entry.path for entry in select_entries(entries, FilterOptions(include=spelled))]


@settings(deadline=None)
@given(TREES, PATTERNS)
def test_applying_the_same_patterns_twice_changes_nothing(entries: list[FileEntry], exclude: tuple[str, ...]):
    once = select_entries(entries, FilterOptions(exclude=exclude))
    assert list(select_entries(once, FilterOptions(exclude=exclude))) == list(once)
