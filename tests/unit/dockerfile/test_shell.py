"""Which commands a shell text holds, and where their words stand."""

from __future__ import annotations

import pytest

from watcher.dockerfile.shell import NotUnderstood, commands


def said(script: str) -> list[list[str]]:
    return [[word.text for word in (*one.assignments, *one.words)] for one in commands(script)]


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ("a b && c || d; e & f | g", [["a", "b"], ["c"], ["d"], ["e"], ["f"], ["g"]]),
        ("A=1 B='x y' go build -o \"a b\"", [["A=1", "B=x y", "go", "build", "-o", "a b"]]),
        ("(cd x; go build) && { a; }", [["cd", "x"], ["go", "build"], ["a"]]),
        (
            "if [ -f x ]; then go a; elif b; then c; else d; fi",
            [["[", "-f", "x", "]"], ["go", "a"], ["b"], ["c"], ["d"]],
        ),
        ("for f in a b; do go $f; done", [["go", ""]]),
        ("while ! go a; do sleep 1; done", [["go", "a"], ["sleep", "1"]]),
        ("go build # -a\nnext", [["go", "build"], ["next"]]),
        ("go build \\\n -a", [["go", "build", "-a"]]),
        ("a >x 2>&1 <y b", [["a", "b"]]),
        ("cat <<E >x\ngo build -a\nE\nnext", [["cat"], ["next"]]),
        ("cat <<-E\n\tgo\n\tE\nnext", [["cat"], ["next"]]),
        ("x$(go env A)y", [["go", "env", "A"], ["x"]]),
        ('"`go env A`"', [["go", "env", "A"], [""]]),
        ("a ${B:-$(c)} $((1+2)) d", [["c"], ["a", "", "", "d"]]),
        ("a 'it''s' \"\\\"q\\$\" \\'", [["a", "its", '"q$', "'"]]),
        ("ls *.go ~/x", [["ls", "", ""]]),
        ("", []),
        ("# nothing", []),
    ],
)
def test_the_commands_are_found(script, found):
    assert said(script) == found


def test_a_word_knows_where_each_literal_character_stands():
    script = "go -x='a'\"b$C\"d"
    word = commands(script)[0].words[1]
    assert (word.text, word.literal, word.quotes) == ("-x=ab", False, "   '\"")
    assert [script[index] for index in word.at] == list("-x=ab")
    assert script[word.start : word.stop] == "-x='a'\"b$C\"d"


def test_commands_inside_substitutions_are_marked():
    inner, outer = commands("v=$(go list) x")
    assert (inner.inner, outer.inner) == (True, False)


@pytest.mark.parametrize(
    "script",
    ["case $x in a) b;; esac", "f() { go build; }", "function f { a; }", "a 'b", 'a "b', "a `b", "a $(b",
     "a ${b", "a $((1", "a >", "[[ a ]]", "cat <<E\nnever", "a <(b)"],
)  # fmt: skip
def test_what_is_not_followed_is_refused(script):
    with pytest.raises(NotUnderstood):
        commands(script)


@pytest.mark.parametrize(
    "script", ["$(" * 5000, "$(" * 2000 + "go" + ")" * 2000, "x ${a:-" * 5000, "${a:-$(" * 5000]
)
def test_substitutions_without_measure_are_refused(script: str):
    with pytest.raises(NotUnderstood):
        commands(script)


def test_substitutions_in_each_other_are_followed_to_a_measure():
    assert ["go"] in said("echo " + "$(" * 40 + "go" + ")" * 40)
