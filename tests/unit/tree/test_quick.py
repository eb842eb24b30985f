"""The quick tests before the true ones change nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from watcher.buildkit.patterns import PatternMatcher, parse_dockerignore
from watcher.tree import Rules
from watcher.tree.rules import Place

NAMES = st.sampled_from(["a", "b", "ab", "ba", "a.md", "b.md", "a[", "a-b"])
PARTS = st.sampled_from(
    ["a", "b", "ab", "*", "**", "*.md", "a*", "?b", "[ab]", "[^a].md", "a\\b", "\\a", "a*b*"]
)
PATTERNS = st.lists(
    st.builds(
        lambda negated, parts: ("!" if negated else "") + "/".join(parts),
        st.sampled_from([False, False, False, True]),
        st.lists(PARTS, min_size=1, max_size=3),
    ),
    max_size=4,
).map(lambda lines: parse_dockerignore("\n".join(lines)))


@given(patterns=PATTERNS, parts=st.lists(NAMES, min_size=1, max_size=4))
def test_rules_exclude_what_the_ignore_file_excludes(patterns: tuple[str, ...], parts: list[str]) -> None:
    rules, matcher = Rules(docker=patterns), PatternMatcher(patterns)
    for depth in range(1, len(parts)):
        directory = "/".join(parts[:depth])
        place = rules.place(directory, parts[depth - 1])
        assert (place is not Place.IN) is matcher.excluded(directory)
        if place is Place.OUT:
            return  # nobody asks about what is below
    path = "/".join(parts)
    assert rules.excludes(path, parts[-1]) is matcher.excluded(path)
    assert rules.concerns(path, is_dir=False) is not matcher.excluded(path)
