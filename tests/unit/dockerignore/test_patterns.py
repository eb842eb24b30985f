"""Ignore patterns mean what moby/patternmatcher means by them."""

from __future__ import annotations

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watcher.dockerignore.errors import IgnorePatternError
from watcher.dockerignore.gopath import Glob, clean, join
from watcher.dockerignore.patterns import PatternMatcher, parse_dockerignore

# Each expectation was obtained from moby/patternmatcher v0.6.1 itself, asked along the walk as fsutil does.
CASES: list[tuple[list[str], str, bool]] = [
    (["*.go"], "main.go", True),
    (["*.go"], "cmd/main.go", False),
    (["*.go"], "main.go/inside", True),
    (["**/*.go"], "main.go", True),
    (["**/*.go"], "a/b/main.go", True),
    (["**.go"], "a/b/main.go", True),
    (["vendor"], "vendor/a/b", True),
    (["vendor"], "cmd/vendor", False),
    (["vendor/"], "vendor/a", True),
    (["./vendor/../vendor"], "vendor/a", True),
    (["vendor/**"], "vendor", False),
    (["vendor/**"], "vendor/a/b", True),
    (["vendor/*"], "vendor/a/b", True),
    (["a/*/c"], "a/b/c", True),
    (["a/*/c"], "a/b/b/c", False),
    (["a/**/c"], "a/c", True),
    (["a/**/c"], "a/b/b/c", True),
    (["a?c"], "abc", True),
    (["a?c"], "a/c", False),
    (["a?c"], "aéc", True),
    (["**"], "any/thing", True),
    (["*"], ".hidden", True),
    (["*", "!keep"], "keep/inside", False),
    (["*", "!keep/**"], "keep/inside", False),
    (["*", "!keep/**"], "keep", True),
    (["a", "!a/b"], "a/b/c", False),
    (["a", "!a/b", "a/b/c"], "a/b/c", True),
    (["!a", "a"], "a", True),
    # A pattern is not tried on a directory that is excluded already, so it does not hold for what is below.
    (["a", "!a/b", "a"], "a/b", False),
    (["*.md", "!README.md"], "README.md", False),
    (["[a-c]x"], "bx", True),
    (["[^a-c]x"], "bx", False),
    (["a[^b]c"], "a/c", True),
    (["[[:digit:]]x"], "1x", True),
    ([r"\*x"], "*x", True),
    ([r"\*x"], "ax", False),
    (["a.c"], "abc", False),
    (["a+"], "aa", False),
    (["(a)*"], "(a)b", True),
    (["a$*"], "a$b", True),
    # These three characters stay special in the reference's regular expressions.
    (["a|b*"], "b", True),
    (["a|b*"], "ab", True),
    (["a{2}*"], "aab", True),
    (["a{2}*"], "a{2}b", False),
    (["a|b"], "b", False),
    ([" a "], "a", True),
    (["#a"], "#a", True),
    (["/a"], "a", False),
    (["a^b*"], "a^b", False),
    ([r"a\d"], "a1", True),
    (["a\nb*"], "a\nbc", True),
    (["*a"], "\na", True),
    (["**/a*"], "x\ny/a", False),
]


@pytest.mark.parametrize(("patterns", "path", "expected"), CASES)
def test_a_path_is_excluded_when_the_reference_excludes_it(patterns: list[str], path: str, expected: bool):
    assert PatternMatcher(patterns).excluded(path) is expected


@pytest.mark.parametrize(
    "pattern",
    [
        "!",
        "[",
        "a[",
        "a[]",
        "[a-]",
        "[-a]",
        "a\\",
        r"\q",
        r"a\1",
        "[b-a]",
        "a{3,2}*",
        "*{2}",
        "[[:foo:]]",
    ],
)
def test_a_pattern_without_meaning_is_refused_with_its_text(pattern: str):
    with pytest.raises(IgnorePatternError, match="ignore pattern") as caught:
        PatternMatcher(["fine", pattern])
    assert caught.value.pattern == pattern


