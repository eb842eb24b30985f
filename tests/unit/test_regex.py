"""No text can stop the program through a regular expression: one engine, every pattern known and timed."""

import ast
import importlib
import pkgutil
import re
import string
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from re import _constants as codes
from re import _parser as parser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import watcher
from watcher import regex

SOURCES = Path(watcher.__file__).parent
LARGE, LINE = 128_000, 4_000  # characters: a whole text; one line of a log, which is cut there
LIMIT = 0.010  # seconds

# Modules of Python that backtrack, or hand patterns to one that does; and who may import them, and why.
BACKTRACKING = {"re", "sre_parse", "sre_compile", "fnmatch", "glob", "regex", "http.cookies", "email.header"}
ALLOWED = {
    "regex.py": "the one door: it hands to `re` only tokens, which cannot backtrack",
}


@cache
def modules() -> list[tuple[str, ast.Module]]:
    return [
        (str(path.relative_to(SOURCES)), ast.parse(path.read_text()))
        for path in sorted(SOURCES.rglob("*.py"))
        if "messages" not in path.parts  # generated
    ]


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module or ""


def test_no_module_has_another_way_to_a_regular_expression():
    found = {name: set(imported(tree)) & BACKTRACKING for name, tree in modules()}
    assert {name: uses for name, uses in found.items() if uses} == {"regex.py": {"re"}}
    assert set(ALLOWED) == {"regex.py"}


