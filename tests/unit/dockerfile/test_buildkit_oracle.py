"""The same Dockerfiles read by us and by BuildKit's own code: thousands of inputs, one answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.dockerfile.buildkit_oracle import Oracle, started
from watcher.dockerfile import Dockerfile, DockerfileError, Instruction, parse
from watcher.dockerfile.expand import Unresolved, expand
from watcher.dockerfile.keyvalues import BLANKS, env_pairs, split_words

NOT_SPLIT = ("HEALTHCHECK", "ONBUILD", "FLY")  # their words are other instructions, or nothing
FILES = 500  # generated Dockerfiles, and as many lines of each of the kinds below
WORDS = 1500


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Oracle]:
    """BuildKit's code; at the end it is said how much was compared."""
    for found in started(tmp_path_factory.mktemp("oracle")):
        yield found
        asked = ", ".join(f"{count} {kind}" for kind, count in sorted(found.asked.items()))
        request.config.get_terminal_writer().line(f"\ncompared with BuildKit's own code: {asked}")


def mine(text: str) -> dict[str, Any] | str:
    """What we make of a Dockerfile, as the oracle tells it; a text where we refuse it."""
    try:
        found = parse(text)
    except DockerfileError as error:
        return str(error)
    return {
        "escape": found.escape,
        "instructions": [_instruction(one, found) for one in found.instructions()],
        "names": [stage.name or "" for stage in found.stages],
        "bases": [stage.base for stage in found.stages],
    }


def _instruction(one: Instruction, file: Dockerfile) -> dict[str, Any]:
    return {
        "keyword": one.keyword,
        "start": one.line,
        "end": one.end_line,
        "flags": [f"--{flag.name}" + ("" if flag.value is None else f"={flag.value}") for flag in one.flags],
        "words": _words(one, file),
        "json": one.words is not None,
        "heredocs": [
            {
                "name": each.name,
                "expand": not each.quoted,
                "chomp": each.chomp,
                "content": each.content.text,
            }
            for each in one.heredocs
        ],
    }


def _words(one: Instruction, file: Dockerfile) -> list[str]:
    """The words of an instruction as we use them, each kind in its own way."""
    if one.words is not None:
        return list(one.words)
    match one.keyword:
        case "HEALTHCHECK" | "ONBUILD" | "FLY":
            return []
        case "ENV" | "LABEL":
            return [word for pair in env_pairs(one, file.escape) for word in pair]
        case "ARG":
            return split_words(one.body.text, file.escape)
        case "COPY" | "ADD" | "FROM" | "VOLUME" | "EXPOSE":
            return BLANKS.split(one.body.text) if one.body.text else []
        case _:
            return [one.body.text] if one.body.text else []


def theirs(answer: dict[str, Any]) -> dict[str, Any]:
    """The oracle's answer with what we do not tell left out."""
    for one in answer["instructions"]:
        if one["keyword"] in ("ENV", "LABEL"):  # name, value, and the sign between them
            del one["words"][2::3]
        elif one["keyword"] in NOT_SPLIT:
            one["words"], one["json"] = [], False
    return {key: answer[key] for key in ("escape", "instructions", "names", "bases")}


def compare(oracle: Oracle, text: str) -> None:
    answer, ours = oracle.parse(text), mine(text)
    if "error" in answer:
        assert isinstance(ours, str), answer["error"]
    elif "refused" not in answer:  # what it refuses later (an unknown flag, a bad number) is left to it
        assert ours == theirs(answer)
    elif not isinstance(ours, str):
        assert ours["instructions"] == theirs({"names": [], "bases": [], **answer})["instructions"]


