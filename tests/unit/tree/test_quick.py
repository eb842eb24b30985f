"""The quick tests before the true ones change nothing."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from watcher.dockerignore.patterns import PatternMatcher, parse_dockerignore
from watcher.tree import Rules
from watcher.tree.rules import Inclusion

NAMES = ["a", "b", "ab", "ba", "a.md", "b.md", "a[", "a-b"]
PARTS = ["a", "b", "ab", "*", "**", "*.md", "a*", "?b", "[ab]", "[^a].md", "a\\b", "\\a", "a*b*"]


def ignore_files(parts: Sequence[str], most: int) -> st.SearchStrategy[tuple[str, ...]]:
    line = st.builds(
        lambda negated, parts: ("!" if negated else "") + "/".join(parts),
        st.sampled_from([False, False, False, True]),
        st.lists(st.sampled_from(parts), min_size=1, max_size=3),
    )
    return st.lists(line, max_size=most).map(lambda lines: parse_dockerignore("\n".join(lines)))


def paths(names: Sequence[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(names), min_size=1, max_size=4)


@given(patterns=ignore_files(PARTS, 4), parts=paths(NAMES))
def test_rules_exclude_what_the_ignore_file_excludes(patterns: tuple[str, ...], parts: list[str]) -> None:
    same_as_the_matcher(patterns, parts)


@settings(max_examples=1_000)
@given(patterns=ignore_files(["a", "b", "**", "a*"], 2), parts=paths(["a", "b", "ab"]))
def test_the_same_of_few_names_so_that_most_of_them_meet(patterns: tuple[str, ...], parts: list[str]) -> None:
    same_as_the_matcher(patterns, parts)


def same_as_the_matcher(patterns: tuple[str, ...], parts: list[str]) -> None:
    rules, matcher = Rules(docker=patterns), PatternMatcher(patterns)
    for depth in range(1, len(parts)):
        directory = "/".join(parts[:depth])
        place = rules.place(directory, parts[depth - 1])
        assert (place is not Inclusion.IN) is matcher.excluded(directory)
        if place is Inclusion.OUT:
            return  # nobody asks about what is below
    path = "/".join(parts)
    assert rules.excludes(path, parts[-1]) is matcher.excluded(path)
    assert rules.concerns(path, is_dir=False) is not matcher.excluded(path)