def in_functions(tree: ast.Module) -> Iterator[str]:
    """The makers of registered patterns that are called inside of a function."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            for node in ast.walk(function):
                match node:
                    case ast.Call(func=ast.Attribute(value=ast.Name(id="regex"), attr="compile" | "token")):
                        yield ast.unparse(node)


def test_a_pattern_that_is_made_at_run_time_is_not_registered_by_accident():
    assert {name: found for name, tree in modules() if (found := list(in_functions(tree)))} == {}


def registered() -> dict[str | bytes, regex.Pattern | regex.Token[Any]]:
    for module in pkgutil.walk_packages(watcher.__path__, "watcher."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    return regex.REGISTERED


ALL = registered()


def test_the_patterns_of_the_program_are_found():
    assert len(ALL) > 60
    assert any(isinstance(pattern, regex.Token) for pattern in ALL.values())


def weaknesses(tree: parser.SubPattern, *, repeated: bool = False) -> Iterator[str]:
    """What makes a pattern backtrack, or scan a text again and again."""
    for kind, argument in tree:
        if kind in (codes.MAX_REPEAT, codes.MIN_REPEAT):
            yield f"a repeat that gives back: {argument}"
        elif kind is codes.POSSESSIVE_REPEAT:
            _, most, inner = argument
            if most > 1 and repeated:
                yield f"a repeat in a repeat: {argument}"
            yield from weaknesses(inner, repeated=repeated or most > 1)
        elif kind is codes.SUBPATTERN:
            yield from weaknesses(argument[3], repeated=repeated)
        elif kind is codes.BRANCH:
            for branch in argument[1]:
                yield from weaknesses(branch, repeated=repeated)
        elif kind not in (codes.LITERAL, codes.NOT_LITERAL, codes.IN, codes.ANY):
            yield f"{kind}"


@pytest.mark.parametrize("bad", ["a*", "a*?b", "(?:a*+b)*+", "(?=a)", r"(a)\1", "(?:a{2,}+)++"])
def test_a_token_that_could_backtrack_is_recognised(bad: str):
    assert list(weaknesses(parser.parse(bad)))


@pytest.mark.parametrize(
    "pattern", [name for name, made in ALL.items() if isinstance(made, regex.Token)], ids=ascii
)
def test_a_token_cannot_backtrack(pattern: str | bytes):
    assert list(weaknesses(parser.parse(pattern))) == []


def pieces(pattern: str) -> list[str]:
    """Short texts that the pattern may begin with, go on with, or fall for."""
    bare = re.sub(r"\(\?P?<\w+>|\(\?[ims:]+\)?|\\[bBAzZsSdDwW]|\\pL|\\pN|\[\^?[^\]]*\]", " ", pattern)
    words = [word for word in re.split(r"[^A-Za-z0-9_./:=@<>#\"'$ -]+|\s{2,}", bare) if word.strip()]
    single = set("a \t0/:.-=$\"'\\<[({}\n") | {char for char in pattern if char in string.printable}
    return [*dict.fromkeys([*words, *sorted(single)])]


def hostile(pattern: str, size: int) -> Iterator[str]:
    """Texts of `size` characters: pieces repeated, one piece before many of another, with a bad end."""
    many = pieces(pattern)
    words = [piece for piece in many if len(piece) > 1][:6]
    for piece in many:
        yield (piece * size)[:size]
        yield (piece * size)[: size - 1] + "\x01"
    for first in words:
        for piece in [*words, "a", " ", "-", "a-", "a/"]:
            yield (first + piece * size)[:size]
    yield ("".join(many) * size)[:size]
    yield (" ".join(words or many) * size)[:size]
    yield "é" * size


def seconds(run: Callable[[], object]) -> float:
    """The processor time of a run, the shortest of several: others use the machine too."""
    times = []
    for _ in range(8):
        begun = time.thread_time()
        run()
        times.append(time.thread_time() - begun)
        if times[-1] < LIMIT:
            break
    return min(times)


def uses(made: regex.Pattern | regex.Token[Any]) -> list[Callable[[str], object]]:
    if isinstance(made, regex.Token):
        return [made.match] if isinstance(made.pattern, str) else [lambda text: made.match(text.encode())]
    return [made.search, made.match, made.fullmatch]


@pytest.mark.parametrize("name", list(ALL), ids=ascii)
def test_a_pattern_is_quick_on_hostile_text(name: str | bytes):
    made = ALL[name]
    shown = name if isinstance(name, str) else name.decode("latin-1")
    for text in hostile(shown, LARGE):
        for use in uses(made):
            took = seconds(partial(use, text))
            assert took < LIMIT, f"{took * 1000:.0f} ms on {text[:60]!r}… of {len(text)} characters"


@pytest.mark.parametrize(
    "name", [name for name, made in ALL.items() if isinstance(made, regex.Pattern)], ids=ascii
)
def test_all_matches_in_a_line_are_found_quickly(name: str):
    made = ALL[name]
    assert isinstance(made, regex.Pattern)
    for text in hostile(name, LINE):
        took = seconds(partial(made.sub, "", text))
        assert took < LIMIT, f"{took * 1000:.0f} ms on {text[:60]!r}… of {len(text)} characters"


TEXT = st.text(alphabet="ab1 é\U0001f600\udcff\n/:", max_size=12)
SAME = [
    r"a",
    r"[ab]+",
    r"(a)|(b)",
    r"(?P<x>a+)(?P<y>b*)",
    r"é",
    r"",
    r"b*",
    r"[^a]",
    r"\d",
    r"(?s)a.b",
    r"(?i)A",
]


@settings(deadline=None, max_examples=400)
@given(st.sampled_from(SAME), TEXT)
def test_it_answers_as_python_does(pattern: str, text: str):
    ours, theirs = regex.Pattern(pattern), re.compile(pattern)
    for one, other in (
        (ours.search(text), theirs.search(text)),
        (ours.match(text), theirs.match(text)),
        (ours.fullmatch(text), theirs.fullmatch(text)),
    ):
        assert (one is None) is (other is None)
        if one is not None and other is not None:
            assert one[0] == other[0]
            assert one.groups() == other.groups()
            assert one.span() == other.span()
            assert one.string == text
    assert ours.found(text) is (theirs.search(text) is not None)
    if pattern not in ("", "b*"):  # Python finds an empty match right behind another one, RE2 does not
        assert [one.span() for one in ours.finditer(text)] == [one.span() for one in theirs.finditer(text)]
        assert ours.sub("-", text) in (
            theirs.sub("-", text),
            theirs.sub("-", text).replace("\udcff", "\ufffd"),
        )
        assert ours.sub(lambda match: f"<{match[0]}>", text) == theirs.sub(
            lambda match: f"<{match[0]}>", text
        )
        assert ours.findall(text) == theirs.findall(text)


@given(st.text(alphabet=string.printable + "é\udc80", max_size=8))
def test_an_escaped_text_matches_itself(text: str):
    assert regex.one_off(regex.escape(text)).fullmatch(text)


def test_what_re2_does_not_know_is_refused():
    with pytest.raises(regex.BadPattern):
        regex.one_off(r"(?=a)")


_IN_CLASS = r"\[(?:[^\]\\\n]|\\.)*\]"
_LITERAL = re.compile(
    rf"(?:[(=,:!]|\|\|) ?/((?:[^/\\\n\[*]|\\.|{_IN_CLASS})(?:[^/\\\n\[]|\\.|{_IN_CLASS})*)/"
)


def page_patterns() -> list[str]:
    """The regular expressions of the page's script, whose engine backtracks."""
    script = (SOURCES / "web" / "page.html").read_text("utf-8").partition("<script>")[2]
    found = _LITERAL.findall(script)
    return sorted({one.replace("[^]", r"[\s\S]") for one in found})


def test_the_patterns_of_the_page_are_found():
    assert any("go|mod|sum" in one for one in page_patterns())
    assert len(page_patterns()) > 5


def repeats(tree: parser.SubPattern) -> Iterator[int]:
    """How deep each unbounded repeat stands in others."""
    for kind, argument in tree:
        if kind in (codes.MAX_REPEAT, codes.MIN_REPEAT):
            _, most, inner = argument
            if most is codes.MAXREPEAT:
                yield 1
            yield from (depth + (most is codes.MAXREPEAT) for depth in repeats(inner))
        elif kind is codes.SUBPATTERN:
            yield from repeats(argument[3])
        elif kind is codes.BRANCH:
            for branch in argument[1]:
                yield from repeats(branch)


@pytest.mark.parametrize("pattern", page_patterns())
def test_a_pattern_of_the_page_is_anchored_or_bounded(pattern: str):
    depths = list(repeats(parser.parse(pattern)))
    assert not depths or (pattern.startswith("^") and max(depths) == 1)
    for text in hostile(pattern, LARGE):
        assert seconds(partial(re.search, pattern, text)) < LIMIT