@pytest.mark.parametrize(
    ("patterns", "directory", "expected"),
    [
        (["vendor"], "vendor", True),
        (["vendor"], "vendor/a", True),
        (["vendor"], "src", False),
        (["vendor", "!vendor/a/keep.go"], "vendor", False),
        (["vendor", "!vendor/a/keep.go"], "vendor/a", False),
        (["vendor", "!vendor/a/keep.go"], "vendor/b", True),
        (["vendor", "!other/keep.go"], "vendor", True),
        (["vendor", "!**/keep.go"], "vendor", False),
        (["vendor", "!*/keep.go"], "vendor", False),
        (["vendor", "!*/keep.go"], "vendor/a", True),
        (["!vendor/keep.go", "vendor"], "vendor", True),
        (["vendor", "!vendor"], "vendor", False),
        (["vendor", "!x|y*"], "vendor", False),
    ],
)
def test_a_directory_is_prunable_when_nothing_below_it_can_come_back(
    patterns: list[str], directory: str, expected: bool
):
    assert PatternMatcher(patterns).can_prune(directory) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("a\nb\n", ("a", "b")),
        ("a\r\nb", ("a", "b")),
        ("# c\n #d\n\n  \n", ("#d",)),
        ("\ufeff# c\na", ("a",)),
        ("\ufeffa", ("a",)),
        ("a\n\ufeffb", ("a", "\ufeffb")),
        ("/a\n!/b\n! c\n", ("a", "!b", "!c")),
        ("./a/../b/\n", ("b",)),
        ("/\n!\n..\n", ("/", "!", "..")),
        ("a b \t\n", ("a b",)),
        ("a\x0bb\x0cc\x85\u2028d", ("a\x0bb\x0cc\x85\u2028d",)),
        ("\x1ca", ("\x1ca",)),
        ("//a//b", ("a/b",)),
    ],
)
def test_an_ignore_file_is_read_line_by_line_as_the_reference_reads_it(text: str, expected: tuple[str, ...]):
    assert parse_dockerignore(text) == expected


NAMES = st.sampled_from(["a", "b", "ab", "foo", "foo.go", "bar.txt", ".git"])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
PATTERNS = st.lists(
    st.builds(
        lambda negation, parts: negation + "/".join(parts),
        st.sampled_from(["", "", "!"]),
        st.lists(
            st.sampled_from(["a", "b", "*", "**", "foo", "*.go", "f?o", "[ab]", "ab", ".git", "a**b", "a|b"]),
            min_size=1,
            max_size=3,
        ),
    ),
    max_size=6,
)


def walked_one_by_one(patterns: list[str], path: str) -> bool:
    """The reference's walk in its plainest form: a flag for every pattern, directory by directory."""
    single = [(pattern.startswith("!"), PatternMatcher([pattern.removeprefix("!")])) for pattern in patterns]
    flags = [False] * len(patterns)
    matched = False
    parts = path.split("/")
    for depth in range(1, len(parts) + 1):
        here = "/".join(parts[:depth])
        matched = False
        for index, (negation, matcher) in enumerate(single):
            if not flags[index]:
                flags[index] = negation is matched and matcher._evaluate_path(here, 0)[0]
            if flags[index]:
                matched = not negation
    return matched


@settings(deadline=None)
@given(PATTERNS, PATHS)
def test_merging_neighbouring_patterns_changes_no_result(patterns: list[str], path: str):
    assert PatternMatcher(patterns).excluded(path) is walked_one_by_one(patterns, path)


@settings(deadline=None)
@given(PATTERNS, st.lists(PATHS, max_size=8), PATHS)
def test_what_was_asked_before_changes_no_result(patterns: list[str], earlier: list[str], path: str):
    matcher = PatternMatcher(patterns)
    for each in earlier:
        matcher.excluded(each)
    assert matcher.excluded(path) is PatternMatcher(patterns).excluded(path)


@settings(deadline=None)
@given(PATTERNS, PATHS, PATHS)
def test_everything_below_a_prunable_directory_is_excluded(patterns: list[str], directory: str, below: str):
    matcher = PatternMatcher(patterns)
    if matcher.can_prune(directory):
        assert matcher.excluded(f"{directory}/{below}")


@settings(deadline=None)
@given(st.text(alphabet=string.printable + "é\ufeff\u2028", max_size=60))
def test_every_pattern_read_from_an_ignore_file_is_clean_and_on_one_line(text: str):
    for pattern in parse_dockerignore(text):
        bare = pattern.removeprefix("!")
        assert "\n" not in bare
        assert not bare or clean(bare) == bare


@settings(deadline=None)
@given(st.text(alphabet="ab/.", max_size=12))
def test_clean_is_idempotent_and_leaves_no_empty_or_dot_component(path: str):
    once = clean(path)
    assert clean(once) == once
    assert once == "/" or "//" not in once
    assert once == "." or "." not in once.split("/")


def test_join_leaves_out_empty_parts_as_go_does():
    assert join("", "") == ""
    assert join("a", "", "../b") == "b"
    assert join("/", "a") == "/a"


@pytest.mark.parametrize(
    ("glob", "name", "expected"),
    [
        ("*.go", "a.go", True),
        ("*.go", "a/b.go", False),
        ("[^a]", "b", True),
        ("[b-a]", "b", False),
        (r"\*", "*", True),
    ],
)
def test_a_glob_matches_as_filepath_match_does(glob: str, name: str, expected: bool):
    assert Glob(glob).matches(name) is expected