FIXED = [
    "FROM a\n",
    "from A as B\nRun x\n",
    "FROM --platform=$BUILDPLATFORM a AS b\nCOPY --from=b --chown=1:1 a b /c\n",
    "# escape=`\nFROM a\nRUN a `\n  b\n",
    "# escape = `\n# syntax=docker/dockerfile:1\nFROM a\nRUN a \\\n",
    "#escape=`\n\n# escape=\\\nFROM a\n",
    "# a remark\n# escape=`\nFROM a\nRUN a \\\n b\n",
    "# syntax=docker/dockerfile:1\n# check=skip=all\nFROM a\n",
    "# escape=x\nFROM a\n",
    "# escape=`\n# escape=`\nFROM a\n",
    "\ufeffFROM a\nRUN x\n",
    "\ufeff# escape=`\nFROM a\nRUN x `\n y\n",
    "#!/usr/bin/env docker\n# escape=`\nFROM a\nRUN x `\n y\n",
    "FROM a\nRUN x \\\n# remark\n\n  # another\n  y\n",
    "FROM a\nRUN x \\  \n  y \\\t\n  z\n",
    "FROM a\nRUN x \\\\\nRUN y\n",
    "FROM a\nRUN x \\\\\\\n  y\n",
    "FROM a\nRUN x \\",
    "FROM a\nRUN \\\n  x\n",
    "FROM a\nR\\\nUN x\n",
    "FROM a\nRUN\n",
    "FROM a\n \\\n",
    "FROM a\n \\\nRUN x\n",
    'FROM a\nRUN ["a", "b"]\n',
    "FROM a\nRUN ['a', 'b']\n",
    'FROM a\nRUN ["a", 1]\n',
    "FROM a\nRUN [ ]\nCMD []\n",
    'FROM a\nRUN ["a", \\\n  "b"]\n',
    "FROM a\nRUN --mount=type=cache,target=/x --network=none x --y=z\n",
    "FROM a\nRUN --mount=type=cache,\\\ntarget=/x x\n",
    "FROM a\nRUN --mount='type=cache,target=/a b' x\n",
    "FROM a\nRUN -- --x\n",
    "FROM a\nRUN <<EOF\na\nb\nEOF\nRUN x\n",
    "FROM a\nRUN <<-EOF\n\ta\n\t\tb\n\tEOF\nRUN x\n",
    "FROM a\nRUN <<'EOF' cat\n$a\nEOF\n",
    'FROM a\nRUN <<"EOF" cat\n$a\nEOF\n',
    "FROM a\nRUN cat <<A <<B\na\nA\nb\nB\nRUN x\n",
    "FROM a\nCOPY <<A <<-B /x/\na\nA\n\tb\n\tB\n",
    "FROM a\nCOPY <<a.txt /x\na\na.txt\n",
    "FROM a\nRUN 3<<EOF cat <&3\na\nEOF\n",
    "FROM a\nRUN cat <<<EOF\nRUN x\n",
    "FROM a\nRUN echo '<<EOF' \"<<EOF\" \\<<EOF\nRUN x\n",
    "FROM a\nRUN <<EOF\na\n",
    "FROM a\nCMD <<EOF\nRUN x\n",
    "FROM a\nRUN << EOF\na\nEOF\n",
    "FROM a\nONBUILD RUN <<EOF\na\nEOF\n",
    "FROM a\nRUN x && \\\n  <<EOF cat\na \\\nEOF\nEOF\n",
    "FROM a\nRUN $((1<<2))\nRUN x\n",
    "FROM a\nENV A b c\nENV A=b C=\"d e\" F=g\\ h\nENV A='b c'\n",
    "FROM a\nENV A= B=\nLABEL a=b \\\n  c=d\n",
    "FROM a\nENV A\tb  c  \n",
    'FROM a\nARG A=b C\nARG D="e f"\n',
    "ARG V=1\nFROM a:$V AS x\nFROM x\nFROM scratch\n",
    "FROM a AS B.c_d-e\n",
    "FROM a AS 1b\n",
    "FROM a b\n",
    "FROM a AS b c\n",
    "RUN x\nFROM a\n",
    "ENV A=b\nFROM a\n",
    "FLY x\nFROM a\n",
    "FROM a\nFLY x\n",
    "",
    "# only a remark\n",
    "FROM a\r\nRUN x \\\r\n  y\r\n",
    "FROM a\n  RUN x\n\tRUN y\n",
    "FROM a\nRUN x # no remark\n",
    "FROM a\nRUN x \\\n  # remark \\\n  y\n",
    'FROM a\nSHELL ["/bin/bash", "-c"]\nUSER a b\nWORKDIR /a b\nSTOPSIGNAL 9\nEXPOSE 1 2\nVOLUME /a /b\n',
    "FROM a\nHEALTHCHECK --interval=1s CMD x y\nHEALTHCHECK NONE\n",
    'FROM a\nHEALTHCHECK CMD ["a", "b"]\n',
    'FROM a\nONBUILD RUN ["a"]\nONBUILD COPY . .\n',
    "FROM a\nMAINTAINER x y\n",
    'FROM a\nCOPY ["a b", "/c"]\nADD --chmod=644 a /b\n',
    "FROM a\nRUN x\x0b\x0c y\n",
    "FROM a\nRUN x\u00a0y\u2003\n",
    "FROM a\nRUN x\u2028y\n",
]


@pytest.mark.parametrize("text", FIXED)
def test_a_dockerfile_is_read_as_buildkit_reads_it(oracle: Oracle, text: str) -> None:
    compare(oracle, text)


PIECES = st.sampled_from(
    [
        "x", "go build", "-o", "app", "--y=z", "&&", ";", "|", "'a b'", '"c d"', "$V", "${V:-w}", "<<EOF",
        "<<-EOF", "<<'EOF'", "3<<EOF", "<<<EOF", "\\", "\\\\", "#", "[", '["a", "b"]', "--", "`", "=", "A=b",
        "C='d e'", "/p", ".", "\t", "é", "'", '"', "<<A <<B",
    ]
)  # fmt: skip
GAPS = st.sampled_from([" ", " ", " ", "  ", "\t", " \\\n", " \\\n  ", " \\ \n# why\n\n ", " `\n ", ""])
KEYWORDS = st.sampled_from(
    ["RUN", "RUN", "RUN", "run", "COPY", "ADD", "ENV", "ARG", "LABEL", "CMD", "ENTRYPOINT", "WORKDIR", "USER",
     "ONBUILD RUN", "SHELL", "EXPOSE", "VOLUME", "HEALTHCHECK CMD", "FROM", "FLY"]
)  # fmt: skip
FLAGS = st.sampled_from(
    ["", "", "", " --mount=type=cache,target=/x", " --network=none", " --from=b", ' --chown="a b"', " --x"]
)
BETWEEN = st.sampled_from(
    ["\n", "\n", "\n", "\n\n", "\n# a remark\n", "\r\n", "\n  \t\n", "\nEOF\n", "\na\n\tEOF\n", "\nA\nB\n"]
)
HEADS = st.sampled_from(
    ["", "", "", "# escape=`\n", "# syntax=docker/dockerfile:1\n", "# escape=`\n# check=skip=all\n",
     "\n# escape=`\n", "# remark\n", "\ufeff", "ARG V=1\n", "#escape=\\\n", "# Escape=`\n"]
)  # fmt: skip


@st.composite
def dockerfiles(draw: st.DrawFn) -> str:
    text = draw(HEADS) + draw(st.sampled_from(["FROM a\n", "FROM a AS b\n", "from --platform=x a as B\n"]))
    for _ in range(draw(st.integers(1, 4))):
        text += draw(KEYWORDS) + draw(FLAGS)
        for piece in draw(st.lists(PIECES, min_size=1, max_size=5)):
            text += draw(GAPS) + piece
        text += draw(BETWEEN)
    return text


@settings(max_examples=FILES)
@given(text=dockerfiles())
def test_any_dockerfile_is_read_as_buildkit_reads_it(oracle: Oracle, text: str) -> None:
    compare(oracle, text)


ENV = {"A": "a", "EMPTY": "", "AB": "a b", "P": "/x/y/z.tar.gz", "Q": 'it\'s "q" $A'}
FIXED_WORDS = r"""$A|${A}
$NONE|${NONE}|${A:-d}|${EMPTY:-d}|${EMPTY-d}|${NONE-d}|${A:+d}|${EMPTY:+d}|${EMPTY+d}
${NONE+d}|${NONE:?no}|${A:?no}|${EMPTY:?no}|${EMPTY?no}|${NONE?no}|${NONE:-$A}|${NONE:-${EMPTY:-x}}
${NONE:-"a b"}|${NONE:-'$A'}|'$A'|"$A"|"\$A"|\$A|\\$A|"\\$A"|a$A.b|$A$AB|$AX|${A}X|$1|$@|$?|$$|$|a$
${|${}|${A|$(A)|"|'|"a|'a|\|a\|"a\"b"|'a\'b'|${P#*/}|${P##*/}|${P%.*}|${P%%.*}|${P/x/w}|${P//\//_}
${P/#\/x/w}|${P#nothing}|${P%[a-z]*}|${NONE#a}|${EMPTY%a}|${P/y}|${P//z}|${A:=x}|${A:x}|${#A}|${!A}
${A-${P%%/*}}|${A: -x}|}|{}|$A}|${Q}|"${Q}"|${P##*.}|${P%?}|${P#?}|é$A|$É""".replace("\n", "|").split("|")


@pytest.mark.parametrize("escape", ["\\", "`"])
@pytest.mark.parametrize("word", FIXED_WORDS)
def test_a_word_is_expanded_as_buildkit_expands_it(oracle: Oracle, word: str, escape: str) -> None:
    compare_words(oracle, word, escape)


PARTS = st.sampled_from(
    ["$", "{", "}", "A", "EMPTY", "NONE", "P", "AB", ":-", ":+", "-", "+", "?", ":?", "#", "##", "%", "%%",
     "/", "//", "*", "?", "[a-z]", "'", '"', "\\", "`", "x", ".", " ", "${A}", "${P#*/}", "${NONE:-", "$A",
     "é"]
)  # fmt: skip


@settings(max_examples=WORDS)
@given(word=st.lists(PARTS, max_size=9).map("".join), escape=st.sampled_from(["\\", "`"]))
def test_any_word_is_expanded_as_buildkit_expands_it(oracle: Oracle, word: str, escape: str) -> None:
    compare_words(oracle, word, escape)


def compare_words(oracle: Oracle, word: str, escape: str) -> None:
    try:
        ours: str | None = expand(word, ENV.get, escape)
    except Unresolved:
        ours = None
    assert ours == oracle.expand(word, ENV, escape)
